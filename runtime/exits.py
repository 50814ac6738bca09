"""Why a process ended, and what follows from it.

    exit                             class       restart          work in hand
    ───────────────────────────────  ──────────  ───────────────  ──────────────────
    0                                normal      by its type      –
    86                               recycle     at once          –
    75                               temporary   after backoff    not to blame
    74, 78                           host        see `restart`    not to blame
    70                               gpu         counted; a second child within a minute
                                                 isolates both    to blame
    71, SIGKILL by the kernel        oom         counted          to blame
    SEGV ABRT BUS ILL FPE            native      counted          to blame
    killed by us: a hang             hung        counted          to blame
    killed by us: never ready        slow_start  counted          –
    killed by us: did not stop       stopped     by its group     not to blame
    any other signal                 signal      counted          to blame
    anything else                    abnormal    counted          to blame

The numbers are those of sysexits.h where it has one.  70 is what a process says of itself when
its GPU context is lost: every later call would fail too, while the process looks alive.  71 is
a `MemoryError` that nobody caught; a kill by the kernel is told from any other by the count of
such kills (`vitals.OomWatch`).

*To blame* means that tasks in hand at death are charged; a caller may still excuse the child
(`Supervisor`'s *excuse*), as for a process whose purpose it is to die over bad input.
"""

import signal
from enum import StrEnum

from runtime.restart import (
    EXIT_CONFIG,
    EXIT_HOST,
    EXIT_NO_MEMORY,
    EXIT_OK,
    EXIT_RECYCLE,
    EXIT_STICKY_GPU,
    EXIT_TEMPORARY,
)

NATIVE = {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE}


class ExitClass(StrEnum):
    NORMAL = "normal"
    RECYCLE = "recycle"
    TEMPORARY = "temporary"
    CONFIG = "config"
    HOST = "host"
    GPU = "gpu"
    OOM = "oom"
    NATIVE = "native"
    HUNG = "hung"
    SLOW_START = "slow_start"
    STOPPED = "stopped"
    SIGNAL = "signal"
    ABNORMAL = "abnormal"

    @property
    def crashed(self) -> bool:
        """Did it end otherwise than it wanted to?  Then what it had in hand is charged."""
        cls = type(self)
        wanted = {cls.NORMAL, cls.RECYCLE, cls.TEMPORARY, cls.CONFIG, cls.HOST, cls.STOPPED}
        return self not in wanted


_BY_CODE = {
    EXIT_OK: ExitClass.NORMAL,
    EXIT_RECYCLE: ExitClass.RECYCLE,
    EXIT_TEMPORARY: ExitClass.TEMPORARY,
    EXIT_CONFIG: ExitClass.CONFIG,
    EXIT_HOST: ExitClass.HOST,
    EXIT_STICKY_GPU: ExitClass.GPU,
    EXIT_NO_MEMORY: ExitClass.OOM,
}


def classify(code: int, *, killed_for: ExitClass | None = None, oom: bool = False) -> ExitClass:
    """The class of an end.

    Args:
        code: return code as of `Popen`: negative for a signal.
        killed_for: why the supervisor killed it, if it did.
        oom: the kernel killed somebody for want of memory just then.
    """
    if code >= 0:
        return _BY_CODE.get(code, ExitClass.ABNORMAL)
    if killed_for is not None and -code in {signal.SIGTERM, signal.SIGKILL}:
        return killed_for
    if -code in NATIVE:
        return ExitClass.NATIVE
    return ExitClass.OOM if oom and -code == signal.SIGKILL else ExitClass.SIGNAL
