"""Captions at the edge: which of them have the words of a question.

Words are looked for while the text tower makes a vector of them, so that they cost no time; and
search never waits for them.  A library that is busy for longer than `PATIENCE_S` is left to
itself: the vectors answer alone, and the answer says so.  What was asked goes on, because a
statement that is broken off costs its connection; while `MOST` of them do, no other is begun.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from actors.library.reads import Match
from actors.web.errors import Refusal
from runtime import log

#: longer than a page of the database takes from a slow disk, shorter than anybody notices
PATIENCE_S: Final = 0.25
#: captions a question is answered with; below that place they hardly count (`fusion`)
MATCHES: Final = 500
#: questions under way
MOST: Final = 4
#: what an answer says that lacks them
BUSY: Final = "captions were not searched, the library is busy"
FAILED: Final = "captions could not be searched; `check` and `logs gateway` tell more"


class Told(NamedTuple):
    matches: Sequence[Match]  #: best first
    lacking: str = ""  #: why there are none


class Words(Protocol):
    """Who knows what captions say; see `web.library`."""

    async def captioned(self, question: str, limit: int) -> Sequence[Match]: ...


class CaptionFinder:
    """Asks *library*; one for the process."""

    def __init__(self, library: Words) -> None:
        self._library = library
        self._asked: set[asyncio.Task[Told]] = set()

    def ask(self, question: str) -> asyncio.Task[Told] | None:
        """Begin to look for *question*; None when too much is under way."""
        if len(self._asked) >= MOST:
            return None
        task = asyncio.ensure_future(self._find(question))
        self._asked.add(task)
        task.add_done_callback(self._asked.discard)
        return task

    async def heard(self, asked: asyncio.Task[Told] | None) -> Told:
        """What came of *asked*, unless it takes too long."""
        if asked is not None:
            await asyncio.wait({asked}, timeout=PATIENCE_S)
            if asked.done():
                return await asked
        return Told([], BUSY)

    async def _find(self, question: str) -> Told:
        try:
            return Told(await self._library.captioned(question, MATCHES))
        except Refusal as refusal:
            log.logger().warning("captions_not_searched", reason=refusal.message)
        except Exception:
            # Whoever asked may have gone meanwhile, and is not the only one to be told.
            log.logger().exception("captions_not_searched")
        return Told([], FAILED)
