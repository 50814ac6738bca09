"""The nearest photos among those with so many faces.

Which photos these are the library knows by an index, how near they are the search index; neither
can ask the other.  So there are two ways, and the number of such photos decides:

- *few* (below `FEW`): they are named to the search index, which compares exactly these.
- *many*: the nearest of all photos are asked for, more of them each time, and those that do not
  fit are left out.  That fails where query and faces exclude each other ("an empty beach", with
  faces); then all that fit are named, some ten thousand at once.

Either way there are k hits where there are k such photos.  Rejected: widening alone, which for
five photos among a million asks for the million; naming alone, which reads half of a million ids
for a query that the first hundred photos answer.
"""

import struct
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from actors.library.faces import MOST
from actors.messages import Neighbours
from actors.web.errors import Refusal

#: so many are read and compared in some 30 ms
FEW: Final = 4096
#: the first list of the nearest is so many times as long as wanted, and each next one than the last
WIDER: Final = 8
#: in a graph, a longer list takes longer than comparing everything
WIDEST: Final = 16_384
#: ids in a message of at most a MiB
PART: Final = 65_536


class FaceFilter(NamedTuple):
    """Photos with *least* to *most* faces."""

    least: int
    most: int

    def passes(self, faces: int | None) -> bool:
        """A photo in which nobody looked for them (None) is neither with nor without."""
        return faces is not None and self.least <= faces <= self.most


def face_filter(*, has_faces: bool | None, faces: int) -> FaceFilter | None:
    """What a search asks for; None where it is any photo.

    Raises:
        Refusal: no photo can be like that.
    """
    if not 0 <= faces <= MOST:
        raise Refusal("bad_request", f"faces must be from 0 to {MOST}, not {faces}")
    if has_faces is False:
        if faces:
            raise Refusal("bad_request", f"no photo without faces has {faces} of them")
        return FaceFilter(0, 0)
    if has_faces or faces:
        return FaceFilter(max(1, faces), MOST)
    return None


class Counts(Protocol):
    """Who knows of faces; see `web.library`."""

    async def face_counts(self, contents: Sequence[int]) -> Mapping[int, int]: ...

    async def with_faces(
        self, least: int, most: int, after: tuple[int, int], limit: int
    ) -> Sequence[tuple[int, int]]: ...


#: (k, ids to choose from or b"" for all) → the nearest
AskNearest = Callable[[int, bytes], Awaitable[Neighbours]]


async def narrowed(nearest: AskNearest, library: Counts, wanted: FaceFilter, k: int) -> Neighbours:
    """The *k* nearest that *wanted* lets pass.

    Raises:
        Refusal: from whoever is asked.
    """
    few = await library.with_faces(*wanted, (0, 0), FEW)
    if len(few) < FEW:
        return await _among(nearest, few, k)
    wide = WIDER * k
    while wide <= WIDEST:
        near = await nearest(wide, b"")
        best = await _passing(near, library, wanted, k)
        if len(best.contents[0]) == k or len(near.contents[0]) < wide:
            return best
        wide = WIDEST if wide < WIDEST < wide * WIDER else wide * WIDER
    best = Neighbours([[]], [[]], 0)
    after = (0, 0)
    while some := await library.with_faces(*wanted, after, PART):
        after = some[-1]
        best = _better(best, await _among(nearest, some, k), k)
    return best


async def _among(nearest: AskNearest, some: Sequence[tuple[int, int]], k: int) -> Neighbours:
    if not some:
        return Neighbours([[]], [[]], 0)
    contents = sorted(content for _, content in some)
    return await nearest(k, struct.pack(f"<{len(contents)}q", *contents))


async def _passing(near: Neighbours, library: Counts, wanted: FaceFilter, k: int) -> Neighbours:
    counts = await library.face_counts(near.contents[0])
    best = [
        (content, score)
        for content, score in zip(near.contents[0], near.scores[0], strict=True)
        if wanted.passes(counts.get(content))
    ][:k]
    contents, scores = [content for content, _ in best], [score for _, score in best]
    return Neighbours([contents], [scores], near.seq, near.degraded)


def _better(one: Neighbours, other: Neighbours, k: int) -> Neighbours:
    pairs = [
        (-score, content)
        for near in (one, other)
        for content, score in zip(near.contents[0], near.scores[0], strict=True)
    ]
    best = sorted(pairs)[:k]
    return Neighbours(
        [[content for _, content in best]],
        [[-score for score, _ in best]],
        other.seq,
        other.degraded,
    )
