"""What is forgotten leaves no trace, and does not come back by itself."""

import sqlite3
from pathlib import Path

import msgspec
import pytest

from actors.library.places import within
from actors.messages import SeenFile, Skipped
from tests.actors.library.catalogs import CLIP, ROOT, Catalog, decoded, digest_of, embedded

pytestmark = pytest.mark.anyio


def everything(path: Path) -> bytes:
    """All bytes of the database, as somebody who found the disk would read them."""
    return b"".join(each.read_bytes() for each in sorted(path.parent.glob("catalog.sqlite*")))


async def forget(catalog: Catalog, path: bytes, n: int = 100):
    return await catalog.writer.forget(path, n, catalog.now)


async def test_nothing_of_a_forgotten_photo_can_be_read_from_the_disk(
    catalog: Catalog, tmp_path: Path
):
    await catalog.see(b"beach.jpg", b"secret holiday.jpg", directory=b"summer")
    await catalog.settle(*[decoded(task) for task in await catalog.decodes()])
    embeds = {task.digest: task for task in await catalog.embeds()}
    secret = embeds[digest_of(b"secret holiday.jpg")]
    await catalog.settle(*[embedded(task, fill=77) for task in [secret]])
    vector = bytes([77]) * 16
    assert vector in everything(tmp_path / "catalog.sqlite")
    forgotten = await forget(catalog, b"/photos/summer/secret holiday.jpg")
    await catalog.writer.checkpoint()
    assert forgotten.names == [b"secret holiday.jpg"]
    assert forgotten.digests == [digest_of(b"secret holiday.jpg")]
    assert (forgotten.kept, forgotten.more) == ({}, False)
    left = everything(tmp_path / "catalog.sqlite")
    for trace in (b"secret", digest_of(b"secret holiday.jpg"), vector):
        assert trace not in left
    assert b"beach.jpg" in left
    assert (await catalog.totals()).files == 1


async def test_the_index_hears_of_it_like_of_any_removal(catalog: Catalog):
    await catalog.index(b"a.jpg", b"b.jpg")
    await forget(catalog, b"/photos/a.jpg")
    assert await catalog.fed() == [("add", 1), ("add", 2), ("remove", 1)]
    assert await catalog.reader.vectors_of("clip", 0, 10) == [(2, b"\x01" * 16)]
    assert (await catalog.totals()).indexed == 1


async def test_a_folder_is_forgotten_with_its_name_and_all_below_it(
    catalog: Catalog, tmp_path: Path
):
    for directory in (b"trip", b"trip/day 1", b"trip/day 1/raw", b"trips", b"trip-2"):
        await catalog.see(b"a.jpg", directory=directory)
    await catalog.settle(*[decoded(task, task.path) for task in await catalog.decodes()])
    assert await catalog.reader.below(b"/photos/trip") == (3, 3)
    forgotten = await forget(catalog, b"/photos/trip/")
    assert (len(forgotten.names), len(forgotten.digests)) == (3, 3)
    await catalog.writer.checkpoint()
    left = everything(tmp_path / "catalog.sqlite")
    assert b"day 1" not in left
    known = [directory async for directory, _ in catalog.reader.known(ROOT)]
    assert known == [b"trip-2", b"trips"]
    assert await catalog.reader.below(b"/photos/trip") == (0, 0)


async def test_a_folder_above_the_root_means_all_of_it(catalog: Catalog):
    await catalog.index(b"a.jpg", b"b.jpg")
    assert len((await forget(catalog, b"/")).names) == 2


async def test_a_forgotten_file_is_not_indexed_again(catalog: Catalog):
    await catalog.index(b"a.jpg", b"b.jpg")
    await forget(catalog, b"/photos/a.jpg")
    await catalog.see(b"a.jpg", b"b.jpg")
    assert (await catalog.totals()).files == 1
    assert await catalog.decodes() == []


async def test_new_permissions_or_a_new_name_of_its_folder_in_the_database_bring_nothing_back(
    catalog: Catalog,
):
    await catalog.index(b"a.jpg")
    await forget(catalog, b"/photos/a.jpg")
    chmodded = SeenFile(b"", b"a.jpg", 100, 1, ctime_ns=2)
    await catalog.writer.seen(ROOT, [chmodded], 0, catalog.now)
    assert (await catalog.totals()).files == 0


async def test_a_forgotten_file_that_changed_is_a_new_file(catalog: Catalog):
    await catalog.index(b"a.jpg")
    await forget(catalog, b"/photos/a.jpg")
    await catalog.index(b"a.jpg", version=2, same=b"cropped")
    assert (await catalog.totals()).indexed == 1
    # … and from now on like any other, whatever it turns into
    await catalog.index(b"a.jpg", version=1)
    assert (await catalog.totals()).indexed == 1


async def test_a_photo_that_lies_elsewhere_too_stays_and_it_is_told_where(catalog: Catalog):
    await catalog.index(b"a.jpg", b"b.jpg", same=b"beach")
    forgotten = await forget(catalog, b"/photos/a.jpg")
    assert (forgotten.names, forgotten.digests) == ([b"a.jpg"], [])
    assert forgotten.kept == {1: b"/photos/b.jpg"}
    totals = await catalog.totals()
    assert (totals.files, totals.indexed, totals.duplicates) == (1, 1, 0)
    assert await catalog.fed() == [("add", 1)]


async def test_a_missing_file_can_be_forgotten_and_stays_so_when_it_is_back(catalog: Catalog):
    await catalog.index(b"a.jpg")
    await catalog.lose(b"a.jpg")
    assert (await forget(catalog, b"/photos/a.jpg")).digests == [digest_of(b"a.jpg")]
    await catalog.see(b"a.jpg")
    assert (await catalog.totals()).files == 0


async def test_an_older_version_of_a_forgotten_photo_goes_along(catalog: Catalog):
    await catalog.index(b"a.jpg", same=b"before the crop")
    await catalog.index(b"a.jpg", same=b"after the crop", version=2)
    forgotten = await forget(catalog, b"/photos/a.jpg")
    assert sorted(forgotten.digests) == sorted(
        [digest_of(b"before the crop"), digest_of(b"after the crop")]
    )


async def test_dead_letters_and_skipped_files_are_forgotten_too(catalog: Catalog):
    await catalog.see(b"bad.jpg", b"text.jpg", b"dead.jpg")
    bad, text, dead = await catalog.decodes()
    await catalog.fail([bad], "photo")
    await catalog.settle(Skipped(text.id, "not a photo"), decoded(dead))
    await catalog.fail(await catalog.embeds(), "photo")
    assert len(await catalog.reader.dead_letters()) == 2
    await forget(catalog, b"/photos")
    assert await catalog.reader.dead_letters() == []
    assert await catalog.counts("decode") == await catalog.counts("embed") == (0, 0, 0, 0)


async def test_a_picture_that_was_being_decoded_is_told_as_unwanted(catalog: Catalog):
    await catalog.see(b"a.jpg", b"b.jpg")
    a, b = await catalog.decodes()
    await forget(catalog, b"/photos/a.jpg")
    assert sorted(await catalog.settle(decoded(a), decoded(b))) == [a.id, b.id]
    assert catalog.writer.take_unwanted() == [digest_of(b"a.jpg")]
    assert catalog.writer.take_unwanted() == []
    assert (await catalog.totals()).files == 1


async def test_a_result_that_comes_twice_is_not_unwanted(catalog: Catalog):
    await catalog.see(b"a.jpg")
    (task,) = await catalog.decodes()
    await catalog.settle(decoded(task))
    await catalog.settle(decoded(task))
    assert catalog.writer.take_unwanted() == []


async def test_a_number_is_never_given_to_another_photo(catalog: Catalog):
    await catalog.index(b"a.jpg")
    await forget(catalog, b"/photos/a.jpg")
    await catalog.index(b"b.jpg")
    assert await catalog.fed() == [("add", 1), ("remove", 1), ("add", 2)]
    photo = await catalog.reader.photo(1)
    assert photo is not None
    assert (photo.paths, photo.facts.taken_at, photo.facts.format) == ([], None, "forgotten")


async def test_a_new_space_asks_for_nothing_that_was_forgotten(catalog: Catalog):
    await catalog.index(b"a.jpg", b"b.jpg")
    await forget(catalog, b"/photos/a.jpg")
    await catalog.writer.register_space(msgspec.structs.replace(CLIP, name="new"), catalog.now)
    assert await catalog.writer.backfill("new", 100, catalog.now) == 1
    assert [task.content for task in await catalog.embeds(space="new")] == [2]


async def test_many_files_are_forgotten_in_steps(catalog: Catalog):
    await catalog.index(*[b"%d.jpg" % i for i in range(5)])
    steps = []
    while True:
        step = await forget(catalog, b"/photos", n=2)
        steps.append((len(step.names), len(step.digests)))
        if not step.more:
            break
    assert steps == [(2, 2), (2, 2), (1, 1)]


async def test_it_is_on_record_without_the_name(catalog: Catalog, tmp_path: Path):
    await catalog.index(b"a.jpg", b"b.jpg", same=b"beach")
    await forget(catalog, b"/photos/a.jpg")
    await forget(catalog, b"/photos/b.jpg")
    await forget(catalog, b"/nowhere")
    connection = sqlite3.connect(tmp_path / "catalog.sqlite")
    noted = connection.execute("SELECT who, what FROM audit").fetchall()
    connection.close()
    assert noted == [
        ("owner", "forgot 1 files, 0 photos"),
        ("owner", "forgot 1 files, 1 photos"),
    ]


@pytest.mark.parametrize("path", [b"/photos2", b"/phot", b"/other/photos", b"/photosx/a.jpg"])
async def test_a_path_outside_of_a_root_has_nothing_to_do_with_it(path):
    assert within(path, ROOT) is None
