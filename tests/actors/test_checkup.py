"""What counts as wrong, and what is only on its way."""

import os

import numpy as np
import pytest
from blake3 import blake3

from actors.checkup import YOUNG_S, examine
from actors.library.faces import face_id
from actors.messages import IndexIds, Places
from actors.photo.thumbnails import thumbnail_path
from actors.vectors import snapshot
from actors.vectors.backends import make_index
from tests.actors.library.catalogs import (
    CAPTIONS,
    FACES,
    Catalog,
    captioned,
    decoded,
    digest_of,
    empty_catalog,
    faced,
    found,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def made(tmp_path):
    (tmp_path / "catalog.sqlite").write_bytes(empty_catalog())


@pytest.fixture
async def catalog(made, tmp_path, anyio_backend):
    """Three photos, indexed, with their thumbnails."""
    catalog = Catalog(f"sqlite+aiosqlite:///{tmp_path}/catalog.sqlite")
    await catalog.open()
    while await catalog.writer.backfill("clip", 100, catalog.now):
        pass
    await catalog.index(b"a", b"b", b"c")
    for name in (b"a", b"b", b"c"):
        write_pair(tmp_path, digest_of(name))
    yield catalog
    await catalog.close()


def write_pair(tmp_path, digest, sizes=(256, 1024)):
    for side, size in zip((256, 1024), sizes, strict=True):
        path = thumbnail_path(tmp_path / "derived", digest, side)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)


@pytest.fixture
def look(catalog, tmp_path):
    places = Places(catalog.url, os.fsencode(tmp_path / "derived"), os.fsencode(tmp_path / "index"))

    async def look(ask_index=None):
        return await examine(places, ask_index)

    return look


async def test_a_library_in_which_everything_agrees_has_nothing_to_tell(look):
    found = await look()
    assert (found.photos, found.compared) == (3, True)
    assert not any(
        (found.database, found.counters, found.thumbnails, found.vectors, found.leftovers)
    )
    assert (found.snapshot, found.index) == ("", "")


async def test_a_missing_and_a_short_thumbnail_are_lost(look, tmp_path):
    thumbnail_path(tmp_path / "derived", digest_of(b"a"), 1024).unlink()
    write_pair(tmp_path, digest_of(b"c"), (255, 1024))
    assert (await look()).thumbnails == [1, 3]


async def test_what_waits_to_be_decoded_is_not_lost(look, catalog, tmp_path):
    thumbnail_path(tmp_path / "derived", digest_of(b"a"), 256).unlink()
    await catalog.writer.decode_again([1], catalog.now)
    assert (await look()).thumbnails == []


async def test_thumbnails_of_a_missing_file_are_nobodys_loss_and_no_leftovers(look, catalog):
    await catalog.lose(b"a")
    found = await look()
    assert (found.photos, found.thumbnails, found.leftovers) == (2, [], [])


async def test_files_that_belong_to_nobody_are_leftovers_unless_they_are_young(look, tmp_path):
    write_pair(tmp_path, digest_of(b"gone"))
    orphans = {
        thumbnail_path(tmp_path / "derived", digest_of(b"gone"), side) for side in (256, 1024)
    }
    whole = thumbnail_path(tmp_path / "derived", digest_of(b"a"), 256)
    dead = whole.with_name(f".{whole.name}.{2**22 + 1}")  # above the largest process id
    alive = whole.with_name(f".{whole.name}.{os.getpid()}")
    stranger = whole.with_name("notes.txt")
    for path in (dead, alive, stranger):
        path.write_bytes(b"half")
    assert set((await look()).leftovers) == orphans | {dead, alive}

    async def answers(_space):
        return held([1, 2, 3], 3)

    assert set((await look(answers)).leftovers) == {dead}
    for path in (*orphans, alive):
        os.utime(path, (0, os.stat(path).st_mtime - YOUNG_S - 1))
    assert set((await look(answers)).leftovers) == orphans | {dead, alive}


def held(ids, seq):
    return IndexIds(seq, len(ids), blake3(np.array(ids, "<i8").tobytes()).digest())


async def test_an_index_that_holds_something_else_is_told(look, catalog):
    async def answers(_space):
        return held([1, 2], await catalog.reader.feed_head())

    assert (await look(answers)).index == "it holds 2 photos, 3 have a vector"


async def test_an_index_that_is_behind_is_waited_for(look, catalog):
    asked = []

    async def answers(_space):
        asked.append(1)
        return held([1, 2, 3], 3) if len(asked) == 3 else held([1], 1)

    found = await look(answers)
    assert (found.index, found.compared, len(asked)) == ("", True, 3)


async def test_an_index_that_never_stands_still_is_not_compared(look, monkeypatch):
    monkeypatch.setattr("actors.checkup.PAUSE_S", 0)

    async def answers(_space):
        return held([1], 1)

    found = await look(answers)
    assert (found.index, found.compared) == ("", False)


def write_snapshot(tmp_path, ids, seq):
    index = make_index("faiss", 4)
    index.add(np.array(ids, np.int64), np.ones((len(ids), 4), np.float32))
    home = snapshot.space_directory(tmp_path / "index", "clip")
    return home, snapshot.write(home, "clip", index, seq)


async def test_a_snapshot_and_the_feed_after_it_stand_for_an_index_at_rest(look, tmp_path):
    write_snapshot(tmp_path, [1], 1)
    assert (await look()).index == ""
    write_snapshot(tmp_path, [1], 3)
    assert (await look()).index == "it would hold 1 photos, 3 have a vector"


async def test_a_damaged_snapshot_and_one_from_the_future_are_told(look, tmp_path):
    home, manifest = write_snapshot(tmp_path, [1, 2, 3], 3)
    path = home / manifest.directory / manifest.files[0].name
    path.write_bytes(path.read_bytes()[:-1])
    assert "bytes instead of" in (await look()).snapshot
    write_snapshot(tmp_path, [1, 2, 3], 99)
    assert (await look()).snapshot.endswith("it is newer than the database")


async def test_a_content_without_its_vector_is_told_unless_it_was_given_up(look, catalog):
    await catalog.see(b"d", b"e")
    await catalog.settle(*[decoded(task) for task in await catalog.decodes()])
    dead, _ = await catalog.embeds()
    await catalog.fail([dead], "photo")
    async with catalog.writer._engine.begin() as connection:
        await connection.exec_driver_sql("DELETE FROM vectors WHERE content = 2")
    found = await look()
    assert found.vectors == [2]
    assert found.counters == [("vector", "1", 1)]
    await catalog.writer.recount(catalog.now)


async def test_photos_in_which_nobody_looks_for_faces_are_told(look, catalog):
    await catalog.writer.register_space(FACES, catalog.now)
    while await catalog.writer.backfill("faces", 100, catalog.now):
        pass
    looks = await catalog.looks()
    await catalog.settle(*[faced(task, found()) for task in looks])
    assert (await look()).faces == []
    async with catalog.writer._transaction(catalog.now) as tx:
        await tx.connection.exec_driver_sql("DELETE FROM vectors WHERE faces=1 AND content=2")
    assert (await look()).faces == [2]


async def test_photos_that_nobody_describes_are_told_and_so_are_words_that_are_not_indexed(
    look, catalog
):
    await catalog.writer.register_space(CAPTIONS, catalog.now)
    while await catalog.writer.backfill("says", 100, catalog.now):
        pass
    tells = await catalog.tells()
    await catalog.settle(*[captioned(task, f"a dog {task.content}") for task in tells])
    found = await look()
    assert (found.captions, found.words, found.snapshot, found.index) == ([], "", "", "")
    async with catalog.writer._transaction(catalog.now) as tx:
        await tx.connection.exec_driver_sql("DELETE FROM vectors WHERE space=2 AND content=2")
        await tx.connection.exec_driver_sql("DELETE FROM captions WHERE content=2")
        await tx.connection.exec_driver_sql("DELETE FROM caption_words_docsize WHERE id=1")
    found = await look()
    assert found.captions == [2]
    assert found.words == "it lacks 1 captions and has 0 that are none"
    await catalog.writer.index_captions(catalog.now)
    assert (await look()).words == ""
    assert len(await catalog.reader.captioned("dog", 10)) == 2


async def test_an_index_of_faces_is_compared_by_its_faces(look, catalog):
    await catalog.writer.register_space(FACES, catalog.now)
    while await catalog.writer.backfill("faces", 100, catalog.now):
        pass
    first, *others = sorted(await catalog.looks(), key=lambda each: each.content)
    await catalog.settle(faced(first, found(0.1), found(0.6)), *[faced(each) for each in others])
    head = await catalog.reader.feed_head()
    held = {"clip": [1, 2, 3], "faces": [face_id(first.content, 0), face_id(first.content, 1)]}

    async def answer(space):
        ids = np.array(held[space], "<i8")
        return IndexIds(head, len(ids), blake3(ids.tobytes()).digest())

    assert (await look(answer)).index == ""
    held["faces"].pop()
    assert (await look(answer)).index == "it holds 1 faces, 2 have a vector"
