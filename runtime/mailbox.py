"""A bounded inbox with one wake-up a batch.

A deque and a single event instead of a memory object stream: a stream costs a scheduler hop
and a checkpoint a message, which was the larger part of a message's price.  `put_nowait`
never waits, because it is called from the socket's drain, where waiting would mean leaving
messages in a socket whose edge-triggered descriptor has already fired.
"""

from collections import deque
from typing import Generic, TypeVar

import anyio
import msgspec

T = TypeVar("T")


class MailboxStatistics(msgspec.Struct, frozen=True):
    length: int
    capacity: int
    highest: int  #: most messages that ever waited at once
    refused: int  #: messages that found the mailbox full


class Mailbox(Generic[T]):
    """First in, first out; at most *capacity* messages."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._items: deque[T] = deque()
        self._arrived = anyio.Event()
        self._highest = 0
        self._refused = 0

    def put_nowait(self, item: T) -> bool:
        """Take *item* in, or return False when full; the caller answers for the refusal."""
        if len(self._items) >= self.capacity:
            self._refused += 1
            return False
        self._items.append(item)
        self._highest = max(self._highest, len(self._items))
        if not self._arrived.is_set():
            self._arrived.set()
        return True

    def put_always(self, item: T) -> None:
        """Take in what must not be refused: the supervisor's few words."""
        self._items.append(item)
        if not self._arrived.is_set():
            self._arrived.set()

    async def get(self) -> T:
        """The oldest message, as soon as there is one.  Cancelling loses nothing."""
        while not self._items:
            if self._arrived.is_set():
                self._arrived = anyio.Event()
            await self._arrived.wait()
        return self._items.popleft()

    def get_all_nowait(self, most: int) -> list[T]:
        """What waits right now, oldest first, at most *most*."""
        return [self._items.popleft() for _ in range(min(most, len(self._items)))]

    def statistics(self) -> MailboxStatistics:
        return MailboxStatistics(len(self._items), self.capacity, self._highest, self._refused)
