"""Which pack serves, read from the catalog without its machinery."""

import sqlite3

import pytest

from actors.packs import Chosen, Packs, chosen, serving, space_of
from models.errors import PackNotFound
from models.pack import BUILT_IN, load_pack
from tests.actors.library.catalogs import empty_catalog
from tests.packs import turned


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "a folder with % and ?" / "catalog.sqlite"
    path.parent.mkdir()
    path.write_bytes(empty_catalog())
    return path


def test_where_there_is_no_library_nothing_serves(tmp_path):
    assert chosen(tmp_path / "catalog.sqlite") == []
    assert serving(tmp_path / "catalog.sqlite") is None
    assert not (tmp_path / "catalog.sqlite").exists()


def test_a_file_that_is_no_catalog_says_nothing(tmp_path):
    (tmp_path / "catalog.sqlite").write_bytes(b"no database" * 1000)
    assert chosen(tmp_path / "catalog.sqlite") == []


def test_the_spaces_of_a_library_are_told_with_their_packs(database):
    assert chosen(database) == [Chosen("clip", "clip-b32", "active")]
    assert serving(database) == Chosen("clip", "clip-b32", "active")


def test_packs_are_found_by_name_and_the_first_without_one(database, tmp_path):
    folder = tmp_path / "packs"
    turned(folder, "turned")
    packs = Packs([str(folder), str(BUILT_IN)], str(BUILT_IN / "sketch"), str(database))
    assert packs.find("turned").directory == folder / "turned"
    assert (packs.find("").name, packs.find("sketch").name) == ("sketch", "sketch")
    assert (packs.serving(), packs.open()) == ("clip-b32", {"clip-b32"})
    with pytest.raises(PackNotFound):
        packs.find(packs.serving())
    assert (packs.is_demo("turned"), packs.is_demo("clip-b32")) == (True, False)


def test_a_space_that_is_built_is_open_and_one_that_was_left_is_not(database):
    with sqlite3.connect(database) as raw:
        for name, state in (("built", "building"), ("left", "retired")):
            row = (name, f"{name}-pack", "1", "1", "fp32", 4, state)
            cursor = raw.execute(
                "INSERT INTO spaces (name, pack, revision, preprocess, precision, dimensions,"
                " state) VALUES (?, ?, ?, ?, ?, ?, ?)",
                row,
            )
    assert [each.space for each in chosen(database)] == ["clip", "built"]  # left with nothing
    with raw:
        counter = ("vector", str(cursor.lastrowid), 3)
        raw.execute("INSERT INTO counters (kind, state, n) VALUES (?, ?, ?)", counter)
    raw.close()
    assert chosen(database)[-1] == Chosen("left", "left-pack", "retired")
    assert Packs([], "", str(database)).open() == {"clip-b32", "built-pack"}


def test_a_space_is_what_the_manifest_says():
    space = space_of(load_pack(BUILT_IN / "sketch"))
    assert (space.name, space.pack, space.revision) == ("sketch-1", "sketch", "1")
    assert (space.precision, space.dimensions) == ("fp16-weights", 512)
