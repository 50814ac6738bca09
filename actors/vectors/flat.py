"""The exact index: every query is compared with every vector.

FAISS's scalar quantizer in half precision scans about 20 vectors of 512 components a
microsecond and core (AVX-512), so 200,000 photos are a matter of 10 ms, and the answer is
right by construction.  That is all profile P1 needs, and what the graph index falls back to.
The only module that imports faiss.

Layout.  Vectors lie in *blocks* of equal size, each a FAISS index over memory allotted once,
and are dense: all blocks are full but the last.  Growth therefore never copies what is there
(one index over a growing vector would copy a gigabyte at a million photos, and hold it twice),
and blocks are scanned side by side when there are threads for it; FAISS itself shares out
queries, not vectors, so one query would get one thread.

Removal moves the very last vector into the gap, in place.  Tombstones with a compaction now
and then were rejected: until it runs every answer needs a wider search, and then it stalls.

Ids and rows.  A dict leads from id to row; it costs some 110 bytes a vector beside 1024 of
the vector itself and keeps every change O(1).  FAISS's own `IndexIDMap2` does the same, but
its removal is a scan over all vectors.

Rounding to half precision is numpy's (to nearest, ties to even, as IEEE 754 says).  FAISS's
own encoder rounds some ties up, so the same vector would not be the same bits.

Ties.  FAISS keeps k candidates in a heap, and which of several equals stays in it depends on
their order.  Each block is asked for one more than needed; where that one equals the last and
the last decides the answer, the block is asked again for all it has (3 ms, rare: it takes
vectors that are the same to the bit).
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import faiss
import numpy as np
from numpy.typing import ArrayLike, NDArray

from actors.vectors.errors import SnapshotBroken
from actors.vectors.files import read_rows, write_rows
from actors.vectors.protocol import (
    Ids,
    Scores,
    Statistics,
    Vectors,
    usable_ids,
    usable_pairs,
    usable_vectors,
)
from actors.vectors.ranking import best_of, merge, nothing

T = TypeVar("T")

BLOCK_ROWS = 16_384  # 16 MB at 512 components: 9 ms to allot, 0.5 ms to scan
SLICE = 8192  # vectors unpacked at once
DICT_BYTES = 110  # a vector's share of the dict: two ints and an entry, measured


class FlatIndex:
    """The exact index; see `protocol.VectorIndex` for what it promises.

    Args:
        dimensions: components of every vector.
        threads: that may scan for one search.
        block_rows: vectors in a block; smaller ones in tests.
    """

    backend = "faiss"
    degraded = ""

    def __init__(self, dimensions: int, *, threads: int = 1, block_rows: int = BLOCK_ROWS) -> None:
        self.dimensions = dimensions
        self.threads = threads
        self.block_rows = block_rows
        self._blocks: list[_Block] = []
        self._rows: dict[int, int] = {}  # id → row, counted over all blocks
        self._pool = ThreadPoolExecutor(threads, "scan") if threads > 1 else None

    def __len__(self) -> int:
        return len(self._rows)

    def ids(self) -> Ids:
        return np.sort(np.fromiter(self._rows, np.int64, len(self._rows)))

    def add(self, ids: ArrayLike, vectors: ArrayLike) -> None:
        keys, rows = usable_pairs(ids, vectors, self.dimensions)
        last = {key: place for place, key in enumerate(keys.tolist())}
        halves = rows[list(last.values())].astype(np.float16)
        self._append([key for key in last if key not in self._rows])
        places = np.fromiter((self._rows[key] for key in last), np.int64, len(last))
        blocks, at = np.divmod(places, self.block_rows)
        for block in np.unique(blocks):
            here = blocks == block
            self._blocks[block].half[at[here]] = halves[here]

    def remove(self, ids: ArrayLike) -> int:
        before = len(self)
        for key in usable_ids(ids).tolist():
            row = self._rows.pop(key, None)
            if row is not None:
                self._close_gap(row)
        return before - len(self)

    def search(self, queries: ArrayLike, k: int) -> tuple[Ids, Scores]:
        rows = usable_vectors(queries, self.dimensions)
        if k < 0:
            raise ValueError(f"k is {k}")
        k = min(k, len(self))
        if k == 0 or len(rows) == 0:
            return nothing(len(rows))
        blocks = [block for block in self._blocks if block.count]
        parts = self._side_by_side(lambda block: block.nearest(rows, k), blocks)
        ids, scores = merge([(part.ids, part.scores) for part in parts], k)

        # [blocks, q]: equals of the last one listed may be left in the block
        least = scores[:, -1]
        torn = np.stack([part.torn & (part.scores[:, -1] == least) for part in parts])
        for query in np.flatnonzero(torn.any(axis=0)):
            one = slice(query, query + 1)
            again = [
                block.all(rows[one]) if cut else (part.ids[one], part.scores[one])
                for block, part, cut in zip(blocks, parts, torn[:, query], strict=True)
            ]
            ids[one], scores[one] = merge(again, k)
        return ids, scores

    def search_among(self, queries: ArrayLike, ids: ArrayLike, k: int) -> tuple[Ids, Scores]:
        rows = usable_vectors(queries, self.dimensions)
        if k < 0:
            raise ValueError(f"k is {k}")
        keys = [key for key in dict.fromkeys(usable_ids(ids).tolist()) if key in self._rows]
        slices = (keys[start : start + SLICE] for start in range(0, len(keys), SLICE))
        return best_of(rows, ((np.array(some, np.int64), self.vectors(some)) for some in slices), k)

    def save(self, directory: Path) -> None:
        write_rows(
            directory,
            ((block.ids[: block.count], block.half[: block.count]) for block in self._blocks),
        )

    def load(self, directory: Path) -> None:
        ids, vectors = read_rows(directory, self.dimensions)
        blocks = []
        for start in range(0, len(ids), self.block_rows):
            block = _Block(self.dimensions, self.block_rows)
            block.fill(ids[start : start + self.block_rows], vectors[start:])
            blocks.append(block)
        rows = dict(zip(ids.tolist(), range(len(ids)), strict=True))
        if len(rows) != len(ids):
            raise SnapshotBroken(f"{directory}: an id stands twice")
        self._blocks, self._rows = blocks, rows

    def statistics(self) -> Statistics:
        memory = sum(block.memory for block in self._blocks) + len(self) * DICT_BYTES
        return Statistics(self.backend, self.dimensions, len(self), memory)

    def vectors(self, ids: ArrayLike) -> Vectors:
        """What is kept for *ids*, float32 [n, dimensions].

        Raises:
            KeyError: one of them is not there.
        """
        keys = usable_ids(ids).tolist()
        found = np.empty((len(keys), self.dimensions), np.float32)
        places = np.fromiter((self._rows[key] for key in keys), np.int64, len(keys))
        blocks, at = np.divmod(places, self.block_rows)
        for block in np.unique(blocks):
            here = blocks == block
            found[here] = self._blocks[block].half[at[here]]
        return found

    def parts(self) -> Iterator[tuple[Ids, Vectors]]:
        """Everything, a block at a time, as `add` takes it."""
        for block in self._blocks:
            yield block.ids[: block.count].copy(), block.half[: block.count].astype(np.float32)

    def _append(self, keys: list[int]) -> None:
        """Give each of *keys*, all new, a row; whatever lies there is its vector for now."""
        while keys:
            row = len(self._rows)
            block, at = divmod(row, self.block_rows)
            if block == len(self._blocks):
                self._blocks.append(_Block(self.dimensions, self.block_rows))
            some = keys[: self.block_rows - at]
            self._blocks[block].append(some)
            self._rows.update(zip(some, range(row, row + len(some)), strict=True))
            keys = keys[len(some) :]

    def _close_gap(self, row: int) -> None:
        """Fill the freed *row* with the last one; the dict has lost the freed id already."""
        last, end = divmod(len(self._rows), self.block_rows)
        block, at = divmod(row, self.block_rows)
        if (block, at) != (last, end):
            moved = self._blocks[last].ids[end]
            self._blocks[block].ids[at] = moved
            self._blocks[block].half[at] = self._blocks[last].half[end]
            self._rows[int(moved)] = row
        self._blocks[last].count = end
        # One empty block stays, or an index that hovers at its edge would allot it each time.
        del self._blocks[last + 2 :]

    def _side_by_side(self, scan: "Callable[[_Block], T]", blocks: "Sequence[_Block]") -> list[T]:
        if self._pool is None or len(blocks) == 1:
            return [scan(block) for block in blocks]
        return list(self._pool.map(scan, blocks))


class _Part:
    """What one block found, [q, k'] each; *torn* [q] where an equal of the last was left out."""

    def __init__(self, ids: Ids, scores: Scores, torn: NDArray[np.bool_]) -> None:
        self.ids = ids
        self.scores = scores
        self.torn = torn


class _Block:
    """Memory for a fixed number of vectors, and the FAISS index that scans it."""

    def __init__(self, dimensions: int, rows: int) -> None:
        self._index = faiss.IndexScalarQuantizer(
            dimensions, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
        )
        size = rows * dimensions * 2
        self._index.codes.resize(size)
        # A window on FAISS's own memory.  It stays valid because nothing resizes it again, and
        # must not leave this object, which keeps that memory alive.
        self.half: NDArray[np.float16] = (
            faiss.rev_swig_ptr(self._index.codes.data(), size)
            .view(np.float16)
            .reshape(rows, dimensions)
        )
        self.ids: Ids = np.zeros(rows, np.int64)
        self.memory = size + self.ids.nbytes

    @property
    def count(self) -> int:
        """Rows in use, from the first."""
        return int(self._index.ntotal)

    @count.setter
    def count(self, count: int) -> None:
        self._index.ntotal = count

    def append(self, keys: list[int]) -> None:
        count = self.count
        self.ids[count : count + len(keys)] = keys
        self.count = count + len(keys)

    def fill(self, ids: Ids, vectors: NDArray[np.float16]) -> None:
        self.ids[: len(ids)] = ids
        self.half[: len(ids)] = vectors[: len(ids)]
        self.count = len(ids)

    def nearest(self, queries: Vectors, k: int) -> _Part:
        ids, scores = self._search(queries, min(k + 1, self.count))
        if ids.shape[1] <= k:
            return _Part(ids, scores, np.zeros(len(queries), np.bool_))
        return _Part(ids[:, :k], scores[:, :k], scores[:, k - 1] == scores[:, k])

    def all(self, queries: Vectors) -> tuple[Ids, Scores]:
        return self._search(queries, self.count)

    def _search(self, queries: Vectors, k: int) -> tuple[Ids, Scores]:
        # OpenMP keeps this setting per calling thread, and a new thread starts with all cores:
        # it has to be said in the thread that searches, each time, and costs nothing.
        faiss.omp_set_num_threads(1)
        scores, rows = self._index.search(queries, k)
        return self.ids[rows], scores
