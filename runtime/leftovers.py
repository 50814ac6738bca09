"""Processes that should be dead: what dead children left behind, and what dead runs did.

A child is bound to its supervisor in its own first lines (`orphan`), and what it starts dies
with its process group.  Two kinds slip through: a grandchild that left the group for a session
of its own, and a grandchild whose supervisor was killed, since PR_SET_PDEATHSIG is not
inherited.  The first becomes the supervisor's child, because that is made the subreaper of its
descendants; the second is found by the next run.

Both are recognised by a mark in their environment, which every descendant inherits: the run
directory, and pid and start time of the supervisor.  Nobody is killed on the word of a pid: the
process is pinned by a pidfd first and its mark read after that, so that the mark read is the
mark of the process killed.  A mark whose supervisor lives is nobody's leftover.
"""

import contextlib
import ctypes
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec

from runtime.vitals import start_time

VARIABLE = "ACTOR_RUN"
_PR_SET_CHILD_SUBREAPER = 36


class Mark(msgspec.Struct, frozen=True):
    """Which run a process belongs to."""

    run_dir: str
    supervisor: int
    started: int  #: of the supervisor, clock ticks since boot

    def __str__(self) -> str:
        return f"{self.supervisor}:{self.started}:{self.run_dir}"

    @classmethod
    def of_this_process(cls, run_dir: Path) -> "Mark":
        """What the supervisor of *run_dir*, which is this process, writes on its children."""
        started = start_time(os.getpid())
        assert started is not None, "this process exists"
        return cls(str(run_dir), os.getpid(), started)

    @classmethod
    def of(cls, pid: int) -> "Mark | None":
        """The mark of process *pid*, None when it has none or is not ours to look at."""
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return None
        start = VARIABLE.encode() + b"="
        for each in environment.split(b"\0"):
            if each.startswith(start):
                supervisor, _, rest = os.fsdecode(each[len(start) :]).partition(":")
                started, _, run_dir = rest.partition(":")
                if supervisor.isdigit() and started.isdigit():
                    return cls(run_dir, int(supervisor), int(started))
        return None

    @property
    def base(self) -> str:
        """What the run directories of one data directory have in common, "" for none."""
        return self.run_dir.rpartition("-")[0]

    @property
    def alive(self) -> bool:
        return start_time(self.supervisor) == self.started


@contextlib.contextmanager
def adopting() -> Iterator[None]:
    """Be the parent of every descendant that loses its own, while the block runs."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def bury_adopted(mark: Mark, own: set[int]) -> list[int]:
    """Kill and reap the orphans that this process has become the parent of.

    Call it after the death of a child, whose children have been adopted by then, and again
    until it finds nobody, since those it kills take a moment to die.

    Args:
        mark: what this process writes on its children.
        own: the children it started itself and has not reaped yet.

    Returns:
        the pids that it killed or reaped.
    """
    found = []
    for pid in _processes():
        seen = _look(pid)
        # Our children lead sessions of their own, so nobody who comes from one of them is in
        # ours; whatever else this process may start, usually is.
        if seen is None or seen.parent != os.getpid() or seen.session == os.getsid(0) or pid in own:
            continue
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            if seen.state == "Z":
                os.waitpid(pid, os.WNOHANG)
            elif Mark.of(pid) == mark:
                os.kill(pid, signal.SIGKILL)  # not reaped yet, so the pid is still its own
            else:
                continue
            found.append(pid)
    return found


def kill_leftovers(mark: Mark) -> list[int]:
    """Kill what earlier runs on the same data left behind; call it with the data locked."""
    killed = []
    for pid in _processes():
        if pid == os.getpid():
            continue
        try:
            pinned = os.pidfd_open(pid)
        except OSError:
            continue
        try:
            theirs = Mark.of(pid)
            if theirs is not None and mark.base and theirs.base == mark.base and not theirs.alive:
                signal.pidfd_send_signal(pinned, signal.SIGKILL)
                killed.append(pid)
        except (ProcessLookupError, PermissionError):
            continue
        finally:
            os.close(pinned)
    return killed


def _processes() -> Iterator[int]:
    return (int(each.name) for each in os.scandir("/proc") if each.name.isdigit())


class _Seen(msgspec.Struct, frozen=True):
    state: str
    parent: int
    session: int


def _look(pid: int) -> _Seen | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, parent, _group, session, _ = text[text.rindex(b")") + 2 :].split(None, 4)
    return _Seen(state.decode(), int(parent), int(session))
