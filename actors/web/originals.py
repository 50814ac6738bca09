"""The owner's own files, to be looked at: opened read-only, streamed, never trusted.

The path comes from the database alone.  Only raster types that browsers show by themselves
are sent as what they are; everything else is offered for download as plain bytes, and all of
it in a sandbox, since a picture's bytes are a stranger's.
"""

import errno
import os
import stat
from typing import BinaryIO, Final
from urllib.parse import quote

import anyio.to_thread
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from actors.web.errors import Refusal
from actors.web.library import Photo

CHUNK_BYTES: Final = 1 << 18

#: container as sniffed → media type of what a browser shows
_SHOWN: Final = {
    "jpeg": "image/jpeg",
    "png": "image/png",
    "gif": "image/gif",
    "webp": "image/webp",
    "avif": "image/avif",
    "bmp": "image/bmp",
}
_OFFERED: Final = {"heif": "image/heif", "tiff": "image/tiff"}


class _Stream(Response):
    """An open file's bytes; it is closed however the response ends."""

    def __init__(self, file: BinaryIO, size: int, headers: dict[str, str], media: str) -> None:
        super().__init__(None, 200, headers, media)
        self._file = file
        self._left = size

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        left = self._left if scope["method"] == "GET" else 0
        with self._file as file:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            while left > 0:
                chunk = await anyio.to_thread.run_sync(file.read, min(CHUNK_BYTES, left))
                if not chunk:  # cut short while it is read: the answer ends short as well
                    break
                left -= len(chunk)
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _open(path: bytes) -> tuple[BinaryIO, os.stat_result]:
    # not blocking: a pipe may have taken the file's place
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise FileNotFoundError(errno.ENOENT, "not a plain file any more")
    return os.fdopen(descriptor, "rb", buffering=0), status  # the response closes it


def _first_open(photo: Photo) -> tuple[BinaryIO, os.stat_result, bytes]:
    reason = ""
    for path in photo.paths:
        try:
            return *_open(path), path
        except OSError as error:
            reason = error.strerror or type(error).__name__
    raise Refusal("gone", f"the original cannot be read ({reason})")


async def respond(photo: Photo) -> Response:
    """The bytes of the first file of *photo* that can be opened.

    Raises:
        Refusal: gone.
    """
    file, status, path = await anyio.to_thread.run_sync(_first_open, photo)
    shown = _SHOWN.get(photo.format)
    name = quote(os.path.basename(path), safe="")  # noqa: PTH119  pathlib has no bytes
    headers = {
        "content-length": str(status.st_size),
        "content-disposition": f"{'inline' if shown else 'attachment'}; filename*=UTF-8''{name}",
        "content-security-policy": "default-src 'none'; sandbox; frame-ancestors 'none'",
        "cache-control": "private, no-store",
    }
    media = shown or _OFFERED.get(photo.format, "application/octet-stream")
    return _Stream(file, status.st_size, headers, media)
