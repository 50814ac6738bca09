import numpy as np
import pytest

from actors.vectors.errors import SnapshotBroken
from actors.vectors.files import DataFile, digest, read_rows, replace, write_rows


def test_rows_written_in_parts_are_read_whole(tmp_path):
    vectors = np.arange(12, dtype=np.float16).reshape(4, 3)
    write_rows(tmp_path, [(np.array([4, 5, 6]), vectors[:3]), (np.array([1]), vectors[3:])])
    ids, rows = read_rows(tmp_path, 3)
    assert ids.tolist() == [4, 5, 6, 1]
    assert np.array_equal(rows, vectors)


def test_no_rows_are_read_as_none(tmp_path):
    write_rows(tmp_path, [])
    ids, rows = read_rows(tmp_path, 3)
    assert (len(ids), rows.shape) == (0, (0, 3))


def test_rows_are_never_written_over(tmp_path):
    write_rows(tmp_path, [])
    with pytest.raises(FileExistsError):
        write_rows(tmp_path, [])


def test_a_file_is_replaced_in_one_step_and_leaves_no_litter(tmp_path):
    path = tmp_path / "manifest.json"
    replace(path, b"old")
    replace(path, b"new")
    assert path.read_bytes() == b"new"
    assert [each.name for each in tmp_path.iterdir()] == ["manifest.json"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"12", "2 bytes instead of 3"),
        (b"1234", "4 bytes instead of 3"),
        (b"124", "damaged"),
        (None, "No such file"),
    ],
)
def test_a_file_that_is_not_what_it_was_is_refused(tmp_path, content, complaint):
    path = tmp_path / "x"
    path.write_bytes(b"123")
    file = DataFile("x", 3, digest(path))
    file.check(tmp_path)
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SnapshotBroken, match=complaint):
        file.check(tmp_path)
