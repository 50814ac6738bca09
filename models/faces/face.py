"""A face: where it is in one picture, how sure the detector is, and its five points."""

import msgspec


class Face(msgspec.Struct, frozen=True):
    """In pixels of the picture it was found in, from the upper left corner of its first pixel.

    *landmarks* are five points (x, y), named as one sees them in the upright face: the eye on the
    left, the eye on the right, the nose, the corner of the mouth on the left, and on the right.
    In a picture that stands on its head the first eye is the one on the picture's right.  Points
    may lie outside the picture where the face does; () where the detector knows none.
    """

    left: float
    top: float
    right: float
    bottom: float
    score: float  #: 0–1, comparable only within one detector
    landmarks: tuple[tuple[float, float], ...] = ()

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top


def iou(a: Face, b: Face) -> float:
    """What two boxes share, as a part of what they cover together: 0–1."""
    shared = _shared(a, b)
    together = a.width * a.height + b.width * b.height - shared
    return shared / together if together > 0 else 0.0


def covered(a: Face, b: Face) -> float:
    """How much of the smaller of two boxes lies in the other: 0–1."""
    smaller = min(a.width * a.height, b.width * b.height)
    return _shared(a, b) / smaller if smaller > 0 else 0.0


def _shared(a: Face, b: Face) -> float:
    wide = min(a.right, b.right) - max(a.left, b.left)
    high = min(a.bottom, b.bottom) - max(a.top, b.top)
    return max(0.0, wide) * max(0.0, high)
