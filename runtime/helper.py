"""A helper: one long computation that an actor gives to a process of its own.

For what would hold up the actor, or could take it down with it.  A helper is no child of the
supervisor: it has no socket and no mailbox, nobody restarts it, and its answer is its exit code
and what it leaves on the disk.  It dies with the actor, by the three ties of `orphan`; its
stdin is the lifeline.  It leads a session of its own, or stepping back would slow down the
actor as well (see `priority`).

Its side is a module whose first lines are

    from runtime.orphan import die_with
    if __name__ == "__main__":
        die_with(int(sys.argv[1]))

and which calls `hold` on descriptor 0 in a thread.
"""

import contextlib
import os
import signal
import subprocess
import sys

import anyio

from runtime.process import ABANDON_S


async def run_helper(module: str, *arguments: str) -> int:
    """Run `python -m module PARENT arguments…` to its end; killed when this is cancelled.

    Call it from the main thread: see `process` for what becomes of children of other threads.
    What the helper writes goes where the actor's own output goes.

    Returns:
        its return code, negative for a signal.

    Raises:
        OSError: it could not be started.
    """
    helper = subprocess.Popen(  # noqa: ASYNC220 - see above
        [sys.executable, "-P", "-m", module, str(os.getpid()), *arguments],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    assert helper.stdin is not None
    pidfd = os.pidfd_open(helper.pid)
    try:
        await anyio.wait_readable(pidfd)
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(helper.pid, signal.SIGKILL)
        # one in uninterruptible sleep ignores KILL; nobody waits for it for ever
        with anyio.CancelScope(shield=True), anyio.move_on_after(ABANDON_S):
            await anyio.wait_readable(pidfd)
        code = helper.poll()
        os.close(pidfd)
        helper.stdin.close()
    assert code is not None, "it was awaited"
    return code
