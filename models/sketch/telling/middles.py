"""What has its middle where: the question that the places of the eyes' grid are asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from models.sketch.pen import PAPER
from models.sketch.reduction import SIDE

if TYPE_CHECKING:
    from numpy.typing import NDArray

GRID: Final = 8  #: places a side


def middles(
    marks: NDArray[np.float32], moves: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which noun and which colour has its middle where on the grid, 0 for nothing: two of [n, 64].

    *marks* are as `draw_dataset` writes them, of pictures then moved by *moves* pixels.
    """
    nouns, colours = np.zeros((2, len(marks), GRID * GRID), np.int64)
    spots = marks[:, :, 2:] / PAPER + moves[:, None, ::-1] / SIDE
    column, row = (spots * GRID).astype(np.int64).clip(0, GRID - 1).transpose(2, 0, 1)
    for i in range(marks.shape[1]):  # of two at one place the later one is on top
        (there,) = marks[:, i, 0].nonzero()
        place = (row * GRID + column)[there, i]
        nouns[there, place], colours[there, place] = marks[there, i, :2].T
    return nouns, colours
