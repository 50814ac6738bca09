"""What may not be written."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.models.captions.tables import BEGIN, STOP, rules


def forbidden(written, ids=8, **changes):
    scores = np.zeros(ids)
    rules(**changes).forbid(scores, written)
    return set(np.flatnonzero(scores == -np.inf).tolist())


def test_a_caption_may_not_end_before_it_is_long_enough():
    assert forbidden((), shortest=2) == {STOP}
    assert forbidden((5,), shortest=2) == {STOP}
    assert forbidden((5, 6), shortest=2) == set()


def test_no_run_comes_twice():
    assert forbidden((4, 5, 6, 4, 5), no_repeat=3) == {6}
    assert forbidden((4, 5, 6, 4), no_repeat=2) == {5}
    assert forbidden((4, 5, 6, 4, 7), no_repeat=2) == set()


def test_what_it_began_with_counts_as_written():
    assert forbidden((4, BEGIN), no_repeat=2) == {4}
    assert forbidden((4,), no_repeat=1) == {BEGIN, 4}


def test_a_run_longer_than_the_caption_forbids_nothing():
    assert forbidden((4, 4), no_repeat=4) == set()


def test_a_caption_ends_where_nothing_else_is_left():
    assert forbidden(range(8), no_repeat=1) == set(range(8)) - {STOP}
    scores = np.array([-np.inf, -np.inf, -3.0])
    rules(shortest=2).forbid(scores, ())
    assert scores.tolist() == [-np.inf, -np.inf, -3]


@given(st.lists(st.integers(0, 3), max_size=12), st.integers(1, 4))
def test_what_is_forbidden_is_exactly_what_would_repeat(written, run):
    ids = [BEGIN, *written]

    def repeats(following):
        longer = [*ids, following]
        runs = [tuple(longer[i : i + run]) for i in range(len(longer) - run + 1)]
        return len(runs) > 0 and runs[-1] in runs[:-1]

    expected = {each for each in range(4) if repeats(each)}
    if len(expected) == 4:
        expected.discard(STOP)
    assert forbidden(written, ids=4, no_repeat=run) == expected


@pytest.mark.parametrize("changes", [{}, {"no_repeat": 0, "shortest": 0}])
def test_without_rules_everything_goes(changes):
    assert forbidden((4, 4, 4), **changes) == set()
