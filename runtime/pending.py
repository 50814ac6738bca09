"""Questions that wait for their answers, with one timer for all of them.

A timer a call is what event loops are slowest at under load.  One ticker looks at all open
questions every `TICK_S`; there are hundreds at most, since each is somebody's task that waits.
(A wheel of slots was tried: filing and unfiling a question cost more than looking at it.)  An
answer resolves its question inside the socket's drain, without a task in between.
"""

from typing import Generic, TypeVar

import msgspec

from runtime.loop import Once, once

T = TypeVar("T")

#: how much later than its deadline a question may run out
TICK_S = 0.02


class PendingStatistics(msgspec.Struct, frozen=True):
    open: int
    highest: int  #: most questions that were ever open at once
    asked: int
    expired: int


class Question(Generic[T]):
    """One ask under way."""

    __slots__ = ("answer", "deadline", "peer")

    def __init__(self, peer: str, deadline: float) -> None:
        self.peer = peer
        self.deadline = deadline
        self.answer: Once[T] = once()


class Pending(Generic[T]):
    """Ids → questions."""

    def __init__(self) -> None:
        self._questions: dict[int, Question[T]] = {}
        self._last_id = 0
        self._highest = 0
        self._expired = 0

    def __len__(self) -> int:
        return len(self._questions)

    def open(self, peer: str, deadline: float) -> tuple[int, Question[T]]:
        """A new question to *peer* that runs out at *deadline*, in the loop's time."""
        self._last_id += 1
        question: Question[T] = Question(peer, deadline)
        self._questions[self._last_id] = question
        self._highest = max(self._highest, len(self._questions))
        return self._last_id, question

    def close(self, id: int) -> Question[T] | None:  # noqa: A002 - the wire's own word
        """Forget a question."""
        return self._questions.pop(id, None)

    def of(self, peer: str) -> list[Question[T]]:
        """Forget and return every question to *peer*."""
        return self._forget([i for i, each in self._questions.items() if each.peer == peer])

    def close_all(self) -> list[Question[T]]:
        """Forget and return every question."""
        return self._forget(list(self._questions))

    def expire(self, now: float) -> list[Question[T]]:
        """Forget and return the questions whose time is over."""
        due = self._forget([i for i, each in self._questions.items() if each.deadline <= now])
        self._expired += len(due)
        return due

    def _forget(self, ids: list[int]) -> list[Question[T]]:
        return [self._questions.pop(each) for each in ids]

    def statistics(self) -> PendingStatistics:
        return PendingStatistics(len(self._questions), self._highest, self._last_id, self._expired)
