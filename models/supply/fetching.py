"""One file of the hub into a folder: gone on with where it was cut, and only ever whole.

Bytes go to `FILE.part`, unbuffered, so that a kill loses none of them; the next call asks for
the rest.  `FILE` itself appears by a rename, after its length and checksum are those the hub
named.  Wrong bytes are removed at once: kept, they would be gone on with for ever.

A hub that goes away meanwhile is asked again by itself, at once while bytes keep coming and
after a growing pause when none did.
"""

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from models.supply.errors import Corrupt, HubCut, HubUnreachable, RangeRefused
from models.supply.lock import LockedFile

if TYPE_CHECKING:
    from models.supply.hub import Hub, Remote, Snapshot

#: seconds between tries that brought nothing; then it is given up
PAUSES = (0.0, 1.0, 2.0, 4.0, 8.0)
PART = ".part"
_SLICE = 1 << 20

#: told how many bytes were gained; fewer than none where a file is begun anew
Heard = Callable[[int], None]


class Checksums:
    """The two hashes by which a hub may name a content, over bytes as they come."""

    def __init__(self, size: int) -> None:
        self.size = 0
        self._sha256 = hashlib.sha256()
        # Git's name of a file; no protection against malice, and the hub offers nothing better
        # for small files.  Their sha256 is in models.lock from the first pull on.
        self._blob = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)

    @classmethod
    def of(cls, path: Path, size: int) -> Self:
        """Of the file at *path*, taken as one of *size* bytes.

        Raises:
            OSError: it cannot be read.
        """
        sums = cls(size)
        with path.open("rb") as stream:
            while piece := stream.read(_SLICE):
                sums.add(piece)
        return sums

    def add(self, piece: bytes) -> None:
        self.size += len(piece)
        self._sha256.update(piece)
        self._blob.update(piece)

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    def match(self, file: "Remote") -> bool:
        """Are these the bytes the hub names?"""
        if file.sha256 and file.sha256 != self.sha256:
            return False
        if file.blob and file.blob != self._blob.hexdigest():
            return False
        return self.size == file.size


def fetch(
    hub: "Hub",
    snapshot: "Snapshot",
    file: "Remote",
    folder: Path,
    heard: Heard,
    *,
    pause: Callable[[float], None] = time.sleep,
) -> LockedFile:
    """*file* of *snapshot* in *folder*, whole; what is there of it already is not fetched again.

    Raises:
        Corrupt: its bytes are not those the hub names; they are removed.
        SupplyError: the hub does not give it; what came stays for the next try.
        OSError: the disk does not take it.
    """
    whole = folder / file.path
    part = whole.with_name(whole.name + PART)
    part.parent.mkdir(parents=True, exist_ok=True)
    if whole.exists():  # a pull that was ended between two files
        whole.replace(part)
    with part.open("ab", buffering=0) as target:
        sums = Checksums.of(part, file.size)
        heard(sums.size)
        transfer = _Transfer(hub, snapshot, file, target.fileno(), sums, heard)
        transfer.complete(pause)
        os.fsync(target.fileno())
    sums = transfer.sums
    if not sums.match(file):
        part.unlink()
        heard(-sums.size)
        raise Corrupt(
            f"{file.path} of {snapshot.repo} came with sha256 {sums.sha256} in {sums.size} bytes"
            f" instead of {_named(file)} in {file.size}: removed; pull again"
        )
    part.replace(whole)
    return LockedFile(file.path, file.size, sums.sha256)


@dataclass
class _Transfer:
    """A file on its way to the descriptor *target*, which has the bytes of *sums*."""

    hub: "Hub"
    snapshot: "Snapshot"
    file: "Remote"
    target: int
    sums: Checksums
    heard: Heard

    def complete(self, pause: Callable[[float], None]) -> None:
        """Append until the file has its length, or more than that."""
        fruitless = 0
        most = self.sums.size  # a hub that has to begin anew may not count the same bytes again
        while self.sums.size < self.file.size:
            try:
                self._append()
            except HubUnreachable as error:
                fruitless = 0 if self.sums.size > most else fruitless + 1
                most = max(most, self.sums.size)
                if isinstance(error, RangeRefused):
                    self._empty()
                if fruitless > len(PAUSES):
                    raise
                if fruitless:
                    pause(PAUSES[fruitless - 1])

    def _append(self) -> None:
        with self.hub.stream(self.snapshot, self.file, self.sums.size) as (first, chunks):
            if first != self.sums.size:  # no ranges here: from the beginning
                self._empty()
            for chunk in chunks:
                rest = memoryview(chunk)
                while rest:
                    rest = rest[os.write(self.target, rest) :]
                self.sums.add(chunk)
                self.heard(len(chunk))
                if self.sums.size > self.file.size:
                    return  # not what was announced; no reason to fill the disk with it
        if self.sums.size < self.file.size:
            raise HubCut(
                f"{self.hub.address} ended {self.file.path} after {self.sums.size} of"
                f" {self.file.size} bytes"
            )

    def _empty(self) -> None:
        os.ftruncate(self.target, 0)
        self.heard(-self.sums.size)
        self.sums = Checksums(self.file.size)


def _named(file: "Remote") -> str:
    return file.sha256 or f"git's {file.blob}"
