"""One child process: born from the main thread, watched by pidfd, stopped by a ladder.

Births use `subprocess.Popen` and not anyio's or trio's `open_process`: those call Popen in a
worker thread, and PR_SET_PDEATHSIG fires when the *thread* that forked ends (on trio after
ten idle seconds).  No `preexec_fn` either, which may deadlock in a threaded parent; the child
arranges its own death in its first lines, see `entry`.

Three things tie a child to us, because each alone fails: PR_SET_PDEATHSIG (needs no GIL, but
has a race at birth), a check of the parent's pid right after (closes the race), and the
lifeline, a pipe whose end of file says that we are gone (portable, but needs a GIL).

Death is noticed by pidfd: it works the same on every loop, in about a millisecond, and the
dead child stays a zombie, its pid not recycled, until we have dealt with its descendants.
"""

import contextlib
import os
import signal
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import msgspec

from runtime.spec import Birth

#: after TERM, before KILL
TERM_S = 2.0
#: a process in uninterruptible sleep ignores KILL; nobody waits for it for ever
ABANDON_S = 5.0
TAIL_LINES = 30
LENGTH = struct.Struct("<I")

_ROOT = Path(__file__).resolve().parents[1]
_SIGNALS = {each.value: each.name for each in signal.Signals}
_EXITS = {
    0: "exit 0",
    70: "exit 70 (the GPU context is lost)",
    78: "exit 78 (configuration)",
    86: "exit 86 (planned recycle)",
    233: "exit 233 (the supervisor is gone)",
}


def describe(code: int) -> str:
    """A Popen return code in words."""
    if code < 0:
        return f"killed by {_SIGNALS.get(-code, f'signal {-code}')}"
    return _EXITS.get(code, f"exit {code}")


class Process:
    """A started child.  Make it with `spawn`, from the main thread."""

    def __init__(self, popen: "subprocess.Popen[bytes]", lifeline: int, birth: Birth) -> None:
        self.birth = birth
        self.name = birth.spec.name
        self.incarnation = birth.incarnation
        self.pid = popen.pid
        self._popen = popen
        self._lifeline = lifeline
        self._pidfd = os.pidfd_open(popen.pid)
        self.exited = anyio.Event()
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)

    @classmethod
    def spawn(cls, birth: Birth) -> "Process":
        reading, writing = os.pipe()
        try:
            environment = os.environ | {"PYTHONPATH": str(_ROOT)} | birth.spec.env
            popen = subprocess.Popen(
                # -P: a file named like one of our packages in the user's folder stays harmless
                [
                    *(sys.executable, "-P", "-m", "runtime.entry"),
                    *(birth.spec.name, str(reading), str(os.getpid())),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(reading,),
                env=environment,
            )
        except BaseException:
            os.close(writing)
            raise
        finally:
            os.close(reading)
        payload = msgspec.msgpack.encode(birth)
        # a child that died already makes this fail; its exit will tell the story
        with contextlib.suppress(BrokenPipeError):
            os.write(writing, LENGTH.pack(len(payload)) + payload)
        return cls(popen, writing, birth)

    async def wait(self) -> int:
        """The return code, once the process is gone; negative for a signal."""
        await anyio.wait_readable(self._pidfd)
        # a zombie keeps its pid and so its group: whatever the child started dies with it
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        code = self._popen.wait()  # returns at once
        self.exited.set()
        os.close(self._pidfd)
        os.close(self._lifeline)
        return code

    async def read_output(self, on_line: Callable[[str, str], None]) -> None:
        """Hand each line the child writes to *on_line*, and keep the last ones."""
        assert self._popen.stdout is not None
        with self._popen.stdout as pipe:
            os.set_blocking(pipe.fileno(), False)
            rest = b""
            while True:
                await anyio.wait_readable(pipe.fileno())
                chunk = os.read(pipe.fileno(), 65536)
                *lines, rest = (rest + chunk).split(b"\n")
                if not chunk and rest:
                    lines.append(rest)
                for line in lines:
                    text = line.decode(errors="replace")
                    self.tail.append(text)
                    on_line(self.name, text)
                if not chunk:
                    return

    def signal(self, number: int) -> None:
        """Signal the child and what it started; nothing when it is gone, and its pid with it."""
        if self.exited.is_set():
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    async def stop(self, ask: Callable[[], bool | Awaitable[bool]], ask_s: float) -> None:
        """Ask, wait *ask_s*, TERM, wait, KILL, wait; returns when it is gone or hopeless.

        *ask* returns False when there is nobody to ask.
        """
        asked = ask()
        if not isinstance(asked, bool):
            asked = await asked
        steps: list[tuple[int, float]] = [(signal.SIGTERM, TERM_S), (signal.SIGKILL, ABANDON_S)]
        if asked and await self._gone_within(ask_s):
            return
        for number, seconds in steps:
            self.signal(number)
            if await self._gone_within(seconds):
                return

    async def _gone_within(self, seconds: float) -> bool:
        with anyio.move_on_after(seconds):
            await self.exited.wait()
        return self.exited.is_set()
