"""The door to the outside: the page, the websocket, programs that speak ZeroMQ.

Everything a user asks passes here and nothing is decided here: words go to the text tower,
vectors to the index, ids to the library, and what comes back goes out.  Whoever is away is
missed in the answer, or named in a clear error; this process waits for nobody when it starts.

`actors.web` is what the outside sees; this file is the process around it.
"""

import os
from pathlib import Path
from typing import Any, ClassVar, Literal

import anyio
import msgspec

from actors.messages import AnyMessage, AskStatus, AskTotals, Found, Search
from actors.web import token
from actors.web.about import About
from actors.web.access import Access
from actors.web.app import Site
from actors.web.board import Board
from actors.web.errors import Refusal
from actors.web.library import CatalogLibrary, Library, Photos
from actors.web.metrics import Metrics
from actors.web.search import Searcher
from actors.web.server import bind, read_address, server, write_address
from actors.web.thumbnails import Thumbnails
from runtime import log
from runtime.actor import Actor
from runtime.messages import Down
from runtime.node import SUPERVISOR, Line
from runtime.wire import MAX_BODY_BYTES, Body


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Paths are bytes, as everywhere between processes."""

    data: bytes  #: where the token lies
    derived: bytes  #: where the thumbnails lie
    database: str  #: URL of the catalog's database
    pack: str  #: name of the model pack that answers
    demo: bool  #: that pack understands drawings only
    profile: str
    roots: tuple[str, ...] = ()  #: printable names of the photo folders, shown on the page
    host: str = "127.0.0.1"
    port: int = 8765  #: 0 for any
    auth: Literal["token", "none"] = "token"


class Gateway(Actor):
    Settings: ClassVar[Any] = Settings
    messages: ClassVar[Any] = AnyMessage
    concurrency: ClassVar[int] = 16

    async def on_start(self) -> None:
        settings: Settings = self.settings
        secret = None
        if settings.auth == "token":
            secret = token.obtain(Path(os.fsdecode(settings.data)))
        access = Access(secret)
        metrics = Metrics()
        text, index, catalog = self.ref("text"), self.ref("index"), self.ref("catalog")
        self._library = self.open_library()
        about = About(settings.pack, settings.demo, settings.profile, settings.roots)
        self._board = Board(catalog, index, self.ref(SUPERVISOR), self._library, about)
        self._searcher = Searcher(
            text=text,
            index=index,
            library=self._library,
            board=self._board,
            metrics=metrics,
            about=about,
        )
        photos = Photos(self._library)
        site = Site(
            access=access,
            searcher=self._searcher,
            board=self._board,
            metrics=metrics,
            photos=photos,
            thumbnails=Thumbnails(Path(os.fsdecode(settings.derived)), photos),
            about=about,
            needed=(text, index),
        )
        run_dir = self.node.run_dir
        self._socket, address = bind(settings.host, settings.port, read_address(run_dir))
        self._server = server(site.app())
        self._served = anyio.Event()
        write_address(run_dir, address)
        log.logger().info("listening", host=address.host, port=address.port, auth=settings.auth)

    def open_library(self) -> Library:
        return CatalogLibrary(self.settings.database)

    async def run(self) -> None:
        try:
            await self._server.serve(sockets=[self._socket])
        finally:
            self._served.set()
        if not self.draining.is_set():
            raise RuntimeError("the HTTP server has ended by itself")

    async def handle(self, message: Any, line: Line) -> Body | None:
        del line
        match message:
            case Search(query, k):
                found = await self._searcher.search(query, k)
                _refuse_oversized(found)
                return found
            case AskStatus():
                return await self._board.status()
            case AskTotals():
                return await self._library.totals()
            case _:
                raise NotImplementedError(type(message).__name__)

    async def on_up(self, name: str) -> None:
        if name == "text":
            self._searcher.forget()
        self._board.news()

    async def on_down(self, down: Down) -> None:
        del down
        self._board.news()

    async def on_drain(self) -> None:
        self._server.should_exit = True
        await self._served.wait()

    async def on_stop(self) -> None:
        self._server.should_exit = True
        self._socket.close()
        await self._library.close()


def _refuse_oversized(found: Found) -> None:
    """An answer of hundreds of very long paths is above what a message may hold."""
    # what is not its path takes less than half of that
    if sum(len(hit.path.encode()) + 512 for hit in found.hits) > MAX_BODY_BYTES:
        raise Refusal("too_large", "the answer is too large for a message; ask for fewer photos")
