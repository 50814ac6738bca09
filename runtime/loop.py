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

#: nudges between two turns that are looked after at once; a turn of the loop costs as much as
#: five looks, so one look a turn is cheaper only where many messages are sent
LOOKS = 4


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

    Args:
        drain: takes what is there; True when it stopped before it was through.
        readable: is there anything, whatever the descriptor says?
    """

    def __init__(
        self, descriptor: int, drain: Callable[[], bool], readable: Callable[[], bool]
    ) -> None:
        self._descriptor = descriptor
        self._drain = drain
        self._readable = readable
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Future[None]
        self._nudges = 0  #: since the last turn

    def nudge(self) -> None:
        """Something may have come unnoticed: look now, or soon when there are many nudges."""
        self._nudges += 1
        if self._loop is None or self._nudges <= LOOKS:
            if self._readable():
                while self._drain():
                    pass
        elif self._nudges == LOOKS + 1:
            self._loop.call_soon(self._look)

    async def run(self) -> None:
        """Drain now and whenever the descriptor is readable, until cancelled.

        What *drain* raises is raised here.
        """
        loop = self._loop = _asyncio_loop()
        if loop is None:
            while True:
                if self._drain():
                    await anyio.lowlevel.checkpoint()
                else:
                    await anyio.wait_readable(self._descriptor)
        self._ended = loop.create_future()
        loop.add_reader(self._descriptor, self._turn)
        try:
            self._turn()
            await self._ended
        finally:
            loop.remove_reader(self._descriptor)

    def _turn(self) -> None:
        self._nudges = 0
        if self._ended.done():
            return
        try:
            if self._drain():
                assert self._loop is not None
                self._loop.call_soon(self._turn)  # after others had theirs
        except Exception as error:
            self._ended.set_exception(error)

    def _look(self) -> None:
        self._nudges = 0
        if not self._ended.done() and self._readable():
            self._turn()
