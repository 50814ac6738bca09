"""Is it the work, or the process that does it?"""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.blame import DEATHS, PROOF, Blame
from runtime.exits import ExitClass
from runtime.messages import Down
from runtime.restart import (
    EXIT_STICKY_GPU,
    Backoff,
    Due,
    Exited,
    GroupCore,
    Intensity,
    Isolated,
    OnLimit,
    Policy,
    Ready,
    Spawn,
    Start,
    State,
    Wake,
)
from runtime.testing import AskHeard, Strike, scapegoat, stage
from supervisor import _is_a_photos_fault

FAST = Backoff(base_s=0.01, cap_s=0.1)


def row(*deaths):
    """Verdicts on incarnations that each died over these ids and finished nothing."""
    blame = Blame()
    return [blame.died(ids, finished=False) for ids in deaths], blame.acquit()


def test_a13_three_deaths_in_a_row_over_different_work_are_the_process():
    assert row([1], [2], [3]) == ([False, False, True], [1, 2, 3])


def test_a13_two_tasks_in_turn_are_enough_to_tell():
    assert row([1], [2], [1]) == ([False, False, True], [1, 2, 1])


def test_a13_batches_have_to_share_one_task_over_all_three_deaths():
    assert row([1, 2, 3], [3, 4], [4, 5])[0] == [False, False, True]
    assert row([1, 2, 3], [3, 4], [3])[0] == [False, False, False]


def test_a12_one_task_that_was_in_hand_each_time_is_the_task():
    assert row([7], [7], [7]) == ([False, False, False], [])


def test_a12_after_a_task_was_found_guilty_the_row_begins_anew():
    assert row([7], [7], [7], [8], [8])[0] == [False] * 5
    assert row([7], [7], [7], [8], [9], [8])[0] == [False] * 5 + [True]


def test_a_process_that_finished_something_is_able_to_work():
    blame = Blame()
    for ids in ([1], [2]):
        assert not blame.died(ids, finished=False)
    assert not blame.died([3], finished=True)
    for ids in ([4], [5]):
        assert not blame.died(ids, finished=False)
    assert blame.acquit() == [4, 5]


def test_a_death_with_nothing_in_hand_says_nothing():
    assert row([1], [], [2], [])[0] == [False] * 4


def test_work_that_is_known_to_be_good_is_not_to_blame():
    assert row([7], [PROOF], [PROOF]) == ([False, False, True], [7])


@given(st.lists(st.tuples(st.sets(st.integers(1, 4), max_size=3), st.booleans()), max_size=30))
def test_a13_who_is_blamed_finished_nothing_and_shared_no_task(history):
    blame = Blame()
    unfinished: list[set[int]] = []
    for ids, finished in history:
        if finished:
            unfinished = []
        elif ids:
            unfinished.append(ids)
        if blame.died(sorted(ids), finished=finished):
            assert len(unfinished) >= DEATHS
            assert not set.intersection(*unfinished[-DEATHS:])
            assert Counter(blame.acquit()) <= Counter(each for some in unfinished for each in some)
            unfinished = []


# ── in a group ──────────────────────────────────────────────────────────────────────────────


def worker(on_limit=OnLimit.ISOLATE, limit=5):
    core = GroupCore(
        [Policy("sibling"), Policy("w", on_limit=on_limit)],
        intensity=Intensity(limit, 60),
        backoff=FAST,
        rng=random.Random(1),
    )
    core.step(Start(), 0.0)
    for name in ("sibling", "w"):
        core.step(Ready(name), 0.0)
    return core


def die(core, *charged, finished=False, code=-11, excused=True, now=1.0):
    """The isolation that follows from a death, if one does; else it comes back and is ready."""
    gone = Exited("w", code, excused=excused, charged=charged, finished=finished)
    effects = core.step(gone, now)
    for effect in effects:
        match effect:
            case Isolated():
                return effect
            case Wake(name, _, turn):
                assert core.step(Due(name, turn), now) == [Spawn("w")]
                core.step(Ready(name), now)
    return None


def test_a13_a_worker_that_dies_of_anything_is_isolated_and_its_charges_are_told_as_innocent():
    core = worker()
    assert [die(core, 1), die(core, 2)] == [None, None]
    isolated = die(core, 3)
    assert (isolated.name, isolated.for_s, isolated.innocent) == ("w", 300.0, [1, 2, 3])
    assert core.state("sibling") is State.READY


def test_a13_it_is_tried_again_after_a_while_that_doubles():
    core = worker()
    for now, for_s in ((1, 300), (400, 600), (1100, 1200)):
        assert not die(core, 1, now=now)
        assert not die(core, 2, now=now)
        assert die(core, 1, now=now).for_s == for_s
        assert core.step(Due("w"), now + for_s) == [Spawn("w")]
        core.step(Ready("w"), now + for_s)


def test_a12_a_library_full_of_bad_photos_never_isolates_a_worker_that_can_work():
    core = worker(limit=0)
    for photo in range(200):
        for _ in range(DEATHS):
            assert die(core, photo, finished=True) is None


def test_a12_poison_alone_is_found_guilty_and_the_worker_never_isolated():
    core = worker(limit=0)
    for _ in range(DEATHS):
        assert die(core, 7) is None


def test_a_row_is_refunded_when_a_worker_is_isolated_for_another_reason():
    core = worker(limit=1)
    assert die(core, 7, excused=False) is None
    assert die(core, 7, excused=False).innocent == [7, 7]
    core = worker()
    die(core, 7, code=EXIT_STICKY_GPU, excused=False)
    core.step(Exited("sibling", EXIT_STICKY_GPU), 2.0)
    (isolated, *_) = core.step(Exited("w", 0), 3.0)
    assert (isolated.name, isolated.innocent) == ("w", [7])


def test_a_child_that_may_not_be_isolated_is_left_to_its_limit():
    core = worker(OnLimit.ESCALATE)
    assert [die(core, id_) for id_ in range(1, 9)] == [None] * 8


@pytest.mark.parametrize(
    ("name", "kind", "ids", "excused"),
    [
        ("decode.0", ExitClass.NATIVE, [1], True),
        ("decode.0", ExitClass.OOM, [1], True),
        ("decode.0", ExitClass.NATIVE, [], False),
        ("embed", ExitClass.NATIVE, [1, 2], True),
        ("embed", ExitClass.HUNG, [1], True),
        ("embed", ExitClass.OOM, [1], False),
        ("embed", ExitClass.GPU, [1], False),
        ("embed", ExitClass.SIGNAL, [], False),
        ("catalog", ExitClass.NATIVE, [1], False),
    ],
)
def test_which_deaths_are_a_photos_fault_at_first_sight(name, kind, ids, excused):
    assert _is_a_photos_fault(name, kind, ids) is excused


# ── real processes ──────────────────────────────────────────────────────────────────────────


async def downs(s, count):
    """What the witness heard, once it is *count* deaths."""
    while len(heard := (await s.ask("witness", AskHeard())).downs) < count:
        continue
    return heard


def blaming(backend, **options):
    goat = scapegoat("goat", on_limit=OnLimit.ISOLATE, backend=backend)
    witness = scapegoat("witness", peers=("goat",), backend=backend)
    return stage(goat, witness, excuse=lambda _name, _kind, ids: bool(ids), **options)


@pytest.mark.anyio
async def test_a13_real_processes_that_die_of_anything_are_isolated_and_nobody_is_charged(
    anyio_backend_name,
):
    async with blaming(anyio_backend_name) as s:
        for count, ids in enumerate(([1, 2], [3], [1]), 1):
            s.tell("goat", Strike("segfault", "work", ids))
            await s.wait("died", "goat", count)
            if count < DEATHS:
                await s.wait("ready", "goat", count + 1)
        isolated = await s.wait("isolated", "goat")
        assert "3 times in a row" in isolated["reason"]
        heard = await downs(s, DEATHS)
    assert [down.executing for down in heard] == [[1, 2], [3], [1]]
    assert [down.innocent for down in heard] == [[], [], [1, 2, 3, 1]]


@pytest.mark.anyio
async def test_a12_real_processes_that_finish_something_go_on_dying_of_what_is_bad(
    anyio_backend_name,
):
    async with blaming(anyio_backend_name) as s:
        for count in range(1, DEATHS + 2):
            await s.ask("goat", Strike("", "work", [100 + count]))
            s.tell("goat", Strike("segfault", "work", [count]))
            await s.wait("ready", "goat", count + 1)
        heard = await downs(s, DEATHS + 1)
        assert not s.said("isolated")
    assert all(isinstance(down, Down) and not down.innocent for down in heard)
