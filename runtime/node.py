"""One process's place in the web of actors: its mailbox, its peers, its questions.

A node binds one ROUTER, where others reach it, and dials a DEALER to each peer it talks to.
Who is up is told by the supervisor: `Up` dials the peer anew under an identity never used
before, `Down` closes the line and fails every question that lay with the dead.  So a message
is said to exactly one incarnation or to nobody, and the caller knows which.

What arrives is sorted inside the socket's drain: answers resolve their question at once,
everything else goes to the mailbox as an `Envelope`.  Messages of an incarnation older than
the newest one heard of are dropped and counted.

Nothing is dropped without a word.  What becomes of a message that finds no room:

    message                                   outcome
    ────────────────────────────────────────  ────────────────────────────────────────────────
    any, mailbox full                         Nack "busy": come again
    ask, its peer has `window` waiting here   Nack "busy" likewise
    tell, its peer has `window` waiting here  the peer broke its window: its line is closed,
                                              Nack "window"; what comes later counts as overrun
    the supervisor's                          always taken; they are few

Whoever gets Nack "window" has a bug in its flow control and its line is of no more use: the
node fails, the process with it, and the supervisor makes a new incarnation, whose `Down` and
`Up` put everybody's books in order.  (ZeroMQ's ROUTER cannot hang up on one peer; its
identity is forgotten instead.)

What a line costs is paid once, not a message: the ROUTER's lines are kept by identity, and a
header that equals the last one of its line byte for byte is not decoded again, as in a run of
tells it does.

A node knows nothing of processes, restarts or what messages mean.
"""

import contextlib
import itertools
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from pathlib import Path

import anyio
import anyio.abc
import anyio.to_thread
import msgspec

from runtime import rundir, wire
from runtime.errors import (
    Busy,
    DeadlinePassed,
    FrameBroken,
    HandlerFailed,
    PeerAway,
    PeerRefused,
    PeerRestarted,
    Unsupported,
    WindowBroken,
)
from runtime.loop import MOST, Once, once
from runtime.mailbox import Mailbox, MailboxStatistics
from runtime.messages import Down, Up
from runtime.page import Page
from runtime.pending import TICK_S, Pending, PendingStatistics
from runtime.sockets import Context, Socket, SocketStatistics
from runtime.wire import Body, Header, Kind, Nack, Writer

#: 16 bytes that name the cause now being worked on; goes with every message sent meanwhile
trace: ContextVar[bytes] = ContextVar("trace", default=b"")

SUPERVISOR = "supervisor"

#: for which a descriptor must tell of nothing before that is doubted
SILENCE_S = 0.05
#: lines kept by identity; clients come and go without a `Down`
MOST_LINES = 4096

_ANSWERS = frozenset({Kind.REPLY, Kind.NACK})
_REFUSALS: dict[str, type[PeerRefused]] = {
    "busy": Busy,
    "unsupported": Unsupported,
    "failed": HandlerFailed,
}


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """Let an error of the block out as it is, not in the group of the tasks beside it."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        raise error from None


class NodeStatistics(msgspec.Struct, frozen=True):
    mailbox: MailboxStatistics
    sockets: dict[str, SocketStatistics]
    questions: int  #: asks under way
    broken: int  #: frames that were no message
    unsupported: int  #: messages of a type not known here
    stale: int  #: messages of a dead incarnation
    late: int  #: answers nobody waited for any more
    asks: PendingStatistics
    lines: int  #: peers that dialled and are remembered
    closed: int  #: lines closed because their peer broke its window
    overrun: int  #: messages that came over a closed line
    refusing: int  #: refusals about to be sent


class Line:
    """Where a message came from, and the way back.

    Args:
        identity: of the peer on our ROUTER; empty where we dialled it.
    """

    __slots__ = (
        "_identity",
        "_node",
        "_socket",
        "closed",
        "epoch",
        "header",
        "header_frame",
        "name",
        "waiting",
    )

    def __init__(
        self, node: "Node", socket: Socket, identity: bytes, name: str, epoch: int
    ) -> None:
        self._node = node
        self._socket = socket
        self._identity = identity
        self.name = name
        self.epoch = epoch
        self.closed = False
        self.waiting = 0  #: messages of it in our mailbox
        self.header_frame = b""  #: the last one
        self.header: Header  #: the same, decoded

    def __repr__(self) -> str:
        return f"{self.name}/{self.epoch}"

    @property
    def dialled(self) -> bool:
        return not self._identity

    def tell(self, body: Body) -> None:
        """Say *body* to this very incarnation.

        Raises:
            PeerAway: it is gone.
            Busy: its queue is full.
        """
        if self.closed:
            raise PeerAway(self.name)
        header, payload = self._node.writer.tell(body, trace.get())
        self._socket.send(self._identity, header, payload)

    def say(self, kind: Kind, body: Body, id: int, deadline_ns: int = 0) -> None:  # noqa: A002
        """As `tell`, for every kind of message."""
        header, payload = self._node.writer.write(kind, body, id, deadline_ns, trace.get())
        self._socket.send(self._identity, header, payload)

    def answer(self, kind: Kind, body: Body, id: int) -> None:  # noqa: A002
        """Reply or Nack; one who died meanwhile needs no answer."""
        try:
            self.say(kind, body, id)
        except (PeerAway, Busy):
            self._node.unanswered += 1


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """A message and what is known of it."""

    body: Body
    line: Line
    header: Header

    @property
    def asks(self) -> bool:
        return self.header.kind == Kind.ASK

    def reply(self, body: Body) -> None:
        if not self.asks:
            return
        try:
            self.line.answer(Kind.REPLY, body, self.header.id)
        except FrameBroken as error:  # too large; who asked may ask for less
            self.refuse("failed", str(error))

    def refuse(self, reason: str, detail: str = "") -> None:
        self.line.answer(Kind.NACK, Nack(reason, detail), self.header.id)


class Inbox(Mailbox[Envelope]):
    """A mailbox that knows how much of it is whose."""

    def take(self) -> Envelope:
        envelope = super().take()
        envelope.line.waiting -= 1
        return envelope


class Ref:
    """A peer by name, whichever incarnation of it is up."""

    def __init__(self, node: "Node", name: str) -> None:
        self._node = node
        self.name = name
        self.line: Line | None = None
        self._up = anyio.Event()

    @property
    def incarnation(self) -> int | None:
        return None if self.line is None else self.line.epoch

    def tell(self, body: Body) -> None:
        """Say *body* once, at most.

        Raises:
            PeerAway: the peer is not up.
            Busy: its queue is full.
        """
        if self.line is None:
            raise PeerAway(self.name)
        self.line.tell(body)

    async def ask(self, body: Body, seconds: float) -> Body:
        """Say *body* and wait for the answer.

        Waits for the peer to come up first, within the same *seconds*.

        Raises:
            DeadlinePassed: no answer in time; whether it was acted on is not known.
            PeerRestarted: the peer died meanwhile; likewise.
            PeerRefused: it said no.
        """
        deadline = anyio.current_time() + seconds
        deadline_ns = time.monotonic_ns() + int(seconds * 1e9)
        while self.line is None:
            with anyio.move_on_at(deadline) as scope:
                await self._up.wait()
            if scope.cancelled_caught:
                raise PeerAway(self.name)
        try:
            return await self._node.ask_line(self.line, body, deadline, deadline_ns)
        except TimeoutError:
            raise DeadlinePassed(self.name, seconds) from None

    def came_up(self, line: Line) -> None:
        self.line = line
        self._up.set()

    def went_down(self) -> None:
        if self.line is not None:  # else somebody may wait for the event there is
            self.line = None
            self._up = anyio.Event()


class Node:
    """See the head of the module.

    Args:
        name: unique in the run directory; others dial `<run dir>/<name>.ipc`.
        incarnation: grows with each restart of *name*.
        codec: what may be said.
        mailbox: how many messages may wait; credits given out must sum up to less.
        window: how many of them may be one peer's; half of *mailbox* unless given, at least 64.
    """

    def __init__(
        self,
        name: str,
        incarnation: int,
        run_dir: Path,
        codec: wire.Codec,
        *,
        mailbox: int = 4096,
        window: int | None = None,
    ) -> None:
        self.name = name
        self.incarnation = incarnation
        self.run_dir = run_dir
        self.page: Page | None = None
        self.mailbox = Inbox(mailbox)
        self.window = max(mailbox // 2, 64) if window is None else window
        self.writer = Writer(codec, name, incarnation)
        self.unanswered = 0  #: answers that found their asker gone
        self._codec = codec
        self._context = Context()
        self._refs: dict[str, Ref] = {}
        self._ups: dict[str, Up] = {}
        self._dealers: dict[str, tuple[Socket, anyio.CancelScope]] = {}
        self._newest: dict[str, int] = {}
        self._pending: Pending[Body] = Pending()
        self._asked: Once[None] | None = None  #: the timer sleeps on it
        self._lines: dict[bytes, Line] = {}
        self._closed: deque[Line] = deque(maxlen=MOST_LINES)
        self._refusals: deque[tuple[Line, int, Nack]] = deque()
        self._dials = itertools.count(1)
        self._router: Socket | None = None
        self._tasks: anyio.abc.TaskGroup | None = None
        self._broken = self._unsupported = self._stale = self._late = 0
        self._closings = self._overrun = 0

    @contextlib.asynccontextmanager
    async def open(self, *, bind: bool = True) -> AsyncIterator["Node"]:
        """Bind and pump until the block is left; then close everything in bounded time."""
        try:
            with plain_errors():
                async with self._pumping(bind=bind):
                    yield self
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(2):
                await anyio.to_thread.run_sync(self._context.term, abandon_on_cancel=True)

    @contextlib.asynccontextmanager
    async def _pumping(self, *, bind: bool) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            if bind:
                endpoint = rundir.endpoint(self.run_dir, self.name)
                self._router = self._context.bind(endpoint, self.name, self._on_router)
                tasks.start_soon(self._router.pump)
            tasks.start_soon(self._expire)
            tasks.start_soon(self._rescue)
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()
                for question in self._pending.close_all():
                    question.answer.fail(PeerAway(question.peer))

    def ref(self, name: str) -> Ref:
        """The peer *name*; dialled as soon as the supervisor says it is up."""
        if name not in self._refs:
            self._refs[name] = Ref(self, name)
            if name in self._ups:
                self._dial(self._ups[name])
        return self._refs[name]

    def executing(self, phase: str, ids: list[int], budget_s: float = 0.0) -> None:
        """Leave word, readable after our death, that *ids* are in hand from now on.

        It is a hang when that takes longer than *budget_s*; 0 is the supervisor's own limit
        (`health.Limits.unnamed_s`).
        """
        if self.page is not None:
            now_ns = time.monotonic_ns()
            deadline_ns = now_ns + int(budget_s * 1e9) if budget_s else 0
            self.page.write(now_ns, phase, ids, deadline_ns)

    def finished(self, ids: list[int]) -> None:
        """Leave word that *ids* are done, whatever came of it, and nothing is in hand."""
        if self.page is not None:
            self.page.finish(len(ids))
        self.executing("idle", [])

    def peer_up(self, up: Up) -> bool:
        """Note that *up* answers, and dial it if it is a peer of ours; False when known."""
        known = self._ups.get(up.name)
        if up.incarnation < self._newest.get(up.name, 0) or known == up:
            return False
        self._hear_out(up.name)
        self._newest[up.name] = up.incarnation
        self._ups[up.name] = up
        if up.name in self._refs:
            self._dial(up)
        return True

    def _dial(self, up: Up) -> None:
        self._hang_up(up.name)
        assert self._tasks is not None
        identity = f"{self.name}/{self.incarnation}.{next(self._dials)}".encode()
        line: Line

        def on_message(_identity: bytes, header: bytes, payload: bytes) -> None:
            self._on_message(line, header, payload)

        endpoint = rundir.endpoint(self.run_dir, up.name)
        socket = self._context.dial(endpoint, identity, up.name, on_message)
        line = Line(self, socket, b"", up.name, up.incarnation)
        scope = anyio.CancelScope()
        self._dealers[up.name] = (socket, scope)
        self._tasks.start_soon(self._pump_within, socket, scope)
        self._refs[up.name].came_up(line)

    def peer_down(self, down: Down) -> None:
        """Drop the line to a dead incarnation and what lay with it."""
        self._hear_out(down.name)
        self._newest[down.name] = max(self._newest.get(down.name, 0), down.incarnation + 1)
        for identity in [
            identity
            for identity, line in self._lines.items()
            if line.name == down.name and line.epoch <= down.incarnation
        ]:
            del self._lines[identity]
        up = self._ups.get(down.name)
        if up is not None and up.incarnation <= down.incarnation:
            del self._ups[down.name]
            if down.name in self._refs:
                self._hang_up(down.name)

    def _hear_out(self, name: str) -> None:
        """What it said before it died came before the news of its death, by another way."""
        if name in self._dealers:
            socket, _ = self._dealers[name]
            while socket.drain(MOST) == MOST:
                pass

    def _hang_up(self, name: str) -> None:
        self._refs[name].went_down()
        if name in self._dealers:
            socket, scope = self._dealers.pop(name)
            socket.retire()
            scope.cancel()
        for question in self._pending.of(name):
            question.answer.fail(PeerRestarted(name))

    async def _pump_within(self, socket: Socket, scope: anyio.CancelScope) -> None:
        with scope:
            await socket.pump()

    async def ask_line(self, line: Line, body: Body, deadline: float, deadline_ns: int) -> Body:
        """The answer, or `TimeoutError`.

        *deadline* is in the loop's time, for ourselves; *deadline_ns* is CLOCK_MONOTONIC, for
        whoever is asked.
        """
        id_, question = self._pending.open(line.name, deadline)
        if self._asked is not None:
            self._asked.resolve(None)
            self._asked = None
        try:
            line.say(Kind.ASK, body, id_, deadline_ns)
            return await question.answer.wait()
        finally:
            self._pending.close(id_)

    async def _expire(self) -> None:
        """The one timer of all questions; asleep while there are none."""
        while True:
            while len(self._pending):
                await anyio.sleep(TICK_S)
                for question in self._pending.expire(anyio.current_time()):
                    question.answer.fail(TimeoutError())
            asked: Once[None] = once()
            self._asked = asked
            await asked.wait()

    async def _rescue(self) -> None:
        while True:
            await anyio.sleep(1)
            silent = {each: each.received for each in self._sockets().values() if each.silent}
            await anyio.sleep(SILENCE_S)
            for socket, received in silent.items():
                socket.rescue(received)

    def _sockets(self) -> dict[str, Socket]:
        sockets = {name: socket for name, (socket, _) in self._dealers.items()}
        if self._router is not None:
            sockets["router"] = self._router
        return sockets

    def _on_router(self, identity: bytes, header_frame: bytes, payload: bytes) -> None:
        line = self._lines.get(identity)
        if line is None or line.header_frame != header_frame:
            try:
                header = wire.decode_header(header_frame)
            except FrameBroken:
                self._broken += 1
                return
            if line is None or line.name != header.sender or line.epoch != header.epoch:
                line = self._remember(identity, header)
            line.header_frame, line.header = header_frame, header
        self._sort(line, line.header, payload)

    def _remember(self, identity: bytes, header: Header) -> Line:
        assert self._router is not None
        line = Line(self, self._router, identity, header.sender, header.epoch)
        self._lines[identity] = line
        if len(self._lines) > MOST_LINES:
            # forgetting the oldest costs it no more than a new entry when it speaks again
            del self._lines[next(iter(self._lines))]
        return line

    def _on_message(self, line: Line, header_frame: bytes, payload: bytes) -> None:
        if line.header_frame != header_frame:
            try:
                line.header = wire.decode_header(header_frame)
            except FrameBroken:
                self._broken += 1
                return
            line.header_frame = header_frame
        self._sort(line, line.header, payload)

    def _sort(self, line: Line, header: Header, payload: bytes) -> None:
        """Runs inside a drain, so it must not send."""
        if header.epoch < self._newest.get(header.sender, 0):
            self._stale += 1
            return
        try:
            body = self._codec.decode_body(header, payload)
        except Unsupported:
            self._unsupported += 1
            self._refuse(line, header, "unsupported", header.type)
            return
        except FrameBroken as error:
            self._broken += 1
            self._refuse(line, header, "unsupported", str(error))
            return
        if header.kind in _ANSWERS:
            self._resolve(line, header, body)
        elif line.closed:
            self._overrun += 1
            if header.kind == Kind.ASK:
                self._refuse(line, header, "window", f"{self.name} closed this line")
        elif line.dialled and line.name == SUPERVISOR:
            self._on_supervisor(body, line, header)
        elif line.waiting >= self.window:
            self._on_window_full(line, header)
        elif self.mailbox.put_nowait(Envelope(body, line, header)):
            line.waiting += 1
        else:
            self._refuse(line, header, "busy", f"{self.name} has a full mailbox")

    def _on_window_full(self, line: Line, header: Header) -> None:
        if header.kind == Kind.ASK:
            self._refuse(line, header, "busy", f"{self.name} holds {line.waiting} of yours")
            return
        line.closed = True
        self._closings += 1
        self._overrun += 1
        detail = f"{self.name} held {line.waiting} of yours, more than the window of a peer"
        self._refuse(line, header, "window", detail)

    def _on_supervisor(self, body: Body, line: Line, header: Header) -> None:
        """Change peers here and now, so that no message slips between; tell the actor too."""
        if isinstance(body, Up):
            if not self.peer_up(body):
                return
        elif isinstance(body, Down):
            self.peer_down(body)
        self.mailbox.put_always(Envelope(body, line, header))
        line.waiting += 1

    def _resolve(self, line: Line, header: Header, body: Body) -> None:
        if not header.id:
            self._on_refused_tell(line, header, body)
            return
        question = self._pending.close(header.id)
        if question is None:
            self._late += 1
        elif isinstance(body, Nack):
            refusal = _REFUSALS.get(body.reason, PeerRefused)
            question.answer.fail(refusal(f"{question.peer}: {body.detail}"))
        else:
            question.answer.resolve(body)

    def _on_refused_tell(self, line: Line, header: Header, body: Body) -> None:
        """The actor hears of it; a refusal of a refusal would go on for ever."""
        if isinstance(body, Nack) and body.reason == "window":
            assert self._tasks is not None
            self._tasks.start_soon(self._fail, WindowBroken(f"{line.name}: {body.detail}"))
        elif self.mailbox.put_nowait(Envelope(body, line, header)):
            line.waiting += 1

    async def _fail(self, error: Exception) -> None:
        raise error

    def _refuse(self, line: Line, header: Header, reason: str, detail: str) -> None:
        """Answer after the drain: inside it, sending could drain again."""
        if header.kind in _ANSWERS:
            return
        assert self._tasks is not None
        if not self._refusals:
            self._tasks.start_soon(self._say_refusals)
        self._refusals.append((line, header.id, Nack(reason, detail)))

    async def _say_refusals(self) -> None:
        while self._refusals:
            line, id_, nack = self._refusals.popleft()
            line.answer(Kind.NACK, nack, id_)

    def statistics(self) -> NodeStatistics:
        return NodeStatistics(
            mailbox=self.mailbox.statistics(),
            sockets={name: socket.statistics() for name, socket in self._sockets().items()},
            questions=len(self._pending),
            broken=self._broken,
            unsupported=self._unsupported,
            stale=self._stale,
            late=self._late,
            asks=self._pending.statistics(),
            lines=len(self._lines),
            closed=self._closings,
            overrun=self._overrun,
            refusing=len(self._refusals),
        )
