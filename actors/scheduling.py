"""Who may use the device next, and with which batch.  Pure: no clock, no sockets.

One lease a device, held for one batch.  A worker gets a batch before it gets the lease, so
that it reads thumbnails and builds tensors while another batch runs; tasks are bound to a
worker as late as that allows.  Late binding is what makes priorities true (Triton switches
its prefetching off for the same reason).

A batch is sent once it fills half of the largest bucket, or when its oldest task has waited:
`IDLE_WAIT_S` while nobody works, so that a single new photo is searchable soon, and
`BUSY_WAIT_S` while the device is busy anyway.  A batch is for one model: while a second one is
built beside the first, tasks of both wait in one queue.  A suspect (somebody died of it or beside
it) runs alone.  After a death for want of memory the next smaller bucket is the largest one for
`RELAX_S`, because what took the memory may go away.

What a dead worker held goes back to the head of the queue, except the tasks its shared page
showed as executing: those the catalog charges and hands out again.  Its next incarnation begins
with a task that went well before, under the id `PROOF`: if it dies of that too, it dies of any
(`runtime.blame`).
"""

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TypeAlias

import msgspec

from actors.messages import EmbedTask, Pull
from runtime.blame import PROOF
from runtime.demand import Demand, Offer

IDLE_WAIT_S = 0.1
BUSY_WAIT_S = 2.0
RELAX_S = 600.0


class SendBatch(msgspec.Struct, frozen=True):
    worker: str
    batch: int
    bucket: int
    tasks: list[EmbedTask]


class SendGrant(msgspec.Struct, frozen=True):
    worker: str
    batch: int
    lease: int


Effect: TypeAlias = SendBatch | SendGrant


class Lease(msgspec.Struct, frozen=True):
    id: int
    worker: str
    batch: int
    since: float


class SchedulerStatistics(msgspec.Struct, frozen=True):
    queued: int
    batches: int  #: sent and not released
    leases: int  #: granted so far
    busy_s: float  #: seconds the device was leased


class SchedulerCore:
    """One class of work on one device.

    Args:
        buckets: batch sizes the model was warmed with, ascending.
        window: tasks to hold from the catalog; enough to fill the next batches.
    """

    def __init__(self, buckets: Sequence[int], window: int) -> None:
        self.buckets = sorted(buckets)
        self._largest = len(self.buckets) - 1  #: the bucket that fits into memory, as it seems
        self._relax_at = 0.0
        self.offer = Offer(window)
        self._demand = Demand()
        self._queue: deque[tuple[EmbedTask, float]] = deque()  # with time of arrival
        self._suspects: deque[EmbedTask] = deque()
        self._batches: dict[tuple[str, int], list[EmbedTask]] = {}
        self._prepared: deque[tuple[str, int]] = deque()
        self._proof: EmbedTask | None = None  #: went well before
        self._doubt = False  #: a worker died of its tasks: see whether the next one can do any
        self._lease: Lease | None = None
        self._leases = 0
        self._busy_s = 0.0

    def tasks_arrived(self, delivery: int, tasks: Iterable[EmbedTask], now: float) -> list[Effect]:
        by_id = {each.id: each for each in tasks}
        for each in self.offer.deliver(delivery, by_id):
            task = by_id[each]
            if task.suspect:
                self._suspects.append(task)
            else:
                self._queue.append((task, now))
        return self.tick(now)

    def worker_pulls(self, worker: str, epoch: int, pull: Pull, now: float) -> list[Effect]:
        """A standing offer of a worker.

        What it no longer holds although it was sent to it, the catalog has committed; what it
        holds that we never sent (our predecessor did) the catalog will hear of from it.
        """
        _, lost = self._demand.offer(worker, epoch, pull.window, pull.outstanding, pull.delivery)
        self.offer.settle(lost)
        return self.tick(now)

    def worker_prepared(self, worker: str, batch: int, now: float) -> list[Effect]:
        key = (worker, batch)
        runs = self._lease is not None and key == (self._lease.worker, self._lease.batch)
        if key in self._batches and key not in self._prepared and not runs:
            self._prepared.append(key)
        return self.tick(now)

    def worker_released(self, worker: str, batch: int, lease: int, now: float) -> list[Effect]:
        if self._lease is not None and self._lease.id == lease and self._lease.worker == worker:
            self._busy_s += now - self._lease.since
            self._lease = None
        if went_well := self._batches.pop((worker, batch), None):
            self._proof = msgspec.structs.replace(went_well[-1], id=PROOF, suspect=True)
        return self.tick(now)

    def worker_died(
        self, worker: str, epoch: int, executing: Sequence[int], now: float, *, oom: bool = False
    ) -> list[Effect]:
        if oom and len(executing) > 1:
            self._largest = max(self._largest - 1, 0)
            self._relax_at = now + RELAX_S
        self._demand.gone(worker, epoch)
        if self._lease is not None and self._lease.worker == worker:
            self._lease = None
        self._prepared = deque(each for each in self._prepared if each[0] != worker)
        charged = {*executing, PROOF}
        held = [
            task
            for key in sorted(key for key in self._batches if key[0] == worker)
            for task in self._batches.pop(key)
        ]
        self.offer.settle(charged)
        for task in reversed([each for each in held if each.id not in charged]):
            if task.suspect:
                self._suspects.appendleft(task)
            else:
                self._queue.appendleft((task, now))
        self._doubt = self._doubt or bool(executing)
        return self.tick(now)

    def tick(self, now: float) -> list[Effect]:
        """Whatever can be sent now."""
        effects: list[Effect] = []
        for worker in self._demand.waiting():
            effects += self._send_to(worker, now)
        if self._lease is None and self._prepared:
            worker, batch = self._prepared.popleft()
            self._leases += 1
            self._lease = Lease(self._leases, worker, batch, now)
            effects.append(SendGrant(worker, batch, self._leases))
        return effects

    def next_tick_s(self, now: float) -> float | None:
        """Seconds until waiting alone makes a batch due; None while nothing waits for that."""
        if not self._queue or not self._demand.waiting():
            return None
        return max(self._queue[0][1] + self._wait_s - now, 0.0)

    @property
    def _wait_s(self) -> float:
        return BUSY_WAIT_S if self._batches else IDLE_WAIT_S

    def _send_to(self, worker: str, now: float) -> list[Effect]:
        effects: list[Effect] = []
        if self._largest < len(self.buckets) - 1 and now >= self._relax_at:
            self._largest += 1
            self._relax_at = now + RELAX_S
        largest = self.buckets[self._largest]
        while room := self._demand.room(worker):
            work = bool(self._suspects or self._queue)
            if self._doubt and self._proof is not None and work and not self._batches:
                self._doubt = False
                tasks = [self._proof]
            elif self._suspects and not self._batches:
                tasks = [self._suspects.popleft()]
            else:
                tasks = self._due(min(largest, room), largest, now)
                if not tasks:
                    break
                taken = {each.id for each in tasks}
                self._queue = deque(each for each in self._queue if each[0].id not in taken)
            number = self._demand.delivered(worker, [each.id for each in tasks])
            bucket = next(each for each in self.buckets if each >= len(tasks))
            self._batches[worker, number] = tasks
            effects.append(SendBatch(worker, number, bucket, tasks))
        return effects

    def _due(self, most: int, largest: int, now: float) -> list[EmbedTask]:
        """At most *most* tasks for one model, of which there are enough or one waited enough."""
        since: dict[str, float] = {}  # pack → when the first of its tasks came
        for task, arrived in self._queue:
            since.setdefault(task.pack, arrived)
        for pack, arrived in since.items():
            tasks = list(islice((task for task, _ in self._queue if task.pack == pack), most))
            if len(tasks) * 2 >= largest or now - arrived >= self._wait_s:
                return tasks
        return []

    def statistics(self) -> SchedulerStatistics:
        queued = len(self._queue) + len(self._suspects)
        return SchedulerStatistics(queued, len(self._batches), self._leases, self._busy_s)
