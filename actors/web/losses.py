"""Thumbnails that somebody wanted to see and that are not there.

The catalog has them made again when it hears of them.  It hears of each once in a while and of
few at a time: a page that scrolls over a thousand lost ones asks for all of them at once, and
again with every visit.  Pure: whoever calls brings the clock.
"""

from collections import OrderedDict
from typing import Final

#: seconds until the same loss is told again
AGAIN_S: Final = 60.0
#: losses a message, and with one message every `PAUSE_S` the most that are told
MOST: Final = 200
PAUSE_S: Final = 1.0
#: losses remembered as told
REMEMBERED: Final = 8192


class Losses:
    """See the head of the module."""

    def __init__(self) -> None:
        self._new: dict[int, None] = {}
        self._told: OrderedDict[int, float] = OrderedDict()

    def note(self, content: int) -> None:
        """A thumbnail of *content* is missing or short."""
        if len(self._new) < REMEMBERED:
            self._new[content] = None

    def take(self, now: float) -> list[int]:
        """What is to be told at *now*."""
        while self._told and next(iter(self._told.values())) <= now - AGAIN_S:
            self._told.popitem(last=False)
        due = [content for content in self._new if content not in self._told][:MOST]
        told = set(due) | (self._new.keys() & self._told.keys())
        self._new = {content: None for content in self._new if content not in told}
        self._told.update((content, now) for content in due)
        while len(self._told) > REMEMBERED:
            self._told.popitem(last=False)
        return due
