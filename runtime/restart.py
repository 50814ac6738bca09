"""When a dead child comes back, when its group gives up, and in which order all of it happens.

Pure policy: no clock, no I/O, no processes.  `supervision` feeds events and monotonic times
into `GroupCore.step` and carries out the effects it returns.

Words and meaning are Erlang/OTP's `supervisor`: restart types, the three strategies, restart
*intensity* within a *period* where a failed start counts like any other death.  Added, because
our children load models and meet broken photos:

- *backoff* with jitter before each restart, forgotten after a healthy time.  A backoff so
  slow that the intensity could never be reached would silently switch the limit off; such a
  configuration is refused (systemd accepts it, and units that carry it loop for ever);
- *isolation* (`on_limit=isolate`): a child at its limit is set aside, the rest works on, and
  it is tried again after a growing while (a circuit breaker: open, half-open, closed);
- exits that are nobody's fault are not counted: a planned recycle (86) once READY, a host that
  is away for a while (75), and deaths that the caller says belong to a photo.  Want of memory
  (71) may be among those, where it is the photo that decides how much is needed;
- a child that dies over whatever it is given, and finishes nothing, is to blame itself (`blame`):
  it is isolated after three such deaths, and the work it was excused with is told as innocent.
  So is the work of such a row whenever the child is isolated for another reason;
- two different children that lose the GPU (70) within a minute have not failed, the GPU has:
  both are isolated, whatever their own limits say;
- a configuration error (78) is never retried: it would fail the same way for ever.  It ends a
  tree that was not up yet, because somebody sits there and can mend it; later the child is
  left aside, like an isolated one, and the rest works on;
- a host on which nobody can work (74: the disk is full) ends the tree at any time.

    state      event            next       effect
    ─────────  ───────────────  ─────────  ──────────────────────────────────────────────
    idle       Start            starting   Spawn
    starting   Ready            ready      –
    starting   Exited           waiting    Wake after backoff   (counted)
    ready      Exited, wanted   waiting    Wake after backoff   (counted unless excused)
    ready      Exited, unwanted finished   –        (transient after 0, temporary always)
    any        Exited(78)       broken     Escalate; SetAside where isolated and the tree was up
    any        Exited(74)       broken     Escalate
    ready      Exited(86)       waiting    Wake at once         (not counted)
    any        Exited(75)       waiting    Wake after backoff   (not counted)
    any        Exited(70), 2nd  isolated   both: Terminate who runs, Isolated, Wake
    waiting    Due              starting   Spawn
    any        Exited, to blame isolated   Isolated, with who is innocent; Wake  (see `blame`)
    any        limit reached    –          Escalate
    any        limit, isolate   isolated   Wake after 5 min, 10 min … 1 h
    isolated   Due              starting   Spawn   (half-open: one death isolates again)
    any        Stop             stopping   Terminate, rightmost first; Stopped after the last

one_for_all and rest_for_one put the siblings concerned through `stopping` (rightmost first)
before any of them is spawned again.  Each Wake has a number that its Due brings back; a Due
that was overtaken by another decision does nothing.
"""

import random
from collections import deque
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import TypeAlias

import msgspec

from runtime.blame import DEATHS, Blame
from runtime.errors import SpecInvalid

EXIT_OK = 0
EXIT_STICKY_GPU = 70
EXIT_NO_MEMORY = 71
EXIT_HOST = 74
EXIT_TEMPORARY = 75
EXIT_CONFIG = 78
EXIT_RECYCLE = 86


class RestartType(StrEnum):
    PERMANENT = "permanent"  # always comes back
    TRANSIENT = "transient"  # comes back after a crash, not after a clean exit
    TEMPORARY = "temporary"  # never comes back

    def wants_restart(self, *, crashed: bool) -> bool:
        return self is self.PERMANENT or (self is self.TRANSIENT and crashed)


class Strategy(StrEnum):
    ONE_FOR_ONE = "one_for_one"
    ONE_FOR_ALL = "one_for_all"
    REST_FOR_ONE = "rest_for_one"


class OnLimit(StrEnum):
    ESCALATE = "escalate"
    ISOLATE = "isolate"


class Backoff(msgspec.Struct, frozen=True):
    """Delay before the n-th restart in a row: base · 2ⁿ, capped, times a jitter of ±20 %."""

    base_s: float = 0.25
    cap_s: float = 30.0
    jitter: float = 0.2
    healthy_s: float = 60.0  #: time in READY after which the row begins anew

    def delay(self, restarts: int, rng: random.Random) -> float:
        plain = min(self.cap_s, self.base_s * 2.0 ** min(restarts, 60))
        return plain * rng.uniform(1 - self.jitter, 1 + self.jitter)


class Intensity(msgspec.Struct, frozen=True):
    """At most *limit* restarts within any *period_s* seconds."""

    limit: int = 5
    period_s: float = 60.0


class Breaker(msgspec.Struct, frozen=True):
    """How long an isolated child is left alone: first_s, doubling up to most_s."""

    first_s: float = 300.0
    most_s: float = 3600.0


class Policy(msgspec.Struct, frozen=True):
    """What the core needs to know of one child."""

    name: str
    restart: RestartType = RestartType.PERMANENT
    significant: bool = False  #: its own end can end the group, see `AutoShutdown`
    on_limit: OnLimit = OnLimit.ESCALATE


class AutoShutdown(StrEnum):
    NEVER = "never"
    ANY = "any_significant"
    ALL = "all_significant"


# ── events ──────────────────────────────────────────────────────────────────────────────────


class Start(msgspec.Struct, frozen=True):
    pass


class Ready(msgspec.Struct, frozen=True):
    name: str


class Exited(msgspec.Struct, frozen=True):
    """A child or a group is gone.

    *excused*: somebody else is to blame, a photo for example; not counted.
    *first*: the tree has not been up as a whole since it was started.  *reason*: what it said.
    *charged*: tasks this death is charged to.  *finished*: this incarnation did finish a task.
    """

    name: str
    code: int
    excused: bool = False
    first: bool = False
    reason: str = ""
    charged: Sequence[int] = ()
    finished: bool = False


class Due(msgspec.Struct, frozen=True):
    """*turn* as in the `Wake`; 0 stands for any."""

    name: str
    turn: int = 0


class Stop(msgspec.Struct, frozen=True):
    pass


Event: TypeAlias = Start | Ready | Exited | Due | Stop

# ── effects ─────────────────────────────────────────────────────────────────────────────────


class Spawn(msgspec.Struct, frozen=True):
    name: str


class Terminate(msgspec.Struct, frozen=True):
    name: str


class Wake(msgspec.Struct, frozen=True):
    """Feed `Due(name, turn)` in after *after_s* seconds."""

    name: str
    after_s: float
    turn: int = 0


class Isolated(msgspec.Struct, frozen=True):
    """*innocent*: what its deaths were charged to, each as often as it was."""

    name: str
    for_s: float
    reason: str = ""
    innocent: Sequence[int] = ()


class SetAside(msgspec.Struct, frozen=True):
    """It cannot work as it is configured, and is left alone until the next start."""

    name: str
    reason: str


class Escalate(msgspec.Struct, frozen=True):
    """The group cannot go on: stop it, and let its own supervisor decide."""

    reason: str
    code: int = 1


class Stopped(msgspec.Struct, frozen=True):
    """Nothing of the group runs any more."""


Effect: TypeAlias = Spawn | Terminate | Wake | Isolated | SetAside | Escalate | Stopped


class State(StrEnum):
    IDLE = "idle"
    STARTING = "starting"
    READY = "ready"
    WAITING = "waiting"
    ISOLATED = "isolated"
    STOPPING = "stopping"
    FINISHED = "finished"
    BROKEN = "broken"

    @property
    def runs(self) -> bool:
        return self in {State.STARTING, State.READY, State.STOPPING}


#: two children that lose the GPU within this time have one reason
GPU_WINDOW_S = 60.0


class _Child:
    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.state = State.IDLE
        self.row = 0  #: restarts since the child was last healthy
        self.ready_at: float | None = None
        self.isolations = 0
        self.isolate = ""  #: why it will be isolated once it is gone
        self.turn = 0  #: of the last Wake
        self.blame = Blame()
        self.deaths: deque[float] = deque()  #: counted ones, oldest first


class GroupCore:
    """One supervisor's decisions.  See the table at the head of the module.

    Raises:
        SpecInvalid: names clash, a permanent child is significant, or the backoff is so slow
            that the intensity can never be reached.
    """

    def __init__(
        self,
        policies: Sequence[Policy],
        *,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        intensity: Intensity = Intensity(),  # noqa: B008 - frozen
        backoff: Backoff = Backoff(),  # noqa: B008 - frozen
        breaker: Breaker = Breaker(),  # noqa: B008 - frozen
        auto_shutdown: AutoShutdown = AutoShutdown.NEVER,
        rng: random.Random | None = None,
    ) -> None:
        names = [each.name for each in policies]
        if len(set(names)) < len(names):
            raise SpecInvalid(f"two children share a name: {names}")
        for each in policies:
            if each.significant and each.restart is RestartType.PERMANENT:
                raise SpecInvalid(f"{each.name} is permanent: it never ends by itself")
        slowest = sum(
            min(backoff.cap_s, backoff.base_s * 2.0 ** min(n, 60)) * (1 + backoff.jitter)
            for n in range(intensity.limit + 1)
        )
        if slowest >= intensity.period_s:
            raise SpecInvalid(
                f"backoff takes {slowest:.0f} s for {intensity.limit + 1} restarts, so the limit "
                f"of {intensity.limit} in {intensity.period_s:g} s could never be reached"
            )
        self._children = {each.name: _Child(each) for each in policies}
        self._strategy = strategy
        self._intensity = intensity
        self._backoff = backoff
        self._breaker = breaker
        self._auto_shutdown = auto_shutdown
        self._rng = rng or random.Random()
        self._deaths: deque[float] = deque()  #: counted restarts of the whole group
        self._gpu_lost: dict[str, float] = {}  #: when each child last exited with 70
        self._stopping = False
        self._restarting: list[str] = []  #: spawned in this order once their siblings are gone

    def state(self, name: str) -> State:
        return self._children[name].state

    @property
    def running(self) -> list[str]:
        return [name for name, child in self._children.items() if child.state.runs]

    def step(self, event: Event, now: float) -> list[Effect]:
        """What to do about *event* at monotonic time *now*, in this order."""
        match event:
            case Start():
                return [self._spawn(name) for name in self._children]
            case Ready(name):
                child = self._children[name]
                if child.state is State.STARTING:
                    child.state, child.ready_at = State.READY, now
                return []
            case Due(name, turn):
                child = self._children[name]
                waiting = child.state in {State.WAITING, State.ISOLATED}
                waiting = waiting and turn in {0, child.turn} and not self._stopping
                return [self._spawn(name)] if waiting else []
            case Stop():
                return self._stop()
            case Exited():
                return self._exited(event, now)

    def _spawn(self, name: str) -> Spawn:
        child = self._children[name]
        child.state, child.ready_at = State.STARTING, None
        return Spawn(name)

    def _stop(self) -> list[Effect]:
        self._stopping = True
        self._restarting = []
        for child in self._children.values():
            if not child.state.runs:
                child.state = State.FINISHED
        return self._go_on_stopping()

    def _go_on_stopping(self) -> list[Effect]:
        """Stop the next one; a sibling that was being restarted may be on its way out already."""
        if more := self._terminate_rightmost(self._children):
            return more
        return [] if self.running else [Stopped()]

    def _terminate_rightmost(self, names: Iterable[str]) -> list[Effect]:
        """Stop one of *names*, the last started; the next one follows its exit."""
        for name in reversed(list(names)):
            child = self._children[name]
            if child.state is State.STOPPING:
                return []
            if child.state.runs:
                child.state = State.STOPPING
                return [Terminate(name)]
        return []

    def _exited(self, event: Exited, now: float) -> list[Effect]:
        child = self._children[event.name]
        asked = child.state is State.STOPPING
        broken = child.blame.died(event.charged, finished=event.finished)
        if self._stopping:
            child.state = State.FINISHED
            return self._go_on_stopping()
        if child.isolate:
            return [*self._isolate(child, child.isolate), *self._go_on_restarting()]
        if asked:
            child.state = State.IDLE
            return self._go_on_restarting()
        if event.code in {EXIT_CONFIG, EXIT_HOST}:
            child.state = State.BROKEN
            all_end = event.first or event.code == EXIT_HOST
            if all_end or child.policy.on_limit is OnLimit.ESCALATE:
                return [Escalate(event.reason or f"{event.name} cannot work", event.code)]
            return [SetAside(event.name, event.reason)]
        if not child.policy.restart.wants_restart(crashed=event.code != EXIT_OK):
            child.state = State.FINISHED
            return self._shut_down_with(event.name)
        return self._restart(child, event, now, broken=broken)

    def _restart(self, child: _Child, event: Exited, now: float, *, broken: bool) -> list[Effect]:
        name = child.policy.name
        starting = child.state is State.STARTING
        planned = event.code == EXIT_RECYCLE and not starting
        away = event.code == EXIT_TEMPORARY
        stayed = child.ready_at is not None and now - child.ready_at >= self._backoff.healthy_s
        if stayed and (event.finished or not event.charged):  # a hang over a task is no health
            child.row = child.isolations = 0
        child.state = State.IDLE
        if event.code == EXIT_STICKY_GPU:
            self._gpu_lost[name] = now
            lost = [each for each, at in self._gpu_lost.items() if now - at <= GPU_WINDOW_S]
            if len(lost) > 1:
                return self._isolate_all(lost)
        if broken:
            if child.policy.on_limit is OnLimit.ISOLATE:
                return self._isolate(child, f"{name} died {DEATHS} times in a row over any work")
            child.blame.acquit()  # its limit is another one
        if not (planned or away or event.excused):
            if child.isolations > 0 and starting:  # half-open, and no better
                return self._isolate(child, event.reason)
            deaths = child.deaths if child.policy.on_limit is OnLimit.ISOLATE else self._deaths
            deaths.append(now)
            while deaths[0] < now - self._intensity.period_s:
                deaths.popleft()
            if len(deaths) > self._intensity.limit:
                return self._at_limit(child, event.reason)
        delay = 0.0 if planned else self._backoff.delay(child.row, self._rng)
        child.row += not (planned or event.excused)  # a bad photo must not slow down good ones
        siblings = self._concerned(name)
        if not siblings:
            return [self._wake(child, delay)]
        self._restarting = [name, *siblings]
        for sibling in siblings:
            if self._children[sibling].state is State.WAITING:
                self._children[sibling].state = State.IDLE
        return self._terminate_rightmost(siblings) or self._go_on_restarting()

    def _concerned(self, name: str) -> list[str]:
        """Which siblings are restarted along with *name*, in start order."""
        names = list(self._children)
        if self._strategy is Strategy.ONE_FOR_ONE:
            return []
        if self._strategy is Strategy.REST_FOR_ONE:
            names = names[names.index(name) + 1 :]
        return [
            each
            for each in names
            if each != name
            and self._children[each].state not in {State.FINISHED, State.BROKEN, State.ISOLATED}
        ]

    def _go_on_restarting(self) -> list[Effect]:
        """Stop the next of the siblings concerned, or start them all, leftmost first."""
        if more := self._terminate_rightmost(self._restarting):
            return more
        if any(self._children[each].state.runs for each in self._restarting):
            return []
        # whoever was set aside or finished meanwhile is not among them any more
        order = [
            child
            for name, child in self._children.items()
            if name in self._restarting and child.state is State.IDLE
        ]
        row = max((child.row for child in order), default=0)
        delay = self._backoff.delay(max(row - 1, 0), self._rng)  # one for all: start order holds
        self._restarting = []
        effects: list[Effect] = []
        for child in order:
            if child.policy.restart is RestartType.TEMPORARY:
                child.state = State.FINISHED  # never restarted, not even as a bystander
            else:
                effects.append(self._wake(child, delay))
        return effects

    def _wake(self, child: _Child, after_s: float) -> Wake:
        if child.state is not State.ISOLATED:
            child.state = State.WAITING
        child.turn += 1
        return Wake(child.policy.name, after_s, child.turn)

    def _at_limit(self, child: _Child, reason: str) -> list[Effect]:
        name, limit, period = child.policy.name, self._intensity.limit, self._intensity.period_s
        reason = reason or f"{name} died more than {limit} times in {period:g} s"
        if child.policy.on_limit is OnLimit.ISOLATE:
            return self._isolate(child, reason)
        child.state = State.BROKEN
        return [Escalate(reason)]

    def _isolate(self, child: _Child, reason: str) -> list[Effect]:
        """Leave a child that is gone alone for a while, longer each time."""
        for_s = min(self._breaker.first_s * 2.0 ** min(child.isolations, 60), self._breaker.most_s)
        child.isolations += 1
        child.deaths.clear()
        child.row = 0
        child.isolate = ""
        child.state = State.ISOLATED
        isolated = Isolated(child.policy.name, for_s, reason, child.blame.acquit())
        return [isolated, self._wake(child, for_s)]

    def _isolate_all(self, names: list[str]) -> list[Effect]:
        reason = f"the GPU was lost by {' and '.join(names)}"
        effects: list[Effect] = []
        for name in names:
            self._gpu_lost.pop(name)
            child = self._children[name]
            if child.state in {State.FINISHED, State.BROKEN, State.ISOLATED}:
                continue
            if not child.state.runs:
                effects += self._isolate(child, reason)
                continue
            child.isolate = reason
            if child.state is not State.STOPPING:
                child.state = State.STOPPING
                effects.append(Terminate(name))
        return [*effects, *self._go_on_restarting()]

    def _shut_down_with(self, name: str) -> list[Effect]:
        significant = [c for c in self._children.values() if c.policy.significant]
        if not self._children[name].policy.significant:
            return []
        over = self._auto_shutdown is AutoShutdown.ANY or (
            self._auto_shutdown is AutoShutdown.ALL
            and all(child.state is State.FINISHED for child in significant)
        )
        return self._stop() if over else []
