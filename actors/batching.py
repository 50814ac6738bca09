"""Which waiting tasks of one class form the next batch, and what its workers hold.  Pure.

A batch is sent once it fills half of the largest bucket, or when its oldest task has waited:
`IDLE_WAIT_S` while nobody works, so that a single new photo is searchable soon, and
`BUSY_WAIT_S` while the workers have something to do anyway.  A batch is for one model: while a
second one is built beside the first, tasks of both wait in one queue.  A suspect (somebody died
of it or beside it) runs alone.  After a death for want of memory the next smaller bucket is the
largest one for `RELAX_S`, because what took the memory may go away.

What a dead worker held goes back to the head of the queue.  Two kinds of tasks do not: those its
shared page showed as executing, which the catalog charges, and those it was done with and whose
results died with it, uncommitted.  Of both the catalog hears that they are not here any more, and
hands them out again.  Who held what is known until the death is told, so a successor that speaks
before that is not heard yet; it will say the same again.  Its next incarnation begins
with a task that went well before, under the id `PROOF`: if it dies of that too, it dies of any
(`runtime.blame`).

An *ask* is a picture that somebody waits for.  It runs alone, ahead of
everything, whatever the worker's window says.  If its worker dies before it began, as one does
that was about to give its memory back, it is given to the next; if not, or if that dies too, it is
over, because who asked can ask again.

It knows nothing of other classes, nor of the device: who may have that is `scheduling`'s.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice

import msgspec

from actors.messages import Class, EmbedTask, Pull
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


class BatchingStatistics(msgspec.Struct, frozen=True):
    queued: int
    batches: int  #: sent and not released
    prepared: int  #: of those, how many wait for the device
    workers: int


class Batching:
    """One class of work.

    Args:
        kind: its name.
        buckets: batch sizes the model is warmed with.
        window: tasks to hold from the catalog; enough to fill the next batches.
    """

    def __init__(self, kind: Class, buckets: Sequence[int], window: int) -> None:
        self.kind: Class = kind
        self.buckets = sorted(buckets)
        self.offer = Offer(window)
        self.prepared: deque[tuple[str, int]] = deque()  #: (worker, batch), the first one first
        self.answers: deque[tuple[str, int]] = deque()  #: likewise, of asks
        self._largest = len(self.buckets) - 1  # the bucket that fits into memory, as it seems
        self._relax_at = 0.0
        self._demand = Demand()
        self._queue: deque[tuple[EmbedTask, float]] = deque()  # with time of arrival
        self._suspects: deque[EmbedTask] = deque()
        self._batches: dict[tuple[str, int], list[EmbedTask]] = {}
        self._asks: deque[EmbedTask] = deque()
        self._again: set[int] = set()  # asks whose first worker died
        self._proof: EmbedTask | None = None  # went well before
        self._doubt = False  # a worker died of its tasks: see whether the next one can do any

    @property
    def busy(self) -> bool:
        """Is there anything to do, or being done?"""
        return bool(self._queue or self._suspects or self._batches)

    def ask(self, task: EmbedTask) -> None:
        """Somebody waits for *task*."""
        self._asks.append(task)

    def withdraw(self, asks: set[int]) -> None:
        """Nobody waits for these any more; one that was sent goes on."""
        self._asks = deque(each for each in self._asks if each.id not in asks)

    def tasks_arrived(self, delivery: int, tasks: Iterable[EmbedTask], now: float) -> None:
        by_id = {each.id: each for each in tasks}
        for each in self.offer.deliver(delivery, by_id):
            task = by_id[each]
            if task.suspect:
                self._suspects.append(task)
            else:
                self._queue.append((task, now))

    def worker_pulls(self, worker: str, epoch: int, pull: Pull) -> None:
        """A standing offer of a worker.

        What it no longer holds although it was sent to it, the catalog has committed; what it
        holds that we never sent (our predecessor did) the catalog will hear of from it.
        """
        _, lost = self._demand.offer(worker, epoch, pull.window, pull.outstanding, pull.delivery)
        self.offer.settle(lost)

    def worker_prepared(self, worker: str, batch: int) -> None:
        key = (worker, batch)
        tasks = self._batches.get(key)
        if tasks is None:
            return
        ready = self.answers if tasks[0].asked else self.prepared
        if key not in ready:
            ready.append(key)

    def worker_released(self, worker: str, batch: int) -> None:
        went_well = self._batches.pop((worker, batch), None)
        self._again.difference_update(each.id for each in went_well or ())
        if went_well and not went_well[-1].asked:
            self._proof = msgspec.structs.replace(went_well[-1], id=PROOF, suspect=True)

    def epoch(self, worker: str) -> int | None:
        """The incarnation of *worker* whose offer stands; None where none does."""
        return self._demand.epoch(worker)

    def worker_died(
        self, worker: str, epoch: int, executing: Sequence[int], now: float, *, oom: bool
    ) -> list[int]:
        """Take back what it held; returns the asks that are over with it."""
        if oom and len(executing) > 1:
            self._largest = max(self._largest - 1, 0)
            self._relax_at = now + RELAX_S
        gone = self._demand.gone(worker, epoch)
        self.prepared = deque(each for each in self.prepared if each[0] != worker)
        self.answers = deque(each for each in self.answers if each[0] != worker)
        charged = {*executing, PROOF}
        held = [
            task
            for key in sorted(key for key in self._batches if key[0] == worker)
            for task in self._batches.pop(key)
        ]
        back = [each for each in held if each.id not in charged and not each.asked]
        self.offer.settle((charged | gone) - {each.id for each in back})
        for task in reversed(back):
            if task.suspect:
                self._suspects.appendleft(task)
            else:
                self._queue.appendleft((task, now))
        self._doubt = self._doubt or bool(executing)
        over = []
        for task in (each for each in held if each.asked):
            if task.id in {*executing, *self._again}:
                self._again.discard(task.id)
                over.append(task.id)
            else:
                self._again.add(task.id)
                self._asks.appendleft(task)
        return over

    def send_asks(self) -> list[SendBatch]:
        """Every ask, if there is a worker, each noted as sent."""
        workers = self._demand.pullers()
        sent = []
        while workers and self._asks:
            task, worker = self._asks.popleft(), workers[0]
            number = self._demand.delivered(worker, [task.id])
            self._batches[worker, number] = [task]
            sent.append(SendBatch(worker, number, self.buckets[0], [task]))
        return sent

    def send(self, now: float) -> list[SendBatch]:
        """Every batch that can be sent now, each noted as sent."""
        if self._largest < len(self.buckets) - 1 and now >= self._relax_at:
            self._largest += 1
            self._relax_at = now + RELAX_S
        sent = []
        for worker in self._demand.waiting():
            while tasks := self._next_for(worker, now):
                number = self._demand.delivered(worker, [each.id for each in tasks])
                bucket = next(each for each in self.buckets if each >= len(tasks))
                self._batches[worker, number] = tasks
                sent.append(SendBatch(worker, number, bucket, tasks))
        return sent

    def due_s(self, now: float) -> float | None:
        """Seconds until waiting alone makes a batch due; None while nothing waits for that."""
        if not self._queue or not self._demand.waiting():
            return None
        return max(self._queue[0][1] + self._wait_s - now, 0.0)

    @property
    def _wait_s(self) -> float:
        return BUSY_WAIT_S if self._batches else IDLE_WAIT_S

    def _next_for(self, worker: str, now: float) -> list[EmbedTask]:
        """The tasks of its next batch, none while it has to wait."""
        room = self._demand.room(worker)
        if not room:
            return []
        if not self._batches and (self._suspects or self._queue):
            if self._doubt and self._proof is not None:
                self._doubt = False
                return [self._proof]
            # Before anything went well a suspect may be the victim of a broken worker, to whom it
            # would be given again and again, until it is given up.  Who dies of others too is told.
            if self._suspects and (self._proof is not None or not self._queue):
                return [self._suspects.popleft()]
        largest = self.buckets[self._largest]
        tasks = self._due(min(largest, room), largest, now)
        if tasks:
            taken = {each.id for each in tasks}
            self._queue = deque(each for each in self._queue if each[0].id not in taken)
        return tasks

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

    def statistics(self) -> BatchingStatistics:
        return BatchingStatistics(
            queued=len(self._queue) + len(self._suspects),
            batches=len(self._batches),
            prepared=len(self.prepared),
            workers=self._demand.statistics().pullers,
        )
