import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from actors.vectors.ranking import merge, nothing

PARTS = st.lists(
    st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 99)), max_size=8), min_size=1, max_size=4
)


@given(PARTS, st.integers(0, 40))
def test_parts_are_merged_by_score_then_by_id(parts, k):
    arrays = [
        (
            np.array([[key for _, key in part]], np.int64).reshape(1, -1),
            np.array([[score for score, _ in part]], np.float32).reshape(1, -1),
        )
        for part in parts
    ]
    ids, scores = merge(arrays, k)
    flat = sorted(((-score, key) for part in parts for score, key in part))[:k]
    assert ids.tolist() == [[key for _, key in flat]]
    assert scores.tolist() == [[-score for score, _ in flat]]


def test_zero_has_no_sign():
    ids, _ = merge([(np.array([[2, 1]]), np.array([[0.0, -0.0]], np.float32))], 2)
    assert ids.tolist() == [[1, 2]]


def test_nothing_has_a_row_for_each_query():
    ids, scores = nothing(3)
    assert ids.shape == scores.shape == (3, 0)
