"""Who may use the device next.  Pure: no clock, no sockets.

One lease a device, held for one batch.  A worker gets a batch before it gets the lease, so
that it reads thumbnails and builds tensors while another batch runs; tasks are bound to a
worker as late as that allows.  Late binding is what makes priorities true (Triton switches
its prefetching off for the same reason).

Work comes in classes, and those have a strict order.  What a class does on the device, and what
its workers hold, is `batching`'s; between classes stands a gate:

    closed ──everything above has been quiet for `settle_s`,──► open
      ▲      or at once where nothing can come any more           │
      └──────something above has work, or nobody knows────────────┘

Above a class are the classes before it *and the stages from which their work comes*: a photo
that is being decoded will be embedded in a moment, and a face model that is loaded between two
photos makes both slow.  What this process holds it sees itself; the rest the catalog tells
(`Upstream`), and while it has told nothing, or is away, only the first class is open.

A gate that closes breaks nothing off.  The batch that runs ends; what is prepared keeps waiting,
with its worker; what came from the catalog stays, since it would only come back; and the catalog
is asked for no more.

An *ask* is somebody's who waits: it goes to a worker at once, past every gate, and is the next
to get the lease.  What it says on the way goes back to who asked.

Rejected: shares of the device by weight, because faces may be late and what was just taken may
not; to take prepared batches away from a worker when its gate closes, because it would read the
same pictures again in a minute.
"""

import math
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import msgspec

from actors.batching import Batching, SendBatch
from actors.messages import (
    ASKS,
    AskCaption,
    Class,
    ClassStatus,
    EmbedTask,
    Kind,
    Pull,
    Saying,
    SchedulerStatus,
    Upstream,
)
from runtime.demand import Offer

#: from which the work of every class comes
STAGES = ("scan", "decode")
#: what a class that waits for one of them says
WAITS = {
    "scan": "folders are being walked",
    "decode": "photos are being read",
    "embed": "embeddings first",
    "face": "faces first",
    "caption": "captions first",
}

#: what is said of an ask whose worker died
DIED = "the process that wrote it died; ask again"


class SendGrant(msgspec.Struct, frozen=True):
    worker: str
    batch: int
    lease: int


class SendSaying(msgspec.Struct, frozen=True):
    asker: str
    saying: Saying


Effect: TypeAlias = SendBatch | SendGrant | SendSaying


class _Ask(msgspec.Struct, frozen=True):
    asker: str
    epoch: int
    number: int  #: the asker's
    kind: Class


class Lease(msgspec.Struct, frozen=True):
    id: int
    worker: str
    batch: int
    since: float


class _Gate:
    """See the head of the module.

    Args:
        above: stages and classes that come first, the nearest reason to wait first.
    """

    def __init__(self, above: Sequence[str], settle_s: float) -> None:
        self._above = above
        self._settle_s = settle_s
        self._final = False
        self._busy: str | None = None  #: the first of those above that is
        self._known = False
        self.opens_at = math.inf if above else -math.inf

    def look(self, upstream: Upstream | None, busy: Iterable[str], now: float) -> None:
        """What is upstream, and which classes have work here."""
        if not self._above:
            return
        self._known = upstream is not None
        self._final = upstream is not None and upstream.final
        all_busy = {*busy, *(upstream.busy if upstream is not None else ())}
        self._busy = next((each for each in self._above if each in all_busy), None)
        if not self._known or self._busy is not None:
            self.opens_at = math.inf
        elif self.opens_at == math.inf:
            self.opens_at = now + self._settle_s

    def is_open(self, now: float) -> bool:
        return now >= self.opens_at or (self._final and self._busy is None)

    def reason(self, now: float) -> str:
        """Why it is closed, "" when it is open."""
        if self.is_open(now):
            return ""
        if not self._known:
            return "the catalog has not said what comes first"
        if self._busy is not None:
            return WAITS[self._busy]
        return f"begins in {math.ceil(self.opens_at - now)} s, unless something comes first"


class SchedulerCore:
    """Classes of work on one device.

    Args:
        classes: in the order in which they get it.
        settle_s: how long everything above a class has to be quiet.
    """

    def __init__(self, classes: Sequence[Batching], settle_s: float = 0.0) -> None:
        self._classes: dict[Kind, Batching] = {each.kind: each for each in classes}
        kinds = list(self._classes)
        self._gates = {
            kind: _Gate([*reversed(kinds[:place]), *reversed(STAGES)] if place else (), settle_s)
            for place, kind in enumerate(kinds)
        }
        self._workers: dict[str, Batching] = {}  # whose batches it does
        self._upstream: Upstream | None = None
        self._lease: Lease | None = None
        self._leases = 0
        self._busy_s = 0.0
        self._asks: dict[int, _Ask] = {}  # by the id that they have here
        self._asked = 0

    @property
    def kinds(self) -> list[Class]:
        return [each.kind for each in self._classes.values()]

    def offer(self, kind: Class) -> Offer:
        """What of *kind* is wanted of the catalog, and held."""
        return self._classes[kind].offer

    def is_open(self, kind: Class, now: float) -> bool:
        """May it have the device, and is work wanted for it?"""
        return self._gates[kind].is_open(now)

    def upstream_is(self, upstream: Upstream, now: float) -> list[Effect]:
        self._upstream = upstream
        return self.tick(now)

    def upstream_lost(self, now: float) -> list[Effect]:
        """Nobody can tell any more."""
        self._upstream = None
        return self.tick(now)

    def tasks_arrived(
        self, kind: Class, delivery: int, tasks: Iterable[EmbedTask], now: float
    ) -> list[Effect]:
        self._classes[kind].tasks_arrived(delivery, tasks, now)
        return self.tick(now)

    def asked(self, asker: str, epoch: int, ask: AskCaption, now: float) -> list[Effect]:
        """Somebody wants a picture described, and waits."""
        self._asked += 1
        task = EmbedTask(
            ASKS + self._asked, ask.content, ask.digest, ask.width, ask.height, pack=ask.pack
        )
        self._asks[task.id] = _Ask(asker, epoch, ask.ask, "caption")
        self._classes["caption"].ask(task)
        return self.tick(now)

    def said(self, saying: Saying) -> list[Effect]:
        """A worker's word about an ask."""
        ask = self._asks.get(saying.ask)
        if ask is None:
            return []  # nobody waits any more
        if saying.done:
            del self._asks[saying.ask]
        return [SendSaying(ask.asker, msgspec.structs.replace(saying, ask=ask.number))]

    def asker_gone(self, asker: str, epoch: int) -> None:
        """Nobody waits for what it asked."""
        gone = {
            each for each, ask in self._asks.items() if ask.asker == asker and ask.epoch <= epoch
        }
        for each in gone:
            self._classes[self._asks.pop(each).kind].withdraw(gone)

    def is_early(self, worker: str, epoch: int) -> bool:
        """Is *epoch* a successor of an incarnation whose death was not told yet?

        What that one held would be taken for its; it has to wait, and says its offer again.
        """
        known = self._workers[worker].epoch(worker) if worker in self._workers else None
        return known is not None and known < epoch

    def worker_pulls(self, worker: str, epoch: int, pull: Pull, now: float) -> list[Effect]:
        """A standing offer of a worker, which says of what class it is.

        Raises:
            KeyError: there is no such class here.
        """
        self._workers[worker] = self._classes[pull.kind]
        self._workers[worker].worker_pulls(worker, epoch, pull)
        return self.tick(now)

    def worker_prepared(self, worker: str, batch: int, now: float) -> list[Effect]:
        runs = self._lease is not None and (worker, batch) == (
            self._lease.worker,
            self._lease.batch,
        )
        if worker in self._workers and not runs:
            self._workers[worker].worker_prepared(worker, batch)
        return self.tick(now)

    def worker_released(self, worker: str, batch: int, lease: int, now: float) -> list[Effect]:
        if self._lease is not None and self._lease.id == lease and self._lease.worker == worker:
            self._busy_s += now - self._lease.since
            self._lease = None
        if worker in self._workers:
            self._workers[worker].worker_released(worker, batch)
        return self.tick(now)

    def worker_died(
        self, worker: str, epoch: int, executing: Sequence[int], now: float, *, oom: bool = False
    ) -> list[Effect]:
        batching = self._workers.get(worker)
        known = None if batching is None else batching.epoch(worker)
        if batching is None or (known is not None and known > epoch):
            return self.tick(now)  # it offered nothing, though its successor may have
        if self._lease is not None and self._lease.worker == worker:
            self._lease = None
        effects: list[Effect] = []
        for each in batching.worker_died(worker, epoch, executing, now, oom=oom):
            effects += self.said(Saying(each, "", done=True, error=DIED))
        return effects + self.tick(now)

    def tick(self, now: float) -> list[Effect]:
        """Whatever can be sent now."""
        busy = [each.kind for each in self._classes.values() if each.busy]
        for gate in self._gates.values():
            gate.look(self._upstream, busy, now)
        open_ = [each for each in self._classes.values() if self.is_open(each.kind, now)]
        effects: list[Effect] = []
        for each in self._classes.values():
            effects += each.send_asks()
        effects += [batch for each in open_ for batch in each.send(now)]
        queues = [each.answers for each in self._classes.values()]
        queues += [each.prepared for each in open_]
        ready = next((each for each in queues if each), None)
        if self._lease is None and ready:
            worker, batch = ready.popleft()
            self._leases += 1
            self._lease = Lease(self._leases, worker, batch, now)
            effects.append(SendGrant(worker, batch, self._leases))
        return effects

    def next_tick_s(self, now: float) -> float | None:
        """Seconds until waiting alone makes something due; None while nothing waits for that."""
        dues: list[float] = []
        for each in self._classes.values():
            if not self.is_open(each.kind, now):
                dues.append(self._gates[each.kind].opens_at - now)
            elif (due := each.due_s(now)) is not None:
                dues.append(due)
        return min((each for each in dues if each < math.inf), default=None)

    def status(self, now: float) -> SchedulerStatus:
        classes = []
        for each in self._classes.values():
            found = each.statistics()
            reason = self._gates[each.kind].reason(now)
            if not reason and found.queued and not found.workers:
                reason = "its worker is not up"
            open_ = self.is_open(each.kind, now)
            classes.append(ClassStatus(each.kind, found.queued, found.batches, open_, reason))
        return SchedulerStatus(classes, self._leases, self._busy_s)
