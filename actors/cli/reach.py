"""Reaching a library, whether a system runs on it or not.

Where one runs, it is asked.  Where none does, the same words are answered by a desk of our own,
under the lock that a starting system would take: so neither gets into the other's way, and
nothing has to be started for a small thing.  Settings come from where a start would take them.
"""

import contextlib
import os
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

import anyio
import anyio.to_thread
import typer

from actors.cli.common import EXIT_CONFIG, EXIT_NOT_RUNNING, EXIT_TRY_AGAIN, fail, talk
from actors.client import NotRunning, default_data, find_run
from actors.messages import AskPlaces, Done, Message, Owner, Places, RebuildIndex
from config.errors import ConfigError
from config.loading import load
from config.settings import Settings
from runtime import rundir
from runtime.errors import AlreadyRunning

if TYPE_CHECKING:
    from actors.desk import Desk

Answer = TypeVar("Answer", bound=Message)


class Door(Protocol):
    """Who answers: a running system, or we ourselves."""

    running: bool

    async def ask(self, question: Message, kind: type[Answer], seconds: float = ...) -> Answer: ...


class AtRest:
    """The door to a library that no system runs on.  The database is opened when it is needed."""

    running = False

    def __init__(self, settings: Settings, stack: contextlib.AsyncExitStack) -> None:
        self._settings = settings
        self._stack = stack
        self._desk: Desk | None = None

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, settings: Settings) -> AsyncIterator[Self]:
        """Hold the lock of the data directory.

        Raises:
            AlreadyRunning: a system is just starting or stopping.
        """
        lock = rundir.lock(settings.data / "lock")
        try:
            async with contextlib.AsyncExitStack() as stack:
                yield cls(settings, stack)
        finally:
            os.close(lock)

    async def ask(self, question: Message, kind: type[Answer], seconds: float = 0) -> Answer:
        """Do what is asked, here and now.

        Raises:
            LibraryError: the database cannot be opened, or does not let us.
        """
        del seconds
        answer = await self._answer(question)
        assert isinstance(answer, kind)
        return answer

    async def _answer(self, question: Message) -> Message | None:
        index = self._settings.data / "index"
        match question:
            case AskPlaces():
                derived = os.fsencode(self._settings.library.derived)
                return Places(self._settings.library.database, derived, os.fsencode(index))
            case RebuildIndex():  # which the next start does where it finds no snapshot
                await anyio.to_thread.run_sync(lambda: shutil.rmtree(index, ignore_errors=True))
                return Done()
            case Owner():
                return await (await self._open_desk()).handle(question, time.time_ns())
        raise NotImplementedError(type(question).__name__)

    async def _open_desk(self) -> "Desk":
        # The write half of the library comes with the catalog, and takes a third of a second.
        from actors.catalog import at_rest  # noqa: PLC0415

        if self._desk is None:
            library = self._settings.library
            self._desk = await self._stack.enter_async_context(
                at_rest(self._settings.data, library.database, library.derived)
            )
        return self._desk


def reach(data: Path | None, work: Callable[[Door], Awaitable[None]]) -> None:
    """Run *work* with a door to the library on *data*; its failures become exit statuses."""
    try:
        find_run(data or default_data())
    except NotRunning as error:
        _at_rest(data, work, error)
    else:
        talk(data, work)


def _at_rest(
    data: Path | None, work: Callable[[Door], Awaitable[None]], nobody: NotRunning
) -> None:
    from actors.library.errors import LibraryError  # noqa: PLC0415  with it comes SQLAlchemy

    try:
        settings = load({"data": data})
    except ConfigError as error:
        fail(str(error), error.exit_code)
    if not settings.database_path.exists():
        fail(str(nobody), EXIT_NOT_RUNNING)

    async def session() -> None:
        async with AtRest.open(settings) as door:
            await work(door)

    try:
        anyio.run(session)
    except AlreadyRunning as error:
        fail(f"{error}; it is starting or stopping, come again", EXIT_TRY_AGAIN)
    except LibraryError as error:
        fail(str(error), EXIT_TRY_AGAIN if error.fault == "busy" else EXIT_CONFIG)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
