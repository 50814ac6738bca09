"""What all ways to write a caption share: who is written next, and what came of it.

A way of decoding is asked with the logits of the sequences it keeps alive and answers with a
`Step`: the ids to feed next, and of which sequence each is the continuation.  So whoever holds the
cache needs to know nothing of done pictures or beams: it takes the rows that *parents* names.

Pure: no clock, no graph.  Log-probabilities are computed in float64, so that equal logits stay
equal and a tie goes to the lower id on every machine.

Unknown here: what an id means.
"""

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


class Step(NamedTuple):
    """How the sequences go on, one entry a sequence; of no length when everything is told."""

    ids: Ids  #: next to feed
    parents: Ids  #: which sequence of the step before it continues
    pictures: Ids  #: whose it is; rising

    @property
    def over(self) -> bool:
        return not len(self.ids)


class Told(NamedTuple):
    """What was written of one picture."""

    ids: tuple[int, ...]  #: without what it began with and without the id that ends it
    score: float  #: mean log-probability of what was written, the id that ended it included


class Decoding(Protocol):
    """One batch of pictures being told."""

    def step(self, logits: NDArray[Any]) -> Step:
        """Go on by one id.

        *logits* is [r, v], a row for each sequence of the last step; before the first step there
        is one sequence a picture.
        """

    def written(self, picture: int) -> tuple[int, ...]:
        """What stands there so far, or what the caption has become."""

    def told(self) -> list[Told | None]:
        """One a picture; None where the logits were no numbers."""


def log_probabilities(logits: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The logarithm of softmax over *logits* [r, v], and which rows are no numbers at all.

    A single id may have -inf, as in graphs that mask some; NaN, +inf or nothing but -inf spoil
    the row, which is then all zeros.
    """
    wide = logits.astype(np.float64)
    highest = wide.max(axis=1)  # NaN, if there is one
    broken = ~np.isfinite(highest)
    wide[broken] = 0
    wide -= np.where(broken, 0, highest)[:, None]
    wide -= np.log(np.exp(wide).sum(axis=1))[:, None]
    wide[broken] = 0
    return wide, broken
