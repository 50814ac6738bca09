"""Somebody who searches all the while, and notes how long there was no answer."""

import contextlib
import time
from collections.abc import Callable, Iterable
from random import Random
from typing import Final

import anyio
import msgspec

from actors.client import NotRunning
from actors.selftest.drawings import Drawings
from actors.selftest.system import System
from runtime.errors import RuntimeFault

PAUSE_S: Final = 0.15
#: a question that finds no answer is asked anew
PATIENCE_S: Final = 5.0
#: then it is asked of a new connection
AGAIN_S: Final = 0.1
MOST: Final = 20


class Searches(msgspec.Struct):
    answers: int = 0
    refused: int = 0  #: said no, or nothing in time
    longest_silence_s: float = 0.0
    silent_over: str = ""  #: what was going on meanwhile
    slowest_s: float = 0.0


class Searcher:
    """Asks for pictures that are, or were, or will be there.

    Args:
        going_on: what the system suffers now, in words.
    """

    def __init__(
        self, system: System, drawings: Drawings, rng: Random, going_on: Callable[[], Iterable[str]]
    ) -> None:
        self.found = Searches()
        self.answered_at = 0.0  #: monotonic
        self._system = system
        self._drawings = drawings
        self._rng = rng
        self._going_on = going_on
        self._troubles: set[str] = set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            with contextlib.suppress(NotRunning, RuntimeFault):
                async with self._system.client() as client:
                    while True:
                        query = self._drawings.query(self._rng)
                        begin = time.monotonic()
                        self._note()
                        try:
                            await client.search(
                                query, self._rng.randint(1, MOST), seconds=PATIENCE_S
                            )
                        except RuntimeFault:
                            self.found.refused += 1
                            continue
                        self._answered(time.monotonic() - begin)
                        await anyio.sleep(PAUSE_S)
            self._note()
            await anyio.sleep(AGAIN_S)

    def _note(self) -> None:
        self._troubles.update(self._going_on())

    def _answered(self, seconds: float) -> None:
        self._note()
        found, now = self.found, time.monotonic()
        silence_s = now - self.answered_at if self.answered_at else 0.0
        if silence_s > found.longest_silence_s:
            found.longest_silence_s = silence_s
            found.silent_over = ", ".join(sorted(self._troubles))
        found.answers += 1
        found.slowest_s = max(found.slowest_s, seconds)
        self.answered_at = now
        self._troubles.clear()

    def pause(self) -> None:
        """Nobody is there to answer for a while, and that is as it should be."""
        self.answered_at = 0.0
