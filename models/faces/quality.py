"""How much a face can tell: how large and sharp it is, and how far it is turned away.

Three cheap figures, for whoever decides which faces make a person and which only join one.  None
of them is a probability.

The pose comes from five points and a rule of thumb: seen from the front the nose lies between the
eyes, and it stands out from the line of the eyes about as far as an eye is away from its middle.
So when the head turns by an angle, the nose leaves the middle by its sine and the eyes move
together by its cosine.  Good to some ten degrees, blind to nodding.
"""

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.faces.face import Face

#: What an eye weighs in brightness, ITU-R BT.601.
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


class Quality(msgspec.Struct, frozen=True):
    size: float  #: shorter side of the box, pixels of the picture
    sharpness: float  #: variance of the Laplacian of the crop's brightness 0–255; blurred: < 50
    yaw: float  #: degrees -90–90, above zero if it looks to the image's right; 0 if not known
    roll: float  #: degrees -180–180, above zero if it is turned clockwise; 0 if not known


def quality(picture: NDArray[np.uint8], face: Face, crop: NDArray[np.uint8]) -> Quality:
    """Of *face* in *picture*, with *crop* as `align` gave it.

    Only the part of the box that lies in the picture counts towards its size.
    """
    height, width = picture.shape[:2]
    wide = min(face.right, width) - max(face.left, 0)
    high = min(face.bottom, height) - max(face.top, 0)
    yaw, roll = _pose(face)
    return Quality(max(0.0, float(min(wide, high))), _sharpness(crop), yaw, roll)


def _sharpness(crop: NDArray[np.uint8]) -> float:
    grey = crop.astype(np.float32) @ LUMA
    if min(grey.shape) < 3:
        return 0.0
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float((around - 4 * grey[1:-1, 1:-1]).var())


def _pose(face: Face) -> tuple[float, float]:
    """Yaw and roll in degrees."""
    if len(face.landmarks) != 5:
        return 0.0, 0.0
    left, right, nose = (complex(*point) for point in face.landmarks[:3])
    half = (right - left) / 2
    if not abs(half) > 0:
        return 0.0, 0.0
    ahead = ((nose - (left + right) / 2) / half).real  # along the line of the eyes
    return math.degrees(math.atan(ahead)), math.degrees(math.atan2(half.imag, half.real))
