"""Is a child alive, well, busy, or hung?  Pure: observations and times in, effects out.

No single sign tells a hang from hard work.  A thread that ticks looks healthy in a deadlock
and dead under a native call that keeps the GIL; a loop that does not tick may be in a long
call that is perfectly legal; a process that burns its processor may get nowhere, and one that
does not may wait for its device.  So *silence alone never kills*.  What kills is a promise not
kept: a child that takes work in hand names the phase and until when it will be over
(`phases`), and only a phase that is past its deadline without having changed is a hang.  Who
names no phase promises to let its loop run.

Five signs, all looked at from outside:

    echo     a loop in C answers on a socket; needs no GIL, so it says that the process can run
    thread   a tick written by a Python thread; old when somebody keeps the GIL
    loop     a tick written by the event loop; old when the loop is blocked
    phase    what is in hand, since when, until when
    kernel   the state letter and the processor time in /proc/<pid>/stat

    stage     what is seen                                 state     what is done
    ────────  ───────────────────────────────────────────  ────────  ──────────────────────────────
    any       kernel says stopped (T, t)                   stopped   tell; its time stands still
    starting  within the startup limit                     loading   Progress moves the limit,
                                                                     up to the cap
    starting  … it waits for a processor                   loading   its time stands still
    starting  limit or cap passed                          suspect   dump; kill after `grace_s`
    ready     a phase before its deadline                  busy      nothing, whatever is silent
    ready     deadline passed, thread ticks                suspect   dump; kill after `grace_s`
    ready     deadline passed, no tick, echo, no CPU       suspect   dump; kill after `grace_s`
    ready     deadline passed, no tick, echo, CPU moves    suspect   dump; kill after half the
                                                                     phase's time again
    ready     no phase, loop silent for `loop_stale_s`     suspect   dump; kill after `loop_kill_s`
    ready     one of the last three, no tick, no echo      stuck     tell; its time stands still
    suspect   the phase changed, the loop ticks again      ready     –
    draining  anything                                     draining  the ladder has its own limits
    any       the observer itself came late                as it was no verdict; every limit moves
                                                                     by the delay

*Stuck* is a process that cannot run: frozen from outside, or waiting for a disk or a network
file system that does not answer.  Killing it would free nothing, since a process in
uninterruptible sleep does not die, and its photo is not to blame.

Each look is a step; between two of them time counts only if the child could have used it.
The sum of what does not count is subtracted from every clock reading, so that a machine that
sleeps for a night, a supervisor that stands still for half a minute, a child that was stopped
with SIGSTOP and one that loads its model at the lowest priority beside a busy program find
every limit where they left it.

Prior art: systemd's WATCHDOG and EXTEND_TIMEOUT, Kubernetes' three probes, ipykernel's echo
thread.  Rejected: killing on missed heartbeats (Dask's workers die of calls that keep the GIL,
others died of the machine's hibernation), and heartbeats as messages, which queue up behind
data and arrive by the thousand.

Not known here: whether a phase is slow because the machine is: it may compute on threads that
are not looked at one by one.  Its budget must carry that; `phases.Budgets` learns it.  A
spinning wait for a GPU counts as moving; it gets half again.
"""

from enum import Enum, StrEnum
from typing import TypeAlias

import msgspec

from runtime.page import Glance, Stage

NS = 1e-9


class Life(StrEnum):
    """What a process is doing, as its supervisor sees it."""

    SPAWNING = "spawning"
    LOADING = "loading"
    WARMING = "warming"
    READY = "ready"
    BUSY = "busy"
    DRAINING = "draining"
    STOPPED = "stopped"
    STUCK = "stuck"
    SUSPECT = "suspect"
    KILLING = "killing"
    EXITED = "exited"

    @property
    def troubled(self) -> bool:
        """Not able to answer now, although its process is there."""
        return self in {self.STOPPED, self.STUCK, self.SUSPECT, self.KILLING}


_STARTING: dict[int, Life] = {
    Stage.SPAWNED: Life.SPAWNING,
    Stage.LOADING: Life.LOADING,
    Stage.WARMING: Life.WARMING,
}


class Limits(msgspec.Struct, frozen=True):
    """Seconds after which something is thought of a child."""

    interval_s: float = 0.5  #: between two looks
    thread_stale_s: float = 2.5  #: five ticks
    loop_stale_s: float = 10.0
    loop_kill_s: float = 30.0
    grace_s: float = 2.0  #: between the dump and the kill
    echo_s: float = 2.0
    startup_cap_s: float = 600.0  #: from birth to READY, whatever progress is reported
    #: for work in hand without a deadline of its own: half again what a phase may take at most
    unnamed_s: float = 180.0
    moving: float = 0.02  #: share of one processor above which a process computes


class Observation(msgspec.Struct, frozen=True, gc=False):
    """One look at one child."""

    page: Glance
    ready: bool  #: it said READY to its supervisor
    draining: bool  #: it was asked to stop
    kernel: str  #: letter of /proc/<pid>/stat: R S D T t Z …
    cpu_s: float  #: user and system time of all its threads so far
    echoes: int = 0  #: answers of its C loop so far
    waited_s: float = 0.0  #: that its main thread could have run and had no processor, so far


# ── effects ─────────────────────────────────────────────────────────────────────────────────


class Changed(msgspec.Struct, frozen=True):
    """Its state is another one than at the last look."""

    life: Life
    why: str = ""


class AskEcho(msgspec.Struct, frozen=True):
    """Say something to the C loop, and count what comes back in `Observation.echoes`."""


class Dump(msgspec.Struct, frozen=True):
    """Let it write the stacks of all its threads to stderr."""


class Kill(msgspec.Struct, frozen=True):
    why: str
    starting: bool = False


Effect: TypeAlias = Changed | AskEcho | Dump | Kill


class _Echo(Enum):
    UNASKED = "nobody has asked"
    AWAITED = "there is still time to answer"
    HEARD = "it came back"
    MISSING = "it did not"


class _Suspicion(msgspec.Struct):
    cause: tuple[str, int]  #: what it is, and which one: a new phase is a new suspicion
    kill_at: float
    why: str


class Health:
    """One incarnation, from its birth on.  See the table at the head of the module.

    Args:
        born: monotonic seconds.
        startup_s: from birth or from the last `progress` to READY.
    """

    def __init__(self, born: float, startup_s: float, limits: Limits = Limits()) -> None:  # noqa: B008 - frozen
        self.life = Life.SPAWNING
        self.why = ""
        self._limits = limits
        self._startup_s = startup_s
        self._startup_until = born + startup_s
        self._startup_cap = born + max(limits.startup_cap_s, startup_s)
        self._now = born  # of the last look
        self._lost = 0.0  #: seconds that did not count
        self._thread_ns = self._loop_ns = 0
        self._thread_at = self._loop_at = born  # when the ticks were last seen to move
        self._cpu_s = self._cpu_at_tick = self._waited_s = 0.0
        self._phase = -1  #: sequence of the page
        self._phase_until = self._phase_s = 0.0
        self._asked_at: float | None = None
        self._echoes = 0
        self._suspicion: _Suspicion | None = None

    def progress(self, now: float) -> None:
        """The start moves: its limit begins anew, up to the cap."""
        self._startup_until = now - self._lost + self._startup_s

    def step(self, seen: Observation, now: float) -> list[Effect]:
        """What to think and to do after a look at monotonic time *now*."""
        passed, self._now = now - self._now, now
        late = passed - self._limits.interval_s
        overslept = late > 2 * self._limits.interval_s
        stopped = seen.kernel in {"T", "t"}
        # what began since the last look may have begun before the delay: its limit moves too
        lost = self._lost
        if overslept:
            self._lost += late
        elif stopped or (self.life is Life.STUCK and self._silent(seen)):
            self._lost += passed
        elif not seen.ready:
            self._lost += min(seen.waited_s - self._waited_s, passed)
        self._waited_s = seen.waited_s
        time = now - self._lost
        self._note(seen, time, lost)
        if self.life is Life.KILLING or overslept:
            return []
        if seen.draining:
            return self._become(Life.DRAINING)
        if stopped:
            return self._become(Life.STOPPED, "stopped by a signal")
        if self.life is Life.STUCK and self._lost > lost:
            return []
        return self._judge(seen, time)

    def _silent(self, seen: Observation) -> bool:
        """Not one sign of life since the last look."""
        ticks = (self._thread_ns, self._loop_ns, self._echoes)
        moved = seen.cpu_s > self._cpu_s
        return not moved and ticks == (seen.page.thread_ns, seen.page.loop_ns, seen.echoes)

    def _note(self, seen: Observation, time: float, lost: float) -> None:
        page = seen.page
        self._cpu_s = seen.cpu_s
        if page.thread_ns != self._thread_ns:
            self._thread_ns, self._thread_at, self._cpu_at_tick = page.thread_ns, time, seen.cpu_s
            self._asked_at = None
        # who begins or ends a phase is not blocked; before READY nobody promised to let it run
        moved = (page.loop_ns, page.sequence) != (self._loop_ns, self._phase)
        if moved or not seen.ready:
            self._loop_ns, self._loop_at = page.loop_ns, time
        if page.sequence != self._phase:
            self._phase = page.sequence
            since = page.since_ns * NS
            until = page.deadline_ns * NS if page.deadline_ns else since + self._limits.unnamed_s
            self._phase_until, self._phase_s = until - lost, until - since

    def _judge(self, seen: Observation, time: float) -> list[Effect]:
        cause = self._cause(seen, time)
        if cause is None:
            self._suspicion = None
            return self._become(_well(seen))
        if self._suspicion is None or self._suspicion.cause != cause:
            return self._suspect(seen, cause, time)
        why = self._suspicion.why
        if time < self._suspicion.kill_at:
            return self._become(Life.SUSPECT, why)
        return [*self._become(Life.KILLING, why), Kill(why, starting=not seen.ready)]

    def _cause(self, seen: Observation, time: float) -> tuple[str, int] | None:
        """What there is to suspect, None when all is well."""
        if not seen.ready:
            over = time >= min(self._startup_until, self._startup_cap)
            return ("start", 0) if over else None
        if _busy(seen.page):
            return ("phase", seen.page.sequence) if time >= self._phase_until else None
        silent = time - self._loop_at >= self._limits.loop_stale_s
        return ("loop", self._loop_ns) if silent else None

    def _suspect(self, seen: Observation, cause: tuple[str, int], time: float) -> list[Effect]:
        """A new suspicion, if the process can run at all."""
        limits, kind = self._limits, cause[0]
        silent_s = time - self._thread_at
        native = silent_s >= limits.thread_stale_s
        moving = seen.cpu_s - self._cpu_at_tick > limits.moving * silent_s
        if kind != "start" and native and not moving:
            match self._echo(seen, time):
                case _Echo.UNASKED:
                    self._asked_at, self._echoes = time, seen.echoes
                    return [AskEcho()]
                case _Echo.AWAITED:
                    return []
                case _Echo.MISSING:
                    self._lost += silent_s  # since its last sign of life
                    self._suspicion = self._asked_at = None
                    return self._become(Life.STUCK, f"cannot run (kernel state {seen.kernel})")
        how = "keeps the GIL" if native else "gets nowhere"
        match kind:
            case "start":
                grace_s = limits.grace_s
                why = f"was not ready within {self._startup_s:g} s"
            case "phase":
                grace_s = self._phase_s / 2 if native and moving else limits.grace_s
                why = f"{how}, {self._phase_s:.3g} s were given"
            case _:
                grace_s = max(limits.loop_kill_s - (time - self._loop_at), limits.grace_s)
                why = f"{how}, its loop is blocked"
        self._suspicion = _Suspicion(cause, time + grace_s, why)
        # before LOADING there is no handler, and the signal would kill
        dump = [Dump()] if seen.page.stage > Stage.SPAWNED else []
        return [*self._become(Life.SUSPECT, why), *dump]

    def _echo(self, seen: Observation, time: float) -> _Echo:
        if self._asked_at is None:
            return _Echo.UNASKED
        if seen.echoes > self._echoes:
            return _Echo.HEARD
        return _Echo.AWAITED if time - self._asked_at < self._limits.echo_s else _Echo.MISSING

    def _become(self, life: Life, why: str = "") -> list[Effect]:
        if life is self.life:
            return []
        self.life, self.why = life, why
        return [Changed(life, why)]


def _busy(page: Glance) -> bool:
    return page.count > 0 or page.deadline_ns > 0


def _well(seen: Observation) -> Life:
    if not seen.ready:
        return _STARTING.get(seen.page.stage, Life.LOADING)
    return Life.BUSY if _busy(seen.page) else Life.READY
