"""Faces at the edge: those of a photo, and those that are like one.

A face is asked for by its id, which says of which photo it is (`library.faces`).  What is like
it is asked of the index of faces, and shown as photos: each once, by its best face.  The face
that was asked for is left out, other faces of its photo are not; a collage shows somebody twice.
"""

import time
from collections.abc import Mapping
from typing import Final

from actors.library.faces import parts_of
from actors.library.reads import FaceRow, Looking
from actors.messages import Face, Faces, Found, Hit, Nearest, Neighbours
from actors.web.board import Board
from actors.web.crops import url
from actors.web.errors import Refusal
from actors.web.library import LARGEST_ID, Library, Photos
from actors.web.metrics import Metrics
from actors.web.questions import ask
from actors.web.search import INDEX_S, MOST_HITS, hit_of, start_trace
from runtime.node import Ref

#: a photo rarely has more faces that are like one, than this
WIDER: Final = 4
WIDEST: Final = 16_384


def face_of(row: FaceRow, digest: bytes) -> Face:
    """*row*, of the photo with that digest, as it is told."""
    return Face(
        id=row.id,
        left=row.left,
        top=row.top,
        right=row.right,
        bottom=row.bottom,
        score=row.score,
        size=row.size,
        picture=url(row, digest),
    )


class FaceFinder:
    """Answers questions about faces; one for the process."""

    def __init__(
        self, *, index: Ref, library: Library, photos: Photos, board: Board, metrics: Metrics
    ) -> None:
        self._index = index
        self._library = library
        self._photos = photos
        self._board = board
        self._metrics = metrics

    async def of(self, content: int) -> Faces:
        """The faces of the photo *content*, the surest first.

        Raises:
            Refusal: not_found, no_face_model or library_away.
        """
        looking = await self._looking()
        photo = await self._photos.now(content)
        counts = await self._library.face_counts([content])
        rows = (await self._library.faces([content])).get(content, [])
        return Faces([face_of(row, photo.digest) for row in rows], content in counts, looking.pack)

    async def like(self, face: int, k: int, least: float) -> Found:
        """The *k* photos with the faces most like *face*, whose cosine is *least* or more.

        Raises:
            Refusal: bad_request, not_found, not_looked, no_face_model, or somebody is away.
        """
        started = time.perf_counter()
        start_trace()
        try:
            found = await self._like(face, k, least, started)
        except Refusal as refusal:
            self._metrics.refused(refusal.code)
            raise
        self._metrics.answered(found.seconds)
        return found

    async def _like(self, face: int, k: int, least: float, started: float) -> Found:
        if not 1 <= k <= MOST_HITS:
            raise Refusal("bad_request", f"k must be from 1 to {MOST_HITS}, not {k}")
        looking = await self._looking()
        known = await self._library.face_vector(face) if 0 <= face <= LARGEST_ID else None
        if known is None:
            raise await self._why_unknown(face)
        space, vector = known
        wide = WIDER * k + 1
        while True:
            near = await ask(self._index, Nearest(space, vector, wide), Neighbours, INDEX_S)
            best = _best(near, face, least)
            ended = len(near.contents[0]) < wide or near.scores[0][-1] < least
            if len(best) >= k or ended or wide >= WIDEST:
                break
            wide = min(wide * WIDER, WIDEST)
        contents = list(best)
        rows = await self._library.rows(contents)
        faces = await self._library.faces(contents)
        captions = await self._library.captions(contents)
        hits: list[Hit] = []
        for content, (one, score) in best.items():
            shown = next((each for each in faces.get(content, []) if each.id == one), None)
            if shown is not None and content in rows and len(hits) < k:
                row = rows[content]
                face_ = face_of(shown, row.digest)
                caption = captions[content].text if content in captions else None
                hits.append(hit_of(row, score, len(faces[content]), face_, caption=caption))
        return Found(
            hits=hits,
            model=looking.pack,
            demo=self._board.is_demo(looking.pack),
            indexed=looking.looked,
            seconds=time.perf_counter() - started,
            degraded=near.degraded,
            unlooked=looking.unlooked,
        )

    async def _looking(self) -> Looking:
        looking = await self._library.looking()
        if looking is None:
            raise Refusal("no_face_model", "no model looks for faces in this library")
        return looking

    async def _why_unknown(self, face: int) -> Refusal:
        nobody = Refusal("not_found", f"there is no face {face}")
        content, _ = parts_of(face)
        if not 0 < content <= LARGEST_ID:
            return nobody
        photo = await self._library.photo(content)
        if photo is None or not photo.paths or await self._library.face_counts([content]):
            return nobody
        message = f"faces are still to be looked for in photo {content}; try again later"
        return Refusal("not_looked", message)


def _best(near: Neighbours, face: int, least: float) -> Mapping[int, tuple[int, float]]:
    """Content → its best face and how like it is, best first."""
    best: dict[int, tuple[int, float]] = {}
    for each, score in zip(near.contents[0], near.scores[0], strict=True):
        if each != face and score >= least:
            best.setdefault(parts_of(each)[0], (each, score))
    return best
