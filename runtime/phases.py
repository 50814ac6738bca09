"""What an actor has in hand, and until when it will be over: its side of `health`.

    with self.phase("embed", ids):
        vectors = await anyio.to_thread.run_sync(run, batch)

Whoever names no budget gets one that is learned: eight times what the slowest one in a hundred
took, at least 5 s and at most 120 s, each name and magnitude of batch apart.  Eight, because a
machine that is busy for once must not cost a process, and a hang that is noticed half a minute
late costs little.  The slowest one in a hundred is a peak that decays by a hundredth with each
measurement, which needs one number instead of a hundred.

A long call that is legal says how it goes on: `phase.extend(30)`, up to `most_s` from its
beginning, since a livelock can extend for ever too.

Phases may overlap, in an actor that handles several messages at once.  The page then names the
one that must end first, and the ids of all of them.  Loop thread only.
"""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from runtime.page import Page

SECOND: Final = 1_000_000_000

LEAST_S = 5.0
MOST_S = 120.0
FACTOR = 8.0
DECAY = 0.01
#: an extended phase ends here
HARD_S = 600.0


class Budgets:
    """How long phases take, and how long they may."""

    def __init__(self) -> None:
        self._peaks: dict[tuple[str, int], float] = {}

    def of(self, name: str, size: int) -> float:
        """Seconds that phase *name* over *size* items may take."""
        peak = self._peaks.get((name, size.bit_length()))
        if peak is None:
            return MOST_S  # the first one may compile, page in, wake a device up
        return min(max(LEAST_S, FACTOR * peak), MOST_S)

    def took(self, name: str, size: int, seconds: float) -> None:
        key = (name, size.bit_length())
        peak = self._peaks.get(key, 0.0)
        self._peaks[key] = max(seconds, peak + DECAY * (seconds - peak))


class Phase:
    """One piece of work in hand; made by `Phases.phase`, good for one `with`."""

    __slots__ = ("_automatic", "_most_ns", "_phases", "deadline_ns", "ids", "name", "since_ns")

    def __init__(
        self, phases: "Phases", name: str, ids: list[int], budget_s: float | None, most_s: float
    ) -> None:
        self._phases = phases
        self._automatic = budget_s is None
        self._most_ns = int(most_s * SECOND)
        self.name = name
        self.ids = ids
        self.since_ns = 0
        seconds = phases.budgets.of(name, len(ids)) if budget_s is None else budget_s
        self.deadline_ns = min(int(seconds * SECOND), self._most_ns)  # from the beginning on

    def __enter__(self) -> Self:
        self.since_ns = time.monotonic_ns()
        self.deadline_ns += self.since_ns
        self._phases.open[self] = None
        self._phases.show(self.since_ns)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        now = time.monotonic_ns()
        del self._phases.open[self]
        if kind is None and self.ids and self._phases.page is not None:
            self._phases.page.finish(len(self.ids))
        if self._automatic and kind is None:
            self._phases.budgets.took(self.name, len(self.ids), (now - self.since_ns) / SECOND)
        self._phases.show(now)

    def extend(self, seconds: float) -> None:
        """It goes on: *seconds* from now, at most to the hard limit of the phase."""
        now = time.monotonic_ns()
        self._automatic = False  # what needed more is no measure of the usual
        until = min(now + int(seconds * SECOND), self.since_ns + self._most_ns)
        self.deadline_ns = max(self.deadline_ns, until)
        self._phases.show(now)


class Phases:
    """All that one actor has in hand."""

    def __init__(self) -> None:
        self.page: Page | None = None  #: nobody watches while there is none
        self.budgets = Budgets()
        self.open: dict[Phase, None] = {}

    def phase(
        self,
        name: str,
        ids: Sequence[int] = (),
        *,
        budget_s: float | None = None,
        most_s: float = HARD_S,
    ) -> Phase:
        """A phase to be entered.

        Args:
            name: up to 16 bytes show.
            ids: of the tasks in hand; they are charged when the process dies meanwhile.
            budget_s: seconds it may take; learned when not given.
            most_s: seconds it may be extended to, from its beginning.
        """
        return Phase(self, name, list(ids), budget_s, most_s)

    def show(self, now_ns: int) -> None:
        """Write what is in hand into the page."""
        if self.page is None:
            return
        if not self.open:
            self.page.write(now_ns, "idle", [])
            return
        phase = next(iter(self.open))
        ids = phase.ids
        if len(self.open) > 1:
            phase = min(self.open, key=lambda each: each.deadline_ns)
            ids = [id_ for each in self.open for id_ in each.ids]
        self.page.write(phase.since_ns, phase.name, ids, phase.deadline_ns)
