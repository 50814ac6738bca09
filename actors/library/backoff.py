"""When a failed task may be tried again.  Pure: no clock, no randomness."""

from typing import Final

SECOND: Final = 1_000_000_000
SHORTEST_NS: Final = 1 * SECOND
LONGEST_NS: Final = 300 * SECOND
#: Each wait is this much longer than the one before: 1, 4, 16, 64, 256, 300, 300, … seconds.
GROWTH: Final = 4
#: How long a task waits when its host is away; not charged, so always the same.
HOST_AWAY_NS: Final = 30 * SECOND


def wait_ns(task: int, attempts: int) -> int:
    """Nanoseconds until try number *attempts* + 1 of *task*; *attempts* counts from 1.

    Jitter of ±20 % keeps tasks that failed together from coming back together.  It is taken from
    the task's id by a multiplicative hash (Knuth's 2654435761 = 2**32 / φ), so that a replayed
    history gives the same times.
    """
    # Beyond 5 the power only grows past the limit.
    exponential = min(LONGEST_NS, SHORTEST_NS * GROWTH ** min(attempts - 1, 5))
    fraction = (task + attempts) * 2_654_435_761 % 2**32 / 2**32
    return int(exponential * (0.8 + 0.4 * fraction))
