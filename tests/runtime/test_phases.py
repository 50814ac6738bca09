"""What an actor has in hand, as its page tells it; and how much time it learns to need."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.page import Page
from runtime.phases import LEAST_S, MOST_S, Budgets, Phases


@pytest.fixture
def phases(tmp_path):
    phases = Phases()
    phases.page = Page(tmp_path / "x.page", create=True)
    yield phases
    phases.page.close()


def left_s(phases):
    """Seconds from the beginning of what the page shows to its deadline."""
    seen = phases.page.read()
    return (seen.deadline_ns - seen.changed_ns) / 1e9


def test_a_phase_is_shown_while_it_lasts(phases):
    with phases.phase("embed", [1, 2], budget_s=3):
        seen = phases.page.read()
        assert (seen.phase, seen.executing) == ("embed", [1, 2])
        assert left_s(phases) == pytest.approx(3)
    seen = phases.page.read()
    assert (seen.phase, seen.executing, seen.deadline_ns) == ("idle", [], 0)


def test_a_phase_ends_with_an_error_too(phases):
    with pytest.raises(ValueError, match="x"), phases.phase("embed", [1]):
        raise ValueError("x")
    assert phases.page.read().phase == "idle"


def test_without_a_page_nothing_is_shown_and_nothing_fails():
    with Phases().phase("embed", [1]) as phase:
        phase.extend(1)


def test_of_overlapping_phases_the_most_urgent_is_shown_with_all_ids(phases):
    with phases.phase("slow", [1], budget_s=60):
        with phases.phase("fast", [2], budget_s=5):
            assert phases.page.read().phase == "fast"
            assert phases.page.read().executing == [1, 2]
            assert left_s(phases) == pytest.approx(5)
        assert (phases.page.read().phase, phases.page.read().executing) == ("slow", [1])


def test_an_extension_moves_the_deadline_up_to_the_hard_limit(phases):
    with phases.phase("long", budget_s=1, most_s=10) as phase:
        phase.extend(5)
        assert left_s(phases) == pytest.approx(5, abs=0.5)
        phase.extend(100)
        assert left_s(phases) == pytest.approx(10)
        phase.extend(1)  # never nearer
        assert left_s(phases) == pytest.approx(10)


def test_a_budget_above_the_hard_limit_is_cut(phases):
    with phases.phase("long", budget_s=50, most_s=10):
        assert left_s(phases) == pytest.approx(10)


def test_the_first_one_of_its_kind_has_the_most_time():
    budgets = Budgets()
    assert budgets.of("embed", 32) == MOST_S
    budgets.took("embed", 32, 1.0)
    assert budgets.of("embed", 32) == 8.0
    assert budgets.of("embed", 256) == MOST_S
    assert budgets.of("decode", 32) == MOST_S


def test_a_budget_has_a_floor_and_a_ceiling():
    budgets = Budgets()
    budgets.took("fast", 1, 0.001)
    budgets.took("slow", 1, 60)
    assert (budgets.of("fast", 1), budgets.of("slow", 1)) == (LEAST_S, MOST_S)


def test_the_peak_of_a_busy_hour_is_forgotten_slowly():
    budgets = Budgets()
    budgets.took("x", 1, 10.0)
    for _ in range(20):
        budgets.took("x", 1, 1.0)
    assert budgets.of("x", 1) > 60
    for _ in range(500):
        budgets.took("x", 1, 1.0)
    assert budgets.of("x", 1) < 10


@given(st.lists(st.floats(0.1, 14.9), min_size=1, max_size=200))
def test_what_was_usual_is_always_well_within_the_budget(times):
    budgets = Budgets()
    for seconds in times:
        budgets.took("x", 1, seconds)
    usual = sorted(times[-20:])[len(times[-20:]) // 2]
    assert budgets.of("x", 1) >= min(usual * 4, MOST_S)


def test_phases_learn_from_what_ended_well_and_was_not_extended(phases):
    with phases.phase("learned"):
        assert left_s(phases) == pytest.approx(MOST_S)
        time.sleep(0.01)
    with phases.phase("learned"):
        assert left_s(phases) == pytest.approx(LEAST_S)
    with pytest.raises(ValueError, match="x"), phases.phase("failed"):
        raise ValueError("x")
    with phases.phase("given", budget_s=7):
        pass
    with phases.phase("extended") as phase:
        phase.extend(1)
    for name in ("failed", "given", "extended"):
        with phases.phase(name):
            assert left_s(phases) == pytest.approx(MOST_S)


def test_a_phase_that_ends_well_finishes_its_ids_and_one_that_fails_does_not(phases):
    with phases.phase("embed", [1, 2]), phases.phase("nothing in hand"):
        assert phases.page.read().finished == 0
    assert phases.page.read().finished == 2
    with pytest.raises(ValueError, match="x"), phases.phase("embed", [3]):
        raise ValueError("x")
    assert phases.page.read().finished == 2
