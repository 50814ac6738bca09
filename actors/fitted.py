"""A model on its device, and how large a batch finds memory there.

Other programs take and give back GPU memory at any time.  A batch that does not fit is run in
halves and costs no photo; what did not fit once is not tried again in this process, because the
program that took the memory is most likely still there.

`on_device`, `budget_s` and `Fit` know no model and serve every worker; `Fitted` is an image tower.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

import runtime.errors
from models.clip import ImageTower
from models.errors import DeviceLost, DeviceUnusable, OutOfMemory, RowsBroken
from models.pack import Pack
from runtime import log

T = TypeVar("T")

CPU = "cpu:0"
#: what takes longer is a hang: a batch so many times slower than one of each size was at the
#: start, because a game may want the processor and this process always steps back
SLOWER = 20
BATCH_S = 180.0
#: part of it after which the run is broken off from inside, which says what was too slow
BREAK_OFF = 0.9


@contextlib.contextmanager
def ends_with_device() -> Iterator[None]:
    """A device that is lost in the block ends this process in the way that says so.

    Raises:
        runtime.errors.DeviceLost: only a new process can go on.
    """
    try:
        yield
    except DeviceLost as error:
        raise runtime.errors.DeviceLost(str(error)) from error


def on_device(open_on: Callable[[str], T], device: str) -> T:
    """What *open_on* makes on *device*, or on the CPU where that cannot be used.

    Raises:
        ModelsError: it cannot be made.
        runtime.errors.DeviceLost: only a new process can go on.
    """
    with ends_with_device():
        try:
            return open_on(device)
        except DeviceUnusable as error:
            if device == CPU:
                raise
            log.logger().info("on_the_cpu", instead_of=device, reason=error.reason)
        return open_on(CPU)


def budget_s(warm_s: float, least_s: float = BATCH_S) -> float:
    """Seconds that one batch may take, of a model that ran every size once in *warm_s*."""
    return max(least_s, SLOWER * warm_s)


class Fit:
    """How large a batch of one model fits.

    Args:
        smallest: the least that it can run.
    """

    def __init__(self, smallest: int) -> None:
        self.largest: int | None = None  #: batch that fits, None while all do
        self._smallest = smallest

    def shrink(self, error: OutOfMemory) -> None:
        """Run smaller batches from now on.

        Raises:
            OutOfMemory: there are none.
        """
        if error.rows <= self._smallest:
            raise error
        self.largest = error.rows // 2
        log.logger().warning("smaller_batches", most=self.largest, reason=str(error))

    def run(self, compute: Callable[[int | None], T]) -> T:
        """What *compute* gives, told the largest batch to run, as soon as that fits.

        Raises:
            MemoryError: there is no room for the smallest; the scheduler learns of it from the
                way in which the process ends.
            runtime.errors.DeviceLost: only a new process can go on.
        """
        while True:
            try:
                with ends_with_device():
                    return compute(self.largest)
            except OutOfMemory as error:
                if error.rows <= self._smallest:
                    raise MemoryError(str(error)) from error
                self.shrink(error)


class Fitted:
    """An image tower."""

    def __init__(self, tower: ImageTower) -> None:
        self.tower = tower
        self.fit = Fit(min(tower.buckets))
        self.batch_s = BATCH_S  #: what one batch may take

    @classmethod
    def open(cls, pack: Pack, device: str, threads: int) -> Self:
        """Load and warm it; on the CPU where *device* cannot be used.

        Raises:
            ModelsError: it cannot be, or not even a batch of one fits.
            runtime.errors.DeviceLost: only a new process can go on.
        """
        fitted = cls(on_device(lambda place: ImageTower.open(pack, place, threads), device))
        fitted.warm_up()
        return fitted

    def warm_up(self) -> None:
        """Run every batch size that fits."""
        begin = time.monotonic()
        try:
            with ends_with_device():
                self.tower.warm_up()
        except OutOfMemory as error:
            self.fit.shrink(error)
        self.batch_s = budget_s(time.monotonic() - begin)
        self.tower.limit(BREAK_OFF * self.batch_s)

    def embed(self, tensor: NDArray[Any]) -> tuple[NDArray[np.float32], tuple[int, ...]]:
        """Vectors, one a row of *tensor*, and the rows that have none.

        Raises:
            MemoryError, runtime.errors.DeviceLost: see `Fit.run`.
        """
        try:
            return self.fit.run(lambda most: self.tower.embed(tensor, largest=most)), ()
        except RowsBroken as error:
            return error.vectors, error.rows
