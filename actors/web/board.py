"""What the neighbours say about themselves, asked for no more often than needed.

However many pages are open, the catalog, the index and the supervisor hear one question each
per `FRESH_S`.  Whoever is away or slow is simply absent from the answer: a status that waits
for the sick would be no use to anybody.
"""

import asyncio
from collections.abc import Callable
from functools import cache
from typing import Final

import anyio
import msgspec

from actors.messages import (
    AskStatus,
    CatalogStatus,
    IndexStatus,
    ProcessStatus,
    SchedulerStatus,
    Status,
    Totals,
)
from actors.progress import Course, Pace, pace
from actors.web.about import About
from actors.web.errors import Refusal
from actors.web.library import Library
from actors.web.questions import ask_or_none
from runtime.messages import AskProcesses, Processes
from runtime.node import Ref

FRESH_S: Final = 0.4
#: the number of vectors beside a search result may be this old
FRESH_VECTORS_S: Final = 1.0
ANSWER_S: Final = 1.0


class Progress(msgspec.Struct, frozen=True):
    """What the status line of the page shows.  Parts that nobody could tell are None."""

    status: Status
    totals: Totals | None
    pace: Pace


class Board:
    """See the head of the module."""

    def __init__(
        self,
        catalog: Ref,
        index: Ref,
        supervisor: Ref,
        library: Library,
        about: About,
        *,
        scheduler: Ref | None = None,
        is_demo: Callable[[str], bool] = lambda _pack: False,
    ) -> None:
        self._catalog = catalog
        self._index = index
        self._supervisor = supervisor
        self._scheduler = scheduler
        self._library = library
        self._about = about
        self._is_demo = cache(is_demo)
        self._course = Course()
        self._lock = anyio.Lock()
        self._progress: Progress | None = None
        self._asked_at = float("-inf")
        self._vectors = 0
        self._vectors_at = float("-inf")
        self._news = anyio.Event()

    def news(self) -> None:
        """Somebody came or went: what is known is old, and whoever waits should look."""
        self._asked_at = self._vectors_at = float("-inf")
        self._news.set()
        self._news = anyio.Event()

    async def wait_news(self, seconds: float) -> None:
        """Return at the next `news`, or after *seconds*."""
        news = self._news
        with anyio.move_on_after(seconds):
            await news.wait()

    async def vectors(self) -> int:
        """How many photos can be found; the latest that is known when the index is silent."""
        now = anyio.current_time()
        if now - self._vectors_at > FRESH_VECTORS_S:
            self._vectors_at = now
            self._note(await ask_or_none(self._index, AskStatus(), IndexStatus, ANSWER_S))
        return self._vectors

    def _note(self, index: IndexStatus | None) -> None:
        if index is not None:
            self._vectors = index.vectors
            self._vectors_at = anyio.current_time()

    async def status(self) -> Status:
        return (await self.progress()).status

    def is_demo(self, pack: str) -> bool:
        """Does *pack* understand drawings only?"""
        return self._is_demo(pack)

    async def about(self) -> About:
        """The edge, with the model that serves now."""
        try:
            serving = await self._library.serving()
        except Refusal:
            serving = None
        if serving is None or serving.pack == self._about.model:
            return self._about
        demo = self._is_demo(serving.pack)
        return msgspec.structs.replace(self._about, model=serving.pack, demo=demo)

    async def totals(self) -> Totals | None:
        """How every file ended; None while there is no database to ask."""
        try:
            return await self._library.totals()
        except Refusal:
            return None

    async def progress(self) -> Progress:
        """Everything at once, at most `FRESH_S` old."""
        async with self._lock:
            if self._progress is None or anyio.current_time() - self._asked_at > FRESH_S:
                self._progress = await self._ask()
            return self._progress

    async def _ask_scheduler(self) -> SchedulerStatus | None:
        if self._scheduler is None:
            return None
        return await ask_or_none(self._scheduler, AskStatus(), SchedulerStatus, ANSWER_S)

    async def _ask(self) -> Progress:
        self._asked_at = anyio.current_time()
        about = await self.about()
        catalog, index, processes, scheduler, totals = await asyncio.gather(
            ask_or_none(self._catalog, AskStatus(), CatalogStatus, ANSWER_S),
            ask_or_none(self._index, AskStatus(), IndexStatus, ANSWER_S),
            ask_or_none(self._supervisor, AskProcesses(), Processes, ANSWER_S),
            self._ask_scheduler(),
            self.totals(),
        )
        self._note(index)
        status = Status(
            processes=[
                ProcessStatus(
                    each.name,
                    each.state,
                    each.pid,
                    each.incarnation,
                    each.restarts,
                    each.last_exit,
                )
                for each in ([] if processes is None else processes.processes)
            ],
            catalog=catalog,
            index=index,
            model=about.model,
            demo=about.demo,
            profile=about.profile,
            scheduler=scheduler,
        )
        stages = self._course.step(catalog, index, totals, anyio.current_time(), scheduler)
        return Progress(status, totals, pace(stages))
