"""The page's own files, all of them read once: what is not in this table cannot be asked for."""

import hashlib
from pathlib import Path
from typing import Final

import msgspec
from starlette.responses import Response

_FOLDER: Final = Path(__file__).parent / "page"
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class Asset(msgspec.Struct, frozen=True):
    data: bytes
    media: str
    etag: str

    def respond(self, known_etags: str, status: int = 200) -> Response:
        # asked for anew each time: a page of one version must not run the scripts of another
        headers = {"cache-control": "no-cache", "etag": self.etag}
        if self.etag in known_etags and status == 200:
            return Response(None, 304, headers)
        return Response(self.data, status, headers, self.media)


def load() -> dict[str, Asset]:
    """File name → asset."""
    assets = {}
    for path in sorted(_FOLDER.iterdir()):
        data = path.read_bytes()
        etag = f'"{hashlib.blake2b(data, digest_size=12).hexdigest()}"'
        assets[path.name] = Asset(data, _TYPES[path.suffix], etag)
    return assets
