"""What can be wrong with vectors and their files.

    VectorError
    ├─ WrongShape          dimensions or counts do not fit      whoever made the vectors
    ├─ NotFinite           NaN, infinity, beyond half precision whoever made the vectors
    ├─ SealRefused         a seal begun twice, or not begun     the owner of the index
    └─ SnapshotBroken      files are damaged or foreign         the host: rebuild the index
       └─ SnapshotMissing  there are none yet                   nobody: build the index

Nothing is lost by any of them: vectors are kept by the catalog, an index is a view.
"""


class VectorError(Exception):
    """Base of all errors of the vector index."""


class WrongShape(VectorError):
    """Vectors are not [n, dimensions], or ids are not n whole numbers from 0."""


class NotFinite(VectorError):
    """A component is NaN, infinite, or beyond 65504, the largest half-precision number."""


class SealRefused(VectorError):
    """One part at a time is turned into a graph."""


class SnapshotBroken(VectorError):
    """The files cannot be trusted; the index has to be built again from the catalog."""


class SnapshotMissing(SnapshotBroken):
    """No snapshot was written yet."""
