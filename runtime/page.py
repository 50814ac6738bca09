"""The page a child shares with its supervisor: what it is doing, readable after its death.

A message "I start task 7 now" can die with the process that sent it, in the very crash it
should explain.  A memory-mapped file does not: the kernel keeps what the child wrote last.
The writer makes the sequence number odd while it writes (a seqlock); a reader that finds it
odd after the writer's death takes what is there, since ids are written before their count.
"""

import mmap
import os
import struct
from pathlib import Path

import msgspec

_SIZE = 4096
_HEAD = struct.Struct("<QQ16sI")  # sequence, monotonic ns of the change, phase, number of ids
MOST_IDS = (_SIZE - _HEAD.size) // 8


class Snapshot(msgspec.Struct, frozen=True):
    sequence: int
    changed_ns: int  #: CLOCK_MONOTONIC
    phase: str
    executing: list[int]


class Page:
    """One 4 KiB file; the child writes, the supervisor reads."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        flags = os.O_RDWR | (os.O_CREAT | os.O_TRUNC if create else 0)
        descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
        try:
            if create:
                os.ftruncate(descriptor, _SIZE)
            self._map = mmap.mmap(descriptor, _SIZE)
        finally:
            os.close(descriptor)
        self._sequence = 0

    def write(self, now_ns: int, phase: str, executing: list[int]) -> None:
        """Say that *executing* are in hand from now on; beyond `MOST_IDS` only the first count."""
        ids = executing[:MOST_IDS]
        self._sequence += 1
        struct.pack_into("<Q", self._map, 0, self._sequence)
        struct.pack_into(f"<{len(ids)}Q", self._map, _HEAD.size, *ids)
        self._sequence += 1
        _HEAD.pack_into(self._map, 0, self._sequence, now_ns, phase.encode()[:16], len(ids))

    def read(self) -> Snapshot:
        sequence, changed_ns, phase, count = _HEAD.unpack_from(self._map, 0)
        ids = struct.unpack_from(f"<{min(count, MOST_IDS)}Q", self._map, _HEAD.size)
        text = phase.rstrip(b"\0").decode(errors="replace")
        return Snapshot(sequence, changed_ns, text, list(ids))

    def close(self) -> None:
        self._map.close()
