"""Files that are either whole or known to be broken, and rows of vectors in them."""

import os
from collections.abc import Iterable
from pathlib import Path

import blake3
import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.vectors.errors import SnapshotBroken
from actors.vectors.protocol import Ids

IDS_FILE = "ids.i64"  # little-endian int64, back to back
VECTORS_FILE = "vectors.f16"  # little-endian halves, row after row


class DataFile(msgspec.Struct, frozen=True):
    """What a file has to be."""

    name: str  #: relative to the directory it was found in, with slashes
    size: int  #: bytes
    blake3: str

    def check(self, directory: Path) -> None:
        """Pass when the file in *directory* is what it was.

        Raises:
            SnapshotBroken: it is missing or damaged.
        """
        path = directory / self.name
        try:
            size = path.stat().st_size
            if size != self.size:
                raise SnapshotBroken(f"{path}: {size} bytes instead of {self.size}")
            if digest(path) != self.blake3:
                raise SnapshotBroken(f"{path}: the content is damaged")
        except OSError as error:
            raise SnapshotBroken(f"{path}: {error.strerror}") from error


def digest(path: Path) -> str:
    """BLAKE3 of the file, in hex."""
    return blake3.blake3().update_mmap(path).hexdigest()


def sync(path: Path) -> None:
    """Wait until the file or directory is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def replace(path: Path, data: bytes) -> None:
    """Put *data* in the place of *path* in one step, durably."""
    new = path.with_name(path.name + ".new")
    new.write_bytes(data)
    sync(new)
    new.rename(path)
    sync(path.parent)


def write_rows(directory: Path, parts: Iterable[tuple[Ids, NDArray[np.float16]]]) -> None:
    """Write ids [n] and vectors [n, dimensions], part by part, into new files."""
    with (
        (directory / IDS_FILE).open("xb") as ids,
        (directory / VECTORS_FILE).open("xb") as vectors,
    ):
        for part_ids, part_vectors in parts:
            ids.write(np.ascontiguousarray(part_ids, "<i8").data)
            vectors.write(np.ascontiguousarray(part_vectors, "<f2").data)


def read_rows(directory: Path, dimensions: int) -> tuple[Ids, NDArray[np.float16]]:
    """What `write_rows` wrote: ids [n], and vectors [n, dimensions] mapped from the file.

    Raises:
        SnapshotBroken: the files are missing or do not fit each other.
    """
    try:
        ids = np.fromfile(directory / IDS_FILE, "<i8").astype(np.int64)
        size = (directory / VECTORS_FILE).stat().st_size
    except OSError as error:
        raise SnapshotBroken(f"{directory}: {error.strerror}") from error
    if size != len(ids) * dimensions * 2:
        raise SnapshotBroken(
            f"{directory / VECTORS_FILE}: {size} bytes are not {len(ids)} vectors"
            f" of {dimensions} components"
        )
    if size == 0:  # nothing to map
        return ids, np.empty((0, dimensions), np.float16)
    return ids, np.memmap(directory / VECTORS_FILE, "<f2", "r", shape=(len(ids), dimensions))
