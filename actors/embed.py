"""The embedder: thumbnails in, vectors out.  One solo process per device and model.

While one batch runs under the lease, the next ones are read from disk and turned into tensors.
The worker writes to no database; it keeps each result until the catalog has committed it.

The model that serves is loaded at the start.  While another is built beside it there are tasks
for both, a batch for one of them; the second is loaded with its first batch, and once it is no
longer needed, or the first is not, the process begins anew, because runtimes keep memory.  Two
processes were rejected: each batch waits for the same lease anyway, and a process that almost
never has anything to do takes memory and a start all the time.
"""

import contextlib
import math
from pathlib import Path
from typing import Any, ClassVar

import anyio
import anyio.to_thread
import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.fitted import Fitted
from actors.messages import (
    AnyMessage,
    Batch,
    Embedded,
    EmbedTask,
    Failed,
    Grant,
    Prepared,
    Released,
    Result,
    ThumbnailLost,
)
from actors.outbox import Outbox
from actors.packs import Packs
from actors.photo.thumbnails import thumbnail_path
from actors.puller import Puller
from actors.settings import EmbedSettings
from models.errors import ModelsError, PictureBroken, ThumbnailBroken
from models.image import open_thumbnail, thumbnail_for
from models.pack import Pack
from runtime import log
from runtime.actor import Actor
from runtime.errors import ActorUnusable, Busy, PeerAway, RecycleMe
from runtime.faults import fault
from runtime.messages import Down
from runtime.node import Line

#: part of the time for draining that results may wait to be committed; the rest is for ending
DRAIN_SHARE = 0.8
#: batches to hold: one runs, `AHEAD` are read, three are on their way to be committed
WINDOW = 6
#: tensors in memory besides those of the batch that runs; 19 MB each for 32 pictures of 224 x 224
AHEAD = 2
#: how often it is looked whether a model is loaded that nobody needs
SPARE_S = 20.0
#: a second model that could not be loaded is not tried again before
REFUSED_S = 60.0


class Ready(msgspec.Struct, frozen=True):
    """A batch whose tensors wait for the lease."""

    tasks: list[EmbedTask]
    tensor: NDArray[Any]
    fitted: Fitted


class Embed(Actor):
    Settings: ClassVar[Any] = EmbedSettings
    messages: ClassVar[Any] = AnyMessage

    async def on_start(self) -> None:
        self.settings: EmbedSettings
        try:
            self._packs = Packs(self.settings.folders, self.settings.pack, self.settings.database)
            first = self._packs.find(self._packs.serving())
            self._first = first.name
            self._towers = {first.name: self._load(first)}
        except ModelsError as error:
            raise ActorUnusable(str(error)) from error
        self._derived = Path(self.settings.derived)
        batch = max(self.settings.buckets)
        self._puller = Puller(self.ref("scheduler"), "embed", WINDOW * batch, batch)
        self._prepared: dict[int, Ready] = {}
        self._taken = anyio.Event()  # one of them
        self._outbox = Outbox(self.ref("catalog"), self._puller.settle)
        self._reading = anyio.Lock()  # one after the other: the first is ready twice as soon
        self._running = anyio.Lock()
        self._loading = anyio.Lock()
        self._refused: dict[str, tuple[float, ModelsError]] = {}  # when, and why

    def _load(self, pack: Pack) -> Fitted:
        return Fitted.open(pack, self.settings.device, self.settings.threads)

    async def _tower_for(self, name: str) -> Fitted:
        """The tower of the pack *name*, loaded now if it is not yet.

        Raises:
            ModelsError: it cannot be.
        """
        name = name or self._first
        if name in self._towers:
            return self._towers[name]
        async with self._loading:
            refused_at, refusal = self._refused.get(name, (-math.inf, None))
            if refusal is not None and anyio.current_time() - refused_at < REFUSED_S:
                raise refusal
            if name not in self._towers:
                try:
                    async with self._running:  # it is warmed on the device
                        self._towers[name] = await anyio.to_thread.run_sync(
                            lambda: self._load(self._packs.find(name))
                        )
                except ModelsError as error:
                    log.logger().warning("no_model", pack=name, reason=str(error))
                    self._refused[name] = anyio.current_time(), error
                    raise
                log.logger().info("loaded", pack=name)
        return self._towers[name]

    async def _look_for_spare(self) -> None:
        """Begin anew when a model is loaded that nobody needs, and nothing is in hand."""
        while True:
            await anyio.sleep(SPARE_S)
            needed = self._packs.open()
            idle = not (len(self._puller) or len(self._outbox) or self._prepared)
            if needed and idle and self._towers.keys() - needed:
                raise RecycleMe("a model is loaded that nobody needs any more")

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

    async def _prepare(self, batch: Batch, line: Line) -> None:
        try:
            fitted = await self._tower_for(batch.tasks[0].pack if batch.tasks else "")
        except ModelsError as error:
            # Not the photos' fault: they wait, and the catalog does not give them up.
            fitted, refused = self._towers[self._first], str(error)
            failed: list[Result] = [Failed(task.id, "host", refused) for task in batch.tasks]
            ready = Ready([], np.empty((0,)), fitted)
        else:
            async with self._reading:
                while len(self._prepared) >= AHEAD:
                    self._taken = anyio.Event()
                    await self._taken.wait()
                failed, ready = await anyio.to_thread.run_sync(
                    self._read, fitted, batch.tasks, abandon_on_cancel=True
                )
        self._outbox.put(failed)
        if not self._puller.current(line):
            self._puller.settle(task.id for task in batch.tasks)
            return
        self._prepared[batch.batch] = ready
        self._tell(line, Prepared(batch.batch))

    def _read(self, fitted: Fitted, tasks: list[EmbedTask]) -> tuple[list[Result], Ready]:
        tower = fitted.tower
        failed: list[Result] = []
        good: list[EmbedTask] = []
        rows: list[NDArray[Any]] = []
        for task in tasks:
            size = thumbnail_for(tower.size, task.width, task.height)
            path = thumbnail_path(self._derived, task.digest, size)
            try:
                picture = open_thumbnail(path, tower.size)
                rows.append(tower.prepare([picture], [(task.width, task.height)]))
            except ThumbnailBroken:
                # Whoever makes it again keeps what looks whole, which this may do.
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
                failed.append(ThumbnailLost(task.id, task.content))
            except PictureBroken as error:
                failed.append(Failed(task.id, "photo", str(error)))
            else:
                good.append(task)
        tensor = np.concatenate(rows) if rows else np.empty((0,))
        return failed, Ready(good, tensor, fitted)

    async def _run(self, grant: Grant, line: Line) -> None:
        ready = self._prepared.pop(grant.batch, None)
        self._taken.set()
        start = anyio.current_time()
        if ready is not None and ready.tasks:
            async with self._running:
                ids = [task.id for task in ready.tasks]
                self.node.executing("embed", ids, ready.fitted.batch_s)
                fault("embed.begun")
                results = await anyio.to_thread.run_sync(
                    self._embed, ready, abandon_on_cancel=False
                )
                self.node.finished(ids)
                self._outbox.put(results)
        fault("embed.done")
        self._tell(line, Released(grant.batch, grant.lease, anyio.current_time() - start))

    def _embed(self, ready: Ready) -> list[Result]:
        vectors, broken = ready.fitted.embed(ready.tensor)
        data = vectors.astype("<f4", copy=False)
        return [
            Failed(task.id, "photo", "the model gives no finite vector for this picture")
            if row in broken
            else Embedded(task.id, task.content, ready.fitted.tower.space, data[row].tobytes())
            for row, task in enumerate(ready.tasks)
        ]

    def _tell(self, line: Line, body: Prepared | Released) -> None:
        try:
            line.tell(body)
        except (PeerAway, Busy) as error:
            log.logger().info("scheduler_unreachable", reason=str(error))
