"""`stop`: end the running system in order, and wait until it has.

By a signal to the process that holds the lock of the data directory, and not by a message: it is
heard while the system is starting and before `run.json` is written, by a supervisor whose
gateway is down, and it is the same orderly stop as Ctrl-C.  What makes it safe is the lock.  The
kernel gives it up when its holder dies, so while it is held the number in the file is that of a
living supervisor of ours; and a descriptor of the process, opened before the lock is looked at,
makes sure that this very process hears the signal and not a later one with its number.

Asking twice is like pressing Ctrl-C twice: the second ends the system at once.
"""

import fcntl
import os
import select
import signal
import sys
from pathlib import Path

from actors.cli.common import (
    EXIT_NO_PERMISSION,
    EXIT_NOT_RUNNING,
    EXIT_TRY_AGAIN,
    DataOption,
    fail,
)
from actors.client import NotRunning, default_data

WAIT_S = 25.0


def stop(data: DataOption = None) -> None:
    """Stop the running system in order, and wait until it has."""
    folder = data or default_data()
    try:
        process = _supervisor(folder / "lock")
    except PermissionError as error:
        fail(f"stop: {error.filename or folder}: {error.strerror}", EXIT_NO_PERMISSION)
    if process is None:
        fail(str(NotRunning(folder)), EXIT_NOT_RUNNING)
    pid, descriptor = process
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        if not _ends(descriptor, WAIT_S):
            fail(
                f"process {pid} is still stopping after {WAIT_S:.0f} s; "
                "`stop` once more ends it at once, and the next start resumes",
                EXIT_TRY_AGAIN,
            )
    except ProcessLookupError:
        pass  # it has just ended
    except PermissionError:
        fail(f"stop: process {pid} belongs to another user", EXIT_NO_PERMISSION)
    finally:
        os.close(descriptor)
    sys.stdout.write("stopped\n")


def _supervisor(lock: Path) -> tuple[int, int] | None:
    """Process id and descriptor of who holds *lock*; None when nobody does."""
    try:
        file = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        text = os.read(file, 32).decode(errors="replace").strip()
        try:
            process = os.pidfd_open(int(text))
        except (ValueError, ProcessLookupError):
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(text), process
        os.close(process)  # a stranger with the number of a dead supervisor
        return None
    finally:
        os.close(file)


def _ends(process: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(process, select.POLLIN)
    return bool(poll.poll(seconds * 1000))
