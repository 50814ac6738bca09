"""The seam between asyncio and trio, as narrow as speed allows.

The project is written on anyio.  Where messages come by the hundred thousand its neutrality
has a price: `wait_readable` registers a descriptor anew for every wake-up (two system calls
and a task switch), and each `Event` looks up which loop it runs on.  So two things are said
here in asyncio's own words when asyncio runs, and in anyio's otherwise: a one-shot that is a
bare future, and a reader that stays registered and can be nudged.  Nothing else in the
project asks which loop it is on.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

import anyio
import anyio.lowlevel

T = TypeVar("T")

#: messages taken from one descriptor before others get a turn
MOST = 256
#: nudges between two looks that are looked after at once: a turn of the loop costs as much as
#: a few looks, so that looking soon is cheaper only where many messages are sent
NUDGES = 4


def _asyncio_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class Once(Protocol[T]):
    """Happens once; one task waits for it.  What comes second is ignored."""

    def resolve(self, value: T) -> None: ...

    def fail(self, error: Exception) -> None: ...

    def wait(self) -> Awaitable[T]:
        """The value, or the error raised.  Cancelling is safe."""


class _AsyncioOnce(Generic[T]):
    __slots__ = ("_future",)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._future: asyncio.Future[T] = loop.create_future()

    def resolve(self, value: T) -> None:
        if not self._future.done():  # else whoever waited was cancelled
            self._future.set_result(value)

    def fail(self, error: Exception) -> None:
        if not self._future.done():
            self._future.set_exception(error)

    def wait(self) -> Awaitable[T]:
        return self._future


class _AnyioOnce(Generic[T]):
    __slots__ = ("_error", "_event", "_value")

    def __init__(self) -> None:
        self._event = anyio.Event()
        self._value: list[T] = []
        self._error: Exception | None = None

    def resolve(self, value: T) -> None:
        if not self._event.is_set():
            self._value.append(value)
            self._event.set()

    def fail(self, error: Exception) -> None:
        if not self._event.is_set():
            self._error = error
            self._event.set()

    async def wait(self) -> T:
        await self._event.wait()
        if self._error is not None:
            raise self._error
        return self._value[0]


def once() -> Once[T]:
    """A new one-shot of the loop that runs."""
    loop = _asyncio_loop()
    return _AnyioOnce() if loop is None else _AsyncioOnce(loop)


class Reader:
    """Keeps a descriptor drained whose readiness is told once only.

    On asyncio a wake-up that usually brings one message takes that one, lets its consumer run,
    and looks for more after that: finding nothing is as dear as finding a message, and would
    stand between a question and its answer.

    Args:
        drain: takes at most so many messages; returns how many it found.
        readable: is there anything, whatever the descriptor says?
    """

    def __init__(
        self, descriptor: int, drain: Callable[[int], int], readable: Callable[[], bool]
    ) -> None:
        self._descriptor = descriptor
        self._drain = drain
        self._readable = readable
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Future[None]
        self._looking = False  #: a look is on the loop's list
        self._nudges = 0  #: since the last look
        self._busy = False  #: the last look found more than one message

    def nudge(self) -> None:
        """Something may have come unnoticed: look now, or soon when there are many nudges."""
        if self._looking:
            return
        self._nudges += 1
        if self._loop is None or self._nudges <= NUDGES:
            if self._readable():
                while self._drain(MOST) == MOST:
                    pass
        else:
            self._look_soon()

    async def run(self) -> None:
        """Drain now and whenever the descriptor is readable, until cancelled.

        What *drain* raises is raised here.
        """
        loop = self._loop = _asyncio_loop()
        if loop is None:
            while True:
                if self._drain(MOST) == MOST:
                    await anyio.lowlevel.checkpoint()
                else:
                    await anyio.wait_readable(self._descriptor)
        self._ended = loop.create_future()
        loop.add_reader(self._descriptor, self._wake)
        try:
            self._look()
            await self._ended
        finally:
            loop.remove_reader(self._descriptor)

    def _wake(self) -> None:
        if self._busy or self._looking:
            self._look()
        elif self._take(1):
            self._look_soon()

    def _look_soon(self) -> None:
        if not self._looking:
            self._looking = True
            assert self._loop is not None
            self._loop.call_soon(self._look)

    def _look(self) -> None:
        self._looking = False
        self._nudges = 0
        found = self._take(MOST)
        self._busy = found > 1
        if found == MOST:
            self._look_soon()  # after others had their turn

    def _take(self, most: int) -> int:
        if self._ended.done():
            return 0
        try:
            return self._drain(most)
        except Exception as error:
            self._ended.set_exception(error)
            return 0
