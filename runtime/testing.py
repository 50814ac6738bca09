"""For tests of the runtime and of what is built on it; public.

- `stage` runs a real tree of real processes and lets the test talk to them;
- `Scapegoat` is an actor that does to itself what it is told: crashes, hangs, children of its own;
- `Network` connects nodes of one process without ZeroMQ, and loses, doubles or delays what a
  seed says;
- `ManualClock` for pure cores, `instant_trio` for whole nodes: time that nobody waits for;
- fault points are in `faults`, since product code calls them.

Nothing here imports a test framework.
"""

import contextlib
import itertools
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from heapq import heappop, heappush
from pathlib import Path
from typing import Any, TypeAlias

import anyio
import msgspec

from runtime import wire
from runtime.actor import Actor
from runtime.errors import PeerAway
from runtime.faults import strike
from runtime.health import Limits
from runtime.messages import AnyControl, Down, Ok, ProcessState, Up
from runtime.node import Line, Node
from runtime.restart import Backoff, Intensity
from runtime.sockets import OnMessage, SocketStatistics
from runtime.spec import ChildSpec, GroupSpec
from runtime.supervision import Supervisor
from runtime.wire import Body

#: restarts without noticeable delay
FAST = Backoff(base_s=0.05, cap_s=0.2)
#: … and without an end to them
PATIENT = Intensity(100, 600.0)
#: verdicts within seconds, for processes that tick twice a second
HASTY = Limits(
    interval_s=0.1,
    thread_stale_s=1.5,
    loop_stale_s=2.0,
    loop_kill_s=4.0,
    grace_s=1.0,
    echo_s=1.0,
)


# ── time ────────────────────────────────────────────────────────────────────────────────────


class ManualClock:
    """Monotonic seconds that pass when told to."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> float:
        self.now += seconds
        return self.now


def instant_trio() -> tuple[str, dict[str, Any]]:
    """A backend for anyio's pytest plugin on which nobody waits: sleeping costs no time."""
    from trio.testing import MockClock  # noqa: PLC0415 - trio is there in tests only

    return "trio", {"clock": MockClock(autojump_threshold=0)}


# ── crash on demand ─────────────────────────────────────────────────────────────────────────


class Strike(msgspec.Struct, frozen=True, tag="test.strike", tag_field="t"):
    """Do *act* (of `faults.ACTS`, or "wait" for ever without blocking).

    With *phase*, do it in a phase of that name over *ids*; with *thread*, on a worker thread.
    Answered `Ok`, if it can still be answered.
    """

    act: str
    phase: str = ""
    ids: list[int] = []
    budget_s: float | None = None
    thread: bool = False


class Extend(msgspec.Struct, frozen=True, tag="test.extend", tag_field="t"):
    """Block the loop for *times* × *seconds* in one phase that is extended each time."""

    seconds: float
    times: int


class Beget(msgspec.Struct, frozen=True, tag="test.beget", tag_field="t"):
    """Start a process that sleeps for an hour; answered `Pid`."""

    session: bool = False  #: let it leave for a session of its own


class AskPid(msgspec.Struct, frozen=True, tag="test.ask_pid", tag_field="t"):
    """Answered `Pid`."""


class Pid(msgspec.Struct, frozen=True, tag="test.pid", tag_field="t"):
    pid: int
    incarnation: int


class AskHeard(msgspec.Struct, frozen=True, tag="test.ask_heard", tag_field="t"):
    """Answered `Heard`."""


class Heard(msgspec.Struct, frozen=True, tag="test.heard", tag_field="t"):
    """Every `Up` and `Down` so far, in order."""

    ups: list[str]
    downs: list[Down]


AnyOrder: TypeAlias = Strike | Extend | Beget | AskPid | Pid | AskHeard | Heard


class ScapegoatSettings(msgspec.Struct, frozen=True):
    """Acts that it does to itself, "" for none."""

    start: str = ""
    warm: str = ""
    drain: str = ""
    deaf: bool = False  #: ignores SIGTERM


class Scapegoat(Actor):
    """Does to itself what it is told."""

    Settings = ScapegoatSettings
    messages = AnyOrder
    concurrency = 2

    async def on_start(self) -> None:
        self._ups: list[str] = []
        self._downs: list[Down] = []
        if self.settings.deaf:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        await self._strike(self.settings.start)
        if self.settings.warm:
            self.progress("warming up", warming=True)
            await self._strike(self.settings.warm)

    async def on_drain(self) -> None:
        await self._strike(self.settings.drain)

    async def on_up(self, name: str) -> None:
        self._ups.append(name)

    async def on_down(self, down: Down) -> None:
        self._downs.append(down)

    async def handle(self, message: Any, line: Line) -> Body | None:
        del line
        match message:
            case Strike(act, phase, ids, budget_s, thread):
                with contextlib.ExitStack() as stack:
                    if phase:
                        stack.enter_context(self.phase(phase, ids, budget_s=budget_s))
                    await self._strike(act, thread=thread)
            case Extend(seconds, times):
                with self.phase("extend", budget_s=seconds * 1.5) as long:
                    for _ in range(times):
                        strike(f"sleep:{seconds}")
                        long.extend(seconds * 1.5)
            case Beget(session):
                child = subprocess.Popen(  # noqa: ASYNC220 - a child that nobody waits for
                    [sys.executable, "-c", "import time; time.sleep(3600)"],
                    start_new_session=session,
                )
                return Pid(child.pid, 0)
            case AskPid():
                return Pid(os.getpid(), self.node.incarnation)
            case AskHeard():
                return Heard(self._ups, self._downs)
        return Ok()

    async def _strike(self, act: str, *, thread: bool = False) -> None:
        if act == "wait":
            await anyio.sleep_forever()
        elif thread:
            await anyio.to_thread.run_sync(strike, act)
        elif act:
            strike(act)


def scapegoat(name: str, settings: ScapegoatSettings | None = None, **more: Any) -> ChildSpec:
    """The specification of a `Scapegoat`; *more* as of `ChildSpec`."""
    told = msgspec.msgpack.encode(settings or ScapegoatSettings())
    more = {"drain_s": 5.0} | more
    return ChildSpec(name=name, actor="runtime.testing:Scapegoat", settings=told, **more)


# ── a tree to play with ─────────────────────────────────────────────────────────────────────


class Stage:
    """A running tree, an outside node that can talk to its actors, and what happened."""

    def __init__(self, supervisor: Supervisor, node: Node, news: "_News") -> None:
        self.supervisor = supervisor
        self.node = node
        self._news = news

    @property
    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """All events so far; lines of children are ("line", {name, line})."""
        return self._news.events

    def state(self, name: str) -> ProcessState:
        return next(each for each in self.supervisor.processes() if each.name == name)

    async def ask(self, name: str, body: Body, seconds: float = 20) -> Any:
        """Ask whoever is *name* now."""
        self.node.peer_up(Up(name, self.state(name).incarnation))
        return await self.node.ref(name).ask(body, seconds)

    def tell(self, name: str, body: Body) -> None:
        self.node.ref(name)
        self.node.peer_up(Up(name, self.state(name).incarnation))
        self.node.ref(name).tell(body)

    def said(self, event: str, name: str | None = None) -> list[dict[str, Any]]:
        """The fields of every *event* so far."""
        return [
            fields
            for each, fields in self.events
            if each == event and name in {None, fields.get("name")}
        ]

    async def wait(
        self, event: str, name: str | None = None, count: int = 1, seconds: float = 60
    ) -> dict[str, Any]:
        """The fields of the *count*-th *event*, as soon as it has happened.

        Raises:
            TimeoutError: it did not within *seconds*.
        """
        with anyio.fail_after(seconds):
            while len(self.said(event, name)) < count:
                await self._news.changed.wait()
        return self.said(event, name)[count - 1]


class _News:
    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.changed = anyio.Event()

    def event(self, event: str, fields: dict[str, object]) -> None:
        self.events.append((event, fields))
        self.changed.set()
        self.changed = anyio.Event()

    def line(self, name: str, line: str) -> None:
        self.event("line", {"name": name, "line": line})


@contextlib.asynccontextmanager
async def stage(
    *children: ChildSpec | GroupSpec,
    group: GroupSpec | None = None,
    run_dir: Path | None = None,
    messages: Any = AnyOrder,
    ready: bool = True,
    **options: Any,
) -> AsyncIterator[Stage]:
    """Run *children*, or the tree *group*, until the block is left.

    Args:
        children: of a group with hardly any backoff that does not soon give up.
        group: a whole tree instead.
        run_dir: a temporary one unless given.
        messages: union of what the test says to its actors.
        ready: wait for all of them to be.
        options: as of `Supervisor`.
    """
    news = _News()
    tree = group or GroupSpec(name="root", children=children, backoff=FAST, intensity=PATIENT)
    with contextlib.ExitStack() as stack:
        if run_dir is None:
            made = stack.enter_context(tempfile.TemporaryDirectory(prefix="stage-"))
            run_dir = Path(made)
        options.setdefault("rng", random.Random(7))
        options.setdefault("run", "test")
        supervisor = Supervisor(
            tree, run_dir=run_dir, on_line=news.line, on_event=news.event, **options
        )
        async with supervisor.running():
            outside = Node("outside", 0, run_dir, wire.Codec(messages | AnyControl))
            async with outside.open(bind=False):
                if ready:
                    with anyio.fail_after(60):
                        await supervisor.all_ready.wait()
                yield Stage(supervisor, outside, news)


# ── sockets in memory ───────────────────────────────────────────────────────────────────────


class Weather(msgspec.Struct, frozen=True):
    """What becomes of a message on its way."""

    drop: float = 0.0  #: probability
    double: float = 0.0
    delay_s: float = 0.0  #: at most; above 0, messages overtake each other


class _MemorySocket:
    """In place of `sockets.Socket`."""

    def __init__(
        self, network: "Network", peer: str, on_message: OnMessage, identity: bytes = b""
    ) -> None:
        self._network = network
        self._peer = peer
        self._on_message = on_message
        self._identity = identity  #: of a DEALER
        self._router: _MemorySocket | None = None  #: at its other end
        self._dealers: dict[bytes, _MemorySocket] = {}  #: of a ROUTER
        self._due: list[tuple[float, int, tuple[bytes, bytes, bytes]]] = []
        self._arrived = anyio.Event()
        self._numbers = itertools.count()
        self._sent = self._received = 0
        self._closed = False

    def connect(self, router: "_MemorySocket | None") -> None:
        self._router = router
        if router is not None:
            router._dealers[self._identity] = self  # noqa: SLF001 - of the same class

    def send(self, identity: bytes, header: bytes, body: bytes) -> None:
        other = self._dealers.get(identity) if identity else self._router
        if self._closed or (identity and (other is None or other._closed)):  # noqa: SLF001
            raise PeerAway(self._peer)
        self._sent += 1
        if other is not None:
            for delay_s in self._network.fates():
                other.arrive(delay_s, (self._identity, header, body))

    def arrive(self, delay_s: float, message: tuple[bytes, bytes, bytes]) -> None:
        heappush(self._due, (anyio.current_time() + delay_s, next(self._numbers), message))
        self._arrived.set()

    async def pump(self) -> None:
        try:
            while True:
                self._arrived = anyio.Event()
                self.drain()
                with anyio.move_on_at(self._due[0][0] if self._due else math.inf):
                    await self._arrived.wait()
        finally:
            self.retire()

    def drain(self, most: int = 0) -> int:
        del most
        while self._due and self._due[0][0] <= anyio.current_time():
            message = heappop(self._due)[2]
            if not self._closed:
                self._received += 1
                self._on_message(*message)
        return 0

    silent = False  # no edge is ever missed here

    def retire(self) -> None:
        self._closed = True

    def statistics(self) -> SocketStatistics:
        return SocketStatistics(self._received, self._sent, 0)


class _MemoryContext:
    """In place of `sockets.Context`."""

    def __init__(self, network: "Network") -> None:
        self._network = network

    def bind(self, endpoint: str, name: str, on_message: OnMessage) -> _MemorySocket:
        router = self._network.routers[endpoint] = _MemorySocket(self._network, name, on_message)
        return router

    def dial(
        self, endpoint: str, identity: bytes, name: str, on_message: OnMessage
    ) -> _MemorySocket:
        dealer = _MemorySocket(self._network, name, on_message, identity)
        dealer.connect(self._network.routers.get(endpoint))
        return dealer

    def term(self) -> None:
        pass


class Network:
    """Connects nodes of one process: `network.join(node)` before the node is opened.

    Without weather it does what ZeroMQ does: order is kept between two sockets, and who is not
    there cannot be told anything.  With weather, *rng* alone decides what becomes of a message;
    on `instant_trio` the same seed gives the same run.
    """

    def __init__(
        self,
        weather: Weather = Weather(),  # noqa: B008 - frozen
        rng: random.Random | None = None,
    ) -> None:
        self.weather = weather
        self.routers: dict[str, _MemorySocket] = {}
        self.dropped = self.doubled = 0
        self._rng = rng or random.Random(0)

    def join(self, node: Node) -> Node:
        """Let *node* speak here instead of over ZeroMQ."""
        node._context.term()  # noqa: SLF001 - the seam
        node._context = _MemoryContext(self)  # type: ignore[assignment]  # noqa: SLF001
        return node

    def fates(self) -> list[float]:
        """After which delays a message arrives: once, not at all, or twice."""
        weather, rng = self.weather, self._rng
        if rng.random() < weather.drop:
            self.dropped += 1
            return []
        doubled = rng.random() < weather.double
        self.doubled += doubled
        return [rng.uniform(0, weather.delay_s) for _ in range(1 + doubled)]
