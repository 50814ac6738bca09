"""Sealing: what is compared exactly becomes a graph, built by another process.

    due ─► absorb worn graphs ─► freeze ─► rows ─► builder ─► open ─► finish ─► snapshot
                                             ▲        │
                                             └────────┘  any failure: again, later and later

Searching and adding go on all the while; the frozen part is compared exactly until its graph
is there, and the index says `degraded: exact`.  One graph at a time.

Each attempt has a directory of its own beside the snapshots.  That of a finished graph stays
until a snapshot has linked the graph; whatever a dead process left is removed at the start,
and what it was building is due again.
"""

import itertools
import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.to_thread

from actors.vectors.errors import VectorError
from actors.vectors.graph import Segment
from actors.vectors.segmented import SegmentedIndex
from actors.vectors.shared import SharedIndex
from runtime import log
from runtime.helper import run_helper
from runtime.process import describe
from runtime.restart import Backoff

PREFIX = "sealing-"
RETRY = Backoff(base_s=2.0, cap_s=600.0)


class BuilderDied(Exception):
    """The builder did not get to its end."""


class Sealing:
    """Keeps the exact part of *index* small.

    Args:
        shared: the lock around *index*.
        index: whose vectors are sealed.
        home: directory of the snapshots.
        threads: for the builder.
        on_sealed: told of each new graph, which only a snapshot makes durable.
    """

    def __init__(
        self,
        shared: SharedIndex,
        index: SegmentedIndex,
        home: Path,
        *,
        threads: int,
        on_sealed: Callable[[], None],
    ) -> None:
        self._shared = shared
        self._index = index
        self._home = home
        self._threads = threads
        self._on_sealed = on_sealed
        self._grown = anyio.Event()
        self._random = random.Random()
        #: directories of graphs that are in the index, and in no snapshot as far as we know
        self.unsaved: list[Path] = []

    def look(self) -> None:
        """The index has grown."""
        self._grown.set()

    def saved(self, directories: list[Path]) -> None:
        """A snapshot has the graphs of *directories*."""
        for each in directories:
            shutil.rmtree(each, ignore_errors=True)  # else at the next start
            self.unsaved.remove(each)

    async def run(self) -> None:
        await anyio.to_thread.run_sync(self._remove_leftovers)
        while True:
            if await self._begin():
                await self._seal()
            else:
                await self._grown.wait()
            self._grown = anyio.Event()

    def _remove_leftovers(self) -> None:
        for each in self._home.glob(f"{PREFIX}*"):
            shutil.rmtree(each, ignore_errors=True)

    async def _begin(self) -> bool:
        """Freeze what is due; False when nothing is."""
        if not await self._shared.look(lambda: self._index.due):
            return False
        while await self._shared.change(self._index.absorb):
            pass
        return await self._shared.change(self._freeze)

    def _freeze(self) -> bool:
        if not self._index.due:  # what was due has been removed meanwhile
            return False
        self._index.begin_seal()
        return True

    async def _seal(self) -> None:
        """Put the graph of the frozen part into its place, however often that has to be tried."""
        for attempt in itertools.count():
            try:
                segment = await self._attempt()
            except (BuilderDied, VectorError, OSError) as error:
                pause_s = RETRY.delay(attempt, self._random)
                reason = str(error) if isinstance(error, BuilderDied) else type(error).__name__
                log.logger().warning("no_graph", reason=reason, again_in_s=round(pause_s))
                await anyio.sleep(pause_s)
                if not await self._shared.look(lambda: self._index.frozen):
                    return  # all of it was removed meanwhile
            else:
                facts = segment.facts
                log.logger().info("sealed", vectors=facts.count, recall=round(facts.recall, 3))
                self._on_sealed()
                return

    async def _attempt(self) -> Segment:
        self._home.mkdir(parents=True, exist_ok=True)
        directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=self._home))
        rows, target = directory / "rows", directory / "segment"
        try:
            rows.mkdir()
            await self._shared.look(self._index.write_frozen, rows)
            await self._run_builder(rows, target)
            shutil.rmtree(rows)
            segment = await anyio.to_thread.run_sync(self._open, target)
            await self._shared.change(self._index.finish_seal, segment)
        except BaseException:
            shutil.rmtree(directory, ignore_errors=True)
            raise
        self.unsaved.append(directory)
        return segment

    async def _run_builder(self, rows: Path, target: Path) -> None:
        size = (str(self._index.dimensions), str(self._threads))
        code = await run_helper("actors.vectors.build", str(rows), str(target), *size)
        if code:
            raise BuilderDied(describe(code))

    def _open(self, target: Path) -> Segment:
        return Segment.open(target, self._index.dimensions, threads=self._index.threads)
