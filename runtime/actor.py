"""An actor: one process, one mailbox, four hooks.

    on_start → READY → handle(message) …  and  run()  → on_stop

    LOADING    on_start runs; `progress` says that it moves
    WARMING    likewise, said by `progress(…, warming=True)`
    READY      it answers
    BUSY       … and has something in hand, named by `phase`
    DRAINING   it was asked to stop

`handle` gets one message after the other (or `concurrency` at once); what it returns answers
an ask.  `run` is for work that is not an answer: loops, offers, timers.  An exception that
`handle` raises on an ask goes back to the asker as a `Nack`, since there is somebody who can
act on it; on a tell it ends the process, because nobody else would ever know.

What may take long is done in a `phase`, off the loop or on it: a phase past its deadline is a
hang, and outside of phases the loop is expected to run (`health`).

An actor knows its peers by name and that they come and go (`on_up`, `on_down`); it never
restarts anything.
"""

import os
from collections.abc import Sequence
from typing import Any, ClassVar

import anyio
import anyio.abc
import msgspec

from runtime import log
from runtime.errors import ActorUnusable, RecycleMe, RuntimeFault
from runtime.faults import fault
from runtime.messages import Down, Drain, Hello, Ok, Progress, Ready, Up
from runtime.node import SUPERVISOR, Envelope, Line, Node, Ref, trace
from runtime.page import Stage
from runtime.phases import HARD_S, Phase, Phases
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
        self.phases = Phases()
        self.draining = anyio.Event()
        self.drain_s = 10.0  #: what `on_drain` and `on_stop` may take together
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

    def phase(
        self,
        name: str,
        ids: Sequence[int] = (),
        *,
        budget_s: float | None = None,
        most_s: float = HARD_S,
    ) -> Phase:
        """`with self.phase("embed", ids):` names what is in hand; see `phases`."""
        return self.phases.phase(name, ids, budget_s=budget_s, most_s=most_s)

    def progress(self, phase: str, *, warming: bool = False) -> None:
        """Tell the supervisor that a long start moves."""
        if warming:
            self._enter(Stage.WARMING)
        self.node.ref(SUPERVISOR).tell(Progress(phase))

    def _enter(self, stage: Stage) -> None:
        if self.node.page is not None:
            self.node.page.stage(stage)

    # ── life ──

    async def live(self, node: Node) -> None:
        """From a bound node to the end of the drain."""
        self.node = node
        self.phases.page = node.page
        self._enter(Stage.LOADING)
        supervisor = node.ref(SUPERVISOR)
        supervisor.tell(Hello(os.getpid()))
        fault("actor.start")
        await self.on_start()
        fault("actor.ready")
        self._enter(Stage.READY)
        supervisor.tell(Ready())
        try:
            async with anyio.create_task_group() as tasks:
                self.tasks = tasks
                tasks.start_soon(self.run)
                for _ in range(self.concurrency):
                    tasks.start_soon(self._consume)
                await self.draining.wait()
                self._enter(Stage.DRAINING)
                fault("actor.drain")
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
                case Drain(budget_s):
                    self.drain_s = budget_s
                    self.draining.set()
                case Nack() as nack:
                    log.logger().warning("refused", by=envelope.line.name, reason=nack.reason)
                    log.logger().debug("refused_because", detail=nack.detail)
                case _:
                    await self._handle(envelope)

    async def _handle(self, envelope: Envelope) -> None:
        try:
            fault("actor.handle")
            answer = await self.handle(envelope.body, envelope.line)
            fault("actor.handled")  # done, and nobody was told
        except (RecycleMe, ActorUnusable):
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
