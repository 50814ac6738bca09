"""The index: nearest neighbours of a query vector, as a view of the catalog's feed.

It reads the database through its own read-only connection: a snapshot first, then the feed
after the snapshot's position; without a usable snapshot all live vectors, then the feed from
where it stood before.  It answers from the first moment with what it has, and says so while it
catches up.

Nothing here is the truth.  A damaged snapshot, a feed that is shorter than the snapshot says
(a restored database), a space of another size: all of them mean building anew.
"""

from pathlib import Path
from typing import Any, ClassVar

import anyio
import anyio.to_thread
import numpy as np

from actors.library.errors import CatalogNotReady
from actors.library.reads import FeedRow, Reader, open_reader
from actors.messages import (
    AnyMessage,
    AskStatus,
    FeedAt,
    Follow,
    IndexStatus,
    Message,
    Nearest,
    Neighbours,
)
from actors.settings import IndexSettings
from actors.vectors import snapshot
from actors.vectors.backends import make_index
from actors.vectors.errors import SnapshotBroken, SnapshotMissing
from runtime import log
from runtime.actor import Actor
from runtime.errors import Busy, PeerAway
from runtime.messages import Down
from runtime.node import Line

#: rows of the feed, or vectors, a step: 4 MiB at 512 components
STEP = 2048
FOLLOW_S = 2.0
RETRY_S = 0.1
SNAPSHOT_S = 120.0
#: changes below which a snapshot is not worth writing while running
SNAPSHOT_CHANGES = 1000
CATCHING_UP = "catching up"


class Index(Actor):
    Settings: ClassVar[Any] = IndexSettings
    messages: ClassVar[Any] = AnyMessage
    concurrency = 4

    async def on_start(self) -> None:
        self.settings: IndexSettings
        space = self.settings.space
        self._index = make_index(
            self.settings.backend, self.settings.dimensions, threads=self.settings.threads
        )
        self._home = snapshot.space_directory(Path(self.settings.directory), space)
        self._owner = anyio.Lock()  # the index must not be searched while it changes
        self._seq = 0
        self._saved_seq = 0
        self._whole = False  # a snapshot or all vectors were read
        self._head = 0
        self._moved = anyio.Event()
        self._catalog = self.ref("catalog")

    async def run(self) -> None:
        reader = await self._open_reader()
        self.tasks.start_soon(self._follow)
        await self._begin(reader)
        saved_at = anyio.current_time()
        while True:
            await self._replay(reader)
            due = anyio.current_time() - saved_at >= SNAPSHOT_S
            if due and self._seq - self._saved_seq >= SNAPSHOT_CHANGES:
                await self._save()
                saved_at = anyio.current_time()
            self._moved = anyio.Event()
            if self._head <= self._seq:
                with anyio.move_on_after(FOLLOW_S):
                    await self._moved.wait()

    async def on_up(self, name: str) -> None:
        if name == "catalog":
            self._say_follow()

    async def on_down(self, down: Down) -> None:
        """The next catalog says where the feed is."""

    async def on_stop(self) -> None:
        if self._whole and self._seq > self._saved_seq:
            await self._save()

    async def handle(self, message: Any, line: Line) -> Message | None:
        match message:
            case Nearest(space, data, k):
                return await self._search(space, data, k)
            case FeedAt(seq):
                if line.epoch == self._catalog.incarnation:
                    self._head = seq
                    self._moved.set()
            case AskStatus():
                space = self.settings.space
                return IndexStatus(space, len(self._index), self._seq, self._degraded())
            case _:
                raise NotImplementedError(type(message).__name__)
        return None

    # ── questions ──

    async def _search(self, space: str, data: bytes, k: int) -> Neighbours:
        if space != self.settings.space:
            raise ValueError(f"this index is of {self.settings.space}, not of {space}")
        queries = np.frombuffer(data, "<f4").reshape(-1, self.settings.dimensions)
        async with self._owner:
            ids, scores = await anyio.to_thread.run_sync(self._index.search, queries, k)
            return Neighbours(ids.tolist(), scores.tolist(), self._seq, self._degraded())

    def _degraded(self) -> str:
        return self._index.degraded if self._whole else CATCHING_UP

    # ── following ──

    async def _open_reader(self) -> Reader:
        """The catalog makes the database; wait for it without holding up our own READY."""
        while True:
            try:
                return await open_reader(self.settings.database)
            except CatalogNotReady:
                await anyio.sleep(RETRY_S)

    async def _follow(self) -> None:
        while True:
            self._say_follow()
            await anyio.sleep(FOLLOW_S)

    def _say_follow(self) -> None:
        try:
            self._catalog.tell(Follow(self._seq))
        except (PeerAway, Busy):
            return  # said again in a moment

    async def _begin(self, reader: Reader) -> None:
        """From the snapshot, or from all vectors."""
        try:
            manifest = await anyio.to_thread.run_sync(
                snapshot.read, self._home, self.settings.space, self._index
            )
        except SnapshotMissing:
            await self._rebuild(reader)
        except SnapshotBroken as error:
            log.logger().warning("snapshot_refused", reason=type(error).__name__)
            await self._rebuild(reader)
        else:
            self._seq = self._saved_seq = manifest.applied_seq
            if self._seq > await reader.feed_head():  # the database is older than the snapshot
                await self._rebuild(reader)
        self._whole = True

    async def _rebuild(self, reader: Reader) -> None:
        async with self._owner:
            await anyio.to_thread.run_sync(self._index.remove, self._index.ids())
        head = await reader.feed_head()
        after = 0
        while rows := await reader.vectors_of(self.settings.space, after, STEP):
            after = rows[-1][0]
            await self._add([content for content, _ in rows], [vector for _, vector in rows])
        self._seq, self._saved_seq = head, -1

    async def _replay(self, reader: Reader) -> None:
        """Apply the feed up to its head."""
        while True:
            head = await reader.feed_head()
            rows = await reader.feed_after(self._seq, self.settings.space, STEP)
            await self._apply(rows)
            if len(rows) < STEP:
                # the rest up to this head belongs to other spaces
                self._seq = max(self._seq, head)
                return

    async def _apply(self, rows: list[FeedRow]) -> None:
        if not rows:
            return
        latest = {row.content: row for row in rows}  # the last word on each content counts
        added = [row for row in latest.values() if row.op == "add" and row.vector is not None]
        removed = [row.content for row in latest.values() if row.op == "remove"]
        if added:
            await self._add(
                [row.content for row in added], [row.vector for row in added if row.vector]
            )
        if removed:
            async with self._owner:
                await anyio.to_thread.run_sync(self._index.remove, np.array(removed, np.int64))
        self._seq = rows[-1].seq

    async def _add(self, contents: list[int], vectors: list[bytes]) -> None:
        matrix = np.frombuffer(b"".join(vectors), "<f4").reshape(len(contents), -1)
        async with self._owner:
            await anyio.to_thread.run_sync(self._index.add, np.array(contents, np.int64), matrix)

    async def _save(self) -> None:
        async with self._owner:
            seq = self._seq
            try:
                await anyio.to_thread.run_sync(
                    snapshot.write, self._home, self.settings.space, self._index, seq
                )
            except OSError as error:
                # the previous snapshot still stands, and the feed is in the database
                log.logger().warning("snapshot_not_written", reason=error.strerror)
            else:
                self._saved_seq = seq
