"""Thumbnails, read from the derived folder.

They are found by digest, `derived/ab/<digest>.256.jpg`, so a URL never becomes a path.  With
its version in the query a thumbnail is the same for ever and is cached as such; without, it is
asked for again each time, because the number of a content means something only to one
database.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import anyio.to_thread
from starlette.responses import Response

from actors.web.errors import Refusal
from actors.web.library import Photo, Photos

SIZES: Final = (256, 1024)


def version(digest: bytes) -> str:
    """What tells the pictures of two contents apart, in a URL."""
    return digest[:8].hex()


def url(content: int, size: int, digest: bytes) -> str:
    """Path and query of a thumbnail on the gateway, for ever the same picture.

    The id alone is not enough to be cached by: after the data directory was made anew the
    same number is another photo.
    """
    return f"/thumb/{content}/{size}?v={version(digest)}"


def caching(tag: str, *, same: bool) -> dict[str, str]:
    """Headers of a picture that *tag* names; *same*: its URL will never be another one's."""
    kept = "private, max-age=31536000, immutable" if same else "private, no-cache"
    return {"cache-control": kept, "etag": f'"{tag}"'}


class Thumbnails:
    """Serves what decode has written below *derived*; *on_lost* hears what is not there."""

    def __init__(self, derived: Path, photos: Photos, on_lost: Callable[[int], None]) -> None:
        self._derived = derived
        self._photos = photos
        self._on_lost = on_lost

    async def respond(
        self, content: int, size: int, *, asked_version: str | None, known_etags: str
    ) -> Response:
        """The thumbnail of *content* whose longer side is at most *size* pixels.

        Args:
            content: id of the photo.
            size: one of `SIZES`.
            asked_version: what the URL claims the picture to be.
            known_etags: the request's If-None-Match.

        Raises:
            Refusal: not_found or library_away.
        """
        if size not in SIZES:
            raise Refusal(
                "not_found", f"thumbnails are {SIZES[0]} or {SIZES[1]} pixels, not {size}"
            )
        photo = self._photos.remembered(content)
        if photo is None or asked_version not in {None, version(photo.digest)}:
            photo = await self._photos.now(content)
        same = asked_version == version(photo.digest)
        headers = caching(f"{photo.digest.hex()}.{size}", same=same)
        if headers["etag"] in known_etags:
            return Response(None, 304, headers)
        return Response(await self.read(photo, size), 200, headers, "image/jpeg")

    async def read(self, photo: Photo, size: int) -> bytes:
        """The file of one of `SIZES`.

        Raises:
            Refusal: not_found or library_away.
        """
        digest = photo.digest.hex()
        path = self._derived / digest[:2] / f"{digest}.{size}.jpg"
        data = await anyio.to_thread.run_sync(_read, path)
        if len(data) != _expected(photo, size):
            # written anew since it was remembered, or torn by a crash: the database knows
            photo = await self._photos.now(photo.content)
            if not data or len(data) != _expected(photo, size):
                self._on_lost(photo.content)
                raise Refusal("not_found", f"the thumbnail of photo {photo.content} is not there")
        return data


def _expected(photo: Photo, size: int) -> int:
    return photo.thumb_256 if size == SIZES[0] else photo.thumb_1024


def _read(path: Path) -> bytes:
    """All of the file; b"" when there is none."""
    try:
        return path.read_bytes()
    except OSError:
        return b""
