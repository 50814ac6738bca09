"""How well captions find their own pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from models.sketch.captions import one_word_apart

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Recall(NamedTuple):
    """Shares of captions, 0 … 1."""

    at_1: float
    at_5: float
    twins_at_1: float  #: among captions with a twin; NaN where there are none

    def __str__(self) -> str:
        return f"R@1 {self.at_1:.3f}  R@5 {self.at_5:.3f}  twins {self.twins_at_1:.3f}"


def measure_recall(
    captions: Sequence[str], texts: NDArray[np.float32], pictures: NDArray[np.float32]
) -> Recall:
    """Search every caption among all pictures.

    Args:
        captions: n different ones, each true of one picture.
        texts: their unit vectors, [n, d].
        pictures: unit vectors of their pictures in the same order, [n, d].
    """
    scores = texts @ pictures.T
    better = (scores > np.diag(scores)[:, None]).sum(1)
    twins = better[with_twin(captions)]
    return Recall(
        at_1=float((better < 1).mean()),
        at_5=float((better < 5).mean()),
        twins_at_1=float((twins < 1).mean()) if len(twins) else float("nan"),
    )


def with_twin(captions: Sequence[str]) -> NDArray[np.bool_]:
    """Which captions have another one word apart from them."""
    return np.array([any(one_word_apart(one, other) for other in captions) for one in captions])
