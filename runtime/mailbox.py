"""A bounded inbox with one wake-up a batch.

A deque and the one-shots of those who wait, instead of a memory object stream: a stream costs
a scheduler hop and a checkpoint a message, which was the larger part of a message's price.
`put_nowait` never waits, because it is called from the socket's drain, where waiting would
mean leaving messages in a socket whose edge-triggered descriptor has already fired.

An item wakes at most one task, so that of eight waiting consumers seven sleep on.  A consumer
that is cancelled in the moment it was woken passes the wake-up on.  A consumer that always
finds something waiting lets others have a turn every `TURN` items.
"""

from collections import deque
from typing import Generic, TypeVar

import anyio.lowlevel
import msgspec

from runtime.loop import Once, once

T = TypeVar("T")

#: items taken without a pause before the loop's other tasks get a turn
TURN = 256


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
        self._waiting: deque[Once[None]] = deque()
        self._taken = 0
        self._highest = 0
        self._refused = 0

    def put_nowait(self, item: T) -> bool:
        """Take *item* in, or return False when full; the caller answers for the refusal."""
        if len(self._items) >= self.capacity:
            self._refused += 1
            return False
        self.put_always(item)
        return True

    def put_always(self, item: T) -> None:
        """Take in what must not be refused: the supervisor's few words."""
        items = self._items
        items.append(item)
        if len(items) > self._highest:  # noqa: PLR1730 - `max` costs more than the rest
            self._highest = len(items)
        if self._waiting:
            self._waiting.popleft().resolve(None)

    async def get(self) -> T:
        """The oldest message, as soon as there is one.  Cancelling loses nothing."""
        self._taken += 1
        if not self._taken % TURN:
            await anyio.lowlevel.checkpoint()
        while not self._items:
            woken: Once[None] = once()
            self._waiting.append(woken)
            try:
                await woken.wait()
            except BaseException:
                if woken in self._waiting:
                    self._waiting.remove(woken)
                elif self._items and self._waiting:
                    self._waiting.popleft().resolve(None)
                raise
        return self.take()

    def take(self) -> T:
        """The oldest of the items there are."""
        return self._items.popleft()

    def statistics(self) -> MailboxStatistics:
        return MailboxStatistics(len(self._items), self.capacity, self._highest, self._refused)
