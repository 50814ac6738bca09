"""Which ids may not come next, whatever the graph thinks of them.

The words of `generate` in transformers, and their meaning: *longest* is max_new_tokens, *shortest*
min_new_tokens, *no_repeat* no_repeat_ngram_size, which looks at what the caption began with as
well.  One case has no answer there: where nothing at all is left the caption ends.
"""

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from models.pack import Caption


class Rules(NamedTuple):
    """Ids that mean something, and limits."""

    begin: tuple[int, ...]
    stop: int
    pad: int
    longest: int  #: ids at most, the one that ends it included; at least 1
    shortest: int = 0  #: ids before it may end
    no_repeat: int = 0  #: no run of so many ids comes twice; 0: may

    @classmethod
    def of(cls, caption: Caption) -> Self:
        return cls(
            caption.begin,
            caption.stop,
            caption.pad,
            caption.longest,
            caption.shortest,
            caption.no_repeat,
        )

    def forbid(self, scores: NDArray[np.float64], written: Sequence[int]) -> None:
        """Set to -inf in *scores* [v] what may not follow *written* (without what it began with).

        The id that ends it is left where nothing else is.
        """
        end = scores[self.stop]
        if len(written) < self.shortest:
            scores[self.stop] = -np.inf
        repeated = self._repeated((*self.begin, *written))
        if repeated:
            scores[repeated] = -np.inf
        if scores.max() == -np.inf:
            scores[self.stop] = end if end > -np.inf else 0

    def _repeated(self, ids: tuple[int, ...]) -> list[int]:
        """What would make the last *no_repeat* ids a run that was there before."""
        if not 0 < self.no_repeat <= len(ids):
            return []
        before = self.no_repeat - 1
        last = ids[len(ids) - before :]
        return [
            ids[start + before]
            for start in range(len(ids) - before)
            if ids[start : start + before] == last
        ]
