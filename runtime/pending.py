"""Questions that wait for their answers, with one timer for all of them.

A timer a call is what event loops are slowest at under load.  Deadlines are rounded up into
slots of 20 ms; one ticker passes over the slots.  An answer resolves its question inside the
socket's drain, without a task in between.  A question that was answered leaves its slot at
once: at ten thousand asks a second, ids kept until a deadline ten seconds away would be the
largest thing in the process.
"""

import math
from typing import Generic, TypeVar

import msgspec

from runtime.loop import Once, once

T = TypeVar("T")

SLOT_S = 0.02


class PendingStatistics(msgspec.Struct, frozen=True):
    open: int
    highest: int  #: most questions that were ever open at once
    asked: int
    expired: int


class Question(Generic[T]):
    """One ask under way."""

    __slots__ = ("answer", "peer", "slot")

    def __init__(self, peer: str, slot: int) -> None:
        self.peer = peer
        self.slot = slot
        self.answer: Once[T] = once()


class Pending(Generic[T]):
    """Ids → questions, and which of them run out when."""

    def __init__(self) -> None:
        self._questions: dict[int, Question[T]] = {}
        self._slots: dict[int, set[int]] = {}
        self._last_id = 0
        self._highest = 0
        self._expired = 0

    def __len__(self) -> int:
        return len(self._questions)

    def open(self, peer: str, deadline: float) -> tuple[int, Question[T]]:
        """A new question to *peer* that runs out at *deadline*, in the loop's time."""
        self._last_id += 1
        question: Question[T] = Question(peer, math.ceil(deadline / SLOT_S))
        self._questions[self._last_id] = question
        self._slots.setdefault(question.slot, set()).add(self._last_id)
        self._highest = max(self._highest, len(self._questions))
        return self._last_id, question

    def close(self, id: int) -> Question[T] | None:  # noqa: A002 - the wire's own word
        """Forget a question."""
        question = self._questions.pop(id, None)
        if question is not None:
            slot = self._slots[question.slot]
            slot.discard(id)
            if not slot:
                del self._slots[question.slot]
        return question

    def of(self, peer: str) -> list[Question[T]]:
        """Forget and return every question to *peer*."""
        ids = [each for each, question in self._questions.items() if question.peer == peer]
        return [question for each in ids if (question := self.close(each)) is not None]

    def close_all(self) -> list[Question[T]]:
        """Forget and return every question."""
        questions = list(self._questions.values())
        self._questions.clear()
        self._slots.clear()
        return questions

    def expire(self, now: float) -> list[Question[T]]:
        """Forget and return the questions whose time is over."""
        due = [slot for slot in self._slots if slot * SLOT_S <= now]
        ids = [each for slot in due for each in sorted(self._slots[slot])]
        questions = [question for each in ids if (question := self.close(each)) is not None]
        self._expired += len(questions)
        return questions

    def statistics(self) -> PendingStatistics:
        return PendingStatistics(len(self._questions), self._highest, self._last_id, self._expired)
