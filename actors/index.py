"""The index: nearest neighbours of a query vector, as a view of the catalog's feed.

It reads the database through its own read-only connection: a snapshot first, then the feed
after the snapshot's position; without a usable snapshot all live vectors, then the feed from
where it stood before.  It answers from the first moment with what it has, and says so while it
catches up.

A snapshot saves the next start some reading, no more, and costs writing all that no graph
holds.  So it is written when the changes are a good part of that, which bounds the writing to
some ten times the vectors however long a library grows; and at every orderly stop.

Nothing here is the truth.  A damaged snapshot, a feed that is shorter than the snapshot says
(a restored database), a space of another size: all of them mean building anew.
"""

import shutil
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import anyio
import anyio.to_thread
import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from actors.library.errors import CatalogNotReady, CatalogUnavailable
from actors.library.reads import FeedRow, Reader, open_reader
from actors.messages import (
    AnyMessage,
    AskIndexIds,
    AskStatus,
    Done,
    FeedAt,
    Follow,
    IndexIds,
    IndexStatus,
    Message,
    Nearest,
    Neighbours,
    RebuildIndex,
)
from actors.sealing import Sealing
from actors.settings import IndexSettings
from actors.vectors import snapshot
from actors.vectors.backends import make_index
from actors.vectors.errors import SnapshotBroken, SnapshotMissing
from actors.vectors.protocol import VectorIndex
from actors.vectors.segmented import SegmentedIndex
from actors.vectors.shared import SharedIndex
from runtime import log
from runtime.actor import Actor
from runtime.errors import Busy, PeerAway, RecycleMe
from runtime.faults import fault
from runtime.messages import Down
from runtime.node import Line

#: rows of the feed, or vectors, a step: 4 MiB at 512 components
STEP = 2048
FOLLOW_S = 2.0
RETRY_S = 0.1
SNAPSHOT_S = 120.0
#: changes below which a snapshot is not worth writing while running
SNAPSHOT_CHANGES = 1000
SNAPSHOT_SHARE = 16  #: … and below one in so many of the vectors
CATCHING_UP = "catching up"


class Index(Actor):
    Settings: ClassVar[Any] = IndexSettings
    messages: ClassVar[Any] = AnyMessage
    concurrency = 4

    async def on_start(self) -> None:
        self.settings: IndexSettings
        space = self.settings.space
        self._home = snapshot.space_directory(Path(self.settings.directory), space)
        self._shared = SharedIndex(self._empty())
        self._sealing: Sealing | None = None
        self._seq = 0
        self._saved_seq = 0
        self._saved_at = anyio.current_time()
        self._whole = False  # a snapshot or all vectors were read
        self._sealed = False  # a new graph waits for its snapshot
        self._head = 0
        self._moved = anyio.Event()
        self._catalog = self.ref("catalog")

    async def run(self) -> None:
        reader = await self._open_reader()
        self.tasks.start_soon(self._follow)
        await self._begin(reader)
        while True:
            await self._replay(reader)
            if self._snapshot_due(anyio.current_time()):
                await self._save()
            if self._head <= self._seq:
                with anyio.move_on_after(FOLLOW_S):
                    await self._moved.wait()
            self._moved = anyio.Event()

    async def on_up(self, name: str) -> None:
        if name == "catalog":
            self._say_follow()

    async def on_down(self, down: Down) -> None:
        """The next catalog says where the feed is."""

    async def on_stop(self) -> None:
        news = self._seq > self._saved_seq or (self._sealing and self._sealing.unsaved)
        if self._whole and news:
            await self._save()

    async def handle(self, message: Any, line: Line) -> Message | None:
        match message:
            case Nearest(space, data, k):
                return await self._search(space, data, k)
            case FeedAt(seq):
                if line.epoch == self._catalog.incarnation:
                    self._head = seq
                    self._moved.set()
            case AskIndexIds():
                seq, ids = self._seq, await self._shared.look(self._shared.index.ids)
                return IndexIds(seq, len(ids), blake3(ids.astype("<i8").tobytes()).digest())
            case RebuildIndex():
                # In a fresh process: what was removed may still lie in a graph, or in memory.
                self._whole = False  # from here on nothing of it is saved
                home = Path(self.settings.directory)
                await self._shared.look(partial(shutil.rmtree, home, ignore_errors=True))
                self.tasks.start_soon(self._recycle)
                return Done()
            case AskStatus():
                space = self.settings.space
                return IndexStatus(space, self._shared.vectors, self._seq, self._degraded())
            case _:
                raise NotImplementedError(type(message).__name__)
        return None

    async def _recycle(self) -> None:
        raise RecycleMe("to be built anew")

    # ── questions ──

    async def _search(self, space: str, data: bytes, k: int) -> Neighbours:
        if space != self.settings.space:
            raise ValueError(f"this index is of {self.settings.space}, not of {space}")
        queries = np.frombuffer(data, "<f4").reshape(-1, self.settings.dimensions)
        ids, scores = await self._shared.search(queries, k)
        return Neighbours(ids.tolist(), scores.tolist(), self._seq, self._degraded())

    def _degraded(self) -> str:
        return self._shared.degraded if self._whole else CATCHING_UP

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
            self._catalog.tell(Follow(self._seq))
        except (PeerAway, Busy):
            return  # said again in a moment

    def _empty(self) -> VectorIndex:
        settings = self.settings
        return make_index(
            settings.backend,
            settings.dimensions,
            threads=settings.threads,
            seal_rows=settings.seal_rows,
        )

    async def _begin(self, reader: Reader) -> None:
        """From the snapshot, or from all vectors."""
        index = self._empty()  # loaded before anybody searches it
        applied = -1
        try:
            manifest = await anyio.to_thread.run_sync(
                snapshot.read, self._home, self.settings.space, index
            )
            applied = manifest.applied_seq
        except SnapshotMissing:
            pass
        except SnapshotBroken as error:
            log.logger().warning("snapshot_refused", reason=type(error).__name__)
        if applied > await reader.feed_head():
            log.logger().warning("snapshot_refused", reason="the database is older")
            index, applied = self._empty(), -1
        await self._shared.replace(index)
        if isinstance(index, SegmentedIndex):
            self._sealing = Sealing(
                self._shared,
                index,
                self._home,
                threads=self.settings.build_threads,
                on_sealed=self._on_sealed,
            )
            self.tasks.start_soon(self._sealing.run)
        self._seq = self._saved_seq = applied
        if applied < 0:
            await self._rebuild(reader)
        self._whole = True

    async def _rebuild(self, reader: Reader) -> None:
        head = await reader.feed_head()
        after = 0
        while rows := await reader.vectors_of(self.settings.space, after, STEP):
            after = rows[-1][0]
            await self._add([content for content, _ in rows], [vector for _, vector in rows])
        self._seq = head

    def _on_sealed(self) -> None:
        self._sealed = True
        self._moved.set()

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
            await self._shared.change(self._shared.index.remove, np.array(removed, np.int64))
        self._seq = rows[-1].seq
        fault("index.applied")

    async def _add(self, contents: list[int], vectors: list[bytes]) -> None:
        ids: NDArray[np.int64] = np.array(contents, np.int64)
        matrix = np.frombuffer(b"".join(vectors), "<f4").reshape(len(contents), -1)
        await self._shared.change(self._shared.index.add, ids, matrix)
        if self._sealing is not None:
            self._sealing.look()

    # ── snapshots ──

    def _snapshot_due(self, now: float) -> bool:
        least = max(SNAPSHOT_CHANGES, self._shared.vectors // SNAPSHOT_SHARE)
        return self._sealed or (
            now - self._saved_at >= SNAPSHOT_S and self._seq - self._saved_seq >= least
        )

    async def _save(self) -> None:
        """Write a snapshot beside searches.

        One that cannot be written gets its next chance when there is more to lose.
        """
        seq = self._seq
        graphs = [] if self._sealing is None else list(self._sealing.unsaved)
        self._sealed = False
        self._saved_at = anyio.current_time()
        try:
            await self._shared.look(self._write, seq)
        except OSError as error:
            # the previous snapshot still stands, and the feed is in the database
            log.logger().warning("snapshot_not_written", reason=error.strerror)
            return
        self._saved_seq = seq
        if self._sealing is not None:
            self._sealing.saved(graphs)

    def _write(self, seq: int) -> None:
        if self._whole:
            snapshot.write(self._home, self.settings.space, self._shared.index, seq)
