"""YuNet (Wu, Peng, Yu 2023, libfacedetection): one anchor a cell, told from the cell's corner.

A face's score is the geometric mean of what the cell says of its class and of an object being
there, both clipped to 0–1.  Which of the two comes first makes no difference.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.faces.candidates import Candidates
from models.faces.grid import levels

#: OpenCV's example uses a threshold of 0.9, which misses every other small face.
THRESHOLD, OVERLAP, SURE = 0.6, 0.3, 0.91


def decode(
    outputs: Iterable[NDArray[Any]], width: int, height: int, threshold: float
) -> Candidates:
    """Faces scored above *threshold*, and all whose score is NaN, in pixels of the input.

    Raises:
        Unreadable: the outputs are not YuNet's.
    """
    parts = []
    for level in levels(outputs, width, height, scores=2):
        one, other = level.scores
        least = threshold**2  # neither is above 1, so that each has to be above this
        rows = np.flatnonzero(~((one <= least) | (other <= least)))
        if not rows.size:
            continue
        scores = np.sqrt(np.prod(np.clip(np.array([one[rows], other[rows]], np.float64), 0, 1), 0))
        rows, scores = (each[~(scores <= threshold)] for each in (rows, scores))
        cells = level.cells[rows]
        boxes, points = (each[rows].astype(np.float64) for each in (level.boxes, level.points))
        middle = (cells + boxes[:, :2]) * level.stride
        with np.errstate(over="ignore"):  # whoever calls asks whether all of it is finite
            half = np.exp(boxes[:, 2:]) * level.stride / 2
        parts.append(
            Candidates(
                np.concatenate([middle - half, middle + half], axis=1),
                scores,
                (points + cells[:, None]) * level.stride,
            )
        )
    return Candidates.joined(parts)
