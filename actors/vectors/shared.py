"""One index between those who search it and those who change it, on one event loop.

Two locks keep the fourth rule of `protocol`.  A search holds the first, a look (writing a
snapshot, the rows for a builder) the second, a change both.  So searches wait for changes,
which are short, and never for a look, which may write a gigabyte; changes wait for both.

Everything runs in threads, so the loop itself is never held up.
"""

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import anyio
import anyio.to_thread

from actors.vectors.protocol import Ids, Scores, VectorIndex, Vectors

Given = TypeVarTuple("Given")
T = TypeVar("T")


class SharedIndex:
    """See the head of the module."""

    def __init__(self, index: VectorIndex) -> None:
        self._searching = anyio.Lock()
        self._changing = anyio.Lock()
        self._take(index)

    def _take(self, index: VectorIndex) -> None:
        self.index = index
        # what a status asks for, which must not wait and must not look in beside a change
        self.vectors = len(index)
        self.degraded = index.degraded

    async def search(self, queries: Vectors, k: int) -> tuple[Ids, Scores]:
        """As `VectorIndex.search`."""
        async with self._searching:
            return await anyio.to_thread.run_sync(self.index.search, queries, k)

    async def search_among(self, queries: Vectors, ids: Ids, k: int) -> tuple[Ids, Scores]:
        """As `VectorIndex.search_among`."""
        async with self._searching:
            return await anyio.to_thread.run_sync(self.index.search_among, queries, ids, k)

    async def look(self, function: Callable[[*Given], T], *given: *Given) -> T:
        """Run *function*, which only reads the index, beside searches."""
        async with self._changing:
            return await anyio.to_thread.run_sync(function, *given)

    async def change(self, function: Callable[[*Given], T], *given: *Given) -> T:
        """Run *function*, which changes the index, alone."""
        async with self._changing, self._searching:
            try:
                return await anyio.to_thread.run_sync(function, *given)
            finally:
                self._take(self.index)

    async def replace(self, index: VectorIndex) -> None:
        """Answer from *index* from now on."""
        async with self._changing, self._searching:
            self._take(index)
