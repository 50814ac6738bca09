"""From words to pictures: text tower, index, library.

The way of a query has three hops, each with a deadline; nothing here waits for indexing.
Between 20 and 30 % of queries repeat, so the vectors of the latest `CACHED` are kept; they are
forgotten when the text tower comes up anew, because it may have come up with another model.

Which model answers is looked up in the library first, for each query; words are encoded for it,
and the index is asked for its space.  So an answer is of one model whatever happens meanwhile,
and names it.  A model that has just been replaced may be gone before the index is asked; then
all of it is done again, with the one that serves now.

What the captions say of the words is looked for meanwhile (`captions`), and both rankings become
one (`fusion`).  Where no caption has the words, the answer is that of the index as it is.  Else the
index is asked for at least `DEEP` photos, so that the first of them do not depend on how many are
wanted; and for the cosines of those that have the words, because every hit tells one.  A photo
that has no vector yet is found by its caption all the same, with a score of 0.
"""

import asyncio
import struct
import time
import uuid
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, NamedTuple

from actors.library.paths import printable
from actors.library.reads import Match, Serving
from actors.messages import EncodeText, Face, Found, Hit, Nearest, Neighbours, Reason, Vectors
from actors.web.about import About
from actors.web.board import Board
from actors.web.captions import CaptionFinder, Told
from actors.web.errors import Refusal
from actors.web.fusion import fused, told_best
from actors.web.library import Library, Row
from actors.web.metrics import Metrics
from actors.web.narrowing import AskNearest, FaceFilter, face_filter, narrowed
from actors.web.questions import ask
from actors.web.thumbnails import url
from runtime.node import Ref, trace

#: 2 KiB each at 512 dimensions
CACHED: Final = 1024
MOST_HITS: Final = 500
#: of the index's ranking, this much at least is fused with that of the captions
DEEP: Final = 100
LONGEST_QUERY: Final = 1000
TEXT_S: Final = 5.0
INDEX_S: Final = 5.0

#: characters of a file name that would command a terminal or turn the line around it
_COMMANDS: Final = [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F)]
_ESCAPES: Final = {
    each: chr(each).encode("unicode_escape").decode()
    for each in [*_COMMANDS, *range(0x2066, 0x206A)]
}


class _Ranked(NamedTuple):
    """A photo in an answer."""

    content: int
    score: float
    reason: Reason = "vector"


class Searcher:
    """Answers queries; one for the process.

    Args:
        text: who turns words into vectors.
        index: who knows what is near to a vector.
        library: who knows what is behind the ids.
        board: who knows how many photos there are to be found.
        metrics: where latencies are counted.
        about: which model answers where there is no library to tell.
    """

    def __init__(
        self,
        *,
        text: Ref,
        index: Ref,
        library: Library,
        board: Board,
        metrics: Metrics,
        about: About,
    ) -> None:
        self._text = text
        self._index = index
        self._library = library
        self._board = board
        self._metrics = metrics
        self._about = about
        self._vectors: OrderedDict[tuple[str, str], Vectors] = OrderedDict()
        self._captions = CaptionFinder(library)

    def forget(self) -> None:
        """Trust no vector of an earlier text tower."""
        self._vectors.clear()

    async def search(
        self, query: str, k: int, *, has_faces: bool | None = None, faces: int = 0
    ) -> Found:
        """The *k* photos that show best what *query* says.

        Args:
            query: what is to be seen.
            k: how many.
            has_faces: only photos with a face, or only those without.
            faces: only photos with at least so many faces.

        Raises:
            Refusal: bad_request, no_face_model, or one of the neighbours cannot answer.
        """
        started = time.perf_counter()
        start_trace()
        try:
            wanted = face_filter(has_faces=has_faces, faces=faces)
            found = await self._search(_clean(query), k, wanted, started)
        except Refusal as refusal:
            self._metrics.refused(refusal.code)
            raise
        self._metrics.answered(found.seconds)
        return found

    async def _search(self, query: str, k: int, wanted: FaceFilter | None, started: float) -> Found:
        if not 1 <= k <= MOST_HITS:
            raise Refusal("bad_request", f"k must be from 1 to {MOST_HITS}, not {k}")
        unlooked = 0
        if wanted is not None:
            looking = await self._library.looking()
            if looking is None:
                raise Refusal("no_face_model", "no model looks for faces in this library")
            unlooked = looking.unlooked
        asked = self._captions.ask(query)
        serving = await self._library.serving()
        try:
            vectors, ranking, degraded = await self._ask(query, k, wanted, serving, asked)
        except Refusal:
            if serving == (now := await self._library.serving()):
                raise
            vectors, ranking, degraded = await self._ask(query, k, wanted, now, asked)
        contents = [each.content for each in ranking]
        rows, counts, captions = await asyncio.gather(
            self._library.rows(contents),
            self._library.face_counts(contents),
            self._library.captions(contents),
        )
        indexed = await self._board.vectors()
        return Found(
            hits=[
                hit_of(
                    rows[content],
                    score,
                    counts.get(content),
                    reason=reason,
                    caption=captions[content].text if content in captions else None,
                )
                for content, score, reason in ranking
                if content in rows  # gone since the index last heard
            ],
            model=vectors.model or self._about.model,
            demo=vectors.demo if vectors.model else self._about.demo,
            indexed=indexed,
            seconds=time.perf_counter() - started,
            degraded=degraded,
            unlooked=unlooked,
        )

    async def _ask(
        self,
        query: str,
        k: int,
        wanted: FaceFilter | None,
        serving: Serving | None,
        asked: asyncio.Task[Told] | None,
    ) -> tuple[Vectors, Sequence[_Ranked], str]:
        """The vector of *query*, the *k* best, and what these lack."""
        vectors = await self._encode(query, "" if serving is None else serving.pack)
        if serving is not None and vectors.space != serving.space:
            reason = f"the model {serving.pack} has other vectors than the library: restart"
            raise Refusal("text_failed", reason)
        matches, lacking = await self._captions.heard(asked)

        async def nearest(n: int, among: bytes = b"") -> Neighbours:
            question = Nearest(vectors.space, vectors.data, n, among)
            return await ask(self._index, question, Neighbours, INDEX_S)

        async def narrowly(n: int) -> Neighbours:
            if wanted is None:
                return await nearest(n)
            return await narrowed(nearest, self._library, wanted, n)

        if wanted is not None and matches:
            counts = await self._library.face_counts([each.content for each in matches])
            matches = [each for each in matches if wanted.passes(counts.get(each.content))]
        if not matches:
            near = await narrowly(k)
            ranking = [_Ranked(*each) for each in _pairs(near)]
            return vectors, ranking, _joined(near.degraded, lacking)
        near, told = await asyncio.gather(narrowly(max(k, DEEP)), _cosines(nearest, matches))
        cosines = told | dict(_pairs(near))
        best = fused(near.contents[0], told_best(matches, cosines), k)
        ranking = [_Ranked(id_, cosines.get(id_, 0.0), reason) for id_, reason in best]
        return vectors, ranking, _joined(near.degraded, lacking)

    async def _encode(self, query: str, pack: str) -> Vectors:
        cached = self._vectors.get((pack, query))
        if cached is not None:
            self._vectors.move_to_end((pack, query))
            self._metrics.cache_hits.inc()
            return cached
        incarnation = self._text.incarnation
        vectors = await ask(self._text, EncodeText([query], pack), Vectors, TEXT_S)
        if self._text.incarnation == incarnation:
            self._vectors[pack, query] = vectors
            if len(self._vectors) > CACHED:
                self._vectors.popitem(last=False)
        return vectors


def _joined(*what: str) -> str:
    return "; ".join(each for each in what if each)


def _pairs(near: Neighbours) -> list[tuple[int, float]]:
    return list(zip(near.contents[0], near.scores[0], strict=True))


async def _cosines(nearest: AskNearest, matches: Sequence[Match]) -> dict[int, float]:
    """Content → cosine, for those of *matches* that have a vector."""
    contents = sorted(each.content for each in matches)
    near = await nearest(len(contents), struct.pack(f"<{len(contents)}q", *contents))
    return dict(_pairs(near))


def _clean(query: str) -> str:
    query = " ".join(query.split())
    if not query:
        raise Refusal("bad_request", "the query is empty")
    if len(query) > LONGEST_QUERY:
        raise Refusal("bad_request", f"the query is longer than {LONGEST_QUERY} characters")
    if not query.isascii():
        try:
            query.encode()
        except UnicodeEncodeError as error:
            raise Refusal("bad_request", "the query holds half of a surrogate pair") from error
    return query


def start_trace() -> None:
    """Give what is asked from here on a name in the log, unless it has one."""
    if not trace.get():
        trace.set(uuid.uuid4().bytes)


def hit_of(
    row: Row,
    score: float,
    faces: int | None,
    face: Face | None = None,
    *,
    reason: Reason = "vector",
    caption: str | None = None,
) -> Hit:
    """A photo with that many *faces*, found by *face* of it if that is given."""
    return Hit(
        content=row.content,
        path=printable(row.path).translate(_ESCAPES),
        score=score,
        taken_at=row.taken_at,
        thumbnail=url(row.content, 256, row.digest),
        width=row.width,
        height=row.height,
        faces=faces,
        face=face,
        reason=reason,
        caption=caption,
    )
