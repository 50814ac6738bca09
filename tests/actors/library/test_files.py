"""What the walk reports."""

import msgspec
import pytest

from actors.messages import SeenFile
from tests.actors.library.catalogs import ROOT, SECOND, Catalog, decoded, embedded

pytestmark = pytest.mark.anyio


async def test_a_skipped_file_gets_its_reason_and_no_task(catalog: Catalog):
    await catalog.see(b"film.mkv", skip="a video")
    assert await catalog.counts("decode") == (0, 0, 0, 0)
    assert (await catalog.totals()).skipped == 1


async def test_a_file_that_is_skipped_no_longer_is_decoded(catalog: Catalog):
    await catalog.see(b"a.heic", skip="format not supported")
    await catalog.see(b"a.heic")
    assert [task.path for task in await catalog.decodes()] == [b"/photos/a.heic"]
    assert (await catalog.totals()).skipped == 0


async def test_a_photo_that_is_skipped_from_now_on_leaves_the_index(catalog: Catalog):
    await catalog.index(b"a.jpg")
    await catalog.see(b"a.jpg", skip="excluded")
    assert await catalog.fed() == [("add", 1), ("remove", 1)]
    totals = await catalog.totals()
    assert (totals.skipped, totals.indexed) == (1, 0)


async def test_a_photo_that_is_excluded_and_included_again_is_decoded_again(catalog: Catalog):
    await catalog.index(b"a.jpg")
    await catalog.see(b"a.jpg", skip="excluded")
    await catalog.see(b"a.jpg")
    await catalog.settle(*[decoded(task) for task in await catalog.decodes()])
    assert await catalog.fed() == [("add", 1), ("remove", 1), ("add", 1)]


async def test_a_new_reason_to_skip_replaces_the_old_one(catalog: Catalog):
    await catalog.see(b"a.jpg", skip="too small")
    await catalog.see(b"a.jpg", skip="excluded")
    assert (await catalog.totals()).skipped == 1


async def test_nothing_seen_is_nothing_done(catalog: Catalog):
    await catalog.writer.seen(ROOT, [], 0, catalog.now)
    assert await catalog.reader.known_directories(ROOT) == []


async def test_a_report_may_come_twice(catalog: Catalog):
    await catalog.see(b"a.jpg", b"b.jpg")
    await catalog.see(b"a.jpg", b"b.jpg")
    assert await catalog.counts("decode") == (2, 0, 0, 0)


async def test_a_report_about_a_decoded_file_changes_nothing(catalog: Catalog):
    await catalog.index(b"a.jpg")
    await catalog.see(b"a.jpg")
    assert await catalog.counts("decode") == (0, 0, 1, 0)
    assert await catalog.fed() == [("add", 1)]


async def test_of_two_reports_about_one_path_the_later_one_holds(catalog: Catalog):
    twice = [SeenFile(b"", b"a.jpg", 1, 1, 1), SeenFile(b"", b"a.jpg", 2, 2, 2)]
    await catalog.writer.seen(ROOT, twice, 0, catalog.now)
    assert [task.size for task in await catalog.decodes()] == [2]


async def test_equal_names_in_two_directories_and_two_roots_are_different_files(catalog: Catalog):
    await catalog.see(b"a.jpg", directory=b"x")
    await catalog.see(b"a.jpg", directory=b"y")
    await catalog.see(b"a.jpg", directory=b"x", root=b"/other")
    assert [task.path for task in await catalog.decodes()] == [
        b"/photos/x/a.jpg",
        b"/photos/y/a.jpg",
        b"/other/x/a.jpg",
    ]


async def test_a_name_need_not_be_utf8(catalog: Catalog):
    name = bytes(set(range(1, 256)) - {ord("/")})
    await catalog.see(name, directory=b"\xff\xfe")
    (task,) = await catalog.decodes()
    assert task.path == b"/photos/\xff\xfe/" + name
    assert list(await catalog.reader.known_files(ROOT, b"\xff\xfe")) == [name]


async def test_times_that_no_database_can_hold_do_not_stop_the_others(catalog: Catalog):
    odd = SeenFile(b"", b"odd.jpg", 1, 2**80, -(2**80))
    for _ in range(2):
        await catalog.writer.seen(ROOT, [odd, SeenFile(b"", b"a.jpg", 1, 1, 1)], 0, catalog.now)
    assert await catalog.counts("decode") == (2, 0, 0, 0)


async def test_a_changed_file_is_decoded_anew_and_its_old_task_is_gone(catalog: Catalog):
    await catalog.see(b"a.jpg", version=1)
    (old,) = await catalog.decodes()
    await catalog.see(b"a.jpg", version=2)
    (new,) = await catalog.decodes()
    assert (new.mtime_ns, await catalog.counts("decode")) == (2, (0, 1, 0, 0))
    assert new.id != old.id


@pytest.mark.parametrize("part", ["size", "mtime_ns", "ctime_ns"])
async def test_a_change_of_any_part_of_the_key_is_a_change(catalog: Catalog, part: str):
    first = SeenFile(b"", b"a.jpg", 1, 1, 1)
    for file in (first, msgspec.structs.replace(first, **{part: 2})):
        await catalog.writer.seen(ROOT, [file], 0, catalog.now)
        await catalog.settle(*[decoded(task) for task in await catalog.decodes()])
    assert await catalog.counts("decode") == (0, 0, 1, 0)
    assert (await catalog.totals()).pending == 1


async def test_a_late_result_never_meets_the_task_that_came_after_a_deleted_one(catalog: Catalog):
    await catalog.see(b"a.jpg", version=1)
    (old,) = await catalog.decodes()
    await catalog.see(b"a.jpg", skip="excluded")  # deletes the task with the highest id
    await catalog.see(b"b.jpg")
    assert await catalog.settle(decoded(old)) == [old.id]
    (new,) = await catalog.decodes()
    assert new.path == b"/photos/b.jpg"
    assert (await catalog.totals()).pending == 1


async def test_a_changed_photo_leaves_the_index_until_it_is_known_again(catalog: Catalog):
    await catalog.index(b"a.jpg")
    await catalog.see(b"a.jpg", version=2)
    assert await catalog.fed() == [("add", 1), ("remove", 1)]


async def test_a_touched_photo_with_the_same_bytes_costs_no_inference(catalog: Catalog):
    await catalog.index(b"a.jpg")
    await catalog.see(b"a.jpg", version=2)
    await catalog.settle(*[decoded(task) for task in await catalog.decodes()])
    assert await catalog.embeds() == []
    assert await catalog.fed() == [("add", 1), ("remove", 1), ("add", 1)]


async def test_a_photo_with_another_copy_stays_in_the_index_when_one_file_changes(
    catalog: Catalog,
):
    await catalog.index(b"a.jpg", b"b.jpg", same=b"beach")
    await catalog.see(b"a.jpg", version=2)
    assert await catalog.fed() == [("add", 1)]


async def test_a_file_that_goes_back_to_its_old_version_is_decoded_for_it(catalog: Catalog):
    await catalog.index(b"a.jpg", version=1)
    await catalog.index(b"a.jpg", version=2, same=b"other")
    await catalog.index(b"a.jpg", version=1)
    assert await catalog.fed() == [
        ("add", 1),
        ("remove", 1),
        ("add", 2),
        ("remove", 2),
        ("add", 1),
    ]


async def test_a_vanished_file_is_neither_counted_nor_deleted(catalog: Catalog):
    await catalog.index(b"a.jpg")
    await catalog.lose(b"a.jpg")
    assert (await catalog.totals()).files == 0
    assert await catalog.reader.photo(1) is not None
    assert await catalog.fed() == [("add", 1), ("remove", 1)]


async def test_a_file_may_be_reported_vanished_twice_or_never_have_been(catalog: Catalog):
    await catalog.index(b"a.jpg")
    for _ in range(2):
        await catalog.writer.vanished([1, 1, 999], catalog.now)
    assert await catalog.fed() == [("add", 1), ("remove", 1)]


async def test_of_two_copies_both_have_to_vanish(catalog: Catalog):
    await catalog.index(b"a.jpg", b"b.jpg", same=b"beach")
    await catalog.lose(b"a.jpg")
    assert await catalog.fed() == [("add", 1)]
    await catalog.lose(b"b.jpg")
    assert await catalog.fed() == [("add", 1), ("remove", 1)]


async def test_two_copies_that_vanish_together_are_removed_once(catalog: Catalog):
    await catalog.index(b"a.jpg", b"b.jpg", same=b"beach")
    await catalog.lose(b"a.jpg", b"b.jpg")
    assert await catalog.fed() == [("add", 1), ("remove", 1)]


async def test_a_file_that_is_back_unchanged_simply_lives_again(catalog: Catalog):
    await catalog.index(b"a.jpg")
    await catalog.lose(b"a.jpg")
    assert b"a.jpg" not in await catalog.reader.known_files(ROOT, b"")
    await catalog.see(b"a.jpg")
    assert await catalog.decodes() == []
    assert await catalog.fed() == [("add", 1), ("remove", 1), ("add", 1)]
    assert (await catalog.totals()).indexed == 1


async def test_a_file_that_is_back_changed_is_decoded(catalog: Catalog):
    await catalog.index(b"a.jpg")
    await catalog.lose(b"a.jpg")
    await catalog.see(b"a.jpg", version=2)
    assert len(await catalog.decodes()) == 1
    assert await catalog.fed() == [("add", 1), ("remove", 1)]


async def test_work_on_a_vanished_file_waits_until_it_is_back(catalog: Catalog):
    await catalog.see(b"a.jpg", b"b.jpg")
    await catalog.decodes(n=1)
    await catalog.lose(b"a.jpg", b"b.jpg")
    assert await catalog.counts("decode") == (0, 0, 0, 0)
    assert await catalog.decodes() == []
    await catalog.see(b"a.jpg", b"b.jpg")
    assert len(await catalog.decodes()) == 2


async def test_a_crash_before_the_disk_was_unplugged_is_not_forgotten(catalog: Catalog):
    await catalog.see(b"a.jpg")
    for _ in range(2):
        (task,) = await catalog.decodes()
        await catalog.writer.charge([task.id], "signal 11", "", catalog.now)
    await catalog.lose(b"a.jpg")
    await catalog.see(b"a.jpg")
    (task,) = await catalog.decodes()
    assert task.suspect
    await catalog.writer.charge([task.id], "signal 11", "", catalog.now)
    assert await catalog.counts("decode") == (0, 0, 0, 1)


async def test_a_result_for_a_file_that_vanished_meanwhile_is_kept_for_its_return(
    catalog: Catalog,
):
    await catalog.see(b"a.jpg")
    (task,) = await catalog.decodes()
    await catalog.lose(b"a.jpg")
    await catalog.settle(decoded(task))
    await catalog.settle(*[embedded(task) for task in await catalog.embeds()])
    assert await catalog.fed() == []
    await catalog.see(b"a.jpg")
    assert await catalog.fed() == [("add", 1)]
    assert (await catalog.totals()).indexed == 1


async def test_a_skipped_file_may_vanish_and_come_back(catalog: Catalog):
    await catalog.see(b"film.mkv", skip="a video")
    await catalog.lose(b"film.mkv")
    assert (await catalog.totals()).files == 0
    await catalog.see(b"film.mkv", skip="a video")
    totals = await catalog.totals()
    assert (totals.files, totals.skipped) == (1, 1)


async def test_a_batch_over_many_directories_is_looked_up_in_full(catalog: Catalog):
    names = [b"%d.jpg" % (i % 7) for i in range(600)]
    files = [SeenFile(b"d%d" % i, name, 1, 1, 1) for i, name in enumerate(names)]
    for _ in range(2):
        await catalog.writer.seen(ROOT, files, 0, catalog.now)
    assert await catalog.counts("decode") == (600, 0, 0, 0)


async def test_a_batch_may_be_larger_than_a_statement_can_hold(catalog: Catalog):
    files = [SeenFile(b"", b"%d.jpg" % i, 1, 1, 1) for i in range(9_000)]
    for _ in range(2):
        await catalog.writer.seen(ROOT, files, 0, catalog.now)
    await catalog.writer.vanished(range(1, 9_001), catalog.now + SECOND)
    assert (await catalog.totals()).files == 0
