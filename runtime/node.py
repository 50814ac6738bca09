"""One process's place in the web of actors: its mailbox, its peers, its questions.

A node binds one ROUTER, where others reach it, and dials a DEALER to each peer it talks to.
Who is up is told by the supervisor: `Up` dials the peer anew under an identity never used
before, `Down` closes the line and fails every question that lay with the dead.  So a message
is said to exactly one incarnation or to nobody, and the caller knows which.

What arrives is sorted inside the socket's drain: answers resolve their question at once,
everything else goes to the mailbox as an `Envelope`.  Messages of an incarnation older than
the newest one heard of are dropped and counted.

A node knows nothing of processes, restarts or what messages mean.
"""

import contextlib
import itertools
import time
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
)
from runtime.mailbox import Mailbox, MailboxStatistics
from runtime.messages import Down, Up
from runtime.page import Page
from runtime.pending import SLOT_S, Pending
from runtime.sockets import Context, Socket, SocketStatistics
from runtime.wire import Body, Header, Kind, Nack

#: 16 bytes that name the cause now being worked on; goes with every message sent meanwhile
trace: ContextVar[bytes] = ContextVar("trace", default=b"")

SUPERVISOR = "supervisor"


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


class Line:
    """Where a message came from, and the way back."""

    __slots__ = ("_codec", "_identity", "_node", "_socket", "epoch", "name")

    def __init__(
        self, node: "Node", socket: Socket, identity: bytes | None, name: str, epoch: int
    ) -> None:
        self._node = node
        self._socket = socket
        self._identity = identity
        self.name = name
        self.epoch = epoch

    def __repr__(self) -> str:
        return f"{self.name}/{self.epoch}"

    def tell(self, body: Body) -> None:
        """Say *body* to this very incarnation.

        Raises:
            PeerAway: it is gone.
            Busy: its queue is full.
        """
        self._send(Kind.TELL, body, 0)

    def _send(self, kind: Kind, body: Body, id: int, deadline_ns: int = 0) -> None:  # noqa: A002
        frames = self._node.encode(kind, body, id, deadline_ns)
        if self._identity is not None:
            frames.insert(0, self._identity)
        self._socket.send(frames)

    def answer(self, kind: Kind, body: Body, id: int) -> None:  # noqa: A002
        """Reply or Nack; one who died meanwhile needs no answer."""
        with contextlib.suppress(PeerAway, Busy):
            self._send(kind, body, id)


class Envelope(msgspec.Struct, frozen=True):
    """A message and what is known of it."""

    body: Body
    line: Line
    header: Header

    @property
    def asks(self) -> bool:
        return self.header.kind == Kind.ASK

    def reply(self, body: Body) -> None:
        if self.asks:
            self.line.answer(Kind.REPLY, body, self.header.id)

    def refuse(self, reason: str, detail: str = "") -> None:
        self.line.answer(Kind.NACK, Nack(reason, detail), self.header.id)


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
        while self.line is None:
            with anyio.move_on_at(deadline) as scope:
                await self._up.wait()
            if scope.cancelled_caught:
                raise PeerAway(self.name)
        return await self._node.ask_line(self.line, body, deadline, seconds)

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
    """

    def __init__(
        self, name: str, incarnation: int, run_dir: Path, codec: wire.Codec, *, mailbox: int = 4096
    ) -> None:
        self.name = name
        self.incarnation = incarnation
        self.run_dir = run_dir
        self.page: Page | None = None
        self.mailbox: Mailbox[Envelope] = Mailbox(mailbox)
        self._codec = codec
        self._context = Context()
        self._refs: dict[str, Ref] = {}
        self._ups: dict[str, Up] = {}
        self._dealers: dict[str, tuple[Socket, anyio.CancelScope]] = {}
        self._newest: dict[str, int] = {}
        self._pending: Pending[Body] = Pending()
        self._asked = anyio.Event()
        self._dials = itertools.count(1)
        self._router: Socket | None = None
        self._tasks: anyio.abc.TaskGroup | None = None
        self._broken = self._unsupported = self._stale = self._late = 0

    @contextlib.asynccontextmanager
    async def open(self, *, bind: bool = True) -> AsyncIterator["Node"]:
        """Bind and pump until the block is left; then close everything in bounded time."""
        with plain_errors():
            async with self._pumping(bind=bind):
                yield self
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
                    question.fail(PeerAway(question.peer))

    def ref(self, name: str) -> Ref:
        """The peer *name*; dialled as soon as the supervisor says it is up."""
        if name not in self._refs:
            self._refs[name] = Ref(self, name)
            if name in self._ups:
                self._dial(self._ups[name])
        return self._refs[name]

    def executing(self, phase: str, ids: list[int]) -> None:
        """Leave word, readable after our death, that *ids* are in hand from now on."""
        if self.page is not None:
            self.page.write(time.monotonic_ns(), phase, ids)

    def peer_up(self, up: Up) -> bool:
        """Note that *up* answers, and dial it if it is a peer of ours; False when known."""
        known = self._ups.get(up.name)
        if up.incarnation < self._newest.get(up.name, 0) or known == up:
            return False
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

        def on_frames(frames: list[bytes]) -> None:
            self._on_message(frames, line)

        endpoint = rundir.endpoint(self.run_dir, up.name)
        socket = self._context.dial(endpoint, identity, up.name, on_frames)
        line = Line(self, socket, None, up.name, up.incarnation)
        scope = anyio.CancelScope()
        self._dealers[up.name] = (socket, scope)
        self._tasks.start_soon(self._pump_within, socket, scope)
        self._refs[up.name].came_up(line)

    def peer_down(self, down: Down) -> None:
        """Drop the line to a dead incarnation and what lay with it."""
        self._newest[down.name] = max(self._newest.get(down.name, 0), down.incarnation + 1)
        up = self._ups.get(down.name)
        if up is not None and up.incarnation <= down.incarnation:
            del self._ups[down.name]
            if down.name in self._refs:
                self._hang_up(down.name)

    def _hang_up(self, name: str) -> None:
        self._refs[name].went_down()
        if name in self._dealers:
            socket, scope = self._dealers.pop(name)
            socket.retire()
            scope.cancel()
        for question in self._pending.of(name):
            question.fail(PeerRestarted(name))

    async def _pump_within(self, socket: Socket, scope: anyio.CancelScope) -> None:
        with scope:
            await socket.pump()

    def encode(self, kind: Kind, body: Body, id: int, deadline_ns: int) -> list[bytes]:  # noqa: A002
        return self._codec.encode(
            kind,
            body,
            id=id,
            sender=self.name,
            epoch=self.incarnation,
            deadline_ns=deadline_ns,
            trace=trace.get(),
        )

    async def ask_line(self, line: Line, body: Body, deadline: float, seconds: float) -> Body:
        id_, question = self._pending.open(line.name, deadline)
        self._asked.set()
        try:
            line._send(  # noqa: SLF001 - the two halves of one thing
                Kind.ASK, body, id_, time.monotonic_ns() + int(seconds * 1e9)
            )
            return await question.wait()
        except TimeoutError:
            raise DeadlinePassed(line.name, seconds) from None
        finally:
            self._pending.close(id_)

    async def _expire(self) -> None:
        """The one timer of all questions; asleep while there are none."""
        while True:
            while len(self._pending):
                await anyio.sleep(SLOT_S)
                for question in self._pending.expire(anyio.current_time()):
                    question.fail(TimeoutError())
            self._asked = anyio.Event()
            await self._asked.wait()

    async def _rescue(self) -> None:
        while True:
            await anyio.sleep(1)
            for socket in self._sockets().values():
                socket.rescue()

    def _sockets(self) -> dict[str, Socket]:
        sockets = {name: socket for name, (socket, _) in self._dealers.items()}
        if self._router is not None:
            sockets["router"] = self._router
        return sockets

    def _on_router(self, frames: list[bytes]) -> None:
        self._on_message(frames[1:], None, frames[0])

    def _on_message(
        self, frames: list[bytes], line: Line | None, identity: bytes | None = None
    ) -> None:
        """Sort one message; runs inside a drain, so it must not send."""
        try:
            header = wire.decode_header(frames[0] if len(frames) == 2 else b"")
        except FrameBroken:
            self._broken += 1
            return
        if header.epoch < self._newest.get(header.sender, 0):
            self._stale += 1
            return
        if line is None:
            assert self._router is not None
            line = Line(self, self._router, identity, header.sender, header.epoch)
        try:
            body = self._codec.decode_body(header, frames[1])
        except Unsupported:
            self._unsupported += 1
            self._later_refuse(line, header, "unsupported", header.type)
            return
        except FrameBroken as error:
            self._broken += 1
            self._later_refuse(line, header, "unsupported", str(error))
            return
        if header.kind == Kind.REPLY or (header.kind == Kind.NACK and header.id):
            self._resolve(header, body)
        elif isinstance(body, (Up, Down)) and line.name == SUPERVISOR:
            self._on_announcement(body, line, header)
        elif not self.mailbox.put_nowait(Envelope(body, line, header)):
            self._later_refuse(line, header, "busy", f"{self.name} has a full mailbox")

    def _on_announcement(self, body: Up | Down, line: Line, header: Header) -> None:
        """Change peers here and now, so that no message slips between; tell the actor too."""
        if isinstance(body, Up):
            if not self.peer_up(body):
                return
        else:
            self.peer_down(body)
        self.mailbox.put_always(Envelope(body, line, header))

    def _resolve(self, header: Header, body: Body) -> None:
        question = self._pending.close(header.id)
        if question is None:
            self._late += 1
        elif isinstance(body, Nack):
            refusals: dict[str, type[PeerRefused]] = {
                "busy": Busy,
                "unsupported": Unsupported,
                "failed": HandlerFailed,
            }
            question.fail(refusals.get(body.reason, PeerRefused)(f"{question.peer}: {body.detail}"))
        else:
            question.resolve(body)

    def _later_refuse(self, line: Line, header: Header, reason: str, detail: str) -> None:
        """Answer after the drain: inside it, sending could drain again."""
        assert self._tasks is not None

        async def refuse() -> None:
            line.answer(Kind.NACK, Nack(reason, detail), header.id)

        self._tasks.start_soon(refuse)

    def statistics(self) -> NodeStatistics:
        return NodeStatistics(
            mailbox=self.mailbox.statistics(),
            sockets={name: socket.statistics() for name, socket in self._sockets().items()},
            questions=len(self._pending),
            broken=self._broken,
            unsupported=self._unsupported,
            stale=self._stale,
            late=self._late,
        )
