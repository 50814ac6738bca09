from hypothesis import given
from hypothesis import strategies as st

from actors.library.backoff import GROWTH, LONGEST_NS, SECOND, wait_ns

tasks = st.integers(1, 2**63 - 1)


@given(tasks, st.integers(1, 10**6))
def test_no_wait_is_longer_than_five_minutes_and_jitter(task, attempts):
    assert 0.8 * SECOND <= wait_ns(task, attempts) <= 1.2 * LONGEST_NS


@given(tasks, st.integers(1, 3))
def test_each_wait_is_longer_than_the_one_before(task, attempts):
    assert wait_ns(task, attempts + 1) > wait_ns(task, attempts) * GROWTH / 2


def test_the_first_wait_is_about_a_second():
    waits = [wait_ns(task, 1) / SECOND for task in range(1, 1000)]
    assert min(waits) >= 0.8
    assert max(waits) <= 1.2


def test_tasks_that_failed_together_do_not_come_back_together():
    assert len({wait_ns(task, 1) // (SECOND // 100) for task in range(1, 257)}) > 35


def test_a_replayed_history_gives_the_same_times():
    assert wait_ns(17, 3) == wait_ns(17, 3)
