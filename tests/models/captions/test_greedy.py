"""Always the likeliest: a batch tells what each picture alone tells."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.captions.greedy import Greedy
from tests.models.captions.tables import PAD, STOP, Table, rules, tell


def log_softmax(row):
    wide = np.asarray(row, np.float64)
    return wide - np.log(np.exp(wide).sum())


def by_hand(table, picture, told):
    """One picture, one id after the other, in the plainest words."""
    ids: list[int] = []
    total = 0.0
    while len(ids) < told.longest:
        scores = log_softmax(table.logits(picture, ids))
        told.forbid(scores, ids)
        best = int(scores.argmax())
        total += scores[best]
        if best == told.stop:
            return tuple(ids), total / (len(ids) + 1)
        ids.append(best)
    return tuple(ids), total / len(ids)


@given(
    seed=st.integers(0, 10_000),
    pictures=st.lists(st.integers(0, 90), min_size=1, max_size=6),
    longest=st.integers(1, 9),
    shortest=st.integers(0, 4),
    no_repeat=st.integers(0, 3),
    eager=st.sampled_from([0.0, 1.5, 4.0]),
    thin=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_a_batch_tells_what_each_picture_alone_tells(
    *, seed, pictures, longest, shortest, no_repeat, eager, thin
):
    table = Table(seed, eager=eager)
    limits = rules(longest=longest, shortest=min(shortest, longest - 1), no_repeat=no_repeat)
    told = tell(Greedy(len(pictures), limits, thin=thin), table, pictures)
    for picture, each in zip(pictures, told, strict=True):
        ids, score = by_hand(table, picture, limits)
        assert each.ids == ids
        assert each.score == pytest.approx(score, abs=1e-9)
        assert STOP not in ids
        assert len(ids) <= longest


@settings(max_examples=30)
@given(
    seed=st.integers(0, 10_000),
    spoil=st.dictionaries(st.integers(0, 3), st.integers(0, 3)),
    thin=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_a_row_that_is_no_number_is_given_up_alone(seed, spoil, thin):
    pictures, table = [3, 14, 15, 92], Table(seed)
    told = tell(Greedy(4, rules(shortest=7), thin=thin), table, pictures, spoil)
    for row, each in enumerate(told):
        if row in spoil:
            assert each is None
        else:
            assert each.ids == by_hand(table, pictures[row], rules(shortest=7))[0]


def one_hot(*ids):
    return np.eye(7, dtype=np.float32)[list(ids)] * 9


def test_who_is_told_is_fed_padding_until_enough_are():
    greedy = Greedy(4, rules(), thin=0.5)
    step = greedy.step(one_hot(4, STOP, 5, 6))
    assert step.ids.tolist() == [4, PAD, 5, 6]
    assert step.parents.tolist() == step.pictures.tolist() == [0, 1, 2, 3]
    step = greedy.step(one_hot(4, 5, STOP, 6))  # what the second row says is not heard
    assert (step.ids.tolist(), step.parents.tolist()) == ([4, 6], [0, 3])
    step = greedy.step(one_hot(STOP, 5))
    assert (step.ids.tolist(), step.parents.tolist(), step.pictures.tolist()) == ([5], [1], [3])
    assert greedy.step(one_hot(STOP)).over
    assert [each and each.ids for each in greedy.told()] == [(4, 4), (), (5,), (6, 6, 5)]


def test_padding_rows_are_done_from_the_start():
    greedy = Greedy(3, rules(), real=1)
    step = greedy.step(one_hot(4, 5, 5))
    assert step.pictures.tolist() == [0]
    assert [each and each.ids for each in greedy.told()] == [(4,), (), ()]


def test_of_equals_the_lower_id_is_written():
    logits = np.zeros((1, 7), np.float32)
    logits[0, [3, 5]] = 2
    assert Greedy(1, rules()).step(logits).ids.tolist() == [3]


def test_half_precision_counts_as_it_is():
    greedy = Greedy(1, rules(longest=1))
    row = np.array([[0, 0, 0, 11, 10.5, 0, 0]], np.float16)
    assert greedy.step(row).over
    (told,) = greedy.told()
    assert told is not None
    assert told.score == pytest.approx(log_softmax(row[0])[3], abs=1e-9)


def test_ids_that_the_graph_masks_break_nothing_but_infinity_does():
    masked = np.array([[-np.inf, 0, 1, 5, -np.inf, 0, 0]], np.float32)
    assert Greedy(1, rules()).step(masked).ids.tolist() == [3]
    for row in (np.full(7, -np.inf), np.array([0, 0, np.inf, 0, 0, 0, 0])):
        greedy = Greedy(1, rules())
        assert greedy.step(row[None].astype(np.float32)).over
        assert greedy.told() == [None]
