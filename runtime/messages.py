"""What the runtime itself says: between a child and its supervisor."""

from typing import TypeAlias

import msgspec


class Control(msgspec.Struct, frozen=True, tag_field="t", omit_defaults=True):
    """Base of the runtime's own bodies."""


class Ok(Control, frozen=True, tag="rt.ok"):
    pass


class Hello(Control, frozen=True, tag="rt.hello"):
    """The child's first word; answered with an `Up` for each of its peers that is up."""

    pid: int


class Ready(Control, frozen=True, tag="rt.ready"):
    """The child can answer with what it has."""


class Progress(Control, frozen=True, tag="rt.progress"):
    """A start that takes long but moves: the startup deadline begins anew."""

    phase: str


class Drain(Control, frozen=True, tag="rt.drain"):
    """Finish what runs, keep nothing else, then exit 0."""

    budget_s: float


class Up(Control, frozen=True, tag="rt.up"):
    """Incarnation *incarnation* of *name* answers.  State: the latest one counts."""

    name: str
    incarnation: int


class Down(Control, frozen=True, tag="rt.down"):
    """Incarnation *incarnation* of *name* is no more.

    *executing* are the task ids its shared page showed at death; only those can have
    anything to do with it.  *innocent* are ids that earlier deaths, or this one, were wrongly
    charged to, each as often as it was: what is to blame is a process.
    """

    name: str
    incarnation: int
    exit: str
    crashed: bool
    executing: list[int]
    stderr_tail: str = ""
    exit_class: str = ""  #: of `exits.ExitClass`
    innocent: list[int] = []


class AskProcesses(Control, frozen=True, tag="rt.ask_processes"):
    """Answered `Processes` by the supervisor."""


class ProcessState(msgspec.Struct, frozen=True):
    name: str
    state: str
    pid: int
    incarnation: int
    restarts: int
    last_exit: str = ""
    life: str = ""  #: of `health.Life`; what *state* says in one word more
    why: str = ""  #: of a life in trouble


class Processes(Control, frozen=True, tag="rt.processes"):
    processes: list[ProcessState]


AnyControl: TypeAlias = Ok | Hello | Ready | Progress | Drain | Up | Down | AskProcesses | Processes
