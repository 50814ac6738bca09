"""The page a child shares with its supervisor: what it is doing, readable after its death.

A message "I start task 7 now" can die with the process that sent it, in the very crash it
should explain.  A memory-mapped file does not: the kernel keeps what the child wrote last.
The same page says, without a system call on either side, that the child lives: its ticks.

    word     written by   meaning
    ───────  ───────────  ─────────────────────────────────────────────────────────────────
    0        the loop     sequence: odd while words 1–5 and the ids change (a seqlock)
    1        the loop     since when, CLOCK_MONOTONIC ns (comparable between processes)
    2        the loop     deadline of the phase, likewise; 0 = none was named
    3        the loop     number of ids
    4–5      the loop     name of the phase, 16 bytes
    6        the loop     `Stage`
    7        a thread     its last tick: old when somebody keeps the GIL
    8        the loop     its last tick: old when the loop is blocked
    9 …      the loop     ids in hand
    511      the loop     number of ids that were finished

Words are written whole.  A reader that finds the sequence odd after the writer's death takes
what is there, since ids are written before their count.  A reader of a living child tries
again; on a machine that reorders stores it may still see a mixture, which is one more reason
why no verdict is passed on a single look.
"""

import mmap
import os
import struct
from enum import IntEnum
from pathlib import Path

import msgspec

_SIZE = 4096
_SINCE, _DEADLINE, _COUNT, _NAME, _STAGE, _THREAD, _LOOP, _IDS = 1, 2, 3, 4, 6, 7, 8, 9
_FINISHED = _SIZE // 8 - 1
_NAME_BYTES = slice(_NAME * 8, _STAGE * 8)
_HEAD = struct.Struct("=QQQ16s")  # words 1 to 5; a longer name is cut
MOST_IDS = _FINISHED - _IDS
#: between two ticks of a thread or a loop
TICK_S = 0.5
#: looks at a page that keeps changing before taking what is there
_ATTEMPTS = 3


class Stage(IntEnum):
    """How far a child says it has come."""

    SPAWNED = 0
    LOADING = 1
    WARMING = 2
    READY = 3
    DRAINING = 4


class Glance(msgspec.Struct, frozen=True, gc=False):
    """What the supervisor looks at twice a second."""

    sequence: int  #: grows with each change of what follows
    since_ns: int
    deadline_ns: int  #: 0 = none
    count: int  #: ids in hand
    stage: int
    thread_ns: int
    loop_ns: int


class Snapshot(msgspec.Struct, frozen=True):
    sequence: int
    changed_ns: int  #: CLOCK_MONOTONIC
    phase: str
    executing: list[int]
    deadline_ns: int = 0
    finished: int = 0  #: ids, in this incarnation


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
        self._words = memoryview(self._map).cast("Q")
        self._sequence = self._words[0] & ~1

    def write(self, now_ns: int, phase: str, executing: list[int], deadline_ns: int = 0) -> None:
        """Say that *executing* are in hand from now on; beyond `MOST_IDS` only the first count."""
        ids = executing[:MOST_IDS]
        self._words[0] = self._sequence + 1
        if ids:
            struct.pack_into(f"={len(ids)}Q", self._map, _IDS * 8, *ids)
        _HEAD.pack_into(self._map, 8, now_ns, deadline_ns, len(ids), phase.encode())
        self._sequence = self._words[0] = self._sequence + 2

    def finish(self, ids: int) -> None:
        """Count that many *ids* more as finished: whoever wrote this is able to work."""
        self._words[_FINISHED] += ids

    def stage(self, stage: Stage) -> None:
        self._words[_STAGE] = stage

    def tick_thread(self, now_ns: int) -> None:
        self._words[_THREAD] = now_ns

    def tick_loop(self, now_ns: int) -> None:
        self._words[_LOOP] = now_ns

    def glance(self) -> Glance:
        """Everything but names and ids, for little."""
        words = self._words
        for _ in range(_ATTEMPTS):
            sequence = words[0]
            seen = words[:_IDS].tolist()
            if sequence == seen[0] == words[0] and not sequence & 1:
                break
        return Glance(
            seen[0],
            seen[_SINCE],
            seen[_DEADLINE],
            seen[_COUNT],
            seen[_STAGE],
            seen[_THREAD],
            seen[_LOOP],
        )

    def read(self) -> Snapshot:
        for _ in range(_ATTEMPTS):
            seen = self._words.tolist()
            name = self._map[_NAME_BYTES]
            if seen[0] == self._words[0] and not seen[0] & 1:
                break
        text = name.rstrip(b"\0").decode(errors="replace")
        ids = seen[_IDS : _IDS + min(seen[_COUNT], MOST_IDS)]
        return Snapshot(seen[0], seen[_SINCE], text, ids, seen[_DEADLINE], seen[_FINISHED])

    def close(self) -> None:
        self._words.release()
        self._map.close()
