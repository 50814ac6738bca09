"""The catalog: the truth about the library, its only writer, and the durable queue.

It answers what it is told with what it has committed, and hands out work to whoever offers to
do it.  Deaths reach it from the supervisor: what a dead worker was executing is charged, what
it merely held goes back uncharged.

A message is handled in one transaction of `actors.library`; this file adds who is who (lines,
incarnations, standing offers) and what time it is.

It also brings one space to its end while another serves (`library.spaces`):

    models use ─► tasks for what lacks a vector, newest first ─► nothing left to embed
               ─► the index holds all of it ─► the text tower can speak it ─► switch, one row

Each step looks at what is there and not at what was done before, so it can be repeated from
anywhere: whoever dies in between, the next look goes on.  Index and text are asked before the
switch and not told after it: from the first query on both have what it takes.
"""

import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, get_args

import anyio

from actors.desk import BACKFILL, Desk
from actors.library.errors import CatalogBusy, LibraryError
from actors.library.reads import SpaceStatus, open_reader
from actors.library.space import Space
from actors.library.spaces import holds_enough
from actors.library.writer import open_writer
from actors.messages import (
    AnyMessage,
    AskStatus,
    Captioned,
    CatalogStatus,
    Class,
    Committed,
    DecodeTasks,
    Done,
    Embedded,
    EmbedTasks,
    EncodeText,
    Executing,
    Faced,
    FeedAt,
    Follow,
    IndexStatus,
    Kind,
    Message,
    Owner,
    Pull,
    Results,
    ScanDone,
    ScanStarted,
    Seen,
    SpaceState,
    Upstream,
    UsePack,
    Vanished,
    Vectors,
)
from actors.progress import Meter
from actors.settings import CatalogSettings
from actors.spool import Spool
from runtime import log, rundir
from runtime.actor import Actor
from runtime.demand import Demand
from runtime.errors import (
    ActorUnusable,
    Busy,
    DeadlinePassed,
    PeerAway,
    PeerRefused,
    PeerRestarted,
)
from runtime.faults import fault
from runtime.messages import Down
from runtime.node import Line

#: how often tasks that waited for their time are looked for
TICK_S = 1.0
CHECKPOINT_S = 3600.0
#: how often it is looked whether a space that is built is complete, and whether one can take
#: over that could not
LOOK_S = 0.25
HELD_S = 30.0
#: part of a puller's window that has to be free: a lease is a transaction, however few it is for
WORTH = 0.25
#: for the index to say what it holds; for the text tower to load a model
INDEX_S = 5.0
TEXT_S = 120.0
#: how often the larger pictures for faces are counted
SPOOL_S = 5.0
#: the folder of kept lines in the data directory
LOGS = "logs"


class Catalog(Actor):
    Settings: ClassVar[Any] = CatalogSettings
    messages: ClassVar[Any] = AnyMessage
    concurrency = 8

    async def on_start(self) -> None:
        self.settings: CatalogSettings
        # A predecessor that is still dying would write beside us.
        self._lock = rundir.lock(Path(self.settings.data) / "catalog.lock")
        try:
            self._writer = await open_writer(
                self.settings.database,
                run=self.run_id,
                epoch=self.node.incarnation,
                now_ns=time.time_ns(),
            )
            self._reader = await open_reader(self.settings.database)
            for space in (self.settings.space, *self.settings.others):
                await self._writer.begin_with(space, time.time_ns())
        except (CatalogBusy, ActorUnusable):
            raise  # Busy: somebody holds the write lock for a moment, so start again
        except LibraryError as error:
            raise ActorUnusable(str(error)) from error
        self._desk = Desk(
            self._writer,
            self._reader,
            database=self.settings.database,
            derived=Path(self.settings.derived),
            logs=Path(self.settings.data) / LOGS,
        )
        await self._desk.open()
        self._demand: dict[Kind, Demand] = {kind: Demand() for kind in get_args(Kind)}
        self._spool = Spool(Path(self.settings.derived), self.settings.spool_bytes)
        self._dispatching: dict[Kind, anyio.Lock] = {kind: anyio.Lock() for kind in self._demand}
        self._pullers: dict[str, Line] = {}
        self._followers: dict[str, Line] = {}
        self._dead: dict[str, int] = {}  # the last incarnation of each that was judged
        self._doubted: set[str] = set()  # died over work: can the next incarnation do any?
        self._told = 0
        self._walking: set[bytes] = set()
        self._walked: dict[bytes, str] = {}  # root → why it was not complete, "" when it was
        self._backfilled = False
        self._wanted = anyio.Event()  # the owner wants another space
        self._held: dict[str, str] = {}  # space → why it does not take over
        self._meter = Meter()
        self._rate: float | None = None  # of the space that is built

    async def run(self) -> None:
        self.tasks.start_soon(self._build)
        self.tasks.start_soon(self._sweep)
        checkpoint_at = anyio.current_time() + CHECKPOINT_S
        while True:
            for kind in self._demand:
                await self._dispatch(kind)
            if anyio.current_time() >= checkpoint_at:
                await self._writer.checkpoint()
                checkpoint_at += CHECKPOINT_S
            await self._tell_scheduler()
            await anyio.sleep(TICK_S)

    async def on_down(self, down: Down) -> None:
        """Charge what was executing, or take it back; take back what was held."""
        for demand in self._demand.values():
            demand.gone(down.name, down.incarnation)
        for lines in (self._pullers, self._followers):
            if down.name in lines and lines[down.name].epoch <= down.incarnation:
                del lines[down.name]
        if down.name == "ingest":
            self._walking.clear()
            self._walked.clear()
        now_ns = time.time_ns()
        # One that is announced again finds its tasks with somebody else, perhaps.
        if self._dead.get(down.name, 0) < down.incarnation:
            await self._judge(down, now_ns)
            self._dead[down.name] = down.incarnation
        await self._writer.give_back(down.name, down.incarnation, now_ns)
        for kind in self._demand:
            await self._dispatch(kind)

    async def _judge(self, down: Down, now_ns: int) -> None:
        if down.crashed and down.executing:
            self._doubted.add(down.name)
            charged = await self._writer.charge(down.executing, down.exit, down.stderr_tail, now_ns)
            log.logger().warning("charged", worker=down.name, exit=down.exit, tasks=charged)
        if down.innocent:
            refunded = await self._writer.refund(down.innocent, now_ns)
            log.logger().warning("refunded", worker=down.name, tasks=refunded)

    async def on_stop(self) -> None:
        await self._reader.close()
        await self._writer.close(time.time_ns())

    async def handle(self, message: Any, line: Line) -> Message | None:
        now_ns = time.time_ns()
        match message:
            case Pull():
                await self._offered(message, line)
            case Results(results):
                fault("catalog.results")
                tasks = await self._writer.settle(results, now_ns)
                fault("catalog.committed")
                for demand in self._demand.values():
                    demand.settled(tasks)
                self._tell_followers()
                for kind in get_args(Class):
                    self._dispatch_soon(kind)
                if not all(isinstance(each, Embedded | Faced | Captioned) for each in results):
                    self._dispatch_soon("decode")
                if looked_through := self._writer.take_looked_through():
                    await self._spool.remove(looked_through)
                if unwanted := self._writer.take_unwanted():
                    await self._desk.discard(unwanted)
                return Committed(tasks)
            case Seen(root, files, priority):
                fault("catalog.seen")
                await self._writer.seen(root, files, priority, now_ns)
                self._tell_followers()
                self._dispatch_soon("decode")
                return Done()
            case Vanished(files):
                await self._writer.vanished(files, now_ns)
                self._tell_followers()
                return Done()
            case ScanStarted(root):
                self._walking.add(root)
                return Done()
            case ScanDone(root, files, seconds, error):
                self._walking.discard(root)
                self._walked[root] = error
                log.logger().info("walked", files=files, seconds=round(seconds, 2))
                return Done()
            case Executing(tasks):
                await self._writer.executing(tasks, now_ns)
                return Done()
            case Follow():
                self._followers[line.name] = line
                self._told = 0
                self._tell_followers()
            case AskStatus():
                return await self._status()
            case Owner():
                answer = await self._desk.handle(message, now_ns)
                if isinstance(message, UsePack):
                    self._look_at_spaces()
                self._tell_followers()
                for kind in self._demand:
                    self._dispatch_soon(kind)
                return answer
            case _:
                raise NotImplementedError(type(message).__name__)
        return None

    # ── work ──

    async def _offered(self, pull: Pull, line: Line) -> None:
        known = self._pullers.get(line.name)
        if known is not None and known.epoch > line.epoch:
            return
        self._pullers[line.name] = line
        adopted, lost = self._demand[pull.kind].offer(
            line.name, line.epoch, pull.window, pull.outstanding, pull.delivery
        )
        now_ns = time.time_ns()
        if adopted:
            await self._writer.adopt(adopted, line.name, line.epoch, now_ns)
        if lost:
            await self._writer.give_back_some(lost, line.name, now_ns)
        await self._dispatch(pull.kind)

    def _dispatch_soon(self, kind: Kind) -> None:
        if self._demand[kind].waiting(WORTH) and not self._dispatching[kind].locked():
            self.tasks.start_soon(self._dispatch, kind)

    async def _dispatch(self, kind: Kind) -> None:
        """Lease ready tasks to those who offered to do them, unless the owner paused that."""
        if self._desk.paused_since_ns:
            return
        async with self._dispatching[kind]:
            demand = self._demand[kind]
            for name in demand.waiting(WORTH):
                line = self._pullers.get(name)
                room = demand.room(name)
                if line is None or not room:
                    continue
                now_ns = time.time_ns()
                deliver: Callable[[int], DecodeTasks | EmbedTasks]
                if kind == "decode":
                    decode = await self._writer.lease(kind, room, name, line.epoch, now_ns)
                    decode = self._spool.admit(decode)
                    if decode and name in self._doubted:
                        decode = [*filter(None, [await self._reader.proof()]), *decode]
                    ids = [task.id for task in decode]
                    deliver = partial(DecodeTasks, decode)
                else:
                    embed = await self._writer.lease(kind, room, name, line.epoch, now_ns)
                    ids = [task.id for task in embed]
                    deliver = partial(EmbedTasks, embed, kind=kind)
                if not ids:
                    return
                if line.epoch != self._epoch_of(name):
                    # it died in the meantime, and what it held was taken back before this was its
                    await self._writer.give_back_some(ids, name, now_ns)
                    continue
                try:
                    line.tell(deliver(demand.delivered(name, ids)))
                except (PeerAway, Busy):
                    # its Down, or its next offer, brings these back
                    continue
                self._doubted.discard(name)

    def _epoch_of(self, name: str) -> int | None:
        return self._pullers[name].epoch if name in self._pullers else None

    # ── spaces ──

    def _look_at_spaces(self) -> None:
        """Somebody may want another one now."""
        self._backfilled = False
        self._told = 0  # who follows looks at spaces when it is told of the feed
        self._held.clear()
        self._meter.forget()
        self._rate = None
        self._wanted.set()

    async def _build(self) -> None:
        """Give every content its task in every open space, and switch when one is complete."""
        while True:
            self._wanted = anyio.Event()
            spaces = [each for each in await self._reader.spaces() if each.state != "retired"]
            for each in spaces:
                while await self._writer.backfill(each.space.name, BACKFILL, time.time_ns()):
                    await self._dispatch(each.space.kind)
            if not self._wanted.is_set():
                self._backfilled = True
            pause_s = TICK_S
            for each in spaces:
                if each.state == "building":
                    self._rate = self._meter.step(each.vectors, anyio.current_time())
                    if not await self._take_over(each):
                        pause_s = HELD_S if each.space.name in self._held else LOOK_S
            with anyio.move_on_after(pause_s):
                await self._wanted.wait()

    async def _take_over(self, building: SpaceStatus) -> bool:
        """Serve from the space *building* if it is complete, here and with who answers from it."""
        name = building.space.name
        if await self._reader.waits(building.space):
            return False
        spaces = await self._reader.spaces()
        vectors = {each.space.name: each.vectors for each in spaces}
        before = sum(
            each.vectors
            for each in spaces
            if each.state == "active" and each.space.kind == building.space.kind
        )
        if not holds_enough(vectors[name], before):
            self._hold(name, f"{before - vectors[name]} of {before} photos are missing in it")
            return False
        fault("catalog.complete")
        try:
            if not await self._is_held(building):
                return False
            if building.space.kind == "embed" and not await self._is_spoken(building.space):
                return False
        except (PeerAway, PeerRestarted, DeadlinePassed, Busy):
            return False  # they come back
        except PeerRefused as error:
            self._hold(name, str(error))
            return False
        fault("catalog.switching")
        if not await self._writer.switch_space(name, time.time_ns()):
            return False  # a photo came in this moment
        fault("catalog.switched")
        log.logger().info("switched", space=name, pack=building.space.pack, photos=vectors[name])
        self._look_at_spaces()
        self._tell_followers()
        return True

    async def _is_held(self, building: SpaceStatus) -> bool:
        """Does the index hold all of it?  Of faces there are as many as there are.

        Captions are none of its business: they are found in the database.
        """
        if building.space.kind == "caption":
            return True
        head = self._writer.statistics().feed_seq
        least = building.vectors if building.space.kind == "embed" else 0
        status = await self.ref("index").ask(AskStatus(), INDEX_S)
        return isinstance(status, IndexStatus) and any(
            each.space == building.space.name
            and each.whole
            and each.seq >= head
            and each.vectors >= least
            for each in status.spaces
        )

    async def _is_spoken(self, space: Space) -> bool:
        """Can the text tower say things in it?"""
        spoken = await self.ref("text").ask(EncodeText(["photo"], space.pack), TEXT_S)
        if isinstance(spoken, Vectors) and spoken.space == space.name:
            return True
        self._hold(space.name, f"the pack {space.pack} has another space by now")
        return False

    def _hold(self, name: str, reason: str) -> None:
        if self._held.get(name) != reason:
            log.logger().warning("held_back", space=name, reason=reason)
        self._held[name] = reason

    # ── the way to a device ──

    async def _sweep(self) -> None:
        """Remove larger pictures whose faces were found before somebody died; then keep count."""
        await self._spool.measure()
        for some in self._spool.slices():
            await self._spool.remove(await self._reader.looked_through(some))
        while True:
            await anyio.sleep(SPOOL_S)
            await self._spool.measure()

    async def _tell_scheduler(self) -> None:
        """What may still become work for a device; it pulls, so that it is among the pullers."""
        line = self._pullers.get("scheduler")
        if line is None:
            return
        queues = await self._reader.queues()
        scanned = set(self.settings.roots) <= self._walked.keys() and not self._walking
        busy = [each.kind for each in queues if each.ready or each.leased]
        if not (scanned and self._backfilled):
            busy.append("scan")
        upstream = Upstream(busy, final=not self.settings.watch)
        with contextlib.suppress(PeerAway, Busy):  # said again in a second
            line.tell(upstream)

    # ── news ──

    def _tell_followers(self) -> None:
        head = self._writer.statistics().feed_seq
        if head == self._told:
            return
        self._told = head
        for line in self._followers.values():
            try:
                line.tell(FeedAt(head))
            except (PeerAway, Busy):
                continue  # it asks again every two seconds

    async def _status(self) -> CatalogStatus:
        queues = await self._reader.queues()
        statistics = self._writer.statistics()
        roots = set(self.settings.roots)
        scanned = roots <= self._walked.keys() and not self._walking
        photos = await self._reader.photos()
        idle = all(not queue.ready and not queue.leased for queue in queues)
        spaces = await self._reader.spaces()
        built = all(each.state != "building" or each.space.name in self._held for each in spaces)
        return CatalogStatus(
            queues=queues,
            scanning=bool(self._walking),
            scanned=scanned,
            scan_error="; ".join(error for error in self._walked.values() if error),
            feed_seq=statistics.feed_seq,
            decodes=statistics.decoded,
            embeds=statistics.embedded,
            faces=statistics.faced,
            captions=statistics.captioned,
            settled=scanned and idle and built and self._backfilled,
            paused=bool(self._desk.paused_since_ns),
            paused_since_ns=self._desk.paused_since_ns,
            spaces=[self._state_of(each, photos) for each in spaces],
            photos=photos,
        )

    def _state_of(self, space: SpaceStatus, photos: int) -> SpaceState:
        rate = self._rate if space.state == "building" else None
        left = photos - space.vectors
        return SpaceState(
            space=space.space.name,
            pack=space.space.pack,
            revision=space.space.revision,
            precision=space.space.precision,
            state=space.state,
            vectors=space.vectors,
            rate=rate,
            eta_seconds=round(left / rate) if rate and left > 0 else None,
            held=self._held.get(space.space.name, ""),
            kind=space.space.kind,
        )


@contextlib.asynccontextmanager
async def at_rest(data: Path, database: str, derived: Path) -> AsyncIterator[Desk]:
    """The owner's desk while no system runs; whoever opens it holds the lock of *data*.

    Raises:
        LibraryError: the database cannot be opened.
        AlreadyRunning: a catalog that was left behind is still about to end.
    """
    lock = rundir.lock(data / "catalog.lock")
    try:
        run = f"owner-{os.getpid()}-{time.time_ns()}"
        writer = await open_writer(database, run=run, epoch=0, now_ns=time.time_ns())
        try:
            reader = await open_reader(database)
            try:
                desk = Desk(
                    writer,
                    reader,
                    database=database,
                    derived=derived,
                    logs=data / LOGS,
                    at_rest=True,
                )
                await desk.open()
                yield desk
            finally:
                await reader.close()
        finally:
            await writer.close(time.time_ns())
    finally:
        os.close(lock)
