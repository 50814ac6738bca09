"""models.lock: kept, read back, and refused where it is not ours."""

import os

import pytest

from models.supply.errors import LockBroken
from models.supply.lock import Entry, Lock, LockedFile

FILES = (LockedFile("model.onnx", 7, "a" * 64),)


def entry(name, revision="1" * 40):
    return Entry(
        name=name,
        kind="faces",
        repo="some/one",
        revision=revision,
        licence="MIT",
        pulled="2026-11-21T12:00:00+00:00",
        files=FILES,
        installed=FILES,
    )


def test_there_is_none_at_first(tmp_path):
    assert Lock.read(tmp_path) == Lock()
    assert Lock.read(tmp_path).find("one") is None


def test_an_entry_is_added_and_replaced(tmp_path):
    Lock().write(tmp_path, entry("two"))
    Lock.read(tmp_path).write(tmp_path, entry("one"))
    Lock.read(tmp_path).write(tmp_path, entry("two", "2" * 40))
    assert Lock.read(tmp_path) == Lock((entry("one"), entry("two", "2" * 40)))
    assert os.listdir(tmp_path) == ["models.lock"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "truncated"),
        (b"\xff", "malformed"),
        (b'{"packs": [{"name": "one"}]}', "missing required field"),
        (b'{"packs": [], "more": 1}', "unknown field `more`"),
    ],
)
def test_a_lock_that_is_not_ours_is_refused_with_its_place(tmp_path, content, complaint):
    (tmp_path / "models.lock").write_bytes(content)
    with pytest.raises(LockBroken) as caught:
        Lock.read(tmp_path)
    line = str(caught.value)
    assert line.startswith(f"{tmp_path}/models.lock: ")
    assert complaint in line
    assert line.endswith("; restore a copy of it, or remove it and pull again")


def test_a_lock_that_cannot_be_read_is_refused_with_its_reason(tmp_path):
    (tmp_path / "models.lock").mkdir()
    with pytest.raises(LockBroken, match=r"models\.lock: cannot be read: Is a directory"):
        Lock.read(tmp_path)
