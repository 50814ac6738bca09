"""Outputs of detectors that look at cells: which of them belongs to which size of cell.

The published graphs of one detector name their outputs `score_8`, `448` or nothing memorable, in
one order or another, with a batch in front or without.  What cannot differ is the shape: each
stride has its own number of rows, falling as the stride doubles, and a row is 1 score, 4 numbers
of a box or 10 of points.  So nothing is read from names.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.faces.candidates import Floats

MOST_ANCHORS = 4  #: rows a cell; published graphs have one or two
FINEST = 8  #: pixels a side of the smallest cells; each further level doubles it


class Unreadable(Exception):
    """The outputs are not those of this kind of detector."""


class Level(NamedTuple):
    """All outputs for one size of cell, cells row by row, *anchors* rows a cell."""

    stride: int
    anchors: int
    scores: list[Floats]  #: each [rows]
    boxes: Floats  #: [rows, 4]
    points: Floats  #: [rows, 5, 2] or [rows, 0, 2]
    cells: Floats  #: [rows, 2]: column and row


def levels(outputs: Iterable[NDArray[Any]], width: int, height: int, scores: int) -> list[Level]:
    """*outputs* of a graph that saw *width* × *height* pixels, finest first.

    *scores* is how many outputs of one number a level has.

    Raises:
        Unreadable: they cannot be told apart like this.
    """
    found: dict[int, dict[int, list[Floats]]] = {}
    shapes = []
    for output in outputs:
        shapes.append(list(output.shape))
        rows = output[0] if output.ndim == 3 and len(output) == 1 else output
        if rows.ndim != 2 or rows.shape[1] not in {1, 4, 10}:
            raise Unreadable(f"expected outputs [rows, 1, 4 or 10], found {list(output.shape)}")
        kinds = found.setdefault(len(rows), {})
        kinds.setdefault(rows.shape[1], []).append(rows.astype(np.float64))
    made = []
    for number, (rows_, kinds) in enumerate(sorted(found.items(), reverse=True)):
        stride = FINEST << number
        across, down = -(-width // stride), -(-height // stride)
        anchors, rest = divmod(rows_, across * down)
        counts = {kind: len(each) for kind, each in kinds.items()}
        if (
            rest
            or not 0 < anchors <= MOST_ANCHORS
            or counts not in ({1: scores, 4: 1}, {1: scores, 4: 1, 10: 1})
        ):
            raise Unreadable(
                f"expected {scores} of [rows, 1], one [rows, 4] and one [rows, 10] for cells of "
                f"{stride} pixels in {width} x {height}, found the shapes {shapes}"
            )
        row, column = np.divmod(np.arange(across * down).repeat(anchors), across)
        points = kinds[10][0] if 10 in kinds else np.empty((rows_, 0))
        made.append(
            Level(
                stride,
                anchors,
                [each[:, 0] for each in kinds[1]],
                kinds[4][0],
                points.reshape(rows_, -1, 2),
                np.stack([column, row], axis=1).astype(np.float64),
            )
        )
    return made
