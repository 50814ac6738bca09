"""One child process: born from the main thread, watched by pidfd, stopped by a ladder.

Births use `subprocess.Popen` and not anyio's or trio's `open_process`: those call Popen in a
worker thread, and PR_SET_PDEATHSIG fires when the *thread* that forked ends (on trio after
ten idle seconds); `spawn` refuses any thread but the main one.  No `preexec_fn` either, which
may deadlock in a threaded parent; the child arranges its own death in its first lines, see
`orphan`.

Death is noticed by pidfd: it works the same on every loop, in about a millisecond, and the
dead child stays a zombie, its pid not recycled, until we have dealt with its descendants.
"""

import contextlib
import os
import signal
import struct
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Self

import anyio
import msgspec

from runtime.spec import Birth
from runtime.vitals import Vital, Vitals

#: after TERM, before KILL
TERM_S = 2.0
#: a process in uninterruptible sleep ignores KILL; nobody waits for it for ever
ABANDON_S = 5.0
#: the stacks of all threads, and what was said before them
TAIL_LINES = 100
TAIL_CHARS = 16_000
#: a longer line is cut into several: memory must not grow with what a library prints
LONGEST_LINE = 1 << 18
LENGTH = struct.Struct("<I")

_ROOT = Path(__file__).resolve().parents[1]
_SIGNALS = {each.value: each.name for each in signal.Signals}
_EXITS = {
    0: "exit 0",
    70: "exit 70 (the GPU context is lost)",
    71: "exit 71 (out of memory)",
    74: "exit 74 (the disk is full or fails)",
    75: "exit 75 (something it needs is away)",
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
        self._vitals = Vitals(popen.pid)
        self.exited = anyio.Event()
        self.silent = anyio.Event()  #: every line it wrote has been read
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)

    @classmethod
    def spawn(cls, birth: Birth, environment: Mapping[str, str] = MappingProxyType({})) -> Self:
        """Start a child; *environment* is added to ours, beneath what its spec says.

        Raises:
            OSError: the machine has no more processes or descriptors to give.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("a child lives as long as the thread that made it: the main one")
        reading, writing = os.pipe()
        try:
            environment = {
                **os.environ,
                "PYTHONPATH": str(_ROOT),
                **environment,
                **birth.spec.env,
            }
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
        self._vitals.close()
        return code

    async def read_output(self, on_line: Callable[[str, str], None]) -> None:
        """Hand each line the child writes to *on_line*, and keep the last ones."""
        try:
            await self._read_lines(on_line)
        finally:
            self.silent.set()

    async def _read_lines(self, on_line: Callable[[str, str], None]) -> None:
        assert self._popen.stdout is not None
        with self._popen.stdout as pipe:
            os.set_blocking(pipe.fileno(), False)
            rest = b""
            while True:
                await anyio.wait_readable(pipe.fileno())
                chunk = os.read(pipe.fileno(), 65536)
                *lines, rest = (rest + chunk).split(b"\n")
                if rest and (not chunk or len(rest) > LONGEST_LINE):
                    lines.append(rest)
                    rest = b""
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

    def vital(self) -> Vital | None:
        """What the kernel says of it; None once it is gone."""
        return None if self.exited.is_set() else self._vitals.read()

    def dump(self) -> None:
        """Let it write the stacks of its threads to its output, whatever it is doing."""
        if not self.exited.is_set():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGUSR1)

    @property
    def last_words(self) -> list[str]:
        """The last lines it wrote, within `TAIL_CHARS`."""
        room, lines = TAIL_CHARS, []
        for line in reversed(self.tail):
            if room <= 0:
                break
            lines.append(line[-room:])
            room -= len(line) + 1
        return lines[::-1]

    async def stop(
        self,
        ask: Callable[[], bool] = lambda: False,
        ask_s: float = 0.0,
        *,
        term_s: float = TERM_S,
        kill_s: float = ABANDON_S,
        on_step: Callable[[str], None] = lambda _: None,
    ) -> bool:
        """Ask, wait *ask_s*, TERM, wait *term_s*, KILL, wait *kill_s*.

        Args:
            ask: returns False when there is nobody to ask.
            ask_s: 0 leaves this rung out.
            term_s: likewise.
            kill_s: an unkillable process is not waited for any longer.
            on_step: told "drain", "term" and "kill" as they are taken.

        Returns:
            whether it is gone; if not, it is hopeless.
        """
        steps: list[tuple[str, int, float]] = []
        if term_s > 0:
            steps.append(("term", signal.SIGTERM, term_s))
        steps.append(("kill", signal.SIGKILL, kill_s))
        if self.exited.is_set():
            return True
        if ask_s > 0 and ask():
            on_step("drain")
            if await self._gone_within(ask_s):
                return True
        for step, number, seconds in steps:
            on_step(step)
            self.signal(number)
            if await self._gone_within(seconds):
                return True
        return False

    async def _gone_within(self, seconds: float) -> bool:
        with anyio.move_on_after(seconds):
            await self.exited.wait()
        return self.exited.is_set()
