import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from actors.vectors.errors import NotFinite, SnapshotBroken, WrongShape
from actors.vectors.files import IDS_FILE, VECTORS_FILE
from actors.vectors.flat import FlatIndex
from tests.actors.vectors.oracle import DIMENSIONS, PAIRS, QUERIES, Oracle, clustered, split


class FlatHistory(RuleBasedStateMachine):
    """Any history leaves the index with the oracle's answers, over many blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.oracle = Oracle()
        self.index = self.empty()

    def empty(self) -> FlatIndex:
        return FlatIndex(DIMENSIONS, block_rows=3)

    @rule(pairs=PAIRS)
    def add(self, pairs):
        ids, vectors = split(pairs)
        self.index.add(ids, vectors)
        self.oracle.add(ids, vectors)

    @rule(ids=st.lists(st.integers(0, 35), max_size=20))
    def remove(self, ids):
        assert self.index.remove(ids) == self.oracle.remove(ids)

    @rule(queries=QUERIES, k=st.integers(0, 40))
    def search(self, queries, k):
        self.oracle.agrees(self.index, queries, k)

    @rule()
    def save_and_load(self):
        with tempfile.TemporaryDirectory() as directory:
            self.index.save(Path(directory))
            self.index = self.empty()
            self.index.load(Path(directory))

    @invariant()
    def holds_the_same(self):
        assert len(self.index) == len(self.oracle.held)
        assert self.index.ids().tolist() == sorted(self.oracle.held)


TestFlatHistory = FlatHistory.TestCase
TestFlatHistory.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def test_threads_give_the_same_answer():
    vectors = clustered(500, 16)
    one, two = FlatIndex(16, block_rows=64), FlatIndex(16, threads=2, block_rows=64)
    for index in (one, two):
        index.add(np.arange(500), vectors)
    ids, scores = one.search(vectors, 20)
    again, scores_again = two.search(vectors, 20)
    assert np.array_equal(ids, again)
    assert np.array_equal(scores, scores_again)


def test_the_best_match_of_a_vector_is_itself():
    vectors = clustered(300, 32)
    index = FlatIndex(32)
    index.add(np.arange(300) * 7, vectors)
    ids, scores = index.search(vectors, 1)
    assert ids[:, 0].tolist() == (np.arange(300) * 7).tolist()
    assert np.allclose(scores, 1, atol=2e-3)


def test_many_equals_are_listed_by_id_whatever_the_order_they_came_in():
    random = np.random.default_rng(0)
    ids = random.permutation(100)
    index = FlatIndex(2, block_rows=16)
    index.add(ids, np.ones((100, 2)))
    found, _ = index.search([[1, 1]], 5)
    assert found.tolist() == [[0, 1, 2, 3, 4]]


def test_the_last_vector_of_an_id_counts_also_within_one_batch():
    index = FlatIndex(2)
    index.add([5, 5, 5], [[1, 0], [0, 1], [0, 2]])
    assert len(index) == 1
    assert index.search([[0, 1]], 3)[1].tolist() == [[2]]


def test_vectors_come_back_as_half_precision_kept_them():
    vectors = clustered(10, 8)
    index = FlatIndex(8)
    index.add(range(10), vectors)
    assert np.array_equal(
        index.vectors([7, 2]), vectors[[7, 2]].astype(np.float16).astype(np.float32)
    )
    with pytest.raises(KeyError):
        index.vectors([99])


def test_an_empty_index_answers_nothing():
    index = FlatIndex(3)
    ids, scores = index.search(np.zeros((2, 3)), 10)
    assert ids.shape == scores.shape == (2, 0)
    assert index.remove([1]) == 0
    assert index.ids().tolist() == []


def test_no_queries_get_no_answers():
    index = FlatIndex(3)
    index.add([1], [[1, 2, 3]])
    assert index.search(np.empty((0, 3)), 10)[0].shape == (0, 0)


def test_k_beyond_the_index_lists_all_and_a_negative_one_is_refused():
    index = FlatIndex(1)
    index.add([1, 2], [[1], [2]])
    assert index.search([[1]], 1_000_000)[0].tolist() == [[2, 1]]
    assert index.search([[1]], 0)[0].shape == (1, 0)
    with pytest.raises(ValueError, match="k is -1"):
        index.search([[1]], -1)


@pytest.mark.parametrize("shape", [(1, 4), (1, 2), (3,), (1, 1, 3)])
def test_other_dimensions_are_refused(shape):
    index = FlatIndex(3)
    with pytest.raises(WrongShape, match=r"this index takes \[n, 3\]"):
        index.add([1], np.zeros(shape))
    with pytest.raises(WrongShape):
        index.search(np.zeros(shape), 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 65505.0, 1e30])
def test_what_half_precision_cannot_hold_is_refused_and_nothing_is_put_in(bad):
    index = FlatIndex(2)
    with pytest.raises(NotFinite, match=r"vector 1 holds .* at component 0"):
        index.add([1, 2], [[1, 2], [bad, 0]])
    with pytest.raises(NotFinite):
        index.search([[0, bad]], 1)
    assert len(index) == 0


def test_ids_that_are_none_are_refused():
    index = FlatIndex(1)
    with pytest.raises(WrongShape, match="2 ids came with 1 vectors"):
        index.add([1, 2], [[1]])
    with pytest.raises(WrongShape, match="ids start at 0, -1 was given"):
        index.add([-1], [[1]])
    with pytest.raises(WrongShape, match="ids are float64"):
        index.remove([1.5])


def test_the_greatest_id_is_an_id():
    index = FlatIndex(1)
    index.add([2**63 - 1], [[1]])
    assert index.search([[1]], 1)[0].tolist() == [[2**63 - 1]]


def test_removing_gives_memory_back_and_growing_takes_no_more_than_needed():
    index = FlatIndex(8, block_rows=10)
    index.add(range(100), np.ones((100, 8)))
    full = index.statistics().memory
    index.remove(range(95))
    assert index.statistics().memory < full / 3
    assert index.search([[1] * 8], 9)[0].tolist() == [[95, 96, 97, 98, 99]]


def test_statistics_tell_what_is_held():
    index = FlatIndex(8)
    index.add([1, 2], np.ones((2, 8)))
    found = index.statistics()
    assert (found.backend, found.dimensions, found.vectors) == ("faiss", 8, 2)
    assert index.degraded == ""


@given(st.lists(st.floats(width=16, allow_nan=False, allow_infinity=False), min_size=1))
def test_what_was_saved_is_loaded_to_the_bit(numbers):
    index, again = (FlatIndex(1, block_rows=4) for _ in range(2))
    vectors = np.array(numbers, np.float32)[:, None]
    index.add(range(len(numbers)), vectors)
    with tempfile.TemporaryDirectory() as directory:
        index.save(Path(directory))
        again.load(Path(directory))
    assert np.array_equal(again.vectors(range(len(numbers))), vectors)


@pytest.fixture
def saved(tmp_path):
    index = FlatIndex(2)
    index.add([1, 2, 3], np.ones((3, 2)))
    index.save(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", [IDS_FILE, VECTORS_FILE])
def test_a_missing_file_is_refused_and_the_index_stays_as_it_was(saved, name):
    (saved / name).unlink()
    index = FlatIndex(2)
    index.add([9], [[1, 1]])
    with pytest.raises(SnapshotBroken, match="No such file"):
        index.load(saved)
    assert index.ids().tolist() == [9]


def test_files_that_do_not_fit_each_other_are_refused(saved):
    with (saved / VECTORS_FILE).open("ab") as file:
        file.write(b"\0\0")
    with pytest.raises(SnapshotBroken, match="14 bytes are not 3 vectors of 2 components"):
        FlatIndex(2).load(saved)


def test_files_of_other_dimensions_are_refused(saved):
    with pytest.raises(SnapshotBroken, match="are not 3 vectors of 4 components"):
        FlatIndex(4).load(saved)


def test_an_id_that_stands_twice_is_refused(saved):
    (saved / IDS_FILE).write_bytes(np.array([1, 2, 1], "<i8").tobytes())
    with pytest.raises(SnapshotBroken, match="an id stands twice"):
        FlatIndex(2).load(saved)


def test_saving_over_a_snapshot_is_refused(saved):
    with pytest.raises(FileExistsError):
        FlatIndex(2).save(saved)
