"""Who is to blame for a death over work: the work, or the process.

A process that dies with tasks in hand is excused, and the tasks are charged: parsers die of bad
input, and that is what they are processes for.  But a process that is broken would so have
every task there is charged, three deaths each, while it looks innocent itself.  So deaths are
looked at in a row:

- an incarnation that finished a task can work.  Its death ends the row and is not part of it;
- `DEATHS` incarnations in a row that died over tasks and finished none: if one task was in hand
  each time, it is that task, and the row begins anew; if there was none, it is the process, and
  what was charged in the row is taken back.

Three deaths are also what it takes to give a task up, so a task that is alone in the world
cannot be told from a process that is broken: it is the task that goes, since one task is the
smaller loss and can be tried again.  Two bad tasks that are alone in the world look like a
broken process.  Whoever hands the work out can do better if it has work that is known to be
good, and gives that first to the next incarnation: a good process finishes it, so that no row
begins, and a broken one dies over it, which costs nobody anything.  Such work goes by the id
`PROOF`.

Prior art: Dask charges every task a dead worker was assigned, and had to raise the allowed
number for it; a circuit breaker (Nygard) counts failures of the callee and knows no culprit
among the calls.  Rejected: to blame the process after one death over work that is known to be
good, because a process may also be killed from outside.
"""

from collections.abc import Sequence

#: deaths in a row that are a verdict
DEATHS = 3
#: id of work that cannot be to blame
PROOF = 0


class Blame:
    """What the last incarnations of one process died over."""

    def __init__(self) -> None:
        self._row: list[Sequence[int]] = []

    def died(self, charged: Sequence[int], *, finished: bool) -> bool:
        """An incarnation ended; is the process to blame?

        Args:
            charged: tasks in hand, none when it ended as it wanted to.
            finished: did this incarnation finish a task?
        """
        if finished:
            self._row.clear()
            return False
        if not charged:
            return False
        self._row.append(charged)
        if len(self._row) < DEATHS:
            return False
        if set(self._row[0]).intersection(*self._row[1:]) - {PROOF}:
            self._row.clear()
            return False
        return True

    def acquit(self) -> list[int]:
        """What was charged in the row, each as often as it was; the row begins anew."""
        innocent = [each for charged in self._row for each in charged if each != PROOF]
        self._row.clear()
        return innocent
