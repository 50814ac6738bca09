"""Yielding the processor and the disk to whoever wants them."""

import contextlib
import ctypes
import os
import platform
from pathlib import Path

LOWEST = 19  #: nice value that also means idle I/O here

_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}
_IOPRIO_IDLE = 3 << 13


def step_back(nice: int) -> None:
    """Yield the processor, and at `LOWEST` the disk as well, to whoever wants it.

    Expects to be called once, in a session of its own.
    """
    if nice:
        os.nice(nice)
        # Every child leads a session of its own, and where the kernel groups sessions
        # (sched_autogroup, on by default) nice counts inside a session only; between them
        # the group's own nice value does.
        with contextlib.suppress(OSError):
            Path("/proc/self/autogroup").write_text(str(nice), encoding="ascii")
    number = _IOPRIO_SET.get(platform.machine())
    if nice == LOWEST and number is not None:
        ctypes.CDLL(None).syscall(number, 1, 0, _IOPRIO_IDLE)
