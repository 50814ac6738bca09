"""One ranking of two: what the vectors find, and what the captions say.

Cosines and bm25 have no common measure, and each changes with the model.  So places are added up
instead of scores: reciprocal rank fusion (Cormack, Clarke & Büttcher, SIGIR 2009), where a photo
counts 1 / (60 + place) in each list that has it.  60 is their constant; it makes two good places
better than one very good one.

Rejected: weighted sums of scaled scores, whose weights would have to be learnt for every pair of
models; captions first, since a model that describes is as often wrong as one that compares.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from actors.library.reads import Match
from actors.messages import Reason

K: Final = 60


class Fused(NamedTuple):
    """A photo, and in which list it was."""

    content: int
    reason: Reason


def fused(vectors: Sequence[int], captions: Sequence[int], k: int) -> list[Fused]:
    """The *k* best of two rankings, best first; each has a photo at most once.

    Photos that come out equal stand in the order of *vectors*, and those that are not there last,
    in the order of *captions*.
    """
    seen, told = _places(vectors), _places(captions)

    def weight(content: int) -> float:
        return sum(1 / (K + places[content]) for places in (seen, told) if content in places)

    # Sorting is stable, so that this is the order of equals.
    order = [*vectors, *(each for each in captions if each not in seen)]
    best = sorted(order, key=weight, reverse=True)[:k]
    return [Fused(each, _reason(each in seen, each in told)) for each in best]


def told_best(matches: Iterable[Match], cosines: Mapping[int, float]) -> list[int]:
    """*matches* as a ranking: by their words, and what is equal in these by its *cosines*.

    Many captions are equal, because a model says the same of many pictures; which of these
    pictures is meant the vectors know better than the order in which they came.
    """
    ranked = sorted(matches, key=lambda each: (each.rank, -cosines.get(each.content, -1.0)))
    return [each.content for each in ranked]


def _places(ranking: Sequence[int]) -> dict[int, int]:
    return {content: place for place, content in enumerate(ranking, 1)}


def _reason(seen: bool, told: bool) -> Reason:  # noqa: FBT001 - two answers, one word
    if seen and told:
        return "both"
    return "vector" if seen else "caption"
