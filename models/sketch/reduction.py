"""From a drawn picture to what the network sees: the way every photo takes through the program.

A thumbnail (long side at most 256, JPEG quality 85), its shorter side resized to 64 by bicubic
filtering, the middle cut out.  Training must meet pictures that came this way, or the program's
recall would fall behind the one measured in training.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE: Final = 64  #: pixels per side of the network's input
THUMBNAIL: Final = 256  #: longest side of a thumbnail, pixels
THUMBNAIL_QUALITY: Final = 85


def as_seen(picture: Image.Image, quality: int = THUMBNAIL_QUALITY) -> NDArray[np.uint8]:
    """The picture as the image tower meets it: RGB uint8 [64, 64, 3]."""
    shrunk = picture.convert("RGB")
    shrunk.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    file = BytesIO()
    shrunk.save(file, "JPEG", quality=quality)
    with Image.open(file) as thumbnail:
        return reduced(thumbnail)


def reduced(picture: Image.Image) -> NDArray[np.uint8]:
    """The middle square of a picture: uint8 [64, 64, 3]."""
    width, height = picture.size
    shorter = min(width, height)
    left, top = (width - shorter) / 2, (height - shorter) / 2
    box = (left, top, left + shorter, top + shorter)
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box))
