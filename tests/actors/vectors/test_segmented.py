import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from actors.vectors.errors import NotFinite, SealRefused, SnapshotBroken, WrongShape
from actors.vectors.files import read_rows
from actors.vectors.flat import FlatIndex
from actors.vectors.graph import Segment, build_segment
from actors.vectors.segmented import SegmentedIndex
from tests.actors.vectors.builder import build, sealed
from tests.actors.vectors.oracle import (
    DIMENSIONS,
    PAIRS,
    QUERIES,
    Oracle,
    clustered,
    overlap,
    split,
)


class SegmentedHistory(RuleBasedStateMachine):
    """Any history of changes, seals and restarts loses nothing and invents nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.names = iter(range(1000))
        self.oracle = Oracle()
        self.index = self.empty()
        self.built: Segment | None = None

    def teardown(self) -> None:
        shutil.rmtree(self.root)

    def empty(self) -> SegmentedIndex:
        return SegmentedIndex(DIMENSIONS, seal_rows=4, block_rows=3)

    def fresh(self) -> Path:
        return self.root / str(next(self.names))

    @rule(pairs=PAIRS)
    def add(self, pairs):
        ids, vectors = split(pairs)
        self.index.add(ids, vectors)
        self.oracle.add(ids, vectors)

    @rule(ids=st.lists(st.integers(0, 35), max_size=20))
    def remove(self, ids):
        assert self.index.remove(ids) == self.oracle.remove(ids)

    @rule(queries=QUERIES)
    def list_all(self, queries):
        self.oracle.agrees(self.index, queries, 40)

    @rule(queries=QUERIES, k=st.integers(0, 5))
    def search(self, queries, k):
        self.oracle.tolerates(self.index, queries, k)

    @precondition(lambda self: self.index.due)
    @rule()
    def begin_seal(self):
        self.index.begin_seal()
        self.built = build(self.index, self.fresh())

    @precondition(lambda self: self.index.frozen)
    @rule()
    def build_again(self):
        self.built = build(self.index, self.fresh())

    @precondition(lambda self: self.index.frozen)
    @rule()
    def finish_seal(self):
        assert self.built is not None
        self.index.finish_seal(self.built)

    @rule()
    def absorb(self):
        self.index.absorb()

    @rule()
    def save_and_load(self):
        directory = self.fresh()
        directory.mkdir()
        self.index.save(directory)
        self.index = self.empty()
        self.index.load(directory)

    @invariant()
    def holds_the_same(self):
        assert len(self.index) == len(self.oracle.held)
        assert self.index.ids().tolist() == sorted(self.oracle.held)
        found = self.index.statistics()
        assert found.vectors == len(self.oracle.held)
        assert found.sealed <= found.vectors


TestSegmentedHistory = SegmentedHistory.TestCase
TestSegmentedHistory.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)

WIDE = 16
VECTORS = clustered(4000, WIDE)


@pytest.fixture
def library(tmp_path):
    """Two graphs of 1500 and a tail of 1000."""
    index = SegmentedIndex(WIDE, seal_rows=1500)
    for part in range(2):
        some = slice(1500 * part, 1500 * (part + 1))
        index.add(np.arange(4000)[some], VECTORS[some])
        sealed(index, tmp_path / str(part))
    index.add(np.arange(3000, 4000), VECTORS[3000:])
    return index


def test_several_graphs_and_a_tail_answer_as_one_exact_index(library):
    exact = FlatIndex(WIDE)
    exact.add(np.arange(4000), VECTORS)
    queries = clustered(50, WIDE, seed=8)
    for k in (10, 200):
        found, _ = library.search(queries, k)
        assert overlap(found, exact.search(queries, k)[0]) >= 0.95


def test_statistics_tell_where_the_vectors_are(library):
    library.remove([0, 1, 3999])
    found = library.statistics()
    assert (found.backend, found.vectors, found.sealed) == ("hnswlib", 3997, 2998)
    assert (found.segments, found.dead) == (2, 2)
    assert found.memory > 4000 * WIDE * 2


def test_a_replaced_vector_is_found_once_and_where_it_is_now(library):
    library.add([10], VECTORS[3500:3501])
    ids, scores = library.search(VECTORS[3500:3501], 4000)
    assert ids[0].tolist().count(10) == 1
    assert sorted(ids[0, :2].tolist()) == [10, 3500]
    assert scores[0, 0] == scores[0, 1]
    assert len(library) == 4000


def test_the_index_says_that_it_is_degraded_while_a_graph_is_due(tmp_path):
    index = SegmentedIndex(WIDE, seal_rows=100)
    index.add(range(99), VECTORS[:99])
    assert (index.degraded, index.due) == ("", False)
    index.add([99], VECTORS[99:100])
    assert (index.degraded, index.due) == ("exact", True)
    assert index.begin_seal() == 100
    assert (index.degraded, index.due, index.frozen) == ("exact", False, 100)
    index.finish_seal(build(index, tmp_path / "rows"))
    assert (index.degraded, index.due, index.frozen) == ("", False, 0)


def test_what_changes_while_a_graph_is_built_is_not_undone_by_it(tmp_path):
    index = SegmentedIndex(WIDE, seal_rows=10)
    index.add(range(100), VECTORS[:100])
    index.begin_seal()
    segment = build(index, tmp_path / "rows")
    index.remove([1, 2])
    index.add([3], VECTORS[500:501])
    index.add([200], VECTORS[200:201])
    index.finish_seal(segment)
    assert index.ids().tolist() == [0, *range(3, 100), 200]
    ids, scores = index.search(VECTORS[500:501], 1)
    assert ids.tolist() == [[3]]
    assert scores[0, 0] == pytest.approx(1, abs=2e-3)
    assert index.statistics().sealed == 97


def test_a_graph_of_other_vectors_is_refused(tmp_path):
    index = SegmentedIndex(WIDE)
    index.add(range(20), VECTORS[:20])
    index.begin_seal()
    build_segment(range(10), VECTORS[:10], tmp_path / "other")
    with pytest.raises(SealRefused, match="lacks vectors"):
        index.finish_seal(Segment.open(tmp_path / "other", WIDE))
    assert len(index) == 20
    index.finish_seal(build(index, tmp_path / "rows"))
    assert len(index) == 20


def test_seals_come_one_at_a_time(tmp_path):
    index = SegmentedIndex(WIDE)
    with pytest.raises(SealRefused, match="nothing to seal"):
        index.begin_seal()
    with pytest.raises(SealRefused, match="no graph"):
        index.write_frozen(tmp_path)
    index.add([1], VECTORS[:1])
    index.begin_seal()
    with pytest.raises(SealRefused, match="already"):
        index.begin_seal()
    segment = build(index, tmp_path / "a")
    index.finish_seal(segment)
    with pytest.raises(SealRefused, match="no graph"):
        index.finish_seal(segment)


def test_a_frozen_part_that_is_removed_waits_for_no_graph(tmp_path):
    index = SegmentedIndex(WIDE)
    index.add([1, 2], VECTORS[:2])
    index.begin_seal()
    segment = build(index, tmp_path / "a")
    index.remove([1])
    index.add([2], VECTORS[2:3])
    assert index.frozen == 0
    with pytest.raises(SealRefused, match="no graph"):
        index.finish_seal(segment)
    assert index.ids().tolist() == [2]


def test_a_worn_graph_goes_into_the_next_one(library, tmp_path):
    library.remove(np.arange(800))
    assert library.statistics().dead == 800
    sealed(library, tmp_path / "next")
    found = library.statistics()
    assert (found.segments, found.dead, found.vectors, found.sealed) == (2, 0, 3200, 3200)
    assert library.ids().tolist() == list(range(800, 4000))


def test_snapshots_share_the_graphs(library, tmp_path):
    homes = [tmp_path / "one", tmp_path / "two"]
    for home in homes:
        home.mkdir()
        library.save(home)
    first, second = (sorted(home.glob("segments/*/graph.hnsw")) for home in homes)
    assert [path.stat().st_ino for path in first] == [path.stat().st_ino for path in second]
    again = SegmentedIndex(WIDE)
    again.load(homes[1])
    assert np.array_equal(again.search(VECTORS[:5], 50)[0], library.search(VECTORS[:5], 50)[0])


def test_an_id_in_two_parts_is_refused_and_the_index_stays_as_it_was(library, tmp_path):
    library.save(tmp_path)
    other = FlatIndex(WIDE)
    other.add([0], VECTORS[:1])
    shutil.rmtree(tmp_path / "tail")
    (tmp_path / "tail").mkdir()
    other.save(tmp_path / "tail")
    with pytest.raises(SnapshotBroken, match="stands in two parts"):
        library.load(tmp_path)
    assert len(library) == 4000


def test_a_snapshot_without_its_tail_is_refused(library, tmp_path):
    library.save(tmp_path)
    shutil.rmtree(tmp_path / "tail")
    with pytest.raises(SnapshotBroken):
        library.load(tmp_path)


def test_what_is_unusable_is_refused_and_nothing_is_changed(library):
    with pytest.raises(WrongShape):
        library.add([1], [[1, 2]])
    with pytest.raises(NotFinite):
        library.add([1], np.full((1, WIDE), np.nan))
    with pytest.raises(NotFinite):
        library.search(np.full((1, WIDE), np.inf), 1)
    with pytest.raises(ValueError, match="k is -1"):
        library.search(VECTORS[:1], -1)
    assert library.search(VECTORS[1:2], 1)[0].tolist() == [[1]]


def test_an_empty_index_answers_nothing():
    index = SegmentedIndex(3)
    assert index.search(np.zeros((2, 3)), 5)[0].shape == (2, 0)
    assert index.ids().tolist() == []
    assert index.degraded == ""


@pytest.mark.parametrize("sealed", [False, True])
def test_the_nearest_of_some_ids_are_those_of_all_without_the_others(tmp_path, sealed):
    random = np.random.default_rng(5)
    vectors = random.standard_normal((300, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index = SegmentedIndex(8, seal_rows=100, block_rows=32)
    index.add(np.arange(200), vectors[:200])
    if sealed:
        index.begin_seal()
        rows = tmp_path / "rows"
        rows.mkdir()
        index.write_frozen(rows)
        build_segment(*read_rows(rows, 8), tmp_path / "segment")
        index.finish_seal(Segment.open(tmp_path / "segment", 8))
    index.add(np.arange(200, 300), vectors[200:])
    index.remove([7, 250])
    some = random.choice(400, 90, replace=False)
    ids, scores = index.search_among(vectors[:3], some, 20)
    everything, all_scores = index.search(vectors[:3], 300)
    for query in range(3):
        there = np.isin(everything[query], some)
        assert ids[query].tolist() == everything[query][there][:20].tolist()
        assert np.allclose(scores[query], all_scores[query][there][:20], atol=1e-3)
    assert index.search_among(vectors[:1], [7, 250, 999], 5)[0].shape == (1, 0)
    assert index.search_among(vectors[:1], [3, 3], 5)[0].tolist() == [[3]]
