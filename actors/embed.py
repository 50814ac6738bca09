"""The embedder: thumbnails in, vectors out.  One solo process per device and model.

Two batches are in hand at a time: one runs under the lease, the next is read from disk and
turned into a tensor meanwhile.  The worker never touches the database; it keeps each result
until the catalog has committed it.
"""

import contextlib
import time
from pathlib import Path
from typing import Any, ClassVar

import anyio
import anyio.to_thread
import msgspec
import numpy as np
from numpy.typing import NDArray

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
from actors.photo.thumbnails import thumbnail_path
from actors.puller import Puller
from actors.settings import EmbedSettings
from models.clip import ImageTower
from models.errors import (
    DeviceLost,
    DeviceUnusable,
    ModelsError,
    OutOfMemory,
    PictureBroken,
    RowsBroken,
    ThumbnailBroken,
)
from models.image import open_thumbnail, thumbnail_for
from models.pack import load_pack
from runtime import log
from runtime.actor import Actor
from runtime.errors import ActorUnusable, Busy, PeerAway
from runtime.errors import DeviceLost as Sticky
from runtime.faults import fault
from runtime.messages import Down
from runtime.node import Line

#: part of the time for draining that results may wait to be committed; the rest is for ending
DRAIN_SHARE = 0.8
CPU = "cpu:0"
#: what takes longer is a hang: a batch so many times slower than one of each size was at the
#: start, because a game may want the processor and this process always steps back
SLOWER = 20
BATCH_S = 180.0
#: part of it after which the run is broken off from inside, which says what was too slow
BREAK_OFF = 0.9


class Ready(msgspec.Struct, frozen=True):
    """A batch whose tensors wait for the lease."""

    tasks: list[EmbedTask]
    tensor: NDArray[Any]


class Embed(Actor):
    Settings: ClassVar[Any] = EmbedSettings
    messages: ClassVar[Any] = AnyMessage

    async def on_start(self) -> None:
        self.settings: EmbedSettings
        try:
            self._tower = self._open(self.settings.device)
            begin = time.monotonic()
            self._warm_up()
            self._batch_s = max(BATCH_S, SLOWER * (time.monotonic() - begin))
            self._tower.limit(BREAK_OFF * self._batch_s)
        except DeviceLost as error:
            raise Sticky(str(error)) from error
        except ModelsError as error:
            raise ActorUnusable(str(error)) from error
        self._derived = Path(self.settings.derived)
        self._puller = Puller(self.ref("scheduler"), "embed", 3 * max(self.settings.buckets))
        self._prepared: dict[int, Ready] = {}
        self._outbox = Outbox(self.ref("catalog"), self._puller.settle)
        self._running = anyio.Lock()

    def _open(self, device: str) -> ImageTower:
        pack = load_pack(Path(self.settings.pack))
        try:
            return ImageTower.open(pack, device, self.settings.threads)
        except DeviceUnusable as error:
            if device == CPU:
                raise
            log.logger().info("on_the_cpu", instead_of=device, reason=error.reason)
            return self._open(CPU)

    def _warm_up(self) -> None:
        """Run every batch size that fits; a smallest one that does not is an `OutOfMemory`."""
        self._largest: int | None = None  #: batch that fits, None while all do
        try:
            self._tower.warm_up()
        except OutOfMemory as error:
            self._shrink(error)

    def _shrink(self, error: OutOfMemory) -> None:
        """Run smaller batches from now on: what else uses the device may stay there.

        Raises:
            OutOfMemory: there are none.
        """
        if error.rows <= min(self._tower.buckets):
            raise error
        self._largest = error.rows // 2
        log.logger().warning("smaller_batches", most=self._largest, reason=str(error))

    async def run(self) -> None:
        self.tasks.start_soon(self._outbox.run)
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
        failed, ready = await anyio.to_thread.run_sync(
            self._read, batch.tasks, abandon_on_cancel=True
        )
        self._outbox.put(failed)
        if not self._puller.current(line):
            self._puller.settle(task.id for task in batch.tasks)
            return
        self._prepared[batch.batch] = ready
        self._tell(line, Prepared(batch.batch))

    def _read(self, tasks: list[EmbedTask]) -> tuple[list[Result], Ready]:
        failed: list[Result] = []
        good: list[EmbedTask] = []
        rows: list[NDArray[Any]] = []
        for task in tasks:
            size = thumbnail_for(self._tower.size, task.width, task.height)
            path = thumbnail_path(self._derived, task.digest, size)
            try:
                picture = open_thumbnail(path, self._tower.size)
                rows.append(self._tower.prepare([picture], [(task.width, task.height)]))
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
        return failed, Ready(good, tensor)

    async def _run(self, grant: Grant, line: Line) -> None:
        ready = self._prepared.pop(grant.batch, None)
        start = anyio.current_time()
        if ready is not None and ready.tasks:
            async with self._running:
                ids = [task.id for task in ready.tasks]
                self.node.executing("embed", ids, self._batch_s)
                fault("embed.begun")
                results = await anyio.to_thread.run_sync(
                    self._embed, ready, abandon_on_cancel=False
                )
                self.node.finished(ids)
                self._outbox.put(results)
        fault("embed.done")
        self._tell(line, Released(grant.batch, grant.lease, anyio.current_time() - start))

    def _embed(self, ready: Ready) -> list[Result]:
        vectors, broken = self._vectors(ready.tensor)
        data = vectors.astype("<f4", copy=False)
        return [
            Failed(task.id, "photo", "the model gives no finite vector for this picture")
            if row in broken
            else Embedded(task.id, task.content, self._tower.space, data[row].tobytes())
            for row, task in enumerate(ready.tasks)
        ]

    def _vectors(self, tensor: NDArray[Any]) -> tuple[NDArray[np.float32], tuple[int, ...]]:
        """One a row, and the rows that have none."""
        while True:
            try:
                return self._tower.embed(tensor, largest=self._largest), ()
            except RowsBroken as error:
                return error.vectors, error.rows
            except DeviceLost as error:
                raise Sticky(str(error)) from error
            except OutOfMemory as error:
                if error.rows <= min(self._tower.buckets):
                    raise MemoryError(str(error)) from error  # of which the scheduler learns
                self._shrink(error)

    def _tell(self, line: Line, body: Prepared | Released) -> None:
        try:
            line.tell(body)
        except (PeerAway, Busy) as error:
            log.logger().info("scheduler_unreachable", reason=str(error))
