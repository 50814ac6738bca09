"""A real system in a scratch directory, started by its command line and looked at from outside.

It reads no settings but those written here: neither the owner's file nor the environment.  Who
runs in it is known from its supervisor, who is asked all the while, and everything that belongs
to it is known by the mark that it puts on its processes (`runtime.leftovers`).
"""

import contextlib
import errno
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import anyio
import msgspec

from actors.client import Client, NotRunning, Run, find_run
from config.loading import PREFIX, SHORT_NAMES
from runtime import wire
from runtime.errors import RuntimeFault
from runtime.leftovers import VARIABLE, Mark
from runtime.messages import AnyControl, AskProcesses, Processes, ProcessState, Up
from runtime.node import SUPERVISOR, Node

ROOT: Final = Path(__file__).resolve().parents[2]
#: who is killed every few seconds must not be given up for it, and not be waited for long
SETTINGS: Final = """\
[runtime]
restarts = 200
period = 600.0
backoff_cap = 1.0

[gateway]
port = 0

[decode]
processes = 2
"""
START_S: Final = 120.0
#: an orderly stop has 20 s; then it is ended
STOP_S: Final = 30.0
#: what an orphan may take to die
ORPHAN_S: Final = 5.0
LOOK_S: Final = 0.1
SHARED: Final = "/dev/shm/"  # noqa: S108 - looked at, not written
ASK_S: Final = 2.0


class Ended(Exception):
    """The system ended by itself, or did not start."""


class Usage(msgspec.Struct, frozen=True):
    """What the supervisor takes of the machine."""

    descriptors: int
    threads: int
    rss_mb: float


class System:
    """The system on `place`/data.

    Args:
        place: a directory for everything; it is not removed here.
        originals: the folder to be indexed.
    """

    def __init__(self, place: Path, originals: Path) -> None:
        self.data = place / "data"
        self.orders = place / "orders"
        self.log = place / "said"
        self.processes: dict[str, ProcessState] = {}
        self.looked_at = 0.0  #: monotonic time of the last answer of the supervisor
        self.run_dirs: set[Path] = set()
        self.shared: set[str] = set()  #: shared memory that was seen in use
        self.frozen: set[int] = set()  #: pids that were stopped and not continued
        self._place = place
        self._originals = originals
        self._process: subprocess.Popen[bytes] | None = None
        self._ending = False
        self._news = anyio.Event()
        self.data.mkdir(mode=0o700)
        self.orders.mkdir(mode=0o700)
        (self.data / "obscura.toml").write_text(SETTINGS)

    # ── life ──

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def environment(self) -> dict[str, str]:
        """The process's own, without settings of another system."""
        others = (PREFIX, "RUNTIME_FAULTS", VARIABLE)
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(others) and name not in SHORT_NAMES
        }
        return kept | {
            "PYTHONPATH": str(ROOT),
            "XDG_CONFIG_HOME": str(self._place / "config"),
            "RUNTIME_FAULTS_ORDERS": str(self.orders),
            PREFIX + "SCHEDULER__SETTLE": "0",  # it waits until all is done
        }

    def launch(self) -> None:
        """Start it; `wait_ready` tells when it is there."""
        self._ending = False
        self.processes = {}
        flags = ["--originals", str(self._originals), "--data", str(self.data)]
        with self.log.open("ab") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "supervisor", *flags],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                cwd=self._place,
                env=self.environment(),
                start_new_session=True,  # Ctrl-C is ours to act on
            )

    async def wait_ready(self) -> None:
        """Return once every process is ready.

        Raises:
            Ended: it ended, or took too long.
        """
        if await self.until(lambda: self.all_ready, START_S):
            return
        states = ", ".join(f"{each.name} {each.state}" for each in self.processes.values())
        raise Ended(f"the system was not ready within {START_S:g} s: {states or 'nobody is up'}")

    def check(self) -> None:
        """Pass while it runs.

        Raises:
            Ended: it does not, and nobody ended it.
        """
        if not self.alive and not self._ending and self._process is not None:
            said = self.log.read_text(errors="replace").splitlines()
            last = said[-1] if said else "without a word"
            raise Ended(f"the system ended by itself, with {self._process.returncode}: {last}")

    @property
    def all_ready(self) -> bool:
        processes = self.processes.values()
        return bool(processes) and all(each.state == "ready" for each in processes)

    async def stop(self) -> tuple[int, float]:
        """Stop it in order; its exit status, and how many seconds that took.

        Raises:
            Ended: it did not end, and was killed.
        """
        assert self._process is not None
        self._ending = True
        begin = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        if not await self._gone(STOP_S):
            await self.kill()
            raise Ended(f"the system did not stop within {STOP_S:g} s")
        return self._process.wait(), time.monotonic() - begin

    async def kill(self) -> None:
        """Kill the supervisor; what it started dies with it."""
        assert self._process is not None
        self._ending = True
        self._process.kill()
        await self._gone(STOP_S)
        self._process.wait()
        self.frozen.clear()

    async def _gone(self, seconds: float) -> bool:
        descriptor = os.pidfd_open(self.pid)
        try:
            with anyio.move_on_after(seconds):
                await anyio.wait_readable(descriptor)
                return True
            return False
        finally:
            os.close(descriptor)

    async def end(self) -> None:
        """Leave nobody behind, however it stands."""
        for pid in self.frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self.frozen.clear()
        if self.alive:
            with contextlib.suppress(Ended):
                await self.stop()
        await self.outlived(ORPHAN_S)
        for pid in self.members():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def signal(self, pid: int, number: int) -> bool:
        """Signal one of ours; False when there is no such process any more."""
        try:
            pinned = os.pidfd_open(pid)
        except ProcessLookupError:
            return False
        try:
            mark = Mark.of(pid)
            if pid != self.pid and (mark is None or mark.supervisor != self.pid):
                return False
            signal.pidfd_send_signal(pinned, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(pinned)
        if number == signal.SIGSTOP:
            self.frozen.add(pid)
        else:
            self.frozen.discard(pid)
        return True

    # ── looks ──

    async def watch(self) -> None:
        """Keep `processes` as they are, until cancelled."""
        while True:
            with contextlib.suppress(NotRunning, RuntimeFault):
                await self._follow(find_run(self.data))
            await self._tell(LOOK_S)

    async def _tell(self, seconds: float) -> None:
        """Whoever waits looks again."""
        self._news.set()
        self._news = anyio.Event()
        await anyio.sleep(seconds)

    async def until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait for *condition*, which is about what `watch` sees; whether it came true.

        Raises:
            Ended: the system did.
        """
        with anyio.move_on_after(seconds):
            while not condition():
                self.check()
                await self._news.wait()
            return True
        return condition()

    async def _follow(self, run: Run) -> None:
        if not self.alive or run.pid != self.pid:
            return  # of a run that was killed
        self.run_dirs.add(Path(run.run_dir))
        name = f"selftest-{os.getpid()}-{secrets.token_hex(4)}"
        node = Node(name, 0, Path(run.run_dir), wire.Codec(AnyControl))
        async with node.open(bind=False):
            supervisor = node.ref(SUPERVISOR)
            node.peer_up(Up(SUPERVISOR, 0))
            while self.alive and run.pid == self.pid:
                answer = await supervisor.ask(AskProcesses(), ASK_S)
                assert isinstance(answer, Processes)
                if run.pid == self.pid:
                    self.processes = {each.name: each for each in answer.processes}
                    self.looked_at = time.monotonic()
                await self._tell(LOOK_S)

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """Questions to it; as `Client.connect`."""
        async with Client.connect(self.data) as client:
            yield client

    def usage(self) -> Usage:
        """What the supervisor takes now."""
        process = Path("/proc", str(self.pid))
        status = dict(
            line.split(":", 1) for line in (process / "status").read_text().splitlines() if line
        )
        rss_mb = int(status["VmRSS"].split()[0]) / 1000
        return Usage(
            len(list((process / "fd").iterdir())), int(status["Threads"]), round(rss_mb, 1)
        )

    def see_shared(self) -> None:
        """Note what shared memory our processes use."""
        for pid in self.members():
            with contextlib.suppress(OSError):
                maps = Path("/proc", str(pid), "maps").read_text(errors="replace")
                for line in maps.splitlines():
                    if SHARED in line and not line.endswith(" (deleted)"):
                        self.shared.add(line[line.index(SHARED) :])

    # ── what it may leave ──

    def members(self, supervisor: int = 0) -> list[int]:
        """Living processes of any of its runs, or of that of *supervisor*."""
        bases = {str(each).rpartition("-")[0] for each in self.run_dirs}
        found = []
        for pid in (int(each.name) for each in os.scandir("/proc") if each.name.isdigit()):
            mark = Mark.of(pid)
            if mark is None or mark.base not in bases or not _lives(pid):
                continue
            if supervisor in {0, mark.supervisor}:
                found.append(pid)
        return found

    async def outlived(self, seconds: float, supervisor: int = 0) -> float:
        """How long, in seconds, anybody of it lives on; at most *seconds*."""
        begin = time.monotonic()
        # not our children, so nobody tells
        while (waited := time.monotonic() - begin) < seconds and self.members(supervisor):  # noqa: ASYNC110
            await anyio.sleep(LOOK_S / 4)
        return waited

    def left(self) -> list[str]:
        """What is there of it, once it was stopped: processes, directories, sockets, memory."""
        found = [f"process {pid}" for pid in self.members()]
        for base in {(each.parent, each.name.rpartition("-")[0]) for each in self.run_dirs}:
            found += [str(each) for each in base[0].glob(f"{base[1]}-*")]
        sockets = Path("/proc/net/unix").read_text(errors="replace").splitlines()
        paths = {line.split(maxsplit=7)[7] for line in sockets[1:] if len(line.split()) > 7}
        ours = tuple(f"{each}/" for each in self.run_dirs)
        found += sorted(path for path in paths if ours and path.lstrip("@").startswith(ours))
        found += sorted(each for each in self.shared if Path(each).exists())
        found += [str(self.data / name) for name in ("run.json",) if (self.data / name).exists()]
        return found


def _lives(pid: int) -> bool:
    try:
        stat = Path("/proc", str(pid), "stat").read_bytes()
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ESRCH}:
            return False
        raise
    return stat[stat.rindex(b")") + 2 :][:1] not in {b"Z", b"X"}
