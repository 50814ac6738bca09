"""The door to the outside: the page, the websocket, programs that speak ZeroMQ.

Everything a user asks passes here and nothing is decided here: words go to the text tower,
vectors to the index, ids to the library, and what comes back goes out.  Whoever is away is
missed in the answer, or named in a clear error; this process waits for nobody when it starts.

`actors.web` is what the outside sees; this file is the process around it.
"""

import contextlib
import os
from contextlib import aclosing
from pathlib import Path
from typing import Any, ClassVar

import anyio
import msgspec

from actors.messages import (
    AnyMessage,
    AskFaces,
    AskLink,
    AskPhoto,
    AskPlaces,
    AskStatus,
    AskTotals,
    Describe,
    Done,
    FacesLike,
    Found,
    Link,
    Owner,
    OwnerOfIndex,
    PhotoIs,
    Places,
    Saying,
    Search,
    ThumbnailsLost,
)
from actors.packs import Packs
from actors.settings import GatewaySettings
from actors.web import token
from actors.web.about import About
from actors.web.access import Access
from actors.web.app import Site
from actors.web.board import Board
from actors.web.crops import Crops
from actors.web.describing import Describer
from actors.web.errors import Refusal
from actors.web.faces import FaceFinder
from actors.web.library import CatalogLibrary, Library, Photos
from actors.web.losses import PAUSE_S, Losses
from actors.web.metrics import Metrics
from actors.web.search import Searcher
from actors.web.server import bind, read_address, server, write_address
from actors.web.thumbnails import Thumbnails
from runtime import log
from runtime.actor import Actor
from runtime.errors import Busy, PeerAway
from runtime.messages import Down
from runtime.node import SUPERVISOR, Line
from runtime.wire import MAX_BODY_BYTES, Body

#: what an owner asks may take its time: a folder is forgotten, a library counted
OWNER_S = 600.0


class Gateway(Actor):
    Settings: ClassVar[Any] = GatewaySettings
    messages: ClassVar[Any] = AnyMessage
    concurrency: ClassVar[int] = 16

    async def on_start(self) -> None:
        settings: GatewaySettings = self.settings
        secret = None
        if settings.auth == "token":
            secret = token.obtain(Path(os.fsdecode(settings.data)))
        self._access = Access(secret)
        metrics = Metrics()
        text, index, catalog = self.ref("text"), self.ref("index"), self.ref("catalog")
        self._library = self.open_library()
        about = About(settings.pack, settings.demo, settings.profile, settings.roots)
        packs = Packs(settings.folders, "", "")
        self._board = Board(
            catalog,
            index,
            self.ref(SUPERVISOR),
            self._library,
            about,
            scheduler=self.ref("scheduler"),
            is_demo=packs.is_demo,
        )
        self._searcher = Searcher(
            text=text,
            index=index,
            library=self._library,
            board=self._board,
            metrics=metrics,
            about=about,
        )
        photos = Photos(self._library)
        self._losses = Losses()
        self._faces = FaceFinder(
            index=index, library=self._library, photos=photos, board=self._board, metrics=metrics
        )
        self._describer = Describer(
            scheduler=self.ref("scheduler"), library=self._library, board=self._board
        )
        derived = Path(os.fsdecode(settings.derived))
        thumbnails = Thumbnails(derived, photos, self._losses.note)
        site = Site(
            access=self._access,
            searcher=self._searcher,
            board=self._board,
            metrics=metrics,
            photos=photos,
            faces=self._faces,
            describer=self._describer,
            thumbnails=thumbnails,
            crops=Crops(self._library, photos, thumbnails, self._losses.note),
            needed=(text, index),
        )
        run_dir = self.node.run_dir
        former = read_address(run_dir)
        self._socket, self._address = bind(settings.host, settings.port, former)
        self._server = server(site.app())
        self._served = anyio.Event()
        write_address(run_dir, self._address)
        log.logger().info("listening", url=self._address.url, auth=settings.auth)

    def open_library(self) -> Library:
        return CatalogLibrary(self.settings.database)

    async def run(self) -> None:
        self.tasks.start_soon(self._tell_losses)
        try:
            await self._server.serve(sockets=[self._socket])
        finally:
            self._served.set()
        if not self.draining.is_set():
            raise RuntimeError("the HTTP server has ended by itself")

    async def _tell_losses(self) -> None:
        while True:
            await anyio.sleep(PAUSE_S)
            if lost := self._losses.take(anyio.current_time()):
                # who is away hears of them when they are asked for again
                with contextlib.suppress(PeerAway, Busy):
                    self.ref("catalog").tell(ThumbnailsLost(lost))

    async def handle(self, message: Any, line: Line) -> Body | None:
        match message:
            case Search(query, k, has_faces, faces):
                found = await self._searcher.search(query, k, has_faces=has_faces, faces=faces)
                _refuse_oversized(found)
                return found
            case FacesLike(face, k, least):
                found = await self._faces.like(face, k, least)
                _refuse_oversized(found)
                return found
            case AskFaces(content):
                return await self._faces.of(content)
            case Describe(ask, content):
                number = await self._describer.begin(content)
                self.tasks.start_soon(self._describe, number, ask, line)
                return Done()
            case Saying():
                self._describer.heard(message)
                return None
            case AskPhoto(path):
                file = await self._library.file(path)
                return PhotoIs(None if file is None else file.content, file is not None)
            case AskLink():
                return Link(self._address.url + self._access.new_path(anyio.current_time()))
            case AskStatus():
                return await self._board.status()
            case AskTotals():
                return await self._library.totals()
            case AskPlaces():
                settings = self.settings
                index = os.path.join(settings.data, b"index")  # noqa: PTH118 - bytes
                return Places(settings.database, settings.derived, index)
            case Owner():
                return await self.ref("catalog").ask(message, OWNER_S)
            case OwnerOfIndex():
                return await self.ref("index").ask(message, OWNER_S)
            case _:
                raise NotImplementedError(type(message).__name__)

    async def _describe(self, number: int, ask: int, asker: Line) -> None:
        """Pass on to *asker*, under its own number *ask*, what is said under *number*."""
        async with aclosing(self._describer.sayings(number)) as sayings:
            async for each in sayings:
                try:
                    asker.tell(msgspec.structs.replace(each, ask=ask))
                except (PeerAway, Busy):
                    return  # gone, or does not read: then it gives up by itself

    async def on_up(self, name: str) -> None:
        if name == "text":
            self._searcher.forget()
        self._board.news()

    async def on_down(self, down: Down) -> None:
        if down.name == "scheduler":
            self._describer.lost()
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
    # what is neither its path nor its caption takes less than half of that
    texts = (hit.path + (hit.caption or "") for hit in found.hits)
    if sum(len(each.encode()) + 512 for each in texts) > MAX_BODY_BYTES:
        raise Refusal("too_large", "the answer is too large for a message; ask for fewer photos")
