"""The scheduler: leases of the device, batches for the workers.

A thin shell around `actors.scheduling`: it pulls tasks of each class from the catalog, hears
what is upstream and what the workers offer, and sends what the core decides.
"""

import contextlib
from typing import Any, ClassVar

import anyio

from actors.batching import Batching, SendBatch
from actors.messages import (
    AnyMessage,
    AskCaption,
    AskStatus,
    Batch,
    Class,
    EmbedTasks,
    Grant,
    Message,
    Prepared,
    Pull,
    Released,
    Saying,
    Upstream,
)
from actors.scheduling import Effect, SchedulerCore, SendGrant, SendSaying
from actors.settings import SchedulerSettings
from runtime.actor import Actor
from runtime.errors import Busy, PeerAway
from runtime.exits import ExitClass
from runtime.faults import fault
from runtime.messages import Down
from runtime.node import Line

TICK_S = 0.25
#: batches to hold from the catalog: six are with a worker, the others make leases few
WINDOW = 12


class Scheduler(Actor):
    Settings: ClassVar[Any] = SchedulerSettings
    messages: ClassVar[Any] = AnyMessage

    async def on_start(self) -> None:
        self.settings: SchedulerSettings
        classes = [
            Batching(kind, buckets, WINDOW * max(buckets))
            for kind, buckets in self.settings.classes.items()
        ]
        self._core = SchedulerCore(classes, self.settings.settle_s)
        self._asking: set[Class] = set()  # the catalog was told that there is room for these
        self._workers: dict[str, Line] = {}
        self._askers: dict[str, Line] = {}
        self._catalog = self.ref("catalog")
        self._changed = anyio.Event()

    async def run(self) -> None:
        while True:
            now = anyio.current_time()
            self._carry_out(self._core.tick(now))
            for kind in self._core.kinds:
                self._say_offer(kind, now)
            pause = self._core.next_tick_s(now)
            with anyio.move_on_after(TICK_S if pause is None else min(pause + 0.001, TICK_S)):
                await self._changed.wait()
            self._changed = anyio.Event()

    async def on_up(self, name: str) -> None:
        if name == "catalog":
            for kind in self._core.kinds:
                self._core.offer(kind).renew()
            self._changed.set()

    async def on_down(self, down: Down) -> None:
        now = anyio.current_time()
        if down.name == "catalog":
            self._carry_out(self._core.upstream_lost(now))
            return
        if down.name in self._askers:
            self._core.asker_gone(down.name, down.incarnation)
            return
        self._workers.pop(down.name, None)
        oom = down.exit_class == ExitClass.OOM
        self._carry_out(
            self._core.worker_died(down.name, down.incarnation, down.executing, now, oom=oom)
        )

    async def handle(self, message: Any, line: Line) -> Message | None:
        now = anyio.current_time()
        match message:
            case EmbedTasks(tasks, delivery, kind):
                if self._is_from_catalog(line):
                    self._carry_out(self._core.tasks_arrived(kind, delivery, tasks, now))
            case Upstream():
                if self._is_from_catalog(line):
                    self._carry_out(self._core.upstream_is(message, now))
            case Pull():
                if self._core.is_early(line.name, line.epoch):
                    return None
                self._workers[line.name] = line
                self._carry_out(self._core.worker_pulls(line.name, line.epoch, message, now))
            case Prepared(batch):
                self._carry_out(self._core.worker_prepared(line.name, batch, now))
            case Released(batch, lease):
                self._carry_out(self._core.worker_released(line.name, batch, lease, now))
            case AskCaption():
                self._askers[line.name] = line
                self._carry_out(self._core.asked(line.name, line.epoch, message, now))
            case Saying():
                self._carry_out(self._core.said(message))
            case AskStatus():
                return self._core.status(now)
            case _:
                raise NotImplementedError(type(message).__name__)
        self._changed.set()
        return None

    def _is_from_catalog(self, line: Line) -> bool:
        """Does *line* belong to the catalog that is there now?"""
        return line.name == "catalog" and line.epoch == self._catalog.incarnation

    def _say_offer(self, kind: Class, now: float) -> None:
        """Ask for work of *kind*; while it has to wait, say only what is held of it already."""
        offer, asks = self._core.offer(kind), self._core.is_open(kind, now)
        turned = asks != (kind in self._asking)
        if not (turned or offer.due(now)) or not (turned or asks or offer.outstanding):
            return
        window = offer.window if asks else 0
        try:
            self._catalog.tell(Pull(kind, window, list(offer.outstanding), offer.delivery))
        except (PeerAway, Busy):
            return  # said again when it is up, or in a moment
        offer.said(now)
        if asks:
            self._asking.add(kind)
        else:
            self._asking.discard(kind)

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, SendSaying):
                with contextlib.suppress(PeerAway, Busy):  # who asked gives up after a while
                    self._askers[effect.asker].tell(effect.saying)
                continue
            line = self._workers.get(effect.worker)
            if line is None:
                continue  # its Down is on the way and brings the batch back
            try:
                match effect:
                    case SendBatch(_, batch, bucket, tasks):
                        line.tell(Batch(batch, bucket, tasks))
                    case SendGrant(_, batch, lease):
                        line.tell(Grant(batch, lease, self.settings.device))
                        fault("scheduler.granted")
            except (PeerAway, Busy):
                continue  # likewise
