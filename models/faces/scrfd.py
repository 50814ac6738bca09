"""SCRFD (Guo, Deng et al. 2021, InsightFace): distances from a cell's corner to the four sides.

Two anchors a cell, of which nothing but the rows is left; centres lie on the corner, not in the
middle of the cell.  Scores are probabilities already.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.faces.candidates import Candidates
from models.faces.grid import levels

#: The first two are its authors'; the last was not measured, for want of weights.
THRESHOLD, OVERLAP, SURE = 0.5, 0.4, 0.7


def decode(
    outputs: Iterable[NDArray[Any]], width: int, height: int, threshold: float
) -> Candidates:
    """Faces scored above *threshold*, and all whose score is NaN, in pixels of the input.

    Raises:
        Unreadable: the outputs are not SCRFD's.
    """
    parts = []
    for level in levels(outputs, width, height, scores=1):
        rows = np.flatnonzero(~(level.scores[0] <= threshold))
        if not rows.size:
            continue
        centres = level.cells[rows] * level.stride
        sides, points = (
            each[rows].astype(np.float64) * level.stride for each in (level.boxes, level.points)
        )
        parts.append(
            Candidates(
                np.concatenate([centres - sides[:, :2], centres + sides[:, 2:]], axis=1),
                level.scores[0][rows].astype(np.float64),
                centres[:, None] + points,
            )
        )
    return Candidates.joined(parts)
