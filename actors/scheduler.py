"""The scheduler: leases of the device, batches for the workers.

A thin shell around `actors.scheduling`: it pulls tasks from the catalog, hears the workers'
offers, and sends what the core decides.
"""

from typing import Any, ClassVar

import anyio

from actors.messages import (
    AnyMessage,
    Batch,
    EmbedTasks,
    Grant,
    Prepared,
    Pull,
    Released,
)
from actors.scheduling import Effect, SchedulerCore, SendBatch, SendGrant
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
        self._core = SchedulerCore(self.settings.buckets, WINDOW * max(self.settings.buckets))
        self._workers: dict[str, Line] = {}
        self._catalog = self.ref("catalog")
        self._changed = anyio.Event()

    async def run(self) -> None:
        while True:
            now = anyio.current_time()
            self._carry_out(self._core.tick(now))
            self._say_offer(now)
            pause = self._core.next_tick_s(now)
            with anyio.move_on_after(TICK_S if pause is None else min(pause + 0.001, TICK_S)):
                await self._changed.wait()
            self._changed = anyio.Event()

    async def on_up(self, name: str) -> None:
        if name == "catalog":
            self._core.offer.renew()
            self._changed.set()

    async def on_down(self, down: Down) -> None:
        self._workers.pop(down.name, None)
        now = anyio.current_time()
        oom = down.exit_class == ExitClass.OOM
        self._carry_out(
            self._core.worker_died(down.name, down.incarnation, down.executing, now, oom=oom)
        )

    async def handle(self, message: Any, line: Line) -> None:
        now = anyio.current_time()
        match message:
            case EmbedTasks(tasks, delivery):
                if line.epoch == self._catalog.incarnation:
                    self._carry_out(self._core.tasks_arrived(delivery, tasks, now))
            case Pull():
                self._workers[line.name] = line
                self._carry_out(self._core.worker_pulls(line.name, line.epoch, message, now))
            case Prepared(batch):
                self._carry_out(self._core.worker_prepared(line.name, batch, now))
            case Released(batch, lease):
                self._carry_out(self._core.worker_released(line.name, batch, lease, now))
            case _:
                raise NotImplementedError(type(message).__name__)
        self._changed.set()

    def _say_offer(self, now: float) -> None:
        offer = self._core.offer
        if not offer.due(now):
            return
        try:
            self._catalog.tell(Pull("embed", offer.window, list(offer.outstanding), offer.delivery))
        except (PeerAway, Busy):
            return  # said again when it is up, or in a moment
        offer.said(now)

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
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
