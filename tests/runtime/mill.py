"""A provider whose commits outlive it, and workers on standing offers; any of them may be killed.

The queue is a number in one file, tasks 1 to n; what is committed is a line in another.
"""

import contextlib
import os
from collections import deque
from pathlib import Path

import anyio
import msgspec

from runtime.actor import Actor
from runtime.demand import Demand, Offer
from runtime.errors import PeerAway
from runtime.spec import ChildSpec

WINDOW = 16


class Pull(msgspec.Struct, frozen=True, tag="mill.pull", tag_field="t"):
    window: int
    outstanding: list[int]
    delivery: int


class Work(msgspec.Struct, frozen=True, tag="mill.work", tag_field="t"):
    tasks: list[int]
    delivery: int


class Result(msgspec.Struct, frozen=True, tag="mill.result", tag_field="t"):
    task: int


class Committed(msgspec.Struct, frozen=True, tag="mill.committed", tag_field="t"):
    task: int


AnyWord = Pull | Work | Result | Committed


class ProviderSettings(msgspec.Struct, frozen=True):
    tasks: str
    committed: str


class Provider(Actor):
    Settings = ProviderSettings
    messages = AnyWord

    async def on_start(self):
        self.demand = Demand()
        self.lines = {}
        self.owner = {}
        self.committed = set(read(self.settings.committed))
        number = int(Path(self.settings.tasks).read_text())
        self.queue = deque(task for task in range(1, number + 1) if task not in self.committed)
        self.file = os.open(self.settings.committed, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def on_down(self, down):
        self.lines.pop(down.name, None)
        self.put_back(self.demand.gone(down.name, down.incarnation), down.name)
        self.deliver()

    async def handle(self, message, line):
        match message:
            case Pull(window, outstanding, delivery):
                self.lines[line.name] = line
                adopted, lost = self.demand.offer(
                    line.name, line.epoch, window, outstanding, delivery
                )
                for task in adopted & set(self.queue):
                    self.queue.remove(task)
                    self.owner[task] = line.name
                self.put_back(lost, line.name)
                if self.demand.doubts(line.name):
                    self.tell(line, Work([], self.demand.delivered(line.name, ())))
            case Result(task):
                if task not in self.committed:
                    os.write(self.file, b"%d\n" % task)
                    self.committed.add(task)
                self.owner.pop(task, None)
                self.demand.settled([task])
                if task in self.queue:
                    self.queue.remove(task)
                self.tell(line, Committed(task))
        self.deliver()

    def put_back(self, tasks, holder):
        mine = sorted(task for task in tasks if self.owner.get(task) == holder)
        for task in mine:
            del self.owner[task]
        self.queue.extendleft(task for task in reversed(mine) if task not in self.committed)

    def deliver(self):
        for name in self.demand.waiting():
            tasks: list[int] = []
            while name in self.lines and self.queue and len(tasks) < self.demand.room(name):
                tasks.append(self.queue.popleft())
                self.owner[tasks[-1]] = name
            if tasks:
                self.tell(self.lines[name], Work(tasks, self.demand.delivered(name, tasks)))

    def tell(self, line, word):
        with contextlib.suppress(PeerAway):  # its Down brings back what it held
            line.tell(word)


class WorkerSettings(msgspec.Struct, frozen=True):
    work_s: float


class Worker(Actor):
    Settings = WorkerSettings
    messages = AnyWord

    async def on_start(self):
        self.provider = self.ref("provider")
        self.offer = Offer(WINDOW)
        self.todo: deque[int] = deque()
        self.outbox = {}
        self.changed = anyio.Event()

    async def run(self):
        self.tasks.start_soon(self.grind)
        while True:
            self.say_offer()
            with anyio.move_on_after(Offer.REPEAT_S):
                await self.changed.wait()
            self.changed = anyio.Event()

    async def grind(self):
        while True:
            while not self.todo:
                await anyio.sleep(0.005)
            task = self.todo.popleft()
            with self.phase("grind", [task]):
                await anyio.sleep(self.settings.work_s)
            self.outbox[task] = None
            self.tell(Result(task))

    async def on_up(self, name):
        self.offer.renew()
        self.say_offer()
        for task in self.outbox:
            self.tell(Result(task))

    async def handle(self, message, line):
        match message:
            case Work(tasks, delivery):
                self.todo.extend(self.offer.deliver(delivery, tasks))
            case Committed(task):
                self.outbox.pop(task, None)
                self.offer.settle([task])
        self.changed.set()

    def say_offer(self):
        now = anyio.current_time()
        if self.provider.incarnation is not None and self.offer.due(now):
            self.tell(Pull(WINDOW, list(self.offer.outstanding), self.offer.delivery))
            self.offer.said(now)

    def tell(self, word):
        with contextlib.suppress(PeerAway):  # said anew when it comes up
            self.provider.tell(word)


def read(committed):
    """What was committed, in that order."""
    with contextlib.suppress(FileNotFoundError):
        return [int(line) for line in Path(committed).read_text().split()]
    return []


def specs(folder, names, *, work_s, backend):
    """The provider and its workers, with their files in *folder*."""
    told = ProviderSettings(str(folder / "tasks"), str(folder / "committed"))
    mill = {"backend": backend, "drain_s": 2.0}
    yield ChildSpec(
        name="provider",
        actor="tests.runtime.mill:Provider",
        settings=msgspec.msgpack.encode(told),
        peers=tuple(names),
        **mill,
    )
    for name in names:
        yield ChildSpec(
            name=name,
            actor="tests.runtime.mill:Worker",
            settings=msgspec.msgpack.encode(WorkerSettings(work_s)),
            peers=("provider",),
            **mill,
        )
