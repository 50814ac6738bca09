"""Verdicts over children that are played: what kills, what does not, and when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.health import AskEcho, Changed, Dump, Health, Kill, Life, Observation
from runtime.page import Glance, Stage

STEP = 0.5
HOUR = 3600.0


class Child:
    """A child as seen from outside, and what is thought of it.

    `thread`, `loop`, `echo` and `cpu` say what it still does; time passes in `run`.
    """

    def __init__(self, *, ready=True, startup_s=120.0):
        self.now = 1000.0
        self.health = Health(self.now, startup_s)
        self.ready = ready
        self.draining = False
        self.stage = Stage.READY if ready else Stage.LOADING
        self.kernel = "S"
        self.thread = self.loop = self.echo = True
        self.cpu = self.waits = 0.0  #: share of a processor; and of the time, without one
        self.thread_ns = self.loop_ns = 0
        self.cpu_s = self.waited_s = 0.0
        self.echoes = 0
        self.sequence = self.count = 0
        self.since = self.deadline = 0.0
        self.happened = []  #: (seconds since the beginning, effect)
        self.begin = self.now
        self.run(STEP)

    def phase(self, budget_s=0.0, ids=1):
        """Take work in hand for *budget_s*; 0 names no deadline."""
        self.sequence += 2
        self.count = ids
        self.since = self.now
        self.deadline = self.now + budget_s if budget_s else 0.0

    def idle(self):
        self.sequence += 2
        self.count = 0
        self.since, self.deadline = self.now, 0.0

    def hang(self, **signs):
        """From now on: as *signs* say."""
        for name, value in signs.items():
            setattr(self, name, value)

    def run(self, seconds, *, looks=True):
        """Let *seconds* pass for the child, under observation or not."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(self.now + STEP, end)
            if self.kernel != "T":
                self.live(STEP)
            if looks:
                self.look()
        return self

    def live(self, seconds):
        self.cpu_s += self.cpu * seconds
        self.waited_s += self.waits * seconds
        if self.thread:
            self.thread_ns = int(self.now * 1e9)
        if self.loop:
            self.loop_ns = int(self.now * 1e9)

    def look(self):
        page = Glance(
            self.sequence,
            int(self.since * 1e9),
            int(self.deadline * 1e9),
            self.count,
            self.stage,
            self.thread_ns,
            self.loop_ns,
        )
        seen = Observation(
            page,
            self.ready,
            self.draining,
            self.kernel,
            self.cpu_s,
            self.echoes,
            self.waited_s,
        )
        for effect in self.health.step(seen, self.now):
            self.happened.append((self.now - self.begin, effect))
            if isinstance(effect, AskEcho) and self.echo and self.kernel != "T":
                self.echoes += 1

    def when(self, kind):
        """Seconds at which effects of *kind* came."""
        return [at for at, effect in self.happened if isinstance(effect, kind)]

    @property
    def lives(self):
        return [effect.life for _, effect in self.happened if isinstance(effect, Changed)]


def test_a_child_that_ticks_is_ready_for_ever():
    child = Child().run(2 * HOUR)
    assert child.lives == [Life.READY]


def test_busy_and_ready_follow_the_page():
    child = Child()
    child.phase(5)
    child.run(1)
    child.idle()
    child.run(1)
    assert child.lives == [Life.READY, Life.BUSY, Life.READY]


# ── the table, row by row ───────────────────────────────────────────────────────────────────


def test_c06_a_native_call_that_keeps_the_gil_is_left_alone_before_its_deadline():
    child = Child()
    child.phase(60)
    child.hang(thread=False, loop=False)
    child.run(59)
    assert child.lives == [Life.READY, Life.BUSY]


def test_c06_a_native_call_that_sleeps_with_the_gil_is_killed_after_deadline_and_grace():
    child = Child()
    child.phase(10)
    child.hang(thread=False, loop=False)
    child.run(20)
    assert child.when(Dump) == pytest.approx([11], abs=1)
    assert child.when(Kill) == pytest.approx([13], abs=1)


def test_c06_a_native_call_that_computes_with_the_gil_gets_half_its_time_again():
    child = Child()
    child.phase(10)
    child.hang(thread=False, loop=False, cpu=1.0, kernel="R")
    child.run(14)
    assert child.lives[-1] is Life.SUSPECT
    child.run(6)
    assert child.when(Kill) == pytest.approx([15.5], abs=1)


def test_c06_a_deadlock_in_a_thread_is_killed_although_everything_ticks():
    child = Child()
    child.phase(10)
    child.run(20)
    assert child.when(Dump) == pytest.approx([10.5], abs=1)
    assert child.when(Kill) == pytest.approx([12.5], abs=1)
    assert child.lives == [Life.READY, Life.BUSY, Life.SUSPECT, Life.KILLING]


def test_c06_a_blocked_loop_without_a_phase_is_dumped_and_killed_after_half_a_minute():
    child = Child()
    child.hang(loop=False)
    child.run(60)
    assert child.when(Dump) == pytest.approx([10], abs=1)
    assert child.when(Kill) == pytest.approx([30], abs=1)


def test_c06_a_blocked_loop_that_comes_back_is_forgiven():
    child = Child()
    child.hang(loop=False)
    child.run(25)
    child.hang(loop=True)
    child.run(60)
    assert child.lives == [Life.READY, Life.SUSPECT, Life.READY]


@pytest.mark.parametrize("phase", [True, False])
def test_c06_a_stopped_process_is_told_about_and_not_killed(phase):
    child = Child()
    if phase:
        child.phase(10)
        child.run(5)
    child.hang(kernel="T")
    child.run(HOUR)
    assert child.lives[-1] is Life.STOPPED
    child.hang(kernel="S")
    child.run(4)
    assert not child.when(Kill)
    child.run(10)
    assert bool(child.when(Kill)) is phase  # its deadline stood still, it did not vanish


def test_c06_a_process_that_cannot_run_is_stuck_and_not_killed():
    child = Child()
    child.phase(10)
    child.run(4)
    child.hang(thread=False, loop=False, echo=False, kernel="D")
    child.run(HOUR)
    assert child.health.life is Life.STUCK
    assert not child.when(Kill)
    child.hang(thread=True, loop=True, echo=True, kernel="S")
    child.run(4)
    assert child.lives[-1] is Life.BUSY  # its time stood still meanwhile
    child.run(10)
    assert len(child.when(Kill)) == 1


def test_c06_a_frozen_process_without_a_phase_is_stuck_and_thaws():
    child = Child()
    child.hang(thread=False, loop=False, echo=False)
    child.run(HOUR)
    assert child.lives == [Life.READY, Life.STUCK]
    child.hang(thread=True, loop=True, echo=True)
    child.run(60)
    assert child.lives == [Life.READY, Life.STUCK, Life.READY]


def test_c06_a_lock_kept_in_native_code_without_a_phase_is_killed_after_half_a_minute():
    child = Child()
    child.hang(thread=False, loop=False)
    child.run(60)
    assert child.when(Kill) == pytest.approx([30], abs=2)


def test_c06_work_in_hand_without_a_deadline_has_three_minutes():
    child = Child()
    child.phase()
    child.run(179)
    assert child.lives == [Life.READY, Life.BUSY]
    child.run(10)
    assert len(child.when(Kill)) == 1


def test_c06_a_start_that_never_ends_is_killed_at_its_limit():
    child = Child(ready=False, startup_s=120)
    child.run(130)
    assert child.when(Kill) == pytest.approx([122], abs=1)
    (kill,) = [effect for _, effect in child.happened if isinstance(effect, Kill)]
    assert kill.starting


def test_c06_a_start_before_its_handlers_are_there_is_not_asked_for_its_stack():
    child = Child(ready=False)
    child.hang(stage=Stage.SPAWNED)
    child.run(130)
    assert not child.when(Dump)
    assert len(child.when(Kill)) == 1


def test_c06_a_start_that_makes_progress_may_take_longer_but_not_for_ever():
    child = Child(ready=False, startup_s=120)
    for _ in range(8):
        child.run(100)
        child.health.progress(child.now)
    assert child.when(Kill) == pytest.approx([602], abs=2)


def test_a_start_that_gets_no_processor_is_not_the_childs_fault():
    child = Child(ready=False, startup_s=120)
    child.hang(cpu=0.1, waits=0.9)
    child.run(1000)
    assert not child.when(Kill)
    child.run(250)
    assert len(child.when(Kill)) == 1, "what it had was used up"


def test_a_start_may_keep_the_gil_and_block_its_loop():
    child = Child(ready=False)
    child.hang(thread=False, loop=False, cpu=1.0)
    child.run(100)
    child.hang(ready=True, stage=Stage.READY, thread=True, loop=True)
    child.run(10)
    assert child.lives == [Life.LOADING, Life.READY]


def test_a_loop_that_was_blocked_while_loading_has_time_to_tick_once_ready():
    child = Child(ready=False)
    child.hang(loop=False)
    child.run(100)
    child.hang(ready=True, stage=Stage.READY)
    child.run(8)
    child.hang(loop=True)
    child.run(10)
    assert child.lives == [Life.LOADING, Life.READY]


def test_a_busy_loop_in_python_gets_no_second_half():
    child = Child()
    child.phase(10)
    child.hang(cpu=1.0, loop=False)
    child.run(9)
    child.hang(thread=False)  # between two ticks, as at most looks
    child.run(1.5)
    child.hang(thread=True)
    child.run(10)
    assert child.when(Kill) == pytest.approx([12.5], abs=1)


def test_who_computes_can_run_whatever_became_of_its_echo():
    child = Child()
    child.phase(10)
    child.hang(thread=False, loop=False, echo=False, cpu=1.0)
    child.run(20)
    assert Life.STUCK not in child.lives
    assert len(child.when(Kill)) == 1


def test_an_echo_that_was_missed_once_is_asked_for_again():
    child = Child()
    child.phase(10)
    child.run(8)
    child.hang(thread=False, echo=False)
    child.run(3)
    assert len(child.when(AskEcho)) == 1
    child.idle()
    child.hang(thread=True, echo=True)
    child.run(30)
    child.phase(10)
    child.run(5)
    child.hang(thread=False)
    child.run(20)
    assert len(child.when(AskEcho)) == 2
    assert Life.STUCK not in child.lives
    assert len(child.when(Kill)) == 1


def test_a_phase_that_blocks_the_loop_leaves_no_suspicion_behind():
    child = Child()
    child.phase(60)
    child.hang(loop=False)
    child.run(50)
    child.idle()
    child.look()
    child.hang(loop=True)
    child.run(5)
    assert child.lives == [Life.READY, Life.BUSY, Life.READY]


def test_a_child_that_drains_is_left_to_the_ladder():
    child = Child()
    child.phase(5)
    child.hang(draining=True)
    child.run(60)
    assert child.lives == [Life.READY, Life.DRAINING]


def test_after_the_kill_nothing_more_is_said():
    child = Child()
    child.phase(5)
    child.run(HOUR / 10)
    assert len(child.when(Kill)) == 1
    assert child.lives[-1] is Life.KILLING


def test_c07_a_long_legal_call_is_not_killed_as_long_as_it_extends():
    child = Child()
    child.phase(10)
    child.hang(loop=False)
    for _ in range(20):
        child.run(8)
        child.sequence += 2
        child.deadline = child.now + 10
    child.hang(loop=True)
    child.idle()
    child.run(10)
    assert child.lives == [Life.READY, Life.BUSY, Life.READY]


def test_a_suspect_that_finishes_in_time_goes_on():
    child = Child()
    child.phase(10)
    child.run(11)
    child.idle()
    child.run(30)
    assert child.lives == [Life.READY, Life.BUSY, Life.SUSPECT, Life.READY]
    assert not child.when(Kill)


# ── the observer's own troubles ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize("ready", [True, False])
@pytest.mark.parametrize("budget_s", [None, 10])
def test_b02_a_clock_that_jumps_an_hour_kills_nobody(ready, budget_s):
    """The machine slept: nobody did anything meanwhile."""
    child = Child(ready=ready)
    if budget_s:
        child.phase(budget_s)
    child.run(5)
    child.now += HOUR
    child.look()
    child.run(3)
    if budget_s:
        child.idle()
    child.run(60)
    assert not child.when(Kill)
    assert not child.when(Dump)


@pytest.mark.parametrize("budget_s", [None, 10])
def test_b02_a_supervisor_that_stands_still_kills_nobody(budget_s):
    """The children worked on, but nobody looked."""
    child = Child()
    if budget_s:
        child.phase(budget_s)
    child.run(30, looks=False)
    child.look()
    child.run(2)
    if budget_s:
        child.idle()
    child.run(30)
    assert not child.when(Kill)


def test_b02_a_phase_that_begins_just_before_the_jump_keeps_its_time():
    child = Child()
    child.run(2)
    child.phase(10)  # not seen before the jump
    child.now += HOUR
    child.look()
    child.run(9)
    child.idle()
    child.run(10)
    assert not child.when(Kill)


def test_b02_a_real_hang_is_still_found_after_the_jump():
    child = Child()
    child.phase(10)
    child.run(5)
    child.now += HOUR
    child.look()
    child.run(10)
    assert len(child.when(Kill)) == 1


def test_b02_a_jump_during_the_grace_does_not_end_it():
    child = Child()
    child.phase(10)
    child.run(10.5)
    assert child.lives[-1] is Life.SUSPECT
    child.now += HOUR
    child.look()
    assert not child.when(Kill)
    child.idle()
    child.run(10)
    assert not child.when(Kill)


def test_b02_nobody_is_judged_at_the_first_look_after_a_jump():
    child = Child()
    child.phase(10)
    child.run(12)
    assert child.lives[-1] is Life.SUSPECT  # and to be killed at the next look
    child.now += HOUR
    child.look()
    assert not child.when(Kill)
    child.idle()
    child.run(10)
    assert not child.when(Kill)


SIGNS = st.fixed_dictionaries(
    {
        "thread": st.booleans(),
        "loop": st.booleans(),
        "echo": st.booleans(),
        "cpu": st.sampled_from([0.0, 1.0]),
        "kernel": st.sampled_from("SRDT"),
    }
)


@given(
    st.lists(
        st.tuples(
            SIGNS,
            st.sampled_from(["phase", "idle", "nothing", "jump"]),
            st.floats(0.5, 40),
        ),
        max_size=12,
    )
)
def test_silence_alone_never_kills_before_a_promise_is_broken(story):
    """Whatever happens: no kill before a deadline, or half a minute of a blocked loop."""
    child = Child()
    deadline, loop_ok = None, child.now
    for signs, act, seconds in story:
        match act:
            case "phase":
                child.phase(10)
                deadline = child.now + 10
            case "idle":
                child.idle()
                deadline = None
                loop_ok = child.now
            case "jump":
                child.now += HOUR
                child.look()
        child.hang(**signs)
        before = len(child.when(Kill))
        for _ in range(int(seconds / STEP)):
            child.run(STEP)
            if child.loop and child.kernel != "T":
                loop_ok = child.now
            if len(child.when(Kill)) > before:
                assert child.kernel != "T"
                if deadline is not None:
                    assert child.now > deadline
                else:
                    assert child.now - loop_ok >= 29
                return
