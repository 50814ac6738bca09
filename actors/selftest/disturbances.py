"""What is done to a running system, whom it strikes and when.  Pure: a seed in, a list out.

The same seed gives the same disturbances in the same order.  It cannot give the same run: when
a process dies is up to the machine.  What a seed repeats is the pressure, which is what one
wants to have again when something broke under it.

`opening` has each kind once, so that two minutes are enough to see them all: what takes half a
minute to be found, the hangs, comes early and all at once, each on a process of its own, and
the rest is done meanwhile.  The orderly stop, for which the hangs must be over, is
left to whoever carries the others out.  `following` goes on for ever.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from random import Random
from typing import Final

import msgspec


class Kind(StrEnum):
    """Each with its words for a table."""

    KILL = "killed"  # SIGKILL, at any instant
    CRASH = "crashed"  # by itself, at a named point
    MEMORY = "out of memory"  # asks for more than a limit on it lets it have
    RECYCLE = "recycled"  # its planned restart
    FREEZE = "frozen"  # SIGSTOP; goes on after a while, or is killed
    DEADLOCK = "deadlock"  # its loop waits for ever, its threads run
    GIL = "holds the GIL"  # nothing in it runs, and it does not compute
    SPIN = "spins with the GIL"  # nothing in it runs, and it computes
    PAUSE = "paused"  # the library, by its owner
    STOP = "stopped"  # the system, in order; then started again
    SUPERVISOR_FREEZE = "supervisor frozen"
    SUPERVISOR_KILL = "supervisor killed"

    @property
    def hang(self) -> bool:
        return self in HANGS

    @property
    def of_all(self) -> bool:
        """It strikes everybody, so that nothing else can be going on."""
        return self in {self.STOP, self.SUPERVISOR_FREEZE, self.SUPERVISOR_KILL}


HANGS: Final = (Kind.DEADLOCK, Kind.GIL, Kind.SPIN)
#: how often each kind comes once each was there
WEIGHTS: Final = {
    Kind.KILL: 12,
    Kind.CRASH: 10,
    Kind.MEMORY: 3,
    Kind.RECYCLE: 3,
    Kind.FREEZE: 4,
    Kind.DEADLOCK: 1,
    Kind.GIL: 1,
    Kind.SPIN: 1,
    Kind.PAUSE: 1,
    Kind.STOP: 1,
    Kind.SUPERVISOR_FREEZE: 1,
    Kind.SUPERVISOR_KILL: 1,
}
#: seconds between two of them
PAUSE_S: Final = (0.3, 3.0)
#: ways of dying, as of `runtime.faults`
DEATHS: Final = ("raise", "kill", "segfault", "abort", "exit:1")
#: where: at any time, before and after a message is handled …
TICK: Final = "actor.tick"
POINTS: Final = (TICK, "actor.handle", "actor.handled")
#: … and where it hurts
SORE: Final = {
    "catalog": ("catalog.seen", "catalog.results", "writer.commit", "catalog.committed"),
    "index": ("index.applied",),
    "scheduler": ("scheduler.granted",),
    "embed": ("embed.begun", "embed.begun", "embed.done", "outbox.send", "outbox.answered"),
    "face": ("face.begun", "face.begun", "face.done", "outbox.send", "outbox.answered"),
    "caption": ("caption.begun", "caption.word", "caption.done", "outbox.send", "outbox.answered"),
    "decode": ("decode.begun", "decode.begun", "decode.begun", "outbox.send", "outbox.answered"),
}


class Disturbance(msgspec.Struct, frozen=True):
    after_s: float  #: since the one before
    kind: Kind
    victim: str  #: name of a process, "" for all of them
    act: str = ""  #: as of `runtime.faults`, for what a process does to itself
    point: str = TICK
    for_s: float = 0.0  #: how long it is frozen, or paused
    ends: bool = False  #: frozen: it is killed, and does not go on

    def __str__(self) -> str:
        at = "" if self.point == TICK else f" at {self.point}"
        words = {
            Kind.CRASH: f"{self.victim} dies by {self.act}{at}",
            Kind.MEMORY: f"{self.victim} runs out of memory",
            Kind.FREEZE: f"{self.victim} is frozen for {self.for_s:.1f} s"
            + (" and then killed" if self.ends else ""),
            Kind.DEADLOCK: f"{self.victim} deadlocks",
            Kind.PAUSE: f"the library is paused for {self.for_s:.1f} s",
            Kind.STOP: "the system is stopped in order",
            Kind.SUPERVISOR_FREEZE: f"the supervisor is frozen for {self.for_s:.1f} s",
            Kind.SUPERVISOR_KILL: "the supervisor is killed",
        }
        return words.get(self.kind, f"{self.victim} {_is(self.kind)}{self.kind.value}")


def _is(kind: Kind) -> str:
    return "is " if kind in {Kind.KILL, Kind.RECYCLE} else ""


def opening(rng: Random, names: Sequence[str]) -> list[Disturbance]:
    """Each kind but `STOP` once; *names* are those of the processes."""
    first = [Kind.KILL, Kind.SUPERVISOR_KILL, Kind.SUPERVISOR_FREEZE]
    meanwhile = [Kind.CRASH, Kind.MEMORY, Kind.RECYCLE, Kind.FREEZE, Kind.PAUSE]
    rng.shuffle(first)
    rng.shuffle(meanwhile)
    hanging = rng.sample(list(names), len(HANGS))
    others = [name for name in names if name not in hanging]
    found = [draw(rng, kind, names) for kind in first]
    found += [draw(rng, kind, [name]) for kind, name in zip(HANGS, hanging, strict=True)]
    return found + [draw(rng, kind, others) for kind in meanwhile]


def following(rng: Random, names: Sequence[str]) -> Iterator[Disturbance]:
    """One after the other, without an end."""
    kinds, weights = list(WEIGHTS), list(WEIGHTS.values())
    while True:
        yield draw(rng, rng.choices(kinds, weights)[0], names)


def draw(rng: Random, kind: Kind, names: Sequence[str]) -> Disturbance:
    """One of *kind*, on somebody among *names*."""
    after_s = rng.uniform(*PAUSE_S)
    victim = "" if kind.of_all or kind is Kind.PAUSE else rng.choice(names)
    match kind:
        case Kind.CRASH:
            # who is told nothing but ups and downs passes no other point
            points = POINTS + SORE.get(victim.partition(".")[0], ())
            point = TICK if victim == "ingest" else rng.choice(points)
            # an exception over a question is answered, and nobody dies of it
            act = rng.choice(DEATHS if point == TICK else DEATHS[1:])
            return Disturbance(after_s, kind, victim, act, point)
        case Kind.MEMORY:
            return Disturbance(after_s, kind, victim, "oom")
        case Kind.RECYCLE:
            return Disturbance(after_s, kind, victim, "exit:86")
        case Kind.FREEZE:
            for_s = rng.uniform(1, 8)
            return Disturbance(after_s, kind, victim, for_s=for_s, ends=rng.random() < 0.3)
        case Kind.DEADLOCK:
            return Disturbance(after_s, kind, victim, "deadlock")
        case Kind.GIL:
            return Disturbance(after_s, kind, victim, "gil")
        case Kind.SPIN:
            return Disturbance(after_s, kind, victim, "spin-gil")
        case Kind.PAUSE:
            return Disturbance(after_s, kind, victim, for_s=rng.uniform(1, 4))
        case Kind.SUPERVISOR_FREEZE:
            return Disturbance(after_s, kind, victim, for_s=rng.uniform(1, 12))
        case _:
            return Disturbance(after_s, kind, victim)
