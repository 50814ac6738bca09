"""OTP's semantics, and what was added to them.  Pure: events and times in, effects out."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import SpecInvalid
from runtime.restart import (
    EXIT_CONFIG,
    EXIT_RECYCLE,
    AutoShutdown,
    Backoff,
    Due,
    Escalate,
    Exited,
    GroupCore,
    Intensity,
    Isolated,
    OnLimit,
    Policy,
    Ready,
    RestartType,
    Spawn,
    Start,
    State,
    Stop,
    Stopped,
    Strategy,
    Terminate,
    Wake,
)

FAST = Backoff(base_s=0.01, cap_s=0.1)


def group(*policies, **options):
    """A started group whose children are all ready."""
    each = [Policy(p) if isinstance(p, str) else p for p in policies]
    core = GroupCore(each, backoff=options.pop("backoff", FAST), rng=random.Random(1), **options)
    assert core.step(Start(), 0.0) == [Spawn(p.name) for p in each]
    for policy in each:
        core.step(Ready(policy.name), 0.0)
    return core


def die(core, name, now=1.0, code=1, **more):
    return core.step(Exited(name, code, **more), now)


def drain(core, effects, now=1.0):
    """Carry effects out as an obedient world would; what was spawned and stopped, in order."""
    log = []
    queue = list(effects)
    while queue:
        effect = queue.pop(0)
        match effect:
            case Terminate(name):
                log.append(f"stop {name}")
                queue += core.step(Exited(name, 0), now)
            case Wake(name):
                queue += core.step(Due(name), now)
            case Spawn(name):
                log.append(f"spawn {name}")
            case _:
                log.append(type(effect).__name__)
    return log


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (Strategy.ONE_FOR_ONE, ["spawn b"]),
        (Strategy.REST_FOR_ONE, ["stop c", "spawn b", "spawn c"]),
        (Strategy.ONE_FOR_ALL, ["stop c", "stop a", "spawn a", "spawn b", "spawn c"]),
    ],
)
def test_a01_each_strategy_restarts_exactly_the_right_siblings_in_order(strategy, expected):
    core = group("a", "b", "c", strategy=strategy)
    assert drain(core, die(core, "b")) == expected


@pytest.mark.parametrize(
    ("restart", "code", "comes_back"),
    [
        (RestartType.PERMANENT, 0, True),
        (RestartType.PERMANENT, 1, True),
        (RestartType.PERMANENT, -9, True),
        (RestartType.TRANSIENT, 0, False),
        (RestartType.TRANSIENT, 1, True),
        (RestartType.TRANSIENT, -9, True),
        (RestartType.TEMPORARY, 0, False),
        (RestartType.TEMPORARY, 1, False),
        (RestartType.TEMPORARY, -9, False),
    ],
)
def test_a02_exit_kind_by_restart_type(restart, code, comes_back):
    core = group(Policy("a", restart))
    assert bool(drain(core, die(core, "a", code=code))) is comes_back


def test_a02_a_temporary_child_is_not_restarted_as_a_bystander_either():
    core = group("a", Policy("t", RestartType.TEMPORARY), strategy=Strategy.ONE_FOR_ALL)
    assert drain(core, die(core, "a")) == ["stop t", "spawn a"]


def test_a03_one_death_more_than_the_limit_escalates():
    core = group("a", intensity=Intensity(3, 60))
    for second in range(3):
        assert drain(core, die(core, "a", second)) == ["spawn a"]
    assert isinstance(die(core, "a", 3)[0], Escalate)


def test_a03_failed_starts_count_like_any_death():
    core = group("a", intensity=Intensity(2, 60))
    for second in range(2):
        drain(core, die(core, "a", second))  # it never says ready again
    assert isinstance(die(core, "a", 2)[0], Escalate)


def test_a03_a_gap_longer_than_the_period_forgets():
    core = group("a", intensity=Intensity(1, 10))
    for second in (0, 11, 22, 33):
        assert drain(core, die(core, "a", second)) == ["spawn a"]


def test_a03_a_planned_recycle_and_an_excused_death_do_not_count():
    core = group("a", intensity=Intensity(1, 60))
    for second in range(5):
        assert drain(core, die(core, "a", second, code=EXIT_RECYCLE)) == ["spawn a"]
        assert drain(core, die(core, "a", second, excused=True)) == ["spawn a"]


@given(st.integers(0, 40), st.integers())
def test_a05_the_backoff_law(restarts, seed):
    backoff = Backoff()
    plain = min(30.0, 0.25 * 2.0**restarts)
    assert 0.8 * plain <= backoff.delay(restarts, random.Random(seed)) <= 1.2 * plain


def test_a05_backoff_grows_in_a_row_and_begins_anew_after_a_healthy_minute():
    core = group("a", backoff=Backoff(jitter=0.0), intensity=Intensity(5, 60))

    def delay(now):
        (wake,) = die(core, "a", now)
        core.step(Due("a"), now)
        core.step(Ready("a"), now)
        return wake.after_s

    assert [delay(1), delay(2), delay(3)] == [0.25, 0.5, 1.0]
    assert delay(64) == 0.25


def test_a05_a_backoff_that_makes_the_limit_unreachable_is_refused():
    with pytest.raises(SpecInvalid, match="could never be reached"):
        GroupCore([Policy("a")], backoff=Backoff(base_s=20), intensity=Intensity(5, 60))


def test_a06_auto_shutdown_fires_on_the_end_of_a_significant_child_only():
    transient = Policy("scan", RestartType.TRANSIENT, significant=True)
    core = group("a", transient, auto_shutdown=AutoShutdown.ANY)
    assert drain(core, die(core, "scan", code=0)) == ["stop a", "Stopped"]


def test_a06_all_significant_waits_for_the_last_one():
    first = Policy("x", RestartType.TRANSIENT, significant=True)
    second = Policy("y", RestartType.TRANSIENT, significant=True)
    core = group(first, second, auto_shutdown=AutoShutdown.ALL)
    assert die(core, "x", code=0) == []
    assert drain(core, die(core, "y", code=0)) == ["Stopped"]


def test_a06_a_permanent_child_cannot_be_significant():
    with pytest.raises(SpecInvalid, match="never ends by itself"):
        GroupCore([Policy("a", significant=True)])


def test_a07_a_stop_during_a_restart_loop_is_obeyed():
    core = group("a")
    (wake,) = die(core, "a")
    assert core.step(Stop(), 1.0) == [Stopped()]
    assert core.step(Due(wake.name), 2.0) == []


def test_a_stop_runs_from_right_to_left_one_at_a_time():
    core = group("a", "b", "c")
    assert core.step(Stop(), 1.0) == [Terminate("c")]
    assert die(core, "a") == []  # dies by itself meanwhile
    assert die(core, "c") == [Terminate("b")]
    assert die(core, "b") == [Stopped()]


def test_a_configuration_error_is_never_retried():
    core = group("a")
    assert die(core, "a", code=EXIT_CONFIG) == [Escalate("a: configuration error", EXIT_CONFIG)]
    isolated = group(Policy("a", on_limit=OnLimit.ISOLATE))
    assert die(isolated, "a", code=EXIT_CONFIG) == []
    assert isolated.state("a") is State.BROKEN


def test_a_child_at_its_limit_is_isolated_for_longer_each_time_and_half_opens():
    core = group("b", Policy("a", on_limit=OnLimit.ISOLATE), intensity=Intensity(1, 60))
    drain(core, die(core, "a", 1))
    assert die(core, "a", 2) == [Isolated("a", 300.0), Wake("a", 300.0)]
    assert core.step(Due("a"), 302) == [Spawn("a")]
    assert die(core, "a", 303) == [Isolated("a", 600.0), Wake("a", 600.0)]
    assert core.state("b") is State.READY


POLICIES = st.lists(
    st.tuples(st.sampled_from(list(RestartType)), st.sampled_from(list(OnLimit))),
    min_size=1,
    max_size=4,
)


@given(POLICIES, st.sampled_from(list(Strategy)), st.data())
def test_whatever_dies_in_whatever_order_a_stop_always_ends(kinds, strategy, data):
    policies = [
        Policy(f"c{n}", restart, on_limit=limit) for n, (restart, limit) in enumerate(kinds)
    ]
    core = GroupCore(policies, strategy=strategy, backoff=FAST, rng=random.Random(3))
    running, due, asked = set(), set(), set()
    stopped = False

    def carry_out(effects):
        nonlocal stopped
        for effect in effects:
            match effect:
                case Spawn(name):
                    assert name not in running, "two incarnations at once"
                    running.add(name)
                case Terminate(name):
                    assert name in running
                    asked.add(name)
                case Wake(name):
                    due.add(name)
                case Escalate():
                    carry_out(core.step(Stop(), now))
                case Stopped():
                    assert not running
                    stopped = True

    now = 0.0
    carry_out(core.step(Start(), now))
    for _ in range(data.draw(st.integers(0, 25))):
        if stopped:
            break
        now += data.draw(st.floats(0, 30))
        options = [("die", name) for name in sorted(running)]
        options += [("ready", name) for name in sorted(running)]
        options += [("due", name) for name in sorted(due)]
        if not options:
            break
        what, name = data.draw(st.sampled_from(options))
        if what == "die":
            running.discard(name)
            asked.discard(name)
            code = data.draw(st.sampled_from([0, 1, -9, EXIT_RECYCLE, EXIT_CONFIG]))
            carry_out(core.step(Exited(name, code), now))
        elif what == "ready":
            carry_out(core.step(Ready(name), now))
        else:
            due.discard(name)
            carry_out(core.step(Due(name), now))
    if not stopped:
        carry_out(core.step(Stop(), now))
    while asked:
        name = asked.pop()
        running.discard(name)
        carry_out(core.step(Exited(name, 0), now))
    assert stopped
    assert not running
