"""What a detector proposes before anyone has chosen: arrays, many rows, one face often thrice."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Candidates(NamedTuple):
    """Boxes [n, 4] as left, top, right, bottom; scores [n]; points [n, 5, 2] or [n, 0, 2]."""

    boxes: Floats
    scores: Floats
    points: Floats

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """All rows of *parts*.  Those that have rows agree in whether there are points."""
        filled = [part for part in parts if len(part.scores)]
        if not filled:
            return cls(np.empty((0, 4)), np.empty(0), np.empty((0, 0, 2)))
        return cls(*(np.concatenate(each) for each in zip(*filled, strict=True)))

    def chosen(self, rows: Any) -> Self:
        """Those that *rows* names, by index or by mask."""
        return self._replace(
            boxes=self.boxes[rows], scores=self.scores[rows], points=self.points[rows]
        )

    def scaled(self, across: float, down: float) -> Self:
        """The same in another measure: x times *across*, y times *down*."""
        both = np.array([across, down])
        return self._replace(boxes=self.boxes * np.tile(both, 2), points=self.points * both)

    def moved(self, right: float, down: float) -> Self:
        """The same, seen from a corner that lies *right* and *down* further up and left."""
        both = np.array([right, down], np.float64)
        return self._replace(boxes=self.boxes + np.tile(both, 2), points=self.points + both)

    def turned(self, width: float, height: float) -> Self:
        """The same in the picture of *width* × *height* turned by 180°."""
        corner = np.array([width, height], np.float64)
        boxes = np.tile(corner, 2) - self.boxes[:, [2, 3, 0, 1]]
        return self._replace(boxes=boxes, points=corner - self.points)
