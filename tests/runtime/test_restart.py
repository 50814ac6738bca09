"""OTP's semantics, and what was added to them.  Pure: events and times in, effects out."""

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import SpecInvalid
from runtime.restart import (
    EXIT_CONFIG,
    EXIT_HOST,
    EXIT_RECYCLE,
    EXIT_STICKY_GPU,
    EXIT_TEMPORARY,
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
    SetAside,
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
            case Wake(name, _, turn):
                queue += core.step(Due(name, turn), now)
            case Spawn(name):
                log.append(f"spawn {name}")
            case _:
                log.append(type(effect).__name__)
    return log


def isolation(effects):
    """Name and seconds of the one isolation among *effects*, which is followed by its Wake."""
    (one,) = [each for each in effects if isinstance(each, Isolated)]
    wake = effects[effects.index(one) + 1]
    assert (wake.name, wake.after_s) == (one.name, one.for_s)
    return one.name, one.for_s


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
        core.step(Ready("a"), second)
        assert drain(core, die(core, "a", second, excused=True)) == ["spawn a"]
        core.step(Ready("a"), second)


def test_a03_a_recycle_before_ready_is_a_failed_start():
    core = group("a", intensity=Intensity(1, 60))
    drain(core, die(core, "a", 1, code=EXIT_RECYCLE))
    drain(core, die(core, "a", 2, code=EXIT_RECYCLE))
    assert isinstance(die(core, "a", 3, code=EXIT_RECYCLE)[0], Escalate)


@given(st.integers(1, 5), st.lists(st.floats(0.1, 20), max_size=25))
def test_a03_it_escalates_with_the_first_death_beyond_the_limit_and_no_sooner(limit, gaps):
    core = group("a", intensity=Intensity(limit, 30))
    now = 0.0
    deaths: list[float] = []
    for gap in gaps:
        now += gap
        deaths = [at for at in deaths if at >= now - 30] + [now]
        effects = die(core, "a", now)
        if len(deaths) > limit:
            assert isinstance(effects[0], Escalate)
            return
        assert drain(core, effects, now) == ["spawn a"]


class Tree:
    """Groups in groups, carried out as `supervision` does, in which one child always dies."""

    def __init__(self, limits):
        self.cores = []
        self.limits = limits
        self.spawned = 0
        self.gave_up = False
        self.now = 0.0
        self.build(0)

    def build(self, level):
        """The group at *level* and all below it, each holding the next one and a bystander."""
        del self.cores[level:]
        last = level == len(self.limits) - 1
        policies = [Policy("bystander"), Policy("dies" if last else "group")]
        intensity = Intensity(self.limits[level], 600)
        core = GroupCore(policies, intensity=intensity, backoff=FAST, rng=random.Random(1))
        self.cores.append(core)
        self.carry_out(level, core.step(Start(), self.now))

    def carry_out(self, level, effects):
        for effect in effects:
            match effect:
                case Spawn("group"):
                    self.build(level + 1)
                case Spawn("dies"):
                    self.spawned += 1
                case Wake(name, after_s, turn):
                    self.now += after_s
                    self.carry_out(level, self.cores[level].step(Due(name, turn), self.now))
                case Escalate():
                    if level == 0:
                        self.gave_up = True
                    else:
                        gone = Exited("group", 1)
                        self.carry_out(level - 1, self.cores[level - 1].step(gone, self.now))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=3))
def test_a04_a_tree_gives_up_after_the_product_of_its_limits(limits):
    """One life of a group is `limit` restarts of what it holds, and the first start."""
    tree = Tree(limits)
    expected = math.prod(limit + 1 for limit in limits)
    for _ in range(expected):
        assert not tree.gave_up
        tree.carry_out(len(limits) - 1, die(tree.cores[-1], "dies", tree.now))
    assert tree.gave_up
    assert tree.spawned == expected


def test_a04_an_isolated_childs_siblings_are_not_touched():
    core = group("a", Policy("b", on_limit=OnLimit.ISOLATE), "c", intensity=Intensity(0, 60))
    assert isolation(die(core, "b", 1)) == ("b", 300.0)
    assert [core.state(name) for name in "ac"] == [State.READY, State.READY]
    core.step(Due("b"), 301)
    assert isolation(die(core, "b", 302)) == ("b", 600.0)
    assert [core.state(name) for name in "ac"] == [State.READY, State.READY]


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


def test_a05_a_limit_beyond_any_number_of_doublings_is_no_overflow():
    with pytest.raises(SpecInvalid, match="could never be reached"):
        group("a", intensity=Intensity(5000, 60))


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


def test_a06_what_the_group_itself_ended_does_not_end_the_group():
    transient = Policy("scan", RestartType.TRANSIENT, significant=True)
    core = group("a", transient, auto_shutdown=AutoShutdown.ANY, strategy=Strategy.ONE_FOR_ALL)
    assert drain(core, die(core, "a")) == ["stop scan", "spawn a", "spawn scan"]


def test_a06_a_crash_of_a_significant_child_is_no_end():
    transient = Policy("scan", RestartType.TRANSIENT, significant=True)
    core = group("a", transient, auto_shutdown=AutoShutdown.ANY)
    assert drain(core, die(core, "scan", code=1)) == ["spawn scan"]


def test_a06_never_means_never():
    transient = Policy("scan", RestartType.TRANSIENT, significant=True)
    assert die(group("a", transient), "scan", code=0) == []


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
    assert die(core, "a", code=EXIT_CONFIG) == [Escalate("a cannot work", EXIT_CONFIG)]
    isolated = group(Policy("a", on_limit=OnLimit.ISOLATE))
    assert die(isolated, "a", code=EXIT_CONFIG, reason="no model") == [SetAside("a", "no model")]
    assert isolated.state("a") is State.BROKEN
    assert isolated.step(Due("a"), 1e6) == []


def test_a_configuration_error_ends_a_tree_that_was_not_up_yet():
    core = group(Policy("a", on_limit=OnLimit.ISOLATE))
    effects = die(core, "a", code=EXIT_CONFIG, first=True, reason="the port is taken")
    assert effects == [Escalate("the port is taken", EXIT_CONFIG)]


@pytest.mark.parametrize("first", [True, False])
def test_a_full_disk_ends_the_tree_at_any_time(first):
    core = group(Policy("a", on_limit=OnLimit.ISOLATE))
    effects = die(core, "a", code=EXIT_HOST, first=first, reason="the disk is full")
    assert effects == [Escalate("the disk is full", EXIT_HOST)]


def test_a_child_at_its_limit_is_isolated_for_longer_each_time_and_half_opens():
    core = group("b", Policy("a", on_limit=OnLimit.ISOLATE), intensity=Intensity(1, 60))
    drain(core, die(core, "a", 1))
    assert isolation(die(core, "a", 2)) == ("a", 300.0)
    assert core.step(Due("a"), 302) == [Spawn("a")]
    assert isolation(die(core, "a", 303)) == ("a", 600.0)
    assert core.state("b") is State.READY


def test_an_isolation_never_lasts_longer_than_an_hour_and_is_forgotten_with_health():
    core = group(Policy("a", on_limit=OnLimit.ISOLATE), intensity=Intensity(0, 60))
    now, lasted = 0.0, []
    for _ in range(6):
        lasted.append(isolation(die(core, "a", now))[1])
        now += lasted[-1]
        core.step(Due("a"), now)
    assert lasted == [300, 600, 1200, 2400, 3600, 3600]
    core.step(Ready("a"), now)
    assert isolation(die(core, "a", now + 61)) == ("a", 300.0)


def test_an_away_host_is_waited_for_without_end_and_with_growing_patience():
    core = group("a", intensity=Intensity(1, 60), backoff=Backoff(cap_s=4.0, jitter=0.0))
    delays = []
    for second in range(7):
        (wake,) = die(core, "a", second, code=EXIT_TEMPORARY)
        core.step(Due("a"), second)
        delays.append(wake.after_s)
    assert delays == [0.25, 0.5, 1, 2, 4, 4, 4]


def test_one_lost_gpu_context_is_a_death_like_any_other():
    core = group("embed", "face")
    assert drain(core, die(core, "embed", 1, code=EXIT_STICKY_GPU)) == ["spawn embed"]
    assert drain(core, die(core, "embed", 2, code=EXIT_STICKY_GPU)) == ["spawn embed"]


def test_a_second_child_that_loses_the_gpu_within_a_minute_isolates_both():
    core = group("embed", "face", "caption")
    drain(core, die(core, "embed", 1, code=EXIT_STICKY_GPU))
    effects = die(core, "face", 60, code=EXIT_STICKY_GPU)
    assert Terminate("embed") in effects  # it came back, but to the same GPU
    assert isolation(effects) == ("face", 300.0)
    assert isolation(die(core, "embed", 61, code=0)) == ("embed", 300.0)
    assert core.state("caption") is State.READY
    assert core.step(Due("face"), 360) == [Spawn("face")]


def test_two_lost_gpu_contexts_far_apart_have_two_reasons():
    core = group("embed", "face")
    drain(core, die(core, "embed", 1, code=EXIT_STICKY_GPU))
    assert drain(core, die(core, "face", 62, code=EXIT_STICKY_GPU)) == ["spawn face"]


def test_a_lost_gpu_does_not_bring_back_who_cannot_work_at_all():
    core = group(Policy("embed", on_limit=OnLimit.ISOLATE), "face")
    drain(core, die(core, "embed", 1, code=EXIT_STICKY_GPU))
    die(core, "embed", 2, code=EXIT_CONFIG)
    assert isolation(die(core, "face", 3, code=EXIT_STICKY_GPU)) == ("face", 300.0)
    assert core.state("embed") is State.BROKEN


def test_a_lost_gpu_isolates_who_is_on_its_way_out_already_without_a_second_word():
    core = group("other", "embed", "face", strategy=Strategy.ONE_FOR_ALL)
    drain(core, die(core, "face", 1, code=EXIT_STICKY_GPU), 1)
    for name in ("other", "embed", "face"):
        core.step(Ready(name), 2)
    assert die(core, "other", 3) == [Terminate("face")]
    effects = die(core, "embed", 4, code=EXIT_STICKY_GPU)
    assert isolation(effects) == ("embed", 300.0)
    assert Terminate("face") not in effects
    effects = die(core, "face", 5, code=0)
    assert isolation(effects) == ("face", 300.0)
    assert [each.name for each in effects if isinstance(each, Wake)] == ["face", "other"]


def test_a_child_that_was_ready_after_its_isolation_has_its_restarts_again():
    core = group("b", Policy("a", on_limit=OnLimit.ISOLATE), intensity=Intensity(1, 60))
    drain(core, die(core, "a", 1))
    die(core, "a", 2)
    core.step(Due("a"), 302)
    core.step(Ready("a"), 303)
    assert drain(core, die(core, "a", 304), 304) == ["spawn a"]


def test_a_wake_up_that_was_overtaken_does_not_end_an_isolation():
    core = group("embed", "face")
    (wake,) = die(core, "embed", 1, code=EXIT_STICKY_GPU)
    die(core, "face", 2, code=EXIT_STICKY_GPU)
    assert core.state("embed") is State.ISOLATED
    assert core.step(Due("embed", wake.turn), 2) == []


def test_a_bystander_that_cannot_work_is_not_restarted_along():
    policies = ("a", Policy("b", on_limit=OnLimit.ISOLATE), "c")
    core = group(*policies, strategy=Strategy.ONE_FOR_ALL)
    assert die(core, "a") == [Terminate("c")]
    die(core, "b", code=EXIT_CONFIG)  # by itself, before its turn
    assert drain(core, die(core, "c", code=0)) == ["spawn a", "spawn c"]
    assert core.state("b") is State.BROKEN


CODES = [0, 1, -9, EXIT_RECYCLE, EXIT_CONFIG, EXIT_HOST, EXIT_STICKY_GPU, EXIT_TEMPORARY]
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
                case Wake(name, _, turn):
                    due.add((name, turn))
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
        options: list[tuple[str, Any]] = [("die", name) for name in sorted(running)]
        options += [("ready", name) for name in sorted(running)]
        options += [("due", each) for each in sorted(due)]
        if not options:
            break
        what, name = data.draw(st.sampled_from(options))
        if what == "die":
            running.discard(name)
            asked.discard(name)
            code = data.draw(st.sampled_from(CODES))
            carry_out(core.step(Exited(name, code), now))
        elif what == "ready":
            carry_out(core.step(Ready(name), now))
        else:
            due.discard(name)
            carry_out(core.step(Due(*name), now))
    if not stopped:
        carry_out(core.step(Stop(), now))
    while asked:
        name = asked.pop()
        running.discard(name)
        carry_out(core.step(Exited(name, 0), now))
    assert stopped
    assert not running
