"""Nobody of ours outlives who started it: the first lines of every process.

Three things tie a process to its parent, because each alone fails: PR_SET_PDEATHSIG (needs no
GIL, but has a race at birth), a check of the parent's pid right after (closes the race), and
the lifeline, a pipe whose end of file says that the parent is gone (portable, but needs a GIL).

Imports next to nothing, so that the time in which an orphan could survive is the interpreter's
own start: `die_with` comes before every heavy import.
"""

import ctypes
import os
import signal

EXIT_ORPHAN = 233
_PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Be killed when the process *parent* dies, or end now when it is dead already."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the line above
        os._exit(EXIT_ORPHAN)


def hold(lifeline: int) -> None:
    """Block until the parent's end of the pipe is closed, which is its death; then end."""
    while os.read(lifeline, 1):
        pass
    os._exit(EXIT_ORPHAN)
