"""What the kernel knows of a process: its state, its processor time, who ran out of memory.

Files below `/proc/<pid>` are opened once an incarnation and read again and again: a descriptor
belongs to that very process, so a recycled pid can never be mistaken for it.
"""

import contextlib
import os
from pathlib import Path

import msgspec

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class Vital(msgspec.Struct, frozen=True, gc=False):
    state: str  #: R running, S sleeping, D waiting for a device, T stopped, Z dead, …
    cpu_s: float  #: user and system, of all threads
    waited_s: float  #: that its main thread could have run and had no processor


class Vitals:
    """One process, watched."""

    def __init__(self, pid: int) -> None:
        self._descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        self._schedule: int | None = None
        with contextlib.suppress(FileNotFoundError):  # an option of the kernel, nearly always on
            self._schedule = os.open(f"/proc/{pid}/schedstat", os.O_RDONLY | os.O_CLOEXEC)

    def read(self) -> Vital | None:
        """How it is now; None once it is gone."""
        try:
            text = os.pread(self._descriptor, 1024, 0)
            waited = os.pread(self._schedule, 96, 0).split()[1] if self._schedule else b"0"
        except ProcessLookupError:
            return None
        # the name, in parentheses, may hold anything; state is field 3, the times are 14 and 15
        fields = text[text.rindex(b")") + 2 :].split(None, 13)
        cpu_s = (int(fields[11]) + int(fields[12])) * _TICK_S
        return Vital(fields[0].decode(), cpu_s, int(waited) * 1e-9)

    def close(self) -> None:
        os.close(self._descriptor)
        if self._schedule is not None:
            os.close(self._schedule)


def start_time(pid: int) -> int | None:
    """When process *pid* began, in clock ticks since boot; None when there is no such process.

    Pid and start time together name a process for ever.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(text[text.rindex(b")") + 2 :].split(None, 20)[19])


class OomWatch:
    """Counts the processes that the kernel killed for want of memory.

    The counter is the machine's: the one of our own control group misses those who were put
    into a group of their own, and does not exist everywhere.  A neighbour's death in the very
    half second in which one of ours was killed by hand is taken for ours; nothing follows from
    it but a smaller batch.
    """

    def __init__(self) -> None:
        self._descriptor: int | None = None
        with contextlib.suppress(OSError):  # hidden in some containers: then nobody is told apart
            self._descriptor = os.open("/proc/vmstat", os.O_RDONLY | os.O_CLOEXEC)
        self._kills = self._read()

    def _read(self) -> int:
        if self._descriptor is None:
            return 0
        text = os.pread(self._descriptor, 1 << 16, 0)
        at = text.find(b"\noom_kill ")
        return int(text[at + 10 :].split(None, 1)[0]) if at >= 0 else 0

    def look(self) -> int:
        """How many since the last look."""
        before, self._kills = self._kills, self._read()
        return self._kills - before

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
