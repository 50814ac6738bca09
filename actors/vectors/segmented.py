"""The index for large libraries: sealed graphs, and an exact part for what is new.

    segments   sealed graphs, searched in about a millisecond each
    sealing    exact, frozen: its graph is being built elsewhere
    tail       exact: everything added since

An id lives in exactly one of them.  Adding always goes to the tail and first kills the id
wherever it was; removing kills it.  A graph that comes back from its builder takes the place
of the frozen part whole; what was removed or replaced meanwhile is no longer in the frozen
part, and that is all the new graph has to be told.  This is the memtable of log-structured
storage, with graphs for tables.

One growing graph was rejected: hnswlib can neither grow beside a search nor save itself
without stopping, and at a million photos its snapshot would rewrite 2.3 GB for one new photo.

The owner drives the sealing, since only it may start processes:

    if index.due:            while index.absorb(): ...
                             index.begin_seal()
    beside searches:         index.write_frozen(rows)
    builder process:         build_segment(*read_rows(rows, dimensions), target)
    done:                    index.finish_seal(Segment.open(target, dimensions))

A build that fails is repeated with the same frozen part.  Thawing it was rejected: it would
hold up searches (a second for a full one), and make the next graph larger, which is the wrong
answer to a builder that ran out of memory.

After a restart a seal that was under way is simply due again.
"""

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from actors.vectors.errors import SealRefused, SnapshotBroken
from actors.vectors.flat import BLOCK_ROWS, FlatIndex
from actors.vectors.graph import Segment
from actors.vectors.protocol import (
    Ids,
    Scores,
    Statistics,
    usable_ids,
    usable_pairs,
    usable_vectors,
)
from actors.vectors.ranking import merge, nothing

SEAL_ROWS = 262_144  # up to here an exact scan takes 13 ms; a graph of as many is built in 2 min


class SegmentedIndex:
    """Graphs and an exact rest; see `protocol.VectorIndex` for what it promises.

    Args:
        dimensions: components of every vector.
        threads: that may scan for one search.
        seal_rows: vectors outside graphs from which a graph is due.
        block_rows: see `FlatIndex`.
    """

    backend = "hnswlib"

    def __init__(
        self,
        dimensions: int,
        *,
        threads: int = 1,
        seal_rows: int = SEAL_ROWS,
        block_rows: int = BLOCK_ROWS,
    ) -> None:
        self.dimensions = dimensions
        self.threads = threads
        self.seal_rows = seal_rows
        self.block_rows = block_rows
        self._segments: list[Segment] = []
        self._sealing: FlatIndex | None = None
        self._tail = self._flat()

    def __len__(self) -> int:
        return sum(len(part) for part in self._parts)

    @property
    def degraded(self) -> str:
        """`exact` while so much waits for a graph that answers get slower."""
        return "exact" if sum(len(part) for part in self._exact) >= self.seal_rows else ""

    def ids(self) -> Ids:
        return np.sort(np.concatenate([part.ids() for part in self._parts]))

    def add(self, ids: ArrayLike, vectors: ArrayLike) -> None:
        keys, rows = usable_pairs(ids, vectors, self.dimensions)
        self._kill(keys)
        self._tail.add(keys, rows)

    def remove(self, ids: ArrayLike) -> int:
        keys = usable_ids(ids)
        return self._tail.remove(keys) + self._kill(keys)

    def search(self, queries: ArrayLike, k: int) -> tuple[Ids, Scores]:
        rows = usable_vectors(queries, self.dimensions)
        if k < 0:
            raise ValueError(f"k is {k}")
        if k == 0 or len(rows) == 0 or len(self) == 0:
            return nothing(len(rows))
        exact = [part.search(rows, k) for part in self._exact]
        return merge([*exact, *(segment.nearest(rows, k) for segment in self._segments)], k)

    def search_among(self, queries: ArrayLike, ids: ArrayLike, k: int) -> tuple[Ids, Scores]:
        rows, keys = usable_vectors(queries, self.dimensions), usable_ids(ids)
        exact = [part.search_among(rows, keys, k) for part in self._exact]
        return merge([*exact, *(each.among(rows, keys, k) for each in self._segments)], k)

    def save(self, directory: Path) -> None:
        for name, part in zip(("tail", "sealing"), self._exact, strict=False):
            (directory / name).mkdir()
            part.save(directory / name)
        for segment in self._segments:
            home = directory / "segments" / segment.name
            home.mkdir(parents=True)
            segment.link_into(home)

    def load(self, directory: Path) -> None:
        tail = self._flat()
        tail.load(directory / "tail")
        if (directory / "sealing").is_dir():
            sealing = self._flat()
            sealing.load(directory / "sealing")
            for ids, vectors in sealing.parts():
                tail.add(ids, vectors)
        segments = [
            # The snapshot has compared every hash before it let us in.
            Segment.open(home, self.dimensions, threads=self.threads, verify=False)
            for home in sorted((directory / "segments").glob("*"))
        ]
        everything = np.concatenate([tail.ids(), *(segment.ids() for segment in segments)])
        if len(np.unique(everything)) != len(everything):
            raise SnapshotBroken(f"{directory}: an id stands in two parts")
        self._tail, self._sealing, self._segments = tail, None, segments

    def statistics(self) -> Statistics:
        return Statistics(
            self.backend,
            self.dimensions,
            len(self),
            sum(part.statistics().memory for part in self._exact)
            + sum(segment.memory for segment in self._segments),
            sealed=sum(len(segment) for segment in self._segments),
            segments=len(self._segments),
            dead=sum(segment.dead for segment in self._segments),
        )

    # ── sealing ─────────────────────────────────────────────────────────────────────────────

    @property
    def due(self) -> bool:
        """Enough has come together for a graph, and none is being built."""
        return self._sealing is None and len(self._tail) >= self.seal_rows

    @property
    def frozen(self) -> int:
        """Vectors that wait for their graph; 0 again when they are all gone without it."""
        return 0 if self._sealing is None else len(self._sealing)

    def absorb(self) -> bool:
        """Move some thousand vectors out of a worn graph into the tail.

        A graph is worn when less than half of it is alive; so the dead are not carried for ever.

        Returns:
            False when no graph is worn.
        """
        worn = next((each for each in self._segments if len(each) < each.dead), None)
        if worn is None:
            return False
        some = next(worn.rows(), None)
        if some is None:
            self._segments.remove(worn)
        else:
            self.add(*some)
        return True

    def begin_seal(self) -> int:
        """Freeze the tail; at once, whatever it holds.

        Returns:
            the number of vectors to be built.

        Raises:
            SealRefused: a seal is under way, or there is nothing to seal.
        """
        if self._sealing is not None:
            raise SealRefused("a graph is being built already")
        if not len(self._tail):
            raise SealRefused("there is nothing to seal")
        self._sealing, self._tail = self._tail, self._flat()
        return len(self._sealing)

    def write_frozen(self, directory: Path) -> None:
        """Write the frozen part into the empty *directory*, for the builder.

        May run beside searches, as `save`.

        Raises:
            SealRefused: nothing is frozen.
            OSError: the files cannot be written; nothing has changed.
        """
        if self._sealing is None:
            raise SealRefused("no graph is being built")
        self._sealing.save(directory)

    def finish_seal(self, segment: Segment) -> None:
        """Let *segment* answer for the frozen part from now on.

        Raises:
            SealRefused: it is not the graph of the frozen part; nothing has changed.
        """
        if self._sealing is None:
            raise SealRefused("no graph is being built")
        frozen = self._sealing.ids()
        if len(np.setdiff1d(frozen, segment.ids(), assume_unique=True)):
            raise SealRefused("the graph lacks vectors of the frozen part")
        segment.kill(np.setdiff1d(segment.ids(), frozen, assume_unique=True))
        self._segments.append(segment)
        self._sealing = None

    @property
    def _exact(self) -> tuple[FlatIndex, ...]:
        return (self._tail,) if self._sealing is None else (self._tail, self._sealing)

    @property
    def _parts(self) -> list[FlatIndex | Segment]:
        return [*self._exact, *self._segments]

    def _flat(self) -> FlatIndex:
        return FlatIndex(self.dimensions, threads=self.threads, block_rows=self.block_rows)

    def _kill(self, ids: Ids) -> int:
        """Take *ids* out of everything but the tail."""
        killed = sum(segment.kill(ids) for segment in self._segments)
        if self._sealing is not None:
            killed += self._sealing.remove(ids)
            if not len(self._sealing):
                self._sealing = None
        return killed
