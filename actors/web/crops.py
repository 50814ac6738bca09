"""Pictures of single faces, cut out of the large thumbnail when they are asked for.

Nothing is stored: so nothing has to be forgotten, and a new model's boxes are right at once.  A
cut takes some 15 ms, most of it to decode the thumbnail; browsers keep it for ever, because its
address says of which bytes and of which box it is.
"""

import io
import struct
from collections.abc import Callable
from typing import Final, NamedTuple

import anyio
import anyio.to_thread
from blake3 import blake3
from PIL import Image
from starlette.responses import Response

from actors.library.faces import parts_of
from actors.library.reads import FaceRow
from actors.web.errors import Refusal
from actors.web.library import LARGEST_ID, Library, Photos
from actors.web.thumbnails import SIZES, Thumbnails, caching

#: of the longer side of the box, on each side of it
MARGIN: Final = 0.35
SIDE: Final = 256  #: pixels, at most
ENLARGED: Final = 2  #: times, at most
QUALITY: Final = 88
#: cut at the same time; the rest of the page goes on beside them
AT_ONCE: Final = 2


def version(row: FaceRow, digest: bytes) -> str:
    """What tells two cuts apart, in a URL."""
    box = struct.pack("<4d", row.left, row.top, row.right, row.bottom)
    return blake3(digest + box).hexdigest()[:16]


def url(row: FaceRow, digest: bytes) -> str:
    """Path and query of a face on the gateway, for ever the same picture."""
    return f"/faces/{row.id}.jpg?v={version(row, digest)}"


class Box(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float


def square(box: Box, width: int, height: int) -> Box:
    """What is cut of a picture of that many pixels for a face at *box*: pixels.

    A square within the picture, as close around the middle of the face as its border lets it.
    """
    wide, high = (box.right - box.left) * width, (box.bottom - box.top) * height
    side = min(max(max(wide, high) * (1 + 2 * MARGIN), 1.0), width, height)
    left = min(max((box.left + box.right) / 2 * width - side / 2, 0.0), width - side)
    top = min(max((box.top + box.bottom) / 2 * height - side / 2, 0.0), height - side)
    return Box(left, top, left + side, top + side)


def cut(thumbnail: bytes, box: Box) -> bytes:
    """The face at *box* of a JPEG, as a JPEG of at most `SIDE` pixels.

    Raises:
        OSError: *thumbnail* is no picture.
    """
    with Image.open(io.BytesIO(thumbnail), formats=["JPEG"]) as image:
        where = square(box, image.width, image.height)
        side = max(1, min(SIDE, round((where.right - where.left) * ENLARGED)))
        face = image.resize((side, side), Image.Resampling.LANCZOS, box=where)
    out = io.BytesIO()
    face.save(out, "JPEG", quality=QUALITY)
    return out.getvalue()


class Crops:
    """Serves faces by id; *on_lost* hears of thumbnails that turn out to be no pictures."""

    def __init__(
        self,
        library: Library,
        photos: Photos,
        thumbnails: Thumbnails,
        on_lost: Callable[[int], None],
    ) -> None:
        self._library = library
        self._photos = photos
        self._thumbnails = thumbnails
        self._on_lost = on_lost
        self._limiter = anyio.CapacityLimiter(AT_ONCE)

    async def respond(self, face: int, *, asked_version: str | None, known_etags: str) -> Response:
        """The picture of *face*.

        Args:
            face: its id.
            asked_version: what the URL claims the picture to be.
            known_etags: the request's If-None-Match.

        Raises:
            Refusal: not_found or library_away.
        """
        content, _ = parts_of(face)
        rows = await self._library.faces([content]) if face <= LARGEST_ID else {}
        row = next((each for each in rows.get(content, []) if each.id == face), None)
        if row is None:
            raise Refusal("not_found", f"there is no face {face}")
        photo = await self._photos.now(content)
        now = version(row, photo.digest)
        headers = caching(f"face.{now}", same=asked_version == now)
        if headers["etag"] in known_etags:
            return Response(None, 304, headers)
        thumbnail = await self._thumbnails.read(photo, SIZES[1])
        box = Box(row.left, row.top, row.right, row.bottom)
        try:
            picture = await anyio.to_thread.run_sync(cut, thumbnail, box, limiter=self._limiter)
        except OSError as error:
            self._on_lost(content)
            raise Refusal(
                "not_found", f"the thumbnail of photo {content} cannot be read"
            ) from error
        return Response(picture, 200, headers, "image/jpeg")
