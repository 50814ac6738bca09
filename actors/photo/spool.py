"""Larger pictures, kept until the faces in them were looked at.

A face is cut out of a picture of long side `SIDE`, four times as many pixels as the large
thumbnail has; of a smaller photo that thumbnail is all there is.  Untrusted bytes are decoded by
decode processes alone, so they leave that picture here, and whoever commits the faces removes it.
Nothing depends on it: one that is missing, torn, or was not written because the spool is full,
is made again when it is asked for.

`<derived>/spool/<hex>.jpg`, JPEG of quality 90, upright, sRGB.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from PIL import Image

from actors.photo import files
from actors.photo.thumbnails import LARGE, thumbnail_path

SIDE: Final = 2048
#: Half a photo of 12 megapixels has 2016 or 2000 pixels.  A JPEG is decoded at half its size for a
#: third of the work, and no face misses the last 2 % of its pixels.
LEAST: Final = 2000
QUALITY: Final = 90
FOLDER: Final = "spool"


def spool_path(derived: Path, digest: bytes) -> Path:
    return derived / FOLDER / f"{digest.hex()}.jpg"


def write_spool(derived: Path, digest: bytes, image: Image.Image) -> None:
    """Keep *image*, which is upright and RGB, if it is larger than its thumbnail.

    Raises:
        OSError: the folder cannot be written.
    """
    if max(image.size) > LARGE:
        files.write_jpeg(spool_path(derived, digest), image, QUALITY)


def faces_from(derived: Path, digest: bytes, width: int, height: int) -> Path:
    """The file in which the faces of a photo of that upright size are looked for."""
    if max(width, height) > LARGE:
        return spool_path(derived, digest)
    return thumbnail_path(derived, digest, LARGE)


def remove_spooled(derived: Path, digests: Iterable[bytes]) -> None:
    for digest in digests:
        with suppress(OSError):
            spool_path(derived, digest).unlink()


def spooled(derived: Path) -> dict[bytes, int]:
    """What lies here: digest → bytes of the file."""
    found: dict[bytes, int] = {}
    with suppress(FileNotFoundError), os.scandir(derived / FOLDER) as entries:
        for entry in entries:
            with suppress(ValueError, OSError):  # what is not ours, or gone by now
                found[bytes.fromhex(entry.name.partition(".")[0])] = entry.stat().st_size
    return found
