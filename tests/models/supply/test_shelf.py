"""Packs that are here: found, compared, taken away."""

import shutil

import pytest

from models.pack import BUILT_IN
from models.supply.errors import PackKept, PackUnknown
from models.supply.lock import Entry, Lock, LockedFile
from models.supply.shelf import Shelf


@pytest.fixture
def shelf(tmp_path):
    """One own copy of the built-in pack, called as it is."""
    shelf = Shelf(tmp_path / "data", (tmp_path / "mine",))
    shelf.packs.mkdir(parents=True)
    return shelf


def copy(shelf, name="sketch"):
    shutil.copytree(BUILT_IN / "sketch", shelf.packs / name)
    toml = shelf.packs / name / "pack.toml"
    toml.write_text(toml.read_text().replace('name = "sketch"', f'name = "{name}"'))
    return shelf.packs / name


def wrong(held, *, read=True):
    return {fault.file: fault.what for _, fault in held.faults(read=read) if fault}


def test_the_first_place_that_has_a_name_is_used(shelf):
    assert [(each.name, each.place) for each in shelf.held()] == [("sketch", "built in")]
    own = copy(shelf)
    assert [each.place for each in shelf.held()] == ["data", "built in"]
    assert shelf.find("sketch").directory == own
    mine = shelf.data.parent / "mine" / "sketch"
    shutil.copytree(own, mine)
    assert shelf.find("sketch").directory == mine


def test_a_pack_that_is_not_here_is_answered_with_those_that_are(shelf):
    copy(shelf, "other")
    with pytest.raises(PackUnknown) as caught:
        shelf.find("clip")
    assert str(caught.value) == "no pack 'clip' is here; there are: other, sketch"


def test_every_file_of_a_whole_pack_is_named(shelf):
    held = shelf.find("sketch")
    assert [file for file, _ in held.faults(read=True)] == [
        "caption-decoder.onnx",
        "caption-encoder.onnx",
        "caption-tokenizer.json",
        "face-detect.onnx",
        "face-embed.onnx",
        "image.onnx",
        "text.onnx",
        "tokenizer.json",
    ]
    assert wrong(held) == {}
    assert held.size == sum(path.stat().st_size for path in held.directory.iterdir())


def test_a_changed_file_is_found_by_reading_it(shelf):
    path = copy(shelf) / "text.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    assert wrong(shelf.find("sketch"), read=False) == {}
    found = wrong(shelf.find("sketch"))
    assert list(found) == ["text.onnx"]
    assert found["text.onnx"].startswith("has sha256 ")
    assert found["text.onnx"].endswith(
        "instead of 064a8c91a1bc63776927273d7854c7d7dc9a184a5feffc8545cfac76e7b85fa1"
    )


def test_a_missing_file_is_found_by_looking(shelf):
    (copy(shelf) / "text.onnx").unlink()
    assert wrong(shelf.find("sketch"), read=False) == {"text.onnx": "is missing"}


@pytest.mark.parametrize("where", ["data", "data/packs"])
def test_folders_that_are_not_there_hold_nothing(tmp_path, where):
    (tmp_path / where).mkdir(parents=True)
    assert [each.name for each in Shelf(tmp_path / "data").held()] == ["sketch"]
    assert Shelf(tmp_path / "data").begun() == {}


def test_a_folder_without_a_manifest_is_damaged(shelf):
    (shelf.packs / "odd").mkdir()
    assert wrong(shelf.find("odd")) == {"pack.toml": "cannot be read: No such file or directory"}


def test_a_pack_that_names_itself_otherwise_is_damaged(shelf):
    shutil.move(copy(shelf), shelf.packs / "other")
    assert wrong(shelf.find("other")) == {
        "pack.toml": "names itself 'sketch', but lies in a folder 'other'"
    }


def lock(shelf, files):
    Lock().write(
        shelf.data,
        Entry(
            name="faces",
            kind="faces",
            repo="some/one",
            revision="1" * 40,
            licence="MIT",
            pulled="",
            files=(),
            installed=files,
        ),
    )


def test_a_pulled_pack_needs_no_manifest_where_none_was_installed(shelf):
    (shelf.packs / "faces").mkdir()
    (shelf.packs / "faces" / "model.onnx").write_bytes(b"1234567")
    sha256 = "8bb0cf6eb9b17d0f7d22b456f121257dc1254e1f01665370476383ea776df414"
    lock(shelf, (LockedFile("model.onnx", 7, sha256),))
    held = shelf.find("faces")
    assert (wrong(held), held.kind, held.licence) == ({}, "faces", "MIT")
    (shelf.packs / "faces" / "model.onnx").write_bytes(b"123")
    assert wrong(held, read=False) == {"model.onnx": "has 3 bytes instead of 7"}


def test_a_manifest_that_was_installed_is_missed(shelf):
    (shelf.packs / "faces").mkdir()
    lock(shelf, (LockedFile("pack.toml", 7, "0" * 64),))
    assert wrong(shelf.find("faces"))["pack.toml"] == "is missing"


def test_what_is_built_in_or_elsewhere_is_kept(shelf):
    with pytest.raises(PackKept) as caught:
        shelf.require_removable("sketch", "clip")
    assert str(caught.value) == f"sketch is built in: only packs in {shelf.packs} are removed"
    mine = shelf.data.parent / "mine"
    copy(shelf, "own").rename(shelf.data.parent / "own")
    mine.mkdir()
    (shelf.data.parent / "own").rename(mine / "own")
    with pytest.raises(PackKept) as caught:
        shelf.require_removable("own", "clip")
    assert str(caught.value) == f"own lies in {mine}/own: only packs in {shelf.packs} are removed"


def test_what_is_in_use_is_kept_unless_another_of_its_name_serves(shelf):
    copy(shelf)
    with pytest.raises(PackKept, match=r"^sketch is in use: `model\.pack` names it"):
        shelf.require_removable("sketch", "sketch")
    shutil.copytree(BUILT_IN / "sketch", shelf.data.parent / "mine" / "sketch")
    assert shelf.require_removable("sketch", "sketch").place == "data"


def test_a_removed_pack_is_gone(shelf):
    copy(shelf)
    shelf.remove(shelf.require_removable("sketch", "clip"))
    assert [each.place for each in shelf.held()] == ["built in"]
    assert list(shelf.partial.iterdir()) == []


def test_what_a_kill_left_is_swept_but_pulls_stay(shelf):
    (shelf.aside("removed-x") / "deep").mkdir(parents=True)
    folder = shelf.download("faces", "1" * 40)
    (folder / "model.onnx.part").write_bytes(b"1234")
    shelf.sweep()
    assert shelf.begun() == {"faces": 4}
    assert list(shelf.partial.iterdir()) == [folder]
    shelf.download("faces", "2" * 40)
    assert shelf.begun() == {"faces": 0}
    assert shelf.give_up("faces") == 0
    assert shelf.begun() == {}


def test_a_pack_is_replaced_by_another(shelf):
    own = copy(shelf)
    (own / "old").touch()
    made = shelf.aside("made-sketch")
    shutil.copytree(BUILT_IN / "sketch", made)
    assert shelf.publish(made, "sketch") == own
    assert not (own / "old").exists()
    assert list(shelf.partial.iterdir()) == []
