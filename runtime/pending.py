"""Questions that wait for their answers, with one timer for all of them.

A timer a call is what event loops are slowest at under load.  Deadlines are rounded up into
slots of 20 ms; one ticker passes over the slots.  An answer resolves its question inside the
socket's drain, without a task in between.
"""

import math
from collections import defaultdict
from typing import Generic, TypeVar

import anyio

T = TypeVar("T")

SLOT_S = 0.02


class Question(Generic[T]):
    """One ask under way."""

    __slots__ = ("_answer", "_done", "_error", "peer")

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self._done = anyio.Event()
        self._answer: T | None = None
        self._error: Exception | None = None

    def resolve(self, answer: T) -> None:
        self._answer = answer
        self._done.set()

    def fail(self, error: Exception) -> None:
        self._error = error
        self._done.set()

    async def wait(self) -> T:
        await self._done.wait()
        if self._error is not None:
            raise self._error
        assert self._answer is not None
        return self._answer


class Pending(Generic[T]):
    """Ids → questions, and which of them run out when."""

    def __init__(self) -> None:
        self._questions: dict[int, Question[T]] = {}
        self._slots: defaultdict[int, set[int]] = defaultdict(set)
        self._last_id = 0

    def __len__(self) -> int:
        return len(self._questions)

    def open(self, peer: str, deadline: float) -> tuple[int, Question[T]]:
        """A new question to *peer* that runs out at *deadline*, in the loop's time."""
        self._last_id += 1
        question: Question[T] = Question(peer)
        self._questions[self._last_id] = question
        self._slots[math.ceil(deadline / SLOT_S)].add(self._last_id)
        return self._last_id, question

    def close(self, id: int) -> Question[T] | None:  # noqa: A002 - the wire's own word
        """Forget a question; its slot forgets it when its time comes."""
        return self._questions.pop(id, None)

    def of(self, peer: str) -> list[Question[T]]:
        """Forget and return every question to *peer*."""
        ids = [each for each, question in self._questions.items() if question.peer == peer]
        return [self._questions.pop(each) for each in ids]

    def close_all(self) -> list[Question[T]]:
        """Forget and return every question."""
        questions = list(self._questions.values())
        self._questions.clear()
        self._slots.clear()
        return questions

    def expire(self, now: float) -> list[Question[T]]:
        """Forget and return the questions whose time is over."""
        due = [slot for slot in self._slots if slot * SLOT_S <= now]
        ids = [each for slot in due for each in self._slots.pop(slot)]
        return [self._questions.pop(each) for each in ids if each in self._questions]
