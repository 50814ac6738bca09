"""A provider, its workers and their supervisor in one thread, on a network that misbehaves.

The cores are the real ones: `Demand`, `Offer` and `GroupCore`.  Around them stands the least
shell that can use them, in simulated time, with everything drawn from one seed: messages are
dropped, doubled, delayed and so reordered; processes die between any two steps; pairs are cut
off from each other.  The worst line here is far worse than a unix socket.

What is durable: which tasks there are, and which are committed.  All else dies with its
process.  After every step the books are checked (`World.check`).
"""

import functools
import hashlib
import heapq
import random
from collections import Counter, deque
from collections.abc import Callable

from runtime import restart
from runtime.demand import Demand, Offer
from runtime.restart import Backoff, GroupCore, Intensity, Policy

PROVIDER = "provider"
#: real time is no matter, so the supervisor never gives up
INTENSITY = Intensity(limit=1000, period_s=2000)
BACKOFF = Backoff(base_s=0.1, cap_s=1.0)
RESEND_S = 1.0
STARTUP_S = 5.0


class Network:
    """How bad it is; every probability is drawn once a world."""

    def __init__(self, rng: random.Random, worst: float) -> None:
        self.drop = rng.uniform(0, worst)
        self.double = rng.uniform(0, worst)
        self.reorder = rng.uniform(0, worst)  #: share of messages that are much later
        self.late_s = rng.uniform(0.001, 3.0)


class Process:
    """One incarnation."""

    def __init__(self, world: "World", name: str, incarnation: int) -> None:
        self.world = world
        self.name = name
        self.incarnation = incarnation
        self.peers: dict[str, int] = {}  #: which incarnation of a peer we talk to
        self.newest: dict[str, int] = {}  #: what is older has no effect

    @property
    def alive(self) -> bool:
        return self.world.processes.get(self.name) is self

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        """Unless dead by then."""
        self.world.after(seconds, lambda: call() if self.alive else None)

    def tell(self, name: str, *message: object) -> None:
        if name in self.peers:
            self.world.send(self, name, self.peers[name], message)

    def hear_up(self, name: str, incarnation: int) -> None:
        if incarnation >= self.newest.get(name, 0) and self.peers.get(name) != incarnation:
            self.newest[name] = self.peers[name] = incarnation
            self.on_up(name)

    def hear_down(self, name: str, incarnation: int) -> None:
        self.newest[name] = max(self.newest.get(name, 0), incarnation + 1)
        if self.peers.get(name, incarnation + 1) <= incarnation:
            del self.peers[name]
        self.on_down(name, incarnation)

    def hear(self, sender: str, epoch: int, message: tuple[object, ...]) -> None:
        if epoch < self.newest.get(sender, 0):
            self.world.log("stale", self.name, sender, epoch)
            self.on_stale(sender, epoch, message)
            return
        self.on_message(sender, epoch, message)

    def on_up(self, name: str) -> None: ...
    def on_down(self, name: str, incarnation: int) -> None: ...
    def on_stale(self, sender: str, epoch: int, message: tuple[object, ...]) -> None: ...
    def on_message(self, sender: str, epoch: int, message: tuple[object, ...]) -> None: ...


class Provider(Process):
    def __init__(self, world: "World", name: str, incarnation: int) -> None:
        super().__init__(world, name, incarnation)
        self.demand = Demand()
        self.queue = deque(task for task in world.tasks if task not in world.committed)
        self.owner: dict[int, str] = {}  #: task → whose it is in this incarnation

    def on_message(self, sender, epoch, message):
        match message:
            case ("pull", window, outstanding, delivery):
                self.pulled(sender, epoch, window, outstanding, delivery)
            case ("result", task):
                if task not in self.world.committed:
                    self.world.commit(task)
                self.take_back([task])
                self.demand.settled([task])
                if task in self.queue:
                    self.queue.remove(task)
                if self.world.strikes():  # committed, and nobody was told
                    self.world.kill(self.name)
                    return
                self.tell(sender, "committed", task)
                self.deliver()

    def pulled(self, sender, epoch, window, outstanding, delivery):
        adopted, lost = self.demand.offer(sender, epoch, window, outstanding, delivery)
        for task in sorted(adopted):
            if task in self.queue:
                self.queue.remove(task)
                self.owner[task] = sender
        self.put_back(lost, sender)
        self.deliver()
        if self.demand.doubts(sender):
            self.tell(sender, "tasks", [], self.demand.delivered(sender, ()))

    def take_back(self, tasks):
        for task in tasks:
            self.owner.pop(task, None)

    def put_back(self, tasks, holder):
        mine = sorted(task for task in tasks if self.owner.get(task) == holder)
        self.take_back(mine)
        self.queue.extendleft(task for task in reversed(mine) if task not in self.world.committed)

    def deliver(self):
        for name in self.demand.waiting():
            tasks: list[int] = []
            while self.queue and len(tasks) < self.demand.room(name):
                task = self.queue.popleft()
                assert task not in self.owner, "A10: a task has two owners"
                self.owner[task] = name
                tasks.append(task)
            if tasks:
                self.tell(name, "tasks", tasks, self.demand.delivered(name, tasks))

    def on_down(self, name, incarnation):
        self.put_back(self.demand.gone(name, incarnation), name)
        self.deliver()

    def on_stale(self, sender, epoch, message):
        """A11: were it not dropped above, the core would not let it have an effect either."""
        if message[0] == "pull" and sender in self.demand._pullers:
            before = self.books()
            assert self.demand.offer(sender, epoch, *message[1:]) == (set(), set())
            assert self.demand.gone(sender, epoch) == set()
            assert self.books() == before, "A11: an old incarnation changed the books"

    def books(self):
        statistics = self.demand.statistics()
        return (
            (statistics.window, statistics.held, statistics.in_flight, statistics.pullers),
            list(self.queue),
            dict(self.owner),
        )


class Worker(Process):
    def __init__(self, world: "World", name: str, incarnation: int) -> None:
        super().__init__(world, name, incarnation)
        self.offer = Offer(world.rng.randint(1, 6))
        self.todo: deque[int] = deque()
        self.outbox: dict[int, None] = {}
        self.working = False
        self.after(0.0, self.repeat)

    def on_up(self, name):
        if name != PROVIDER:
            return
        self.offer.renew()
        self.say_offer()
        for task in self.outbox:
            self.tell(PROVIDER, "result", task)

    def on_message(self, sender, epoch, message):
        match message:
            case ("tasks", tasks, delivery):
                self.todo.extend(self.offer.deliver(delivery, tasks))
                self.work()
            case ("committed", task):
                self.outbox.pop(task, None)
                self.offer.settle([task])
                self.say_offer()

    def work(self):
        if not self.working and self.todo:
            self.working = True
            self.after(self.world.rng.uniform(0.01, 0.3), self.finish)

    def finish(self):
        self.working = False
        task = self.todo.popleft()
        self.world.runs[task] += 1
        self.outbox[task] = None
        if self.world.strikes():  # done, and nobody was told
            self.world.kill(self.name)
            return
        self.tell(PROVIDER, "result", task)
        self.work()

    def say_offer(self):
        offer = self.offer
        if PROVIDER in self.peers and offer.due(self.world.now):
            outstanding = list(offer.outstanding)
            self.tell(PROVIDER, "pull", offer.window, outstanding, offer.delivery)
            offer.said(self.world.now)

    def repeat(self):
        """What a tick repairs: lost offers, lost results, lost answers."""
        self.say_offer()
        for task in self.outbox:
            self.tell(PROVIDER, "result", task)
        self.after(RESEND_S, self.repeat)


class World:
    """Run it with `run`; *worst* bounds each of the network's probabilities."""

    def __init__(
        self, seed: int, *, worst: float = 0.3, tasks: int = 30, crashes_until: float = 30.0
    ) -> None:
        self.rng = random.Random(seed)
        self.network = Network(self.rng, worst)
        self.now = 0.0
        self.digest = hashlib.blake2b()
        self.tasks = range(1, tasks + 1)
        self.committed: Counter[int] = Counter()
        self.runs: Counter[int] = Counter()
        self.counts: Counter[str] = Counter()
        self.processes: dict[str, Process] = {}
        self.names = [PROVIDER, *(f"worker{n}" for n in range(self.rng.randint(1, 4)))]
        self.cuts: list[tuple[frozenset[str], float, float]] = []
        self.crashes_until = crashes_until
        self.strike = self.rng.uniform(0, 0.05)
        self._incarnation = 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0
        self._ready: dict[str, int] = {}
        self.core = GroupCore(
            [Policy(name) for name in self.names],
            intensity=INTENSITY,
            backoff=BACKOFF,
            rng=self.rng,
        )

    # ── time ──

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        self._sequence += 1
        heapq.heappush(self._events, (self.now + seconds, self._sequence, call))

    def run(self, until: float = 900.0) -> "World":
        """To the last commit, or to *until*, which is a failure."""
        self.carry_out(self.core.step(restart.Start(), self.now))
        if self.crashes_until:
            self.after(self.rng.uniform(0.5, 5), self.crash_somebody)
        while len(self.committed) < len(self.tasks):
            at, _, call = heapq.heappop(self._events)
            assert at < until, f"not done by {until:g} s: {sorted(self.missing())}"
            self.now = at
            call()
            self.check()
        return self

    def missing(self) -> set[int]:
        return set(self.tasks) - set(self.committed)

    def log(self, *words: object) -> None:
        self.counts[str(words[0])] += 1
        self.digest.update(repr((round(self.now, 9), *words)).encode())

    # ── network ──

    def cut(self, one: str, other: str, begin: float, end: float) -> None:
        self.cuts.append((frozenset({one, other}), begin, end))

    def cut_until(self, one: str, other: str) -> float:
        """When the two can reach each other again; now, unless they are cut off."""
        pair = frozenset({one, other})
        ends = [end for cut, begin, end in self.cuts if cut == pair and begin <= self.now < end]
        return max(ends, default=self.now)

    def send(
        self, sender: Process, name: str, incarnation: int, message: tuple[object, ...]
    ) -> None:
        network = self.network
        copies = 1 + (self.rng.random() < network.double)
        for _ in range(copies):
            if self.rng.random() < network.drop or self.cut_until(sender.name, name) > self.now:
                self.log("drop", sender.name, name, message)
                continue
            delay = self.rng.uniform(0.0001, 0.002)
            if self.rng.random() < network.reorder:
                delay += self.rng.uniform(0, network.late_s)
            self.after(delay, self._delivery(sender, name, incarnation, message))

    def _delivery(self, sender, name, incarnation, message):
        def deliver():
            receiver = self.processes.get(name)
            # a line leads to one incarnation; what was on its way to another is gone
            if receiver is not None and receiver.incarnation == incarnation:
                self.log("hear", name, sender.name, sender.incarnation, message)
                receiver.hear(sender.name, sender.incarnation, message)

        return deliver

    # ── life and death ──

    def carry_out(self, effects) -> None:
        for effect in effects:
            match effect:
                case restart.Spawn(name):
                    self.spawn(name)
                case restart.Wake(name, after_s, turn):
                    self.after(after_s, functools.partial(self._due, name, turn))
                case _:
                    raise AssertionError(effect)

    def _due(self, name, turn):
        self.carry_out(self.core.step(restart.Due(name, turn), self.now))

    def spawn(self, name: str) -> None:
        self._incarnation += 1
        kind = Provider if name == PROVIDER else Worker
        process = self.processes[name] = kind(self, name, self._incarnation)
        self.log("spawn", name, process.incarnation)
        loading = self.rng.uniform(0.05, 0.3)
        # its Ready travels on the supervisor's line, which may be cut for a while
        heard = max(loading, self.cut_until("supervisor", name) - self.now)
        process.after(heard, lambda: self._is_ready(process))
        process.after(STARTUP_S, lambda: self._limit_startup(process))

    def _limit_startup(self, process: Process) -> None:
        if self._ready.get(process.name) != process.incarnation:
            self.log("too_slow", process.name)
            self.kill(process.name)

    def _is_ready(self, process: Process) -> None:
        self._ready[process.name] = process.incarnation
        self.log("ready", process.name, process.incarnation)
        self.core.step(restart.Ready(process.name), self.now)
        for name, incarnation in list(self._ready.items()):
            if name != process.name:
                self.announce(process.name, "hear_up", name, incarnation)
        self.announce_all(process.name, "hear_up", process.incarnation)

    def announce_all(self, name: str, word: str, incarnation: int) -> None:
        for other in self.names:
            if other != name:
                self.announce(other, word, name, incarnation)

    def announce(self, to: str, word: str, name: str, incarnation: int) -> None:
        """The supervisor's lines lose nothing; cut off, they deliver later."""
        receiver = self.processes.get(to)
        if receiver is not None:
            late = self.cut_until("supervisor", to) - self.now
            receiver.after(late + 0.001, lambda: getattr(receiver, word)(name, incarnation))

    def strikes(self) -> bool:
        """Does the named point that is passed right now kill its process?"""
        return self.now < self.crashes_until and self.rng.random() < self.strike

    def crash_somebody(self) -> None:
        name = self.rng.choice(self.names)
        if name in self.processes:
            self.kill(name)
        if self.now < self.crashes_until:
            self.after(self.rng.uniform(0.2, 5), self.crash_somebody)

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        self._ready.pop(name, None)
        self.log("die", name, process.incarnation)
        self.after(0.001, lambda: self._noticed(process))

    def _noticed(self, process: Process) -> None:
        self.announce_all(process.name, "hear_down", process.incarnation)
        self.carry_out(self.core.step(restart.Exited(process.name, -9), self.now))

    # ── the books ──

    def commit(self, task: int) -> None:
        self.committed[task] += 1
        self.log("commit", task)

    def check(self) -> None:
        """A8: windows hold and credits add up.  A9, A10: nothing is lost, nothing twice."""
        for process in self.processes.values():
            if isinstance(process, Worker):
                assert len(process.offer.outstanding) <= process.offer.window, "A8: window"
        assert all(count == 1 for count in self.committed.values()), "A9: committed twice"
        provider = self.processes.get(PROVIDER)
        if isinstance(provider, Provider):
            demand = provider.demand
            for name, puller in demand._pullers.items():
                taken = puller.held | puller.in_flight.keys()
                assert puller.taken == taken, "A8: the books of a puller do not add up"
                assert demand.room(name) == max(puller.window - len(taken), 0)
            places = [*provider.queue, *provider.owner, *self.committed]
            assert len(places) == len(set(places)), "A10: a task is in two places"
            assert set(places) == set(self.tasks), "A10: a task is in no place"
