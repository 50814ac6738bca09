"""The index: nearest neighbours of a query vector, as a view of the catalog's feed.

It reads the database through its own read-only connection, and holds a `View` of every space
that serves or is built; a question names the space it is about, so an answer is never of two.
Which spaces those are it sees in the database too, whenever it is told of the feed and every
two seconds.  One that serves no longer is kept for questions that are on their way, and goes.

It answers from the first moment with what it has, and says so while it catches up.  A question
to a view that is just being read waits `WHOLE_S` for it, which is enough for any library but a
large one without a snapshot: half an answer helps nobody who could have a whole one at once.
"""

import shutil
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import anyio
import numpy as np
from blake3 import blake3

from actors.library.errors import CatalogNotReady, CatalogUnavailable
from actors.library.reads import Reader, open_reader
from actors.messages import (
    AnyMessage,
    AskIndexIds,
    AskStatus,
    Done,
    FeedAt,
    Follow,
    HeldSpace,
    IndexIds,
    IndexStatus,
    Message,
    Nearest,
    Neighbours,
    RebuildIndex,
)
from actors.settings import IndexSettings
from actors.view import FOLLOW_S, View
from runtime import log
from runtime.actor import Actor
from runtime.errors import Busy, PeerAway, RecycleMe
from runtime.messages import Down
from runtime.node import Line

RETRY_S = 0.1
#: less than a gateway waits for an answer
WHOLE_S = 2.0
#: more than a gateway waits for an answer
SPARE_S = 20.0


class Index(Actor):
    Settings: ClassVar[Any] = IndexSettings
    messages: ClassVar[Any] = AnyMessage
    concurrency = 4

    async def on_start(self) -> None:
        self.settings: IndexSettings
        first = View(self.settings, self.settings.space, self.settings.dimensions)
        self._serving = first.space
        self._views = {first.space: first}
        self._running: set[str] = set()
        self._retired: dict[str, float] = {}  # space → since when it serves no longer
        self._appeared = anyio.Event()
        self._moved = anyio.Event()
        self._catalog = self.ref("catalog")

    async def run(self) -> None:
        reader = await self._open_reader()
        self.tasks.start_soon(self._follow)
        while True:
            self._moved = anyio.Event()
            await self._look_at_spaces(reader)
            with anyio.move_on_after(FOLLOW_S):
                await self._moved.wait()

    async def on_up(self, name: str) -> None:
        if name == "catalog":
            self._say_follow()

    async def on_down(self, down: Down) -> None:
        """The next catalog says where the feed is."""

    async def on_stop(self) -> None:
        for view in self._views.values():
            await view.end()

    async def handle(self, message: Any, line: Line) -> Message | None:
        match message:
            case Nearest():
                return await self._search(message)
            case FeedAt(seq):
                if line.epoch == self._catalog.incarnation:
                    self._moved.set()
                    for view in self._views.values():
                        view.move(seq)
            case AskIndexIds(space):
                view = await self._view_of(space or self._serving)
                await view.wait_whole(WHOLE_S)
                seq, ids = view.seq, await view.shared.look(view.shared.index.ids)
                return IndexIds(seq, len(ids), blake3(ids.astype("<i8").tobytes()).digest())
            case RebuildIndex():
                # In a fresh process: what was removed may still lie in a graph, or in memory.
                home = Path(self.settings.directory)
                for view in self._views.values():
                    view.spoil()
                await self._views[self._serving].shared.look(
                    partial(shutil.rmtree, home, ignore_errors=True)
                )
                self.tasks.start_soon(self._recycle)
                return Done()
            case AskStatus():
                return self._status()
            case _:
                raise NotImplementedError(type(message).__name__)
        return None

    async def _recycle(self) -> None:
        raise RecycleMe("to be built anew")

    # ── questions ──

    async def _search(self, wanted: Nearest) -> Neighbours:
        view = await self._view_of(wanted.space)
        await view.wait_whole(WHOLE_S)
        queries = np.frombuffer(wanted.data, "<f4").reshape(-1, view.dimensions)
        if wanted.among:
            among = np.frombuffer(wanted.among, "<i8").astype(np.int64)
            ids, scores = await view.shared.search_among(queries, among, wanted.k)
        else:
            ids, scores = await view.shared.search(queries, wanted.k)
        return Neighbours(ids.tolist(), scores.tolist(), view.seq, view.degraded)

    async def _view_of(self, space: str) -> View:
        """Of a space that the asker may have heard of before us."""
        with anyio.move_on_after(WHOLE_S):
            while space not in self._views:
                self._moved.set()
                await self._appeared.wait()
        if space not in self._views:
            raise ValueError(f"this index is of {self._serving}, not of {space}")
        return self._views[space]

    def _status(self) -> IndexStatus:
        view = self._views[self._serving]
        return IndexStatus(
            view.space,
            view.shared.vectors,
            view.seq,
            view.degraded,
            [
                HeldSpace(each.space, each.shared.vectors, each.seq, each.whole)
                for each in self._views.values()
            ],
        )

    # ── following ──

    async def _open_reader(self) -> Reader:
        """The catalog makes the database; wait for it without holding up our own READY."""
        while True:
            try:
                return await open_reader(self.settings.database)
            except (CatalogNotReady, CatalogUnavailable):
                await anyio.sleep(RETRY_S)

    async def _follow(self) -> None:
        while True:
            self._say_follow()
            await anyio.sleep(FOLLOW_S)

    def _say_follow(self) -> None:
        try:
            self._catalog.tell(Follow(self._views[self._serving].seq))
        except (PeerAway, Busy):
            return  # said again in a moment

    async def _look_at_spaces(self, reader: Reader) -> None:
        """Hold what serves or is built, and nothing else for long."""
        now = anyio.current_time()
        spaces = [each for each in await reader.spaces() if each.space.kind != "caption"]
        for each in spaces:
            if each.state == "retired":
                continue
            name = each.space.name
            self._retired.pop(name, None)
            if name not in self._views:
                self._views[name] = View(
                    self.settings, name, each.space.dimensions, each.space.kind
                )
            if name not in self._running:
                self._running.add(name)
                self.tasks.start_soon(self._views[name].run, reader)
            serves = each.state == "active" and each.space.kind == "embed"
            if serves and self._serving != name:
                log.logger().info("serves", space=name)
                self._serving = name
            self._appeared.set()
            self._appeared = anyio.Event()
        wanted = {each.space.name for each in spaces if each.state != "retired"}
        for name in self._views.keys() - wanted if wanted else ():
            if now - self._retired.setdefault(name, now) >= SPARE_S:
                del self._retired[name]
                self._running.discard(name)
                await self._views.pop(name).end()
