"""Outputs of detectors that look at cells: which of them belongs to which size of cell.

The published graphs of one detector name their outputs `score_8`, `448` or nothing memorable, in
one order or another, with a batch in front or without.  What cannot differ is the shape: each
stride has its own number of rows, falling as the stride doubles, and a row is 1 score, 4 numbers
of a box or 10 of points.  So nothing is read from names.
"""

import functools
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
    """All outputs for one size of cell, cells row by row, one or more rows a cell."""

    stride: int
    scores: list[NDArray[Any]]  #: each [rows]
    boxes: NDArray[Any]  #: [rows, 4]
    points: NDArray[Any]  #: [rows, 5, 2] or [rows, 0, 2]
    cells: Floats  #: [rows, 2]: column and row


def levels(outputs: Iterable[NDArray[Any]], width: int, height: int, scores: int) -> list[Level]:
    """*outputs* of a graph that saw *width* × *height* pixels, finest first.

    *scores* is how many outputs of one number a level has.

    Raises:
        Unreadable: they cannot be told apart like this.
    """
    given = list(outputs)
    made = []
    for place in _places(tuple(output.shape for output in given), width, height, scores):
        scored, boxes, points = (
            [given[index].reshape(place.rows, -1) for index in each]
            for each in (place.scores, place.boxes, place.points)
        )
        made.append(
            Level(
                place.stride,
                [each[:, 0] for each in scored],
                boxes[0],
                points[0].reshape(place.rows, 5, 2) if points else np.empty((place.rows, 0, 2)),
                place.cells,
            )
        )
    return made


class _Place(NamedTuple):
    """Which outputs make a level, by their index."""

    stride: int
    rows: int
    scores: list[int]
    boxes: list[int]
    points: list[int]
    cells: Floats


@functools.lru_cache(maxsize=32)
def _places(
    shapes: tuple[tuple[int, ...], ...], width: int, height: int, scores: int
) -> list[_Place]:
    """`levels` by shapes alone, which are the same at every look."""
    found: dict[int, dict[int, list[int]]] = {}
    for index, shape in enumerate(shapes):
        bare = shape[1:] if len(shape) == 3 and shape[0] == 1 else shape
        if len(bare) != 2 or bare[1] not in {1, 4, 10}:
            raise Unreadable(f"expected outputs [rows, 1, 4 or 10], found {list(shape)}")
        found.setdefault(bare[0], {}).setdefault(bare[1], []).append(index)
    made = []
    for number, (rows, kinds) in enumerate(sorted(found.items(), reverse=True)):
        stride = FINEST << number
        across, down = -(-width // stride), -(-height // stride)
        anchors, rest = divmod(rows, across * down)
        counts = {kind: len(each) for kind, each in kinds.items()}
        whole = counts in ({1: scores, 4: 1}, {1: scores, 4: 1, 10: 1})
        if rest or not 0 < anchors <= MOST_ANCHORS or not whole:
            raise Unreadable(
                f"expected {scores} of [rows, 1], one [rows, 4] and one [rows, 10] for cells of "
                f"{stride} pixels in {width} x {height}, found the shapes "
                f"{[list(shape) for shape in shapes]}"
            )
        row, column = np.divmod(np.arange(across * down).repeat(anchors), across)
        cells = np.stack([column, row], axis=1).astype(np.float64)
        made.append(_Place(stride, rows, kinds[1], kinds[4], kinds.get(10, []), cells))
    return made
