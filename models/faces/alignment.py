"""A face turned upright and scaled so that its eyes, nose and mouth lie where recognisers expect.

The five landmarks are mapped onto the template of ArcFace by the similarity (turn, scale, shift)
with the smallest squared error.  Umeyama (1991) finds it by a singular value decomposition; in
the plane it is one complex number, the regression of the target on the source, and has a closed
form.  A mirrored face is not mirrored back: neither does Umeyama with its determinant kept
positive, which is what everyone uses.

A robust estimate (RANSAC, least median of squares) was rejected: of five points it throws away
two, and was off by 13 pixels where all five were a little noisy.

Sampling is bilinear, black outside the picture.  A face more than twice as large as the crop is
first averaged down by a whole number, else the crop would be made of every third pixel.  On 21
photos that moved the nearest two strangers from a cosine of 0.28 to 0.23, and pairs of one person
from 0.702 to 0.707 on average.
"""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.errors import PictureBroken
from models.faces.face import Face

#: Where ArcFace was trained to find the five points, in a crop of 112 x 112 (InsightFace).
TEMPLATE = np.array(
    [
        (38.2946, 51.6963),
        (73.5318, 51.5014),
        (56.0252, 71.7366),
        (41.5493, 92.3655),
        (70.7299, 92.2041),
    ]
)
TEMPLATE_SIZE = 112

#: Without landmarks: the crop's side in longer sides of the box, and how far its middle lies above
#: the box's, in heights.  Medians of 26 faces of which both landmarks and box were known.
AROUND, ABOVE = 1.0, 0.08

#: Pixels of the picture beyond the crop that bilinear sampling may ask for.
MARGIN = 2


def similarity(source: NDArray[np.floating], target: NDArray[np.floating]) -> NDArray[np.float64]:
    """The matrix [2, 3] that takes points *source* [n, 2] to *target* [n, 2] with least squares.

    Raises:
        ValueError: all of *source* is one point, or not finite.
    """
    start, end = source.astype(np.float64), target.astype(np.float64)
    from_, to = start.mean(axis=0), end.mean(axis=0)
    start, end = start - from_, end - to
    spread = float((start**2).sum())
    if not spread > 0 or not math.isfinite(spread):
        raise ValueError("expected points that are not all the same")
    a = float((start * end).sum()) / spread
    b = float((start[:, 0] * end[:, 1] - start[:, 1] * end[:, 0]).sum()) / spread
    turn = np.array([[a, -b], [b, a]])
    return np.column_stack([turn, to - turn @ from_])


def align(picture: NDArray[np.uint8], face: Face, size: int = TEMPLATE_SIZE) -> NDArray[np.uint8]:
    """*face* of *picture* (uint8 RGB [h, w, 3]) as a crop [size, size, 3].

    Without landmarks, or with landmarks that are one point, it is the square around the box.

    Raises:
        PictureBroken: the picture is no such array.
    """
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise PictureBroken(
            f"expected uint8 [h, w, 3], found {picture.dtype} {list(picture.shape)}"
        )
    return _warped(picture, _matrix(face, size), size)


def _matrix(face: Face, size: int) -> NDArray[np.float64]:
    """From the picture to the crop; whole numbers are the middles of pixels, as in training."""
    if len(set(face.landmarks)) > 1:
        points = np.array(face.landmarks)
        return similarity(points, TEMPLATE * size / TEMPLATE_SIZE)
    side = max(face.width, face.height, 1) * AROUND
    scale = size / side
    left = (face.left + face.right - side) / 2
    top = (face.top + face.bottom - side) / 2 - ABOVE * face.height
    return np.array([[scale, 0, -left * scale], [0, scale, -top * scale]])


def _warped(
    picture: NDArray[np.uint8], matrix: NDArray[np.float64], size: int
) -> NDArray[np.uint8]:
    turn = np.linalg.inv(matrix[:, :2])
    corners = np.array([(0, 0), (size, 0), (0, size), (size, size)], np.float64)
    seen = (corners - matrix[:, 2]) @ turn.T
    height, width = picture.shape[:2]
    shrink = max(1, int(math.sqrt(abs(np.linalg.det(turn)))))
    margin = MARGIN * shrink
    left, top = np.clip(np.floor(seen.min(axis=0)) - margin, 0, (width, height)).astype(int)
    right, bottom = np.clip(np.ceil(seen.max(axis=0)) + margin, 0, (width, height)).astype(int)
    if left >= right or top >= bottom:
        return np.zeros((size, size, 3), np.uint8)
    part = Image.fromarray(picture[top:bottom, left:right])
    if shrink > 1:
        part = part.reduce(shrink)
    # Pillow asks for the way back, and counts from a pixel's corner, not from its middle.
    back = -turn @ matrix[:, 2] - np.array([left, top]) - (shrink - 1) / 2
    turn, back = turn / shrink, back / shrink
    back += 0.5 - turn.sum(axis=1) / 2
    way = (*turn[0], back[0], *turn[1], back[1])
    crop = part.transform(
        (size, size), Image.Transform.AFFINE, way, Image.Resampling.BILINEAR, fillcolor=0
    )
    return np.asarray(crop)
