"""What the actors of the bench say to each other, and its 175 bytes."""

from typing import TypeAlias

import msgspec


class Word(msgspec.Struct, frozen=True, tag_field="t", omit_defaults=True):
    """Base of all bodies here."""


class Work(Word, frozen=True, tag="bench.work"):
    """About 175 bytes, as a task of the real system is."""

    kind: str
    photo: int
    path: str
    revision: str
    delivery: int = 0  #: of the standing offer it answers
    sent_ns: int = 0  #: CLOCK_MONOTONIC, on some of them


WORK = Work("embed", 1_234_567, f"/{'photos/2026/' * 8}IMG_20261121.jpg", "clip-b32:7/pre:3")


class Pull(Word, frozen=True, tag="bench.pull"):
    """A standing offer."""

    window: int
    outstanding: list[int]
    delivery: int


class Measure(Word, frozen=True, tag="bench.measure"):
    """Answered `Figures`."""

    what: str
    calls: int


class Figures(Word, frozen=True, tag="bench.figures"):
    per_s: float
    p50_us: float = 0.0
    p99_us: float = 0.0
    highest: int = 0  #: most messages that ever waited in the mailbox of whoever measured


class Submit(Word, frozen=True, tag="bench.submit"):
    """A task of the fault run.  Answered `Result` once committed."""

    task: int


class Tasks(Word, frozen=True, tag="bench.tasks"):
    tasks: list[int]
    delivery: int


class Result(Word, frozen=True, tag="bench.result"):
    """Answered `Committed`; kept and sent again until it is."""

    task: int
    pid: int


class Committed(Word, frozen=True, tag="bench.committed"):
    task: int


AnyWord: TypeAlias = Work | Pull | Measure | Figures | Submit | Tasks | Result | Committed
