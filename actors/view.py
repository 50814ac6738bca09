"""One space of the index: its vectors, of contents or of faces, kept beside the catalog's feed.

From a snapshot, or from all live vectors; then by the feed from there on.  `run` is its life;
until it has read everything once it is not `whole`, and what it answers is a part.

A snapshot saves the next start some reading, no more, and costs writing all that no graph
holds.  So it is written when the changes are a good part of that, which bounds the writing to
some ten times the vectors however long a library grows; and at every orderly stop.

Nothing here is the truth.  A damaged snapshot, a feed that is shorter than the snapshot says
(a restored database), a space of another size: all of them mean building anew.
"""

from pathlib import Path

import anyio
import anyio.to_thread
import numpy as np
from numpy.typing import NDArray

from actors.library.faces import NUMBER_BITS
from actors.library.reads import FeedRow, Reader
from actors.messages import Class
from actors.sealing import Sealing
from actors.settings import IndexSettings
from actors.vectors import snapshot
from actors.vectors.backends import make_index
from actors.vectors.errors import SnapshotBroken, SnapshotMissing
from actors.vectors.protocol import VectorIndex
from actors.vectors.segmented import SegmentedIndex
from actors.vectors.shared import SharedIndex
from runtime import log
from runtime.faults import fault

#: rows of the feed, or vectors, a step: 4 MiB at 512 components
STEP = 2048
FOLLOW_S = 2.0
SNAPSHOT_S = 120.0
#: changes below which a snapshot is not worth writing while running
SNAPSHOT_CHANGES = 1000
SNAPSHOT_SHARE = 16  #: … and below one in so many of the vectors
CATCHING_UP = "catching up"


class View:
    """See the head of the module.

    Args:
        settings: of the index, but for its space and dimensions.
        space: name of the space.
        dimensions: components of its vectors.
        kind: of its vectors: one of each content, or one of each face in it.
    """

    def __init__(
        self, settings: IndexSettings, space: str, dimensions: int, kind: Class = "embed"
    ) -> None:
        self.space = space
        self.kind = kind
        self.dimensions = dimensions
        self.seq = 0  #: applied up to here
        self.whole = False  #: a snapshot or all vectors were read
        self._settings = settings
        self._home = snapshot.space_directory(Path(settings.directory), space)
        self.shared = SharedIndex(self._empty())
        self._sealing: Sealing | None = None
        self._saved_seq = 0
        self._saved_at = anyio.current_time()
        self._sealed = False  # a new graph waits for its snapshot
        self._complete = anyio.Event()
        self._head = 0
        self._moved = anyio.Event()
        self._scope = anyio.CancelScope()

    @property
    def degraded(self) -> str:
        return self.shared.degraded if self.whole else CATCHING_UP

    def move(self, head: int) -> None:
        """The feed has grown up to *head*."""
        self._head = head
        self._moved.set()

    async def wait_whole(self, seconds: float) -> None:
        """Return once everything was read, or after *seconds*."""
        if not self.whole:
            with anyio.move_on_after(seconds):
                await self._complete.wait()

    async def run(self, reader: Reader) -> None:
        """Follow the feed, until cancelled or ended."""
        with self._scope:
            async with anyio.create_task_group() as tasks:
                await self._begin(reader, tasks)
                while True:
                    await self._replay(reader)
                    if not self.whole:
                        self.whole = True
                        self._complete.set()
                    if self._snapshot_due(anyio.current_time()):
                        await self._save()
                    if self._head <= self.seq:
                        with anyio.move_on_after(FOLLOW_S):
                            await self._moved.wait()
                    self._moved = anyio.Event()

    async def end(self) -> None:
        """Follow no longer, and keep what there is for the next start."""
        news = self.seq > self._saved_seq or (self._sealing and self._sealing.unsaved)
        if self.whole and news:
            await self._save()
        self._scope.cancel()

    def spoil(self) -> None:
        """From here on nothing of it is saved."""
        self.whole = False

    # ── following ──

    def _empty(self) -> VectorIndex:
        settings = self._settings
        return make_index(
            settings.backend,
            self.dimensions,
            threads=settings.threads,
            seal_rows=settings.seal_rows,
        )

    async def _begin(self, reader: Reader, tasks: anyio.abc.TaskGroup) -> None:
        """From the snapshot, or from all vectors."""
        index = self._empty()  # loaded before anybody searches it
        applied = -1
        try:
            manifest = await anyio.to_thread.run_sync(snapshot.read, self._home, self.space, index)
            applied = manifest.applied_seq
        except SnapshotMissing:
            pass
        except SnapshotBroken as error:
            log.logger().warning("snapshot_refused", reason=type(error).__name__)
        if applied > await reader.feed_head():
            log.logger().warning("snapshot_refused", reason="the database is older")
            index, applied = self._empty(), -1
        await self.shared.replace(index)
        if isinstance(index, SegmentedIndex):
            self._sealing = Sealing(
                self.shared,
                index,
                self._home,
                threads=self._settings.build_threads,
                on_sealed=self._on_sealed,
            )
            tasks.start_soon(self._sealing.run)
        self.seq = self._saved_seq = applied
        if applied < 0:
            await self._rebuild(reader)

    async def _rebuild(self, reader: Reader) -> None:
        head = await reader.feed_head()
        after = 0
        while rows := await reader.vectors_of(self.space, after, STEP):
            after = rows[-1][0]
            await self._add([content for content, _ in rows], [vector for _, vector in rows])
        self.seq = head

    def _on_sealed(self) -> None:
        self._sealed = True
        self._moved.set()

    async def _replay(self, reader: Reader) -> None:
        """Apply the feed up to its head."""
        while True:
            head = await reader.feed_head()
            rows = await reader.feed_after(self.seq, self.space, STEP)
            await self._apply(rows)
            if len(rows) < STEP:
                # the rest up to this head belongs to other spaces
                self.seq = max(self.seq, head)
                return

    async def _apply(self, rows: list[FeedRow]) -> None:
        if not rows:
            return
        latest = {row.content: row for row in rows}  # the last word on each content counts
        # … where a photo without faces has an empty value, and one that is gone has none
        added = {
            row.content: row.vector
            for row in latest.values()
            if row.op == "add" and row.vector is not None
        }
        removed = [row.content for row in latest.values() if row.op == "remove"]
        if added:
            await self._add(list(added), list(added.values()))
        if removed:
            await self._remove(np.array(removed, np.int64))
        self.seq = rows[-1].seq
        fault("index.applied")

    async def _add(self, contents: list[int], vectors: list[bytes]) -> None:
        ids: NDArray[np.int64] = np.array(contents, np.int64)
        if self.kind == "embed":
            matrix = np.frombuffer(b"".join(vectors), "<f4").reshape(len(contents), -1)
        else:
            ids, matrix = self._faces(ids, vectors)
        if not len(ids):
            return
        await self.shared.change(self.shared.index.add, ids, matrix)
        if self._sealing is not None:
            self._sealing.look()

    def _faces(
        self, contents: NDArray[np.int64], joint: list[bytes]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The ids and vectors of all faces of *contents*; see `library.faces`."""
        face = np.dtype([("number", "<u4"), ("vector", "<f4", (self.dimensions,))])
        each = [np.frombuffer(value, face) for value in joint]
        rows = np.concatenate(each)
        of = np.repeat(contents, [len(some) for some in each])
        return of << NUMBER_BITS | rows["number"], rows["vector"]

    async def _remove(self, contents: NDArray[np.int64]) -> None:
        ids = contents
        if self.kind == "face":
            held = await self.shared.look(self.shared.index.ids)
            ids = held[np.isin(held >> NUMBER_BITS, contents)]
        await self.shared.change(self.shared.index.remove, ids)

    # ── snapshots ──

    def _snapshot_due(self, now: float) -> bool:
        least = max(SNAPSHOT_CHANGES, self.shared.vectors // SNAPSHOT_SHARE)
        return self._sealed or (
            now - self._saved_at >= SNAPSHOT_S and self.seq - self._saved_seq >= least
        )

    async def _save(self) -> None:
        """Write a snapshot beside searches.

        One that cannot be written gets its next chance when there is more to lose.
        """
        seq = self.seq
        graphs = [] if self._sealing is None else list(self._sealing.unsaved)
        self._sealed = False
        self._saved_at = anyio.current_time()
        try:
            await self.shared.look(self._write, seq)
        except OSError as error:
            # the previous snapshot still stands, and the feed is in the database
            log.logger().warning("snapshot_not_written", reason=error.strerror)
            return
        self._saved_seq = seq
        if self._sealing is not None:
            self._sealing.saved(graphs)

    def _write(self, seq: int) -> None:
        if self.whole:
            snapshot.write(self._home, self.space, self.shared.index, seq)
