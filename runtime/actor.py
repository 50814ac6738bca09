"""An actor: one process, one mailbox, four hooks.

    on_start → READY → handle(message) …  and  run()  → on_stop

`handle` gets one message after the other (or `concurrency` at once); what it returns answers
an ask.  `run` is for work that is not an answer: loops, offers, timers.  An exception that
`handle` raises on an ask goes back to the asker as a `Nack`, since there is somebody who can
act on it; on a tell it ends the process, because nobody else would ever know.

An actor knows its peers by name and that they come and go (`on_up`, `on_down`); it never
restarts anything.
"""

import os
from typing import Any, ClassVar

import anyio
import anyio.abc
import msgspec

from runtime import log
from runtime.errors import RecycleMe, RuntimeFault
from runtime.messages import Down, Drain, Hello, Ok, Progress, Ready, Up
from runtime.node import SUPERVISOR, Envelope, Line, Node, Ref, trace
from runtime.wire import Body, Nack


class Actor:
    """Base of all actors.  Subclasses set `Settings` and `messages`, and override hooks."""

    Settings: ClassVar[Any] = None  #: msgspec type of the settings, None when there are none
    messages: ClassVar[Any] = Ok  #: union of what may be said, beside the runtime's own
    concurrency: ClassVar[int] = 1

    node: Node

    def __init__(self, settings: Any) -> None:
        self.settings = settings
        self.run_id = ""  #: id of the supervisor's run
        self.draining = anyio.Event()
        self.tasks: anyio.abc.TaskGroup

    # ── hooks ──

    async def on_start(self) -> None:
        """Become able to answer.  Never wait for a neighbour here."""

    async def run(self) -> None:
        """Work beside the mailbox, from READY until drained."""

    async def handle(self, message: Any, line: Line) -> Body | None:
        """Act on *message*; the return value answers an ask."""
        raise NotImplementedError(type(message).__name__)

    async def on_up(self, name: str) -> None:
        """A new incarnation of peer *name* answers: say again what it must know."""

    async def on_down(self, down: Down) -> None:
        """A peer died."""

    async def on_drain(self) -> None:
        """Finish what is in hand; new work is no longer taken."""

    async def on_stop(self) -> None:
        """Leave nothing open."""

    # ── tools ──

    def ref(self, name: str) -> Ref:
        return self.node.ref(name)

    def progress(self, phase: str) -> None:
        """Tell the supervisor that a long start moves."""
        self.node.ref(SUPERVISOR).tell(Progress(phase))

    # ── life ──

    async def live(self, node: Node) -> None:
        """From a bound node to the end of the drain."""
        self.node = node
        supervisor = node.ref(SUPERVISOR)
        supervisor.tell(Hello(os.getpid()))
        await self.on_start()
        supervisor.tell(Ready())
        try:
            async with anyio.create_task_group() as tasks:
                self.tasks = tasks
                tasks.start_soon(self.run)
                for _ in range(self.concurrency):
                    tasks.start_soon(self._consume)
                await self.draining.wait()
                await self.on_drain()
                tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await self.on_stop()

    async def _consume(self) -> None:
        while True:
            envelope = await self.node.mailbox.get()
            trace.set(envelope.header.trace)
            match envelope.body:
                case Up(name):
                    await self.on_up(name)
                case Down() as down:
                    await self.on_down(down)
                case Drain():
                    self.draining.set()
                case Nack() as nack:
                    log.logger().warning(
                        "refused", by=envelope.line.name, reason=nack.reason, detail=nack.detail
                    )
                case _:
                    await self._handle(envelope)

    async def _handle(self, envelope: Envelope) -> None:
        try:
            answer = await self.handle(envelope.body, envelope.line)
        except RecycleMe:
            raise
        except Exception as error:
            if not envelope.asks:
                raise
            if not isinstance(error, RuntimeFault):
                log.logger().exception("handler_failed", message=envelope.header.type)
            envelope.refuse("failed", f"{type(error).__name__}: {error}")
        else:
            if answer is not None:
                envelope.reply(answer)


def decode_settings(actor: type[Actor], settings: bytes) -> Any:
    return None if actor.Settings is None else msgspec.msgpack.decode(settings, type=actor.Settings)
