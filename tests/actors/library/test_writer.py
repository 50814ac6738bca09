"""What holds for every verb: it ends, and one failure is one failure."""

import asyncio
from typing import Any

import anyio
import pytest
from sqlalchemy.exc import IntegrityError

from actors.library.files import LOOKUP
from actors.messages import SeenFile
from tests.actors.library.catalogs import ROOT, Catalog, decoded

pytestmark = pytest.mark.anyio


async def test_a_verb_that_fails_leaves_nothing_behind(catalog: Catalog):
    nothing: Any = None
    with pytest.raises(IntegrityError, match="priority"):  # after the file was written
        await catalog.see(b"a", priority=nothing)
    assert (await catalog.totals()).files == 0
    await catalog.see(b"a")
    assert (await catalog.totals()).files == 1


async def test_a_verb_that_was_begun_ends_before_it_is_cancelled(catalog: Catalog):
    files = [SeenFile(b"", b"%d" % i, 1, 1, 1) for i in range(4 * LOOKUP)]
    with anyio.CancelScope() as scope:
        scope.cancel()
        await catalog.writer.seen(ROOT, files, 0, catalog.now)
    assert (await catalog.totals()).files == len(files)


async def test_a_question_that_was_begun_ends_before_it_is_cancelled(catalog: Catalog):
    with anyio.CancelScope() as scope:
        scope.cancel()
        await catalog.reader.totals()
    assert (await catalog.totals()).files == 0


async def test_verbs_that_are_called_at_once_run_one_after_the_other(catalog: Catalog):
    async with anyio.create_task_group() as group:
        for i in range(8):
            group.start_soon(catalog.see, b"%d" % i, b"shared")
    assert await catalog.counts("decode") == (9, 0, 0, 0)
    leased = await asyncio.gather(*[catalog.decodes(n=2) for _ in range(8)])
    ids = [task.id for tasks in leased for task in tasks]
    assert sorted(ids) == list(range(1, 10))


async def test_questions_at_once_get_their_own_answers(catalog: Catalog):
    await catalog.index(*[b"%d" % i for i in range(20)])
    photos = await asyncio.gather(*[catalog.reader.photo(i) for i in range(1, 21)])
    assert [photo and photo.content for photo in photos] == list(range(1, 21))


async def test_a_checkpoint_cuts_the_journal_to_nothing(catalog: Catalog, tmp_path):
    await catalog.see(b"a")
    journal = tmp_path / "catalog.sqlite-wal"
    assert journal.stat().st_size > 0
    await catalog.writer.checkpoint()
    assert journal.stat().st_size == 0
    assert (await catalog.totals()).files == 1


async def test_statistics_count_from_the_opening(catalog: Catalog):
    await catalog.index(b"a", b"b")
    statistics = catalog.writer.statistics()
    assert (statistics.decoded, statistics.embedded) == (2, 2)
    await catalog.restart()
    statistics = catalog.writer.statistics()
    assert (statistics.decoded, statistics.embedded, statistics.feed_seq) == (0, 0, 2)


async def test_what_the_owner_decides_is_on_record(catalog: Catalog):
    await catalog.see(b"a", b"b")
    await catalog.fail(await catalog.decodes(), "photo")
    await catalog.writer.retry([1], catalog.now, who="cli")
    await catalog.writer.drop([2], catalog.now)
    await catalog.writer.retry([999], catalog.now)
    async with catalog.writer._engine.begin() as connection:
        rows = await connection.exec_driver_sql("SELECT when_ns, who, what FROM audit ORDER BY id")
        assert [tuple(row) for row in rows] == [
            (catalog.now, "cli", "retried tasks [1]"),
            (catalog.now, "owner", "dropped tasks [2]"),
        ]


async def test_a_charge_after_an_unclean_stop_is_on_record(catalog: Catalog):
    await catalog.see(b"a")
    (task,) = await catalog.decodes()
    await catalog.writer.executing([task.id], catalog.now)
    await catalog.restart(run="run-2")
    async with catalog.writer._engine.begin() as connection:
        rows = await connection.exec_driver_sql("SELECT what FROM audit")
        assert rows.all() == [("run run-2 epoch 2: 0 leases returned, 1 charged",)]


async def test_closing_is_possible_while_somebody_reads(catalog: Catalog):
    await catalog.index(b"a")
    await catalog.writer.close(catalog.now)
    assert (await catalog.totals()).indexed == 1
    await catalog.restart()
    await catalog.settle(*[decoded(task) for task in await catalog.decodes()])


async def test_a_pause_outlives_the_catalog_and_is_on_record(catalog: Catalog):
    assert (await catalog.reader.info()).paused_ns is None
    await catalog.writer.pause(catalog.now, on=True)
    since = catalog.now
    catalog.now += 1
    await catalog.writer.pause(catalog.now, on=True)
    await catalog.restart()
    assert (await catalog.reader.info()).paused_ns == since
    await catalog.writer.pause(catalog.now, on=False)
    await catalog.writer.pause(catalog.now, on=False)
    assert (await catalog.reader.info()).paused_ns is None
    async with catalog.writer._engine.begin() as connection:
        rows = await connection.exec_driver_sql("SELECT what FROM audit ORDER BY id")
        assert [what for (what,) in rows] == ["paused", "resumed"]


async def test_counters_that_drifted_are_counted_anew(catalog: Catalog):
    await catalog.index(b"a", b"b")
    assert await catalog.writer.recount(catalog.now) == 0
    async with catalog.writer._engine.begin() as connection:
        await connection.exec_driver_sql("UPDATE counters SET n = 7 WHERE kind = 'file'")
        await connection.exec_driver_sql("DELETE FROM counters WHERE kind = 'vector'")
    wrong = len(await catalog.reader.miscounted())
    assert wrong >= 2
    assert await catalog.writer.recount(catalog.now) == wrong
    assert await catalog.reader.miscounted() == []
    assert (await catalog.totals()).indexed == 2
