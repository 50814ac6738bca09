"""The best of several captions of a picture that grow side by side.

Beam search as `generate` in transformers 4.57 does it with num_beams, early_stopping False and
length_penalty 1: of the continuations of all beams the best 2k are looked at; those among the best
k of them that end are set aside with their mean log-probability, the best k of those that do not
are the next beams.  A picture is told at the longest length, or when k captions are set aside and
the best beam, were it to end now, would not be better than the worst of them.  (It could still
become better later on: the mean may rise.  The reference takes that risk, and so do we.)

The first step has one sequence a picture and not k equal ones, which saves the work of the others
and cannot be told apart.  A picture that is told leaves the batch at once, as its beams are copied
about in every step anyway.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.captions.decoding import Ids, Step, Told, log_probabilities
from models.captions.rules import Rules


class _Beam(NamedTuple):
    ids: tuple[int, ...]
    sum: float  #: of log-probabilities


class _Search:
    """One picture's."""

    def __init__(self, beams: int, rules: Rules) -> None:
        self._rules = rules
        self._width = beams
        self.beams = [_Beam((), 0)]
        self.finished: list[Told] = []  # best first
        self.broken = False

    def step(self, scores: NDArray[np.float64]) -> list[int]:
        """Go on by one id: which beam each new one continues.

        *scores* [beams, v] are log-probabilities; they are overwritten.
        """
        rules, width = self._rules, self._width
        length = len(self.beams[0].ids) + 1
        for row, beam in enumerate(self.beams):
            rules.forbid(scores[row], beam.ids)
            scores[row] += beam.sum
        going: list[tuple[int, _Beam]] = []
        flat = scores.ravel()
        for rank, place in enumerate(best(flat, 2 * width).tolist()):
            parent, following = divmod(place, scores.shape[1])
            ids, total = self.beams[parent].ids, float(flat[place])
            ends = following == rules.stop
            if ends or length == rules.longest:
                if rank < width:
                    told = Told(ids if ends else (*ids, following), total / length)
                    self.finished.append(told)
            elif len(going) < width:
                going.append((parent, _Beam((*ids, following), total)))
        self.finished = sorted(self.finished, key=lambda each: -each.score)[:width]
        full = len(self.finished) == width
        if full and going and going[0][1].sum / length <= self.finished[-1].score:
            going = []
        self.beams = [beam for _, beam in going]
        return [parent for parent, _ in going]


class BeamSearch:
    """*pictures* captions at once, the first *real* of which anybody wants, *beams* of each."""

    def __init__(self, pictures: int, rules: Rules, *, beams: int, real: int | None = None) -> None:
        self._real = pictures if real is None else real
        self._searches = [_Search(beams, rules) for _ in range(pictures)]
        self._live: Ids = np.arange(pictures)

    def step(self, logits: NDArray[Any]) -> Step:
        scores, broken = log_probabilities(logits)
        ids: list[int] = []
        parents: list[int] = []
        pictures: list[int] = []
        first = 0
        for picture in self._live.tolist():
            search = self._searches[picture]
            rows = slice(first, first + len(search.beams))
            if broken[rows].any():
                search.broken = True
            elif picture < self._real:
                parents += [first + parent for parent in search.step(scores[rows])]
                ids += [beam.ids[-1] for beam in search.beams]
                pictures += [picture] * len(search.beams)
            first = rows.stop
        self._live = np.unique(np.array(pictures, np.int64))
        return Step(*(np.array(each, np.int64) for each in (ids, parents, pictures)))

    def written(self, picture: int) -> tuple[int, ...]:
        search = self._searches[picture]
        return search.beams[0].ids if search.beams else search.finished[0].ids

    def told(self) -> list[Told | None]:
        return [
            None if search.broken or not search.finished else search.finished[0]
            for search in self._searches
        ]


def best(scores: NDArray[np.float64], count: int) -> Ids:
    """Where the *count* highest of *scores* [n] are, highest first; of equals the first.

    What is -inf is no candidate.
    """
    if len(scores) > count:
        least = np.partition(scores, -count)[-count]
        above = np.flatnonzero(scores > least)
        level = np.flatnonzero(scores == least)[: count - len(above)]
        found = np.sort(np.concatenate([above, level]))
    else:
        found = np.arange(len(scores))
    found = found[scores[found] > -np.inf]
    ordered: Ids = found[np.argsort(-scores[found], kind="stable")]
    return ordered
