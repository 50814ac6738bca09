import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.vectors import snapshot
from actors.vectors.errors import SnapshotBroken, SnapshotMissing
from actors.vectors.files import digest
from actors.vectors.flat import FlatIndex
from actors.vectors.segmented import SegmentedIndex
from actors.vectors.snapshot import MANIFEST, read, read_manifest, space_directory, write
from tests.actors.vectors.builder import sealed
from tests.actors.vectors.oracle import clustered

SPACE = "clip/ViT-B-32"
VECTORS = clustered(200, 8)


@pytest.fixture
def home(tmp_path):
    return space_directory(tmp_path / "index", SPACE)


@pytest.fixture
def index():
    index = FlatIndex(8)
    index.add(range(100), VECTORS[:100])
    return index


def snapshots(home: Path) -> list[str]:
    return sorted(path.name for path in home.iterdir() if path.is_dir())


def test_what_was_written_is_read(home, index):
    written = write(home, SPACE, index, 17)
    again = FlatIndex(8)
    manifest = read(home, SPACE, again)
    assert manifest == written
    assert (manifest.applied_seq, manifest.count) == (17, 100)
    assert np.array_equal(again.vectors(range(100)), index.vectors(range(100)))


def test_the_first_start_is_told_from_damage(home):
    with pytest.raises(SnapshotMissing):
        read(home, SPACE, FlatIndex(8))


def test_an_empty_index_has_a_snapshot_too(home):
    write(home, SPACE, FlatIndex(8), 0)
    again = FlatIndex(8)
    assert read(home, SPACE, again).count == 0
    assert len(again) == 0


def test_only_the_latest_snapshot_stays(home, index):
    write(home, SPACE, index, 1)
    index.add([100], VECTORS[100:101])
    write(home, SPACE, index, 2)
    again = FlatIndex(8)
    assert read(home, SPACE, again).applied_seq == 2
    assert len(again) == 101
    assert len(snapshots(home)) == 1


@pytest.mark.parametrize("damage", ["truncated", "flipped", "grown", "missing"])
@pytest.mark.parametrize("name", ["ids.i64", "vectors.f16"])
def test_a_damaged_file_is_refused_and_the_index_stays_as_it_was(home, index, name, damage):
    manifest = write(home, SPACE, index, 1)
    path = home / manifest.directory / name
    data = bytearray(path.read_bytes())
    if damage == "truncated":
        path.write_bytes(data[:-8])
    elif damage == "grown":
        path.write_bytes(data + b"\0" * 8)
    elif damage == "flipped":
        data[len(data) // 2] ^= 4
        path.write_bytes(data)
    else:
        path.unlink()
    again = FlatIndex(8)
    again.add([5], VECTORS[:1])
    with pytest.raises(SnapshotBroken, match=name):
        read(home, SPACE, again)
    assert again.ids().tolist() == [5]


@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_any_flipped_bit_of_the_manifest_is_noticed(tmp_path_factory, at, bit):
    home = tmp_path_factory.mktemp("index")
    index = FlatIndex(2)
    index.add([1], [[1, 0]])
    write(home, SPACE, index, 123456)
    path = home / MANIFEST
    data = bytearray(path.read_bytes())
    data[at % len(data)] ^= 1 << bit
    path.write_bytes(data)
    with pytest.raises(SnapshotBroken):
        read(home, SPACE, FlatIndex(2))


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", "null"])
def test_a_manifest_that_is_none_is_refused(home, index, text):
    write(home, SPACE, index, 1)
    (home / MANIFEST).write_text(text)
    with pytest.raises(SnapshotBroken):
        read(home, SPACE, FlatIndex(8))


def test_a_newer_format_is_refused(home, index):
    write(home, SPACE, index, 1)
    path = home / MANIFEST
    path.write_text(path.read_text().replace('"format":1', '"format":2'))
    with pytest.raises(SnapshotBroken, match="format 2, this program reads 1"):
        read(home, SPACE, FlatIndex(8))


def test_a_snapshot_of_another_space_kind_or_width_is_refused(home, index):
    write(home, SPACE, index, 1)
    for space, other in (
        ("face", FlatIndex(8)),
        (SPACE, FlatIndex(16)),
        (SPACE, SegmentedIndex(8)),
    ):
        with pytest.raises(SnapshotBroken, match="wanted is"):
            read(home, space, other)


@pytest.mark.parametrize("space", ["..", ".", "../x", "/etc", "a/b", "", "ü", "a.b"])
def test_no_space_escapes_from_its_folder(tmp_path, space):
    directory = space_directory(tmp_path, space) if space else tmp_path / "x"
    assert directory.resolve().parent == tmp_path.resolve()


def test_different_spaces_have_different_folders(tmp_path):
    spaces = [".", "..", "%2E", "a/b", "a%2Fb", "a", "A"]
    assert len({space_directory(tmp_path, space) for space in spaces}) == len(spaces)


class Failing(FlatIndex):
    """Saves half of itself; then the disk is full."""

    def save(self, directory):
        super().save(directory)
        raise OSError(28, "No space left on device")


def test_a_full_disk_leaves_the_previous_snapshot_and_no_litter(home, index):
    write(home, SPACE, index, 1)
    before = snapshots(home)
    with pytest.raises(OSError, match="No space left"):
        write(home, SPACE, Failing(8), 2)
    assert snapshots(home) == before
    assert read(home, SPACE, FlatIndex(8)).applied_seq == 1


def test_a_crash_before_the_rename_leaves_the_previous_snapshot(home, index, monkeypatch):
    write(home, SPACE, index, 1)
    monkeypatch.setattr(snapshot, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write(home, SPACE, index, 2)
    assert read(home, SPACE, FlatIndex(8)).applied_seq == 1


def test_litter_of_a_killed_writer_is_removed_by_the_next(home, index):
    write(home, SPACE, index, 1)
    (home / "snapshot-9-killed").mkdir()
    (home / "snapshot-9-killed" / "ids.i64").write_bytes(b"half")
    (home / (MANIFEST + ".new")).write_text("{")
    (home / "building").mkdir()
    assert read(home, SPACE, FlatIndex(8)).applied_seq == 1
    manifest = write(home, SPACE, index, 2)
    assert snapshots(home) == ["building", manifest.directory]


WRITER = """
import sys
from pathlib import Path
import numpy as np
from actors.vectors.flat import FlatIndex
from actors.vectors.snapshot import write
index = FlatIndex(8)
for seq in range(1, 1_000_000):
    index.add([seq], np.full((1, 8), seq % 100))
    write(Path(sys.argv[1]), "space", index, seq)
    print(seq, flush=True)
"""


@pytest.mark.parametrize("after", [1, 2, 9])
def test_a_writer_killed_at_any_moment_leaves_a_whole_snapshot(tmp_path, after):
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    with child:
        for _ in range(after):
            told = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    index = FlatIndex(8)
    manifest = read(tmp_path, "space", index)
    assert manifest.applied_seq >= told
    assert index.ids().tolist() == list(range(1, manifest.applied_seq + 1))


def test_graphs_are_shared_between_snapshots_and_not_hashed_again(tmp_path, monkeypatch):
    index = SegmentedIndex(8, seal_rows=10)
    index.add(range(100), VECTORS[:100])
    sealed(index, tmp_path / "rows")
    home = tmp_path / "home"
    first = write(home, SPACE, index, 1)
    index.add([150], VECTORS[150:151])
    index.remove([3])
    hashed: list[str] = []

    def noted(path: Path) -> str:
        hashed.append(path.name)
        return digest(path)

    monkeypatch.setattr(snapshot, "digest", noted)
    second = write(home, SPACE, index, 2)
    assert sorted(hashed) == ["dead.i64", "ids.i64", "vectors.f16"]
    graphs = [
        [file for file in manifest.files if file.name.endswith(".hnsw")]
        for manifest in (first, second)
    ]
    assert graphs[0] == graphs[1]
    monkeypatch.undo()
    again = SegmentedIndex(8)
    assert read(home, SPACE, again).count == 100
    assert np.array_equal(again.ids(), index.ids())


def test_a_damaged_graph_is_refused_before_it_is_opened(tmp_path):
    index = SegmentedIndex(8, seal_rows=10)
    index.add(range(100), VECTORS[:100])
    sealed(index, tmp_path / "rows")
    home = tmp_path / "home"
    manifest = write(home, SPACE, index, 1)
    graph = next((home / manifest.directory).rglob("*.hnsw"))
    with graph.open("r+b") as file:
        file.seek(100)
        file.write(os.urandom(64))
    with pytest.raises(SnapshotBroken, match="damaged"):
        read(home, SPACE, SegmentedIndex(8))


def test_a_manifest_can_be_read_alone(home, index):
    write(home, SPACE, index, 5)
    assert read_manifest(home).space == SPACE


def test_a_manifest_that_cannot_be_read_is_refused(home):
    (home / MANIFEST).mkdir(parents=True)
    with pytest.raises(SnapshotBroken, match="Is a directory"):
        read_manifest(home)
