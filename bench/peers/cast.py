"""The actors of the bench: real child processes under the real runtime.

asker ──Work──► echo          ask and pipelined
source ──Work──► sink         one way; each Work is one message and one `handle`, and
       ◄──Pull──              none is sent that the sink's standing offer has no room for
provider ──Tasks──► worker    the fault run: the worker is killed, the provider's queue,
         ◄──Result──          its `Demand` and the worker's outbox carry every task over
"""

import contextlib
import os
import time
from collections import deque

import anyio

from bench.peers import contest
from bench.peers.words import (
    WORK,
    AnyWord,
    Committed,
    Figures,
    Measure,
    Pull,
    Result,
    Submit,
    Tasks,
    Work,
)
from runtime.actor import Actor
from runtime.demand import Demand, Offer
from runtime.errors import Busy, PeerAway, RuntimeFault
from runtime.messages import Down
from runtime.node import Line
from runtime.wire import Body

#: most messages on their way to the sink
WINDOW = 512
#: one message in so many carries the time it was sent
STAMPED = 64
ASK_S = 30.0


def figures(calls: int, seconds: float, latencies: list[float], highest: int) -> Figures:
    rate = contest.rate(calls, seconds, latencies)
    return Figures(rate["per_s"], rate.get("p50_us", 0.0), rate.get("p99_us", 0.0), highest)


class Echo(Actor):
    messages = AnyWord

    async def handle(self, message: Body, _line: Line) -> Body:
        return message


class Asker(Actor):
    """Asks the echo, one by one or `contest.OUTSTANDING` at once."""

    messages = AnyWord

    async def on_start(self) -> None:
        self.echo = self.ref("echo")

    async def handle(self, message: Measure, _line: Line) -> Body:
        latencies: list[float] = []

        async def one_after_the_other(count: int) -> None:
            for _ in range(count):
                start = time.perf_counter()
                await self.echo.ask(WORK, ASK_S)
                latencies.append(time.perf_counter() - start)

        at_once = contest.OUTSTANDING if message.what == "pipelined" else 1
        await one_after_the_other(100)
        latencies.clear()
        begin = time.perf_counter()
        async with anyio.create_task_group() as tasks:
            for _ in range(at_once):
                tasks.start_soon(one_after_the_other, message.calls // at_once)
        seconds = time.perf_counter() - begin
        highest = self.node.mailbox.statistics().highest
        return figures(len(latencies), seconds, latencies, highest)


class Source(Actor):
    """Has endless work and sends as much as is wanted."""

    messages = AnyWord

    async def on_start(self) -> None:
        self.demand = Demand()
        self.last = 0

    async def handle(self, message: Pull, line: Line) -> None:
        demand = self.demand
        demand.offer(line.name, line.epoch, message.window, message.outstanding, message.delivery)
        for _ in range(demand.room(line.name)):
            self.last += 1
            delivery = demand.delivered(line.name, (self.last,))
            sent_ns = 0 if self.last % STAMPED else time.monotonic_ns()
            line.tell(Work(WORK.kind, self.last, WORK.path, WORK.revision, delivery, sent_ns))

    async def on_down(self, down: Down) -> None:
        self.demand.gone(down.name, down.incarnation)


class Sink(Actor):
    """Handles each message, and keeps its offer up while it is measured."""

    messages = AnyWord
    concurrency = 2  #: one for the measuring ask, one for what arrives

    async def on_start(self) -> None:
        self.source = self.ref("source")
        self.source_up = anyio.Event()
        self.offer = Offer(WINDOW)
        self.latencies: list[float] = []
        self.left = 0
        self.done = anyio.Event()

    async def on_up(self, _name: str) -> None:
        self.offer.renew()
        self.source_up.set()

    async def handle(self, message: Work | Measure, _line: Line) -> Body | None:
        if isinstance(message, Measure):
            return await self._measure(message.calls)
        offer = self.offer
        ids = offer.deliver(message.delivery, (message.photo,))
        if message.sent_ns:
            self.latencies.append((time.monotonic_ns() - message.sent_ns) / 1e9)
        self.left -= 1
        offer.settle(ids)
        if self.left > 0:
            self._say_when_due()
        elif self.left == 0:
            self.done.set()
        return None

    def _say_when_due(self) -> None:
        now = time.monotonic()
        if self.offer.due(now):
            offer = self.offer
            self.source.tell(Pull(offer.window, list(offer.outstanding), offer.delivery))
            offer.said(now)

    async def _measure(self, calls: int) -> Figures:
        await self.source_up.wait()
        # what the last measure left on the way is handled before this one begins
        await anyio.sleep(0.2)
        self.latencies.clear()
        self.left = calls
        self.done = anyio.Event()
        begin = time.perf_counter()
        self._say_when_due()
        await self.done.wait()
        seconds = time.perf_counter() - begin
        return figures(calls, seconds, self.latencies, self.node.mailbox.statistics().highest)


class Provider(Actor):
    """A queue, and who holds what of it.

    It is not killed: that a provider's own death loses nothing needs a durable queue, which is
    the catalog's part.
    """

    messages = AnyWord
    concurrency = 2 * contest.SUBMITTERS

    async def on_start(self) -> None:
        self.demand = Demand()
        self.queue: deque[int] = deque()
        self.waiting: dict[int, anyio.Event] = {}
        self.results: dict[int, Result] = {}
        self.lines: dict[str, Line] = {}

    async def handle(
        self, message: Submit | Pull | Result, line: Line
    ) -> Result | Committed | None:
        match message:
            case Submit(task):
                self.waiting[task] = committed = anyio.Event()
                self.queue.append(task)
                self._deliver()
                await committed.wait()
                return self.results.pop(task)
            case Pull(window, outstanding, delivery):
                self.lines[line.name] = line
                _, lost = self.demand.offer(line.name, line.epoch, window, outstanding, delivery)
                self._return(lost)
                self._deliver()
                if self.demand.doubts(line.name):
                    self._send(line.name, [])
                return None
            case Result(task):
                self._commit(message)
                return Committed(task)

    def _commit(self, result: Result) -> None:
        """Once; whoever says it again is told that it is committed."""
        committed = self.waiting.pop(result.task, None)
        if committed is not None:
            self.demand.settled((result.task,))
            self.results[result.task] = result
            committed.set()

    def _return(self, tasks: set[int]) -> None:
        self.queue.extendleft(task for task in sorted(tasks, reverse=True) if task in self.waiting)

    def _deliver(self) -> None:
        for name in self.demand.waiting():
            count = min(self.demand.room(name), len(self.queue))
            if count:
                self._send(name, [self.queue.popleft() for _ in range(count)])

    def _send(self, name: str, tasks: list[int]) -> None:
        # where it is lost, either a `Down` gives the tasks back or a later offer does
        with contextlib.suppress(PeerAway, Busy):
            self.lines[name].tell(Tasks(tasks, self.demand.delivered(name, tasks)))

    async def on_down(self, down: Down) -> None:
        self.lines.pop(down.name, None)
        self._return(self.demand.gone(down.name, down.incarnation))
        self._deliver()


class Worker(Actor):
    """Works on one task at a time and says each result until it is committed."""

    messages = AnyWord

    async def on_start(self) -> None:
        self.provider = self.ref("provider")
        self.offer = Offer(contest.SUBMITTERS)
        self.tasks_waiting: deque[int] = deque()
        self.arrived = anyio.Event()

    async def on_up(self, _name: str) -> None:
        self.offer.renew()
        self.arrived.set()

    async def handle(self, message: Tasks, _line: Line) -> None:
        self.tasks_waiting.extend(self.offer.deliver(message.delivery, message.tasks))
        self.arrived.set()

    async def run(self) -> None:
        while True:
            self._say_when_due()
            if self.tasks_waiting:
                await self._work(self.tasks_waiting.popleft())
                continue
            with anyio.move_on_after(Offer.REPEAT_S):
                await self.arrived.wait()
            self.arrived = anyio.Event()

    async def _work(self, task: int) -> None:
        self.node.executing("work", [task])
        await anyio.sleep(contest.TASK_S)
        contest.note_end(task)
        while True:
            try:
                await self.provider.ask(Result(task, os.getpid()), ASK_S)
                break
            except RuntimeFault:
                await anyio.sleep(0.05)
        self.node.executing("idle", [])
        self.offer.settle((task,))

    def _say_when_due(self) -> None:
        now = time.monotonic()
        offer = self.offer
        if offer.due(now):
            try:
                self.provider.tell(Pull(offer.window, list(offer.outstanding), offer.delivery))
            except (PeerAway, Busy):
                return  # said again when it is up
            offer.said(now)
