import os
import shutil

import numpy as np
import pytest

from actors.vectors import graph
from actors.vectors.errors import NotFinite, SnapshotBroken, WrongShape
from actors.vectors.files import VECTORS_FILE
from actors.vectors.flat import FlatIndex
from actors.vectors.graph import DEAD_FILE, FACTS_FILE, GRAPH_FILE, Segment, build_segment
from tests.actors.vectors.oracle import close, clustered, overlap

COUNT = 3000
DIMENSIONS = 24
IDS = np.random.default_rng(3).permutation(COUNT) * 5
VECTORS = clustered(COUNT, DIMENSIONS)
QUERIES = clustered(50, DIMENSIONS, seed=9)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    directory = tmp_path_factory.mktemp("graphs") / "segment"
    build_segment(IDS, VECTORS, directory)
    return directory


@pytest.fixture
def directory(built, tmp_path):
    """A copy to be damaged."""
    return shutil.copytree(built, tmp_path / "segment")


@pytest.fixture
def exact():
    index = FlatIndex(DIMENSIONS)
    index.add(IDS, VECTORS)
    return index


def test_a_graph_finds_nearly_all_true_neighbours(built, exact):
    segment = Segment.open(built, DIMENSIONS)
    assert segment.facts.recall >= 0.95
    for k in (1, 20, 200, 400):
        ids, scores = segment.nearest(QUERIES, k)
        true, _ = exact.search(QUERIES, k)
        assert ids.shape == scores.shape == (len(QUERIES), k)
        assert overlap(ids, true) >= 0.95


def test_a_short_list_is_as_right_as_a_long_one_after_a_load(tmp_path):
    # Without clusters every vector is about as far as any other: the hardest case there is.
    random = np.random.default_rng(0)
    vectors = random.standard_normal((2000, 64)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    queries = random.standard_normal((50, 64)).astype(np.float32)
    build_segment(range(2000), vectors, tmp_path / "s")
    ids, _ = Segment.open(tmp_path / "s", 64).nearest(queries, 5)
    flat = FlatIndex(64)
    flat.add(range(2000), vectors)
    assert overlap(ids, flat.search(queries, 5)[0]) >= 0.95


def test_a_score_does_not_change_when_a_vector_moves_into_a_graph(built, exact):
    segment = Segment.open(built, DIMENSIONS)
    ids, scores = segment.nearest(QUERIES, 50)
    for query, found, said in zip(QUERIES, ids, scores, strict=True):
        assert close(said, exact.vectors(found) @ query)
        assert (np.diff(said) <= 0).all()


def test_comparing_all_gives_the_exact_answer(built, exact):
    ids, scores = Segment.open(built, DIMENSIONS).exact(QUERIES, 100)
    true, best = exact.search(QUERIES, 100)
    assert overlap(ids, true) > 0.999
    assert close(scores, best)


def test_a_list_that_is_a_large_part_of_the_whole_is_exact(built, exact):
    segment = Segment.open(built, DIMENSIONS)
    ids, _ = segment.nearest(QUERIES, COUNT + 1)
    assert np.array_equal(np.sort(ids[0]), exact.ids())


def test_the_dead_are_not_found_and_the_others_still_are(built, exact):
    segment = Segment.open(built, DIMENSIONS)
    doomed = IDS[: COUNT // 2]
    assert segment.kill(doomed) == COUNT // 2
    assert segment.kill(doomed) == 0
    assert (len(segment), segment.dead) == (COUNT - COUNT // 2, COUNT // 2)
    exact.remove(doomed)
    ids, _ = segment.nearest(QUERIES, 200)
    assert not np.isin(ids, doomed).any()
    assert overlap(ids, exact.search(QUERIES, 200)[0]) >= 0.95
    assert np.array_equal(segment.ids(), exact.ids())


def test_killing_what_is_not_there_is_nothing(built):
    segment = Segment.open(built, DIMENSIONS)
    assert segment.kill(np.array([1, 2, 10**9])) == 0
    assert segment.kill(np.array([], np.int64)) == 0
    assert segment.kill(np.array([5, 5])) == 1


def test_a_handful_of_survivors_is_found_whole(built):
    segment = Segment.open(built, DIMENSIONS)
    survivors = np.sort(IDS[:7])
    segment.kill(IDS[7:])
    ids, _ = segment.nearest(QUERIES, 1)
    assert np.isin(ids, survivors).all()
    ids, _ = segment.nearest(QUERIES, 200)
    assert np.array_equal(np.sort(ids[0]), survivors)
    segment.kill(survivors)
    assert segment.nearest(QUERIES, 5)[0].shape == (len(QUERIES), 0)


def test_the_dead_stay_dead_when_files_are_passed_on(built, tmp_path):
    segment = Segment.open(built, DIMENSIONS)
    segment.kill(IDS[:100])
    home = tmp_path / "home"
    home.mkdir()
    segment.link_into(home)
    assert (home / GRAPH_FILE).stat().st_ino == (built / GRAPH_FILE).stat().st_ino
    again = Segment.open(home, DIMENSIONS)
    assert again.dead == 100
    assert np.array_equal(again.ids(), segment.ids())
    assert again.name == segment.name


def test_files_are_passed_on_from_whichever_home_still_stands(directory, tmp_path):
    segment = Segment.open(directory, DIMENSIONS)
    homes = [tmp_path / name for name in "abc"]
    for home in homes:
        home.mkdir()
    segment.link_into(homes[0])
    shutil.rmtree(directory)
    segment.link_into(homes[1])
    shutil.rmtree(homes[1])
    segment.link_into(homes[2])
    assert len(Segment.open(homes[2], DIMENSIONS)) == COUNT


def test_files_are_copied_where_there_are_no_links(built, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    segment = Segment.open(built, DIMENSIONS)
    segment.link_into(tmp_path)
    assert (tmp_path / GRAPH_FILE).stat().st_ino != (built / GRAPH_FILE).stat().st_ino
    assert len(Segment.open(tmp_path, DIMENSIONS)) == COUNT


@pytest.mark.parametrize("name", [GRAPH_FILE, VECTORS_FILE])
@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing"])
def test_a_damaged_file_is_refused_before_the_library_sees_it(directory, name, damage):
    path = directory / name
    data = bytearray(path.read_bytes())
    if damage == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "flipped":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    else:
        path.unlink()
    with pytest.raises(SnapshotBroken):
        Segment.open(directory, DIMENSIONS)


@pytest.mark.parametrize("text", ["", "{}", '{"format": 99}', "\xff"])
def test_damaged_facts_are_refused(directory, text):
    (directory / FACTS_FILE).write_text(text, "latin-1")
    with pytest.raises(SnapshotBroken):
        Segment.open(directory, DIMENSIONS)


def test_missing_facts_are_refused(directory):
    (directory / FACTS_FILE).unlink()
    with pytest.raises(SnapshotBroken, match="No such file"):
        Segment.open(directory, DIMENSIONS)


def test_a_graph_of_another_format_or_width_is_refused(directory):
    with pytest.raises(SnapshotBroken, match="24 dimensions, 32 are wanted"):
        Segment.open(directory, 32)
    facts = directory / FACTS_FILE
    facts.write_text(facts.read_text().replace('"format":1', '"format":2'))
    with pytest.raises(SnapshotBroken, match="format 2, this reads 1"):
        Segment.open(directory, DIMENSIONS)


def test_a_graph_that_falls_apart_is_noticed_and_answers_by_comparing_all(
    tmp_path, exact, monkeypatch
):
    monkeypatch.setattr(graph, "LINKS", 2)
    monkeypatch.setattr(graph, "EF_BUILD", 2)
    facts = build_segment(IDS, VECTORS, tmp_path / "s")
    assert (facts.ef, facts.recall) == (graph.WIDTHS[-1], 0)
    ids, scores = Segment.open(tmp_path / "s", DIMENSIONS).nearest(QUERIES, 100)
    true, best = exact.search(QUERIES, 100)
    assert overlap(ids, true) > 0.999
    assert close(scores, best)


def test_no_queries_get_no_answers(built):
    assert Segment.open(built, DIMENSIONS).nearest(QUERIES[:0], 5)[0].shape == (0, 0)


def test_a_build_tells_its_progress(tmp_path, monkeypatch):
    monkeypatch.setattr(graph, "SLICE", 10)
    seen: list[int] = []
    facts = build_segment(range(25), VECTORS[:25], tmp_path / "s", progress=seen.append)
    assert seen == [10, 20, 25]
    assert facts.count == 25


def test_a_graph_of_one_vector_works(tmp_path):
    build_segment([7], VECTORS[:1], tmp_path / "s")
    segment = Segment.open(tmp_path / "s", DIMENSIONS)
    assert segment.nearest(VECTORS[:1], 10)[0].tolist() == [[7]]


@pytest.mark.parametrize(
    ("ids", "vectors"),
    [([], VECTORS[:0]), ([1, 1], VECTORS[:2]), ([1], VECTORS[:2])],
)
def test_a_build_without_distinct_ids_is_refused(tmp_path, ids, vectors):
    with pytest.raises(WrongShape):
        build_segment(ids, vectors, tmp_path / "s")
    assert list(tmp_path.iterdir()) == []


def test_a_build_that_fails_leaves_no_segment_and_can_be_tried_again(tmp_path):
    bad = VECTORS[:20].copy()
    bad[13, 5] = np.nan
    with pytest.raises(NotFinite):
        build_segment(range(20), bad, tmp_path / "s")
    assert not (tmp_path / "s").exists()
    build_segment(range(20), VECTORS[:20], tmp_path / "s")
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_a_segment_is_never_built_over(built):
    with pytest.raises(FileExistsError):
        build_segment(IDS, VECTORS, built)


def test_no_dead_file_means_no_dead(built):
    assert not (built / DEAD_FILE).exists()
    assert Segment.open(built, DIMENSIONS).dead == 0
