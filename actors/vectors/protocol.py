"""What every vector index can do, whatever answers inside.

An index holds the vectors of one space, keyed by the catalog's content ids, and knows nothing
of photos, files or models.  It is a view of the catalog: it may be thrown away at any time.

Contract, common to all:

1. Vectors are compared by inner product, kept in half precision.  Unit vectors in, cosines
   out; an error of one component is at most 2⁻¹¹ of it, of a cosine about 10⁻⁴.
2. The last vector given for an id counts.
3. An answer lists the best first; equal scores are listed by id, ascending.  An exact index
   also decides by id who of several equals is listed at all, so its answers depend on what
   it holds and not on the order it came in.
4. One owner: no call may run beside another.  Searching from two threads is a bug, even where
   today's libraries forgive it.  One exception: `save` may run beside searches, since both only
   read; writing a gigabyte must not hold up a question.  `shared` keeps this rule.
"""

from pathlib import Path
from typing import Protocol, TypeAlias

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from actors.vectors.errors import NotFinite, WrongShape

Ids: TypeAlias = NDArray[np.int64]
Vectors: TypeAlias = NDArray[np.float32]
Scores: TypeAlias = NDArray[np.float32]

LARGEST_HALF = 65504.0


class Statistics(msgspec.Struct, frozen=True):
    """What an index holds and costs."""

    backend: str
    dimensions: int
    vectors: int  #: that can be found
    memory: int  #: bytes, without the interpreter and the libraries
    sealed: int = 0  #: of the vectors, those in graphs
    segments: int = 0  #: graphs
    dead: int = 0  #: vectors in graphs that are no longer found


class VectorIndex(Protocol):
    """The nearest-neighbour index of one space; the contract is at the head of the module."""

    @property
    def backend(self) -> str:
        """Name of the kind: a snapshot is read by the kind that wrote it."""

    @property
    def dimensions(self) -> int:
        """Components of every vector."""

    @property
    def degraded(self) -> str:
        """Why answers are slower than they should be, "" when they are not."""

    def __len__(self) -> int: ...

    def ids(self) -> Ids:
        """All ids, ascending."""

    def add(self, ids: ArrayLike, vectors: ArrayLike) -> None:
        """Put in the vectors float32 [n, dimensions] under the ids int64 [n].

        Raises:
            WrongShape: or an id below 0; nothing was put in.
            NotFinite: nothing was put in.
        """

    def remove(self, ids: ArrayLike) -> int:
        """Take out the ids [n]; how many of them were there."""

    def search(self, queries: ArrayLike, k: int) -> tuple[Ids, Scores]:
        """The *k* nearest of each of the queries float32 [q, dimensions].

        Returns:
            ids int64 [q, k'] and scores float32 [q, k'], where k' is the smaller of *k* and
            the number of vectors.

        Raises:
            WrongShape, NotFinite: the queries are unusable.
            ValueError: *k* is below 0.
        """

    def search_among(self, queries: ArrayLike, ids: ArrayLike, k: int) -> tuple[Ids, Scores]:
        """The *k* nearest among *ids* [n], by comparing all of those that are there.

        Returns:
            as `search`, where k' is the smaller of *k* and how many of *ids* are there.

        Raises:
            as `search`.
        """

    def save(self, directory: Path) -> None:
        """Write all files into the empty *directory*; `snapshot` makes them durable."""

    def load(self, directory: Path) -> None:
        """Hold exactly what was saved, in place of what was held.

        Raises:
            SnapshotBroken: and what was held is still held.
        """

    def statistics(self) -> Statistics: ...


def usable_vectors(vectors: ArrayLike, dimensions: int) -> Vectors:
    """*vectors* as contiguous float32 [n, dimensions].

    Raises:
        WrongShape: they are not of that shape.
        NotFinite: the first row that half precision cannot hold.
    """
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    if rows.ndim != 2 or rows.shape[1] != dimensions:
        raise WrongShape(f"vectors are {list(rows.shape)}, this index takes [n, {dimensions}]")
    # NaN fails the comparison, too, which a test for "too large" would let pass.
    fits = np.abs(rows) <= LARGEST_HALF
    if not fits.all():
        row, column = np.argwhere(~fits)[0]
        raise NotFinite(f"vector {row} holds {rows[row, column]} at component {column}")
    return rows


def usable_ids(ids: ArrayLike) -> Ids:
    """*ids* as int64 [n].

    Raises:
        WrongShape: they are no list of whole numbers from 0.
    """
    given = np.asarray(ids)
    if given.size == 0:
        given = given.astype(np.int64)
    if given.ndim != 1 or not np.issubdtype(given.dtype, np.integer):
        raise WrongShape(f"ids are {given.dtype} {list(given.shape)}, not int64 [n]")
    plain = given.astype(np.int64)
    if plain.size and int(plain.min()) < 0:
        raise WrongShape(f"ids start at 0, {plain.min()} was given")
    return plain


def usable_pairs(ids: ArrayLike, vectors: ArrayLike, dimensions: int) -> tuple[Ids, Vectors]:
    """Both of the above, one id a vector.

    Raises:
        WrongShape: also when their numbers differ.
        NotFinite: see `usable_vectors`.
    """
    keys = usable_ids(ids)
    rows = usable_vectors(vectors, dimensions)
    if len(keys) != len(rows):
        raise WrongShape(f"{len(keys)} ids came with {len(rows)} vectors")
    return keys, rows
