"""What everybody does who works on a device: one solo process per device and class of work.

    Batch ──► read what decode has left, on a thread ──► Prepared ──► Grant ──► compute, on a
              thread, as what is executing ──► results into the outbox ──► Released

While one batch runs under the lease, the next ones are read.  The worker writes to no database;
it keeps each result until the catalog has committed it.

A task names the pack that it is for, and a batch is for one pack.  An eager worker loads the pack
that serves when it starts; any other is loaded with its first batch.  Once one that is loaded is
not needed any more, or nothing was done for `idle_s`, the process begins anew, because runtimes
keep memory; a batch that only waited goes back, since what is above it may take hours.  Two
processes for two packs were rejected: each batch waits for the same lease anyway, and a process
that almost never has anything to do takes memory and a start all the time.

An *ask* is a task that somebody waits for.  It has no row in the catalog, and so no result; its
subclass answers it with `say`, while it computes.

It does not know what is computed.  Subclasses say that, in three hooks that run on a thread:
`load`, `read`, `compute`.
"""

import math
from abc import abstractmethod
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import anyio
import anyio.from_thread
import anyio.to_thread
import msgspec

from actors.messages import (
    ASKS,
    AnyMessage,
    Batch,
    Class,
    EmbedTask,
    Failed,
    Grant,
    Prepared,
    Released,
    Result,
    Saying,
)
from actors.outbox import Outbox
from actors.packs import Packs
from actors.puller import Puller
from actors.settings import WorkerSettings
from models.errors import ModelsError
from models.pack import Pack
from runtime import log
from runtime.actor import Actor
from runtime.errors import ActorUnusable, Busy, PeerAway, RecycleMe
from runtime.faults import fault
from runtime.messages import Down
from runtime.node import Line

#: part of the time for draining that results may wait to be committed; the rest is for ending
DRAIN_SHARE = 0.8
#: batches in memory besides the one that runs; of tensors 19 MB each for 32 of 224 x 224
AHEAD = 2
#: how often it is looked whether a model is loaded that nobody needs
SPARE_S = 20.0
#: what is said of an ask whose picture cannot be read
GONE = "its thumbnail is missing or torn; `check --repair` makes it again"
#: a model that could not be loaded is not tried again before
REFUSED_S = 60.0


class Loaded(Protocol):
    """What a pack becomes on a device."""

    @property
    def batch_s(self) -> float:
        """Seconds that one batch may take; what takes longer is a hang."""


L = TypeVar("L", bound=Loaded)
D = TypeVar("D")


class Ready(msgspec.Struct, Generic[L, D], frozen=True):
    """A batch that waits for the lease: what was read for each of *tasks*."""

    tasks: list[EmbedTask]
    data: D
    loaded: L


class Worker(Actor, Generic[L, D]):
    Settings: ClassVar[Any] = WorkerSettings
    messages: ClassVar[Any] = AnyMessage

    kind: ClassVar[Class]
    eager: ClassVar[bool] = True  #: load the pack that serves before saying to be ready
    idle_s: float = math.inf  #: without work for so long, give the memory back
    #: batches to hold: one runs, `AHEAD` are read, three are on their way to be committed
    window: ClassVar[int] = 6

    # ── hooks ──

    @abstractmethod
    def load(self, pack: Pack) -> L:
        """*pack*, warm on the device.

        Raises:
            ModelsError: it cannot be.
        """

    @abstractmethod
    def read(self, loaded: L, tasks: list[EmbedTask]) -> tuple[list[Result], Ready[L, D]]:
        """What *tasks* need of the disk, and the results of those that cannot be done."""

    @abstractmethod
    def compute(self, ready: Ready[L, D]) -> list[Result]:
        """The result of each task that is ready; called while the device is ours."""

    def needed(self) -> set[str]:
        """Names of the packs that may have work; nothing where nobody can tell."""
        return self._packs.open()

    # ── life ──

    async def on_start(self) -> None:
        self.settings: WorkerSettings
        self._packs = Packs(
            self.settings.folders, self.settings.pack, self.settings.database, self.kind
        )
        self._loaded: dict[str, L] = {}  # by name of the pack
        self._first = ""  # name of the pack of tasks that name none
        if self.eager:
            try:
                first = self._packs.find(self._packs.serving())
                self._loaded[first.name] = self.load(first)
            except ModelsError as error:
                raise ActorUnusable(str(error)) from error
            self._first = first.name
        batch = max(self.settings.buckets)
        self._puller = Puller(self.ref("scheduler"), self.kind, self.window * batch, batch)
        self._prepared: dict[int, Ready[L, D] | None] = {}  # None: nothing is left to be done
        self._taken = anyio.Event()  # one of them
        self._outbox = Outbox(self.ref("catalog"), self._puller.settle)
        self._reading = anyio.Lock()  # one after the other: the first is ready twice as soon
        self._running = anyio.Lock()
        self._loading = anyio.Lock()
        self._refused: dict[str, tuple[float, ModelsError]] = {}  # when, and why
        self._worked_at = anyio.current_time()

    async def run(self) -> None:
        self.tasks.start_soon(self._outbox.run)
        self.tasks.start_soon(self._look_for_spare)
        await self._puller.run()

    async def on_up(self, name: str) -> None:
        if name == "scheduler":
            self._puller.renew()

    async def on_down(self, down: Down) -> None:
        """The lease died with the scheduler; what was only prepared is not ours any more."""
        if down.name == "scheduler":
            for ready in self._prepared.values():
                if ready is not None:
                    self._puller.settle(task.id for task in ready.tasks)
            self._prepared.clear()
            self._taken.set()

    async def on_drain(self) -> None:
        """The batch that runs ends; its results are committed; what waits goes back."""
        self._puller.close()
        with anyio.move_on_after(DRAIN_SHARE * self.drain_s):
            async with self._running:
                await self._outbox.wait_empty()

    async def handle(self, message: Any, line: Line) -> None:
        if not self._puller.current(line):
            return  # word from a dead scheduler, or work that nobody will do any more
        match message:
            case Batch():
                self._puller.deliver(message.batch, [task.id for task in message.tasks])
                self.tasks.start_soon(self._prepare, message, line)
            case Grant():
                self.tasks.start_soon(self._run, message, line)
            case _:
                raise NotImplementedError(type(message).__name__)

    # ── models ──

    async def _loaded_for(self, name: str) -> L:
        """What the pack *name* is on the device, loaded now if it is not yet.

        Raises:
            ModelsError: it cannot be.
        """
        name = name or self._first
        if name in self._loaded:
            return self._loaded[name]
        async with self._loading:
            refused_at, refusal = self._refused.get(name, (-math.inf, None))
            if refusal is not None and anyio.current_time() - refused_at < REFUSED_S:
                raise refusal
            if name not in self._loaded:
                try:
                    async with self._running:  # it is warmed on the device
                        self._loaded[name] = await anyio.to_thread.run_sync(
                            lambda: self.load(self._packs.find(name))
                        )
                except ModelsError as error:
                    log.logger().warning("no_model", pack=name, reason=str(error))
                    self._refused[name] = anyio.current_time(), error
                    raise
                self._worked_at = anyio.current_time()
                log.logger().info("loaded", pack=name)
        return self._loaded[name]

    async def _look_for_spare(self) -> None:
        while True:
            await anyio.sleep(min(SPARE_S, self.idle_s))
            self._let_go()

    def _let_go(self) -> None:
        """Begin anew when a model is loaded that nobody needs, and nothing is in hand."""
        if not self._loaded or len(self._outbox) or self._running.locked():
            return
        if anyio.current_time() - self._worked_at >= self.idle_s:
            raise RecycleMe("nothing was to be done for a while: the memory goes back")
        if len(self._puller) or self._prepared:
            return
        needed = self.needed()
        if needed and self._loaded.keys() - needed:
            raise RecycleMe("a model is loaded that nobody needs any more")

    # ── batches ──

    async def _prepare(self, batch: Batch, line: Line) -> None:
        ready: Ready[L, D] | None = None
        try:
            loaded = await self._loaded_for(batch.tasks[0].pack if batch.tasks else "")
        except ModelsError as error:
            # Not the photos' fault: they wait, and the catalog does not give them up.
            failed: list[Result] = [Failed(task.id, "host", str(error)) for task in batch.tasks]
        else:
            async with self._reading:
                while len(self._prepared) >= AHEAD and not any(each.asked for each in batch.tasks):
                    self._taken = anyio.Event()
                    await self._taken.wait()
                failed, ready = await anyio.to_thread.run_sync(
                    self.read, loaded, batch.tasks, abandon_on_cancel=True
                )
        self._hand_in(failed, line)
        if not self._puller.current(line):
            self._puller.settle(task.id for task in batch.tasks)
            return
        self._prepared[batch.batch] = ready
        self._tell(line, Prepared(batch.batch))

    async def _run(self, grant: Grant, line: Line) -> None:
        ready = self._prepared.pop(grant.batch, None)
        self._taken.set()
        start = anyio.current_time()
        if ready is not None and ready.tasks:
            async with self._running:
                ids = [task.id for task in ready.tasks]
                self.node.executing(self.kind, ids, ready.loaded.batch_s)
                fault(f"{self.kind}.begun")
                self._asker = line
                results = await anyio.to_thread.run_sync(
                    self.compute, ready, abandon_on_cancel=False
                )
                self.node.finished(ids)
                self._hand_in(results, line)
                self._puller.settle(each.id for each in ready.tasks if each.asked)
        fault(f"{self.kind}.done")
        self._worked_at = anyio.current_time()
        self._tell(line, Released(grant.batch, grant.lease, self._worked_at - start))

    def _hand_in(self, results: list[Result], line: Line) -> None:
        """What the catalog waits for to the catalog, what somebody asked for to who did."""
        self._outbox.put([each for each in results if each.task < ASKS])
        for each in results:
            if each.task >= ASKS:
                reason = each.reason if isinstance(each, Failed) else GONE
                self._tell(line, Saying(each.task, "", done=True, error=reason))
                self._puller.settle([each.task])

    def say(self, task: EmbedTask, text: str, *, done: bool = False) -> None:
        """*text* is what there is to say about the ask *task* so far; from `compute`'s thread."""
        saying = Saying(task.id, text, done=done)
        anyio.from_thread.run_sync(self._tell, self._asker, saying)

    def _tell(self, line: Line, body: Prepared | Released | Saying) -> None:
        try:
            line.tell(body)
        except (PeerAway, Busy) as error:
            log.logger().info("scheduler_unreachable", reason=str(error))
