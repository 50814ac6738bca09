"""An image tower on its device, and how large a batch finds memory there.

Other programs take and give back GPU memory at any time.  A batch that does not fit is run in
halves and costs no photo; what did not fit once is not tried again in this process, because the
program that took the memory is most likely still there.
"""

import time
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

import runtime.errors
from models.clip import ImageTower
from models.errors import DeviceLost, DeviceUnusable, OutOfMemory, RowsBroken
from models.pack import Pack
from runtime import log

CPU = "cpu:0"
#: what takes longer is a hang: a batch so many times slower than one of each size was at the
#: start, because a game may want the processor and this process always steps back
SLOWER = 20
BATCH_S = 180.0
#: part of it after which the run is broken off from inside, which says what was too slow
BREAK_OFF = 0.9


class Fitted:
    def __init__(self, tower: ImageTower) -> None:
        self.tower = tower
        self.largest: int | None = None  #: batch that fits, None while all do
        self.batch_s = BATCH_S  #: what one batch may take

    @classmethod
    def open(cls, pack: Pack, device: str, threads: int) -> Self:
        """Load and warm it; on the CPU where *device* cannot be used.

        Raises:
            ModelsError: it cannot be, or not even a batch of one fits.
            runtime.errors.DeviceLost: only a new process can go on.
        """
        try:
            tower = ImageTower.open(pack, device, threads)
        except DeviceUnusable as error:
            if device == CPU:
                raise
            log.logger().info("on_the_cpu", instead_of=device, reason=error.reason)
            return cls.open(pack, CPU, threads)
        except DeviceLost as error:
            raise runtime.errors.DeviceLost(str(error)) from error
        fitted = cls(tower)
        fitted.warm_up()
        return fitted

    def warm_up(self) -> None:
        """Run every batch size that fits."""
        begin = time.monotonic()
        try:
            self.tower.warm_up()
        except DeviceLost as error:
            raise runtime.errors.DeviceLost(str(error)) from error
        except OutOfMemory as error:
            self._shrink(error)
        self.batch_s = max(BATCH_S, SLOWER * (time.monotonic() - begin))
        self.tower.limit(BREAK_OFF * self.batch_s)

    def _shrink(self, error: OutOfMemory) -> None:
        """Run smaller batches from now on.

        Raises:
            OutOfMemory: there are none.
        """
        if error.rows <= min(self.tower.buckets):
            raise error
        self.largest = error.rows // 2
        log.logger().warning("smaller_batches", most=self.largest, reason=str(error))

    def embed(self, tensor: NDArray[Any]) -> tuple[NDArray[np.float32], tuple[int, ...]]:
        """Vectors, one a row of *tensor*, and the rows that have none.

        Raises:
            MemoryError: there is no room for one picture; the scheduler learns of it from the
                way in which the process ends.
            runtime.errors.DeviceLost: only a new process can go on.
        """
        while True:
            try:
                return self.tower.embed(tensor, largest=self.largest), ()
            except RowsBroken as error:
                return error.vectors, error.rows
            except DeviceLost as error:
                raise runtime.errors.DeviceLost(str(error)) from error
            except OutOfMemory as error:
                if error.rows <= min(self.tower.buckets):
                    raise MemoryError(str(error)) from error
                self._shrink(error)
