"""The folder that changes: its files end as it says, and it notices when somebody touches them."""

import os

import pytest

from actors.photo.errors import BadPhoto
from actors.photo.formats import skip_reason
from actors.photo.original import read_original
from actors.photo.reading import decode_photo
from actors.selftest import drawings
from actors.selftest.drawings import Drawings


@pytest.fixture
def folder(tmp_path):
    return Drawings(tmp_path / "pictures", tmp_path / "staging", 7)


def fate(path, derived):
    """How the real reader finds it."""
    name = os.fsencode(path)
    if skip_reason(os.path.basename(name)):
        return "skipped"
    try:
        decode_photo(read_original(name), derived)
    except BadPhoto:
        return "dead"
    return "indexed"


def test_every_file_has_the_fate_that_it_is_said_to_have(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(drawings, "BROKEN", 0.5)
    folder.add(120)
    found = {path: fate(path, tmp_path / "derived") for path in folder.files}
    assert found == {path: file.fate for path, file in folder.files.items()}
    assert {"indexed", "skipped", "dead"} == set(found.values())


@pytest.mark.anyio
async def test_whatever_happens_the_folder_knows_its_files(folder):
    folder.add(drawings.LEAST + 1)
    for _ in range(40):
        await folder.change()
    assert list(folder.touched()) == []


def test_the_same_seed_draws_the_same_files(tmp_path):
    two = [Drawings(tmp_path / str(each), tmp_path / "staging", 3) for each in range(2)]
    for each in two:
        each.add(20)
    one, other = (
        [(path.relative_to(each.place), file.sha256) for path, file in each.files.items()]
        for each in two
    )
    assert one == other


def test_whoever_touches_an_original_is_noticed(folder):
    folder.add(5)
    changed, gone, touched, *_ = sorted(folder.files)
    changed.write_bytes(b"not what it was")
    gone.unlink()
    os.utime(touched)
    (folder.place / "thumbs.db").write_text("")
    assert sorted(folder.touched()) == sorted(
        [
            f"{changed.name} was changed",
            f"{gone.name}: No such file or directory",
            f"{touched.name} was changed",
            "thumbs.db is not ours",
        ]
    )
