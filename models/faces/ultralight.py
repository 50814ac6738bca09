"""Ultra-Light (Linzaer 2019): boxes decoded inside the graph, as parts of the picture; no points.

The same network is also published without its last step (`_simplified`,
`_without_postprocessing`).  Names and shapes are equal there, but a box is four offsets from
anchors that the file does not tell; read as corners they give many small boxes around one face.
Corners are in order and near the picture, offsets are not, and that is how they are refused.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.faces.candidates import Candidates
from models.faces.grid import Unreadable

THRESHOLD, OVERLAP = 0.7, 0.3


def decode(
    outputs: Iterable[NDArray[Any]], width: int, height: int, threshold: float
) -> Candidates:
    """Faces scored above *threshold*, and all whose score is NaN, in pixels of the input.

    Raises:
        Unreadable: the outputs are not Ultra-Light's, or its boxes are not decoded.
    """
    by_width: dict[int, NDArray[np.float64]] = {}
    for output in outputs:
        rows = output[0] if output.ndim == 3 and len(output) == 1 else output
        by_width[rows.shape[-1] if rows.ndim == 2 else -1] = rows.astype(np.float64)
    if set(by_width) != {2, 4} or len(by_width[2]) != len(by_width[4]):
        raise Unreadable("expected the outputs [rows, 2] and [rows, 4] with as many rows")
    scores, boxes = by_width[2][:, 1], by_width[4]
    finite = np.isfinite(boxes).all(axis=1)
    ordered = (boxes[:, :2] <= boxes[:, 2:]).all(axis=1) & (np.abs(boxes - 0.5) < 2).all(axis=1)
    sums = by_width[2].sum(axis=1)
    if (finite & ordered).sum() < 0.9 * finite.sum() or (np.abs(sums - 1) > 0.01).any():
        raise Unreadable(
            "expected two probabilities and the corners of a box in each row; these are raw "
            "boxes, which need the graph's own anchors: take the file that has them inside"
        )
    rows = ~(scores <= threshold)
    whole = np.array([width, height, width, height])
    return Candidates(boxes[rows] * whole, scores[rows], np.empty((rows.sum(), 0, 2)))
