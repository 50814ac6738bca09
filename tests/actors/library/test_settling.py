"""The exactly-once commit."""

import pytest

from actors.library.queue import ATTEMPTS
from actors.messages import Decoded, Embedded, Failed, Result, Skipped, ThumbnailLost
from actors.photo.facts import Facts
from tests.actors.library.catalogs import (
    FACTS,
    SECOND,
    Catalog,
    decoded,
    digest_of,
    embedded,
)

pytestmark = pytest.mark.anyio


async def one_decode(catalog: Catalog, name: bytes = b"a.jpg"):
    await catalog.see(name)
    (task,) = await catalog.decodes()
    return task


async def one_embed(catalog: Catalog, name: bytes = b"a.jpg"):
    await catalog.settle(decoded(await one_decode(catalog, name)))
    (task,) = await catalog.embeds()
    return task


async def vectors(catalog: Catalog) -> list[tuple[int, bytes]]:
    return await catalog.reader.vectors_of("clip", 0, 1000)


async def test_results_for_unknown_tasks_are_answered_and_change_nothing(catalog: Catalog):
    results: list[Result] = [
        Decoded(7, digest_of(b"x"), FACTS, 1, 1),
        Embedded(8, 1, "clip", b"\0" * 16),
        Skipped(9, "no photo"),
        Failed(10, "photo", "bad"),
        Failed(2**63, "photo", "an id that no database can hold"),
        Failed(-1, "photo", "nor this"),
    ]
    assert await catalog.settle(*results) == [7, 8, 9, 10, 2**63, -1]
    assert await catalog.fed() == []
    assert await catalog.reader.photo(1) is None


async def test_nothing_to_settle_is_fine(catalog: Catalog):
    assert await catalog.settle() == []


async def test_a_result_that_is_sent_twice_is_committed_once_and_answered_twice(
    catalog: Catalog,
):
    task = await one_decode(catalog)
    for _ in range(2):
        assert await catalog.settle(decoded(task), decoded(task)) == [task.id]
    (embed,) = await catalog.embeds()
    for fill in (1, 2):
        assert await catalog.settle(embedded(embed, fill=fill)) == [embed.id]
    assert await vectors(catalog) == [(1, b"\1" * 16)]
    assert await catalog.fed() == [("add", 1)]
    assert catalog.writer.statistics().decoded == 1
    assert catalog.writer.statistics().embedded == 1


async def test_decoding_leaves_facts_and_an_embed_task(catalog: Catalog):
    facts = Facts("heic", 40, 30, 6, "2019-03-21T11:04:22", 60, "A", "B", 1.5, -2.5, 3.5, True)
    task = await one_decode(catalog)
    await catalog.settle(Decoded(task.id, digest_of(b"x"), facts, 256, 1024))
    photo = await catalog.reader.photo(1)
    assert photo is not None
    assert photo.facts == facts
    assert (photo.digest, photo.thumb_256, photo.thumb_1024) == (digest_of(b"x"), 256, 1024)
    assert photo.paths == [b"/photos/a.jpg"]
    assert photo.added_ns == catalog.now
    assert await catalog.counts("embed") == (1, 0, 0, 0)


async def test_a_duplicate_costs_no_inference(catalog: Catalog):
    await catalog.index(b"a.jpg")
    await catalog.index(b"copy.jpg", same=b"a.jpg")
    assert await catalog.counts("embed") == (0, 0, 1, 0)
    assert await catalog.fed() == [("add", 1)]
    totals = await catalog.totals()
    assert (totals.indexed, totals.duplicates) == (1, 1)


async def test_duplicates_within_one_batch_are_one_content(catalog: Catalog):
    await catalog.index(b"a.jpg", b"b.jpg", b"c.jpg", same=b"beach")
    totals = await catalog.totals()
    assert (totals.indexed, totals.duplicates) == (1, 2)


async def test_a_copy_of_a_photo_whose_files_are_all_gone_brings_it_back(catalog: Catalog):
    await catalog.index(b"a.jpg")
    await catalog.lose(b"a.jpg")
    await catalog.index(b"moved.jpg", same=b"a.jpg")
    assert await catalog.counts("embed") == (0, 0, 1, 0)
    assert await catalog.fed() == [("add", 1), ("remove", 1), ("add", 1)]


async def test_a_photo_that_is_moved_before_it_was_embedded_is_added_once(catalog: Catalog):
    embed = await one_embed(catalog)
    await catalog.lose(b"a.jpg")
    await catalog.see(b"moved.jpg")
    (decode,) = await catalog.decodes()
    await catalog.settle(embedded(embed), decoded(decode, b"a.jpg"))
    assert await catalog.fed() == [("add", 1)]


async def test_a_vector_of_a_photo_without_a_file_waits_for_the_file(catalog: Catalog):
    embed = await one_embed(catalog)
    await catalog.lose(b"a.jpg")
    await catalog.settle(embedded(embed))
    assert await catalog.fed() == []
    assert await vectors(catalog) == []
    await catalog.see(b"a.jpg")
    assert await catalog.fed() == [("add", 1)]
    assert len(await vectors(catalog)) == 1


async def test_what_is_no_photo_is_skipped_with_its_reason(catalog: Catalog):
    task = await one_decode(catalog, b"notes.jpg")
    await catalog.settle(Skipped(task.id, "text"))
    assert (await catalog.totals()).skipped == 1
    await catalog.see(b"notes.jpg")
    assert await catalog.decodes() == []


async def test_of_several_results_for_one_task_the_success_counts(catalog: Catalog):
    task = await one_decode(catalog)
    failures = [Failed(task.id, "worker", "lost the lease"), Failed(task.id, "photo", "bad")]
    await catalog.settle(failures[0], decoded(task), failures[1])
    assert await catalog.counts("decode") == (0, 0, 1, 0)


async def test_of_several_failures_of_one_task_the_verdict_counts(catalog: Catalog):
    task = await one_decode(catalog)
    await catalog.settle(Failed(task.id, "host", "away"), Failed(task.id, "photo", "bad"))
    assert await catalog.counts("decode") == (0, 0, 0, 1)


async def test_results_out_of_order_and_of_all_kinds_go_in_one_batch(catalog: Catalog):
    await catalog.see(b"a", b"b", b"c", b"d")
    a, b, c, d = await catalog.decodes()
    await catalog.settle(decoded(a))
    (embed,) = await catalog.embeds()
    await catalog.settle(
        Failed(d.id, "host", "away"),
        embedded(embed),
        Skipped(c.id, "text"),
        decoded(b),
    )
    assert await catalog.counts("decode") == (1, 0, 3, 0)
    assert await catalog.counts("embed") == (1, 0, 1, 0)


async def test_a_dead_task_whose_result_arrives_after_all_is_done(catalog: Catalog):
    embed = await one_embed(catalog)
    await catalog.fail([embed], "photo")
    await catalog.settle(embedded(embed))
    assert await catalog.reader.dead_letters() == []
    assert (await catalog.totals()).indexed == 1


def contradictions():
    digest = digest_of(b"a.jpg")
    huge = 2**70
    vector = b"\0" * 16
    yield "decode", lambda task: Decoded(task.id, b"short", FACTS, 1, 1), "digest of 5 bytes"
    yield "decode", lambda task: Decoded(task.id, digest, FACTS, huge, 1), "thumbnails"
    yield "decode", lambda task: Decoded(task.id, digest, FACTS, 1, -1), "thumbnails"
    yield "decode", lambda task: Decoded(task.id, digest, Facts("x", 0, 3), 1, 1), "0 x 3 pixels"
    yield "decode", lambda task: Decoded(task.id, digest, Facts("x", huge, 3), 1, 1), "pixels"
    yield "decode", lambda task: Decoded(task.id, digest, Facts("x", 1, 1, huge), 1, 1), "orientat"
    yield "decode", lambda task: Embedded(task.id, 1, "clip", vector), "a vector for a task of"
    yield "embed", lambda task: Decoded(task.id, digest, FACTS, 1, 1), "a decode result"
    yield "embed", lambda task: Skipped(task.id, "why"), "skipped"
    yield "decode", lambda task: ThumbnailLost(task.id, 1), "a lost thumbnail for a task of"
    yield "embed", lambda task: ThumbnailLost(task.id, 99), "content 99"
    yield "embed", lambda task: Embedded(task.id, 99, "clip", vector), "content 99"
    yield "embed", lambda task: Embedded(task.id, 1, "other", vector), "space 'other'"
    yield "embed", lambda task: Embedded(task.id, 1, "clip", vector[:-1]), "15 bytes"


@pytest.mark.parametrize(("kind", "make", "says"), list(contradictions()))
async def test_a_result_that_contradicts_its_task_costs_one_task_and_never_the_batch(
    catalog: Catalog, kind, make, says
):
    task = await (one_decode if kind == "decode" else one_embed)(catalog)
    await catalog.see(b"innocent.jpg")
    (innocent,) = await catalog.decodes()
    assert await catalog.settle(make(task), decoded(innocent)) == [task.id, innocent.id]
    ready, leased, *_ = await catalog.counts(kind)
    assert leased == 0
    assert ready >= 1
    for _ in range(ATTEMPTS["worker"]):
        catalog.now += 1000 * SECOND
        for again in await (catalog.decodes if kind == "decode" else catalog.embeds)():
            if again.id == task.id:
                await catalog.settle(make(again))
    (letter,) = await catalog.reader.dead_letters()
    assert says in letter.reason


async def test_text_that_no_database_can_hold_does_not_stop_the_batch(catalog: Catalog):
    task = await one_decode(catalog)
    facts = Facts("jpeg", 1, 1, make="Can\0on", model="\ud800", altitude=float("nan"))
    await catalog.settle(Decoded(task.id, digest_of(b"x"), facts, 1, 1))
    photo = await catalog.reader.photo(1)
    assert photo is not None
    assert (photo.facts.make, photo.facts.model) == ("Canon", "?")


async def test_a_batch_may_be_larger_than_a_statement_can_hold(catalog: Catalog):
    n = 5_000
    await catalog.see(*[b"%d" % i for i in range(n)])
    tasks = await catalog.decodes(n=n)
    await catalog.settle(*[decoded(task) for task in tasks])
    embeds = await catalog.embeds(n=n)
    assert len(await catalog.settle(*[embedded(task) for task in embeds])) == n
    assert (await catalog.totals()).indexed == n


async def test_nothing_is_committed_when_the_transaction_cannot_end(catalog: Catalog, monkeypatch):
    embed = await one_embed(catalog)

    async def disk_full(self):
        raise OSError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr("actors.library.transaction.Transaction.finish", disk_full)
        with pytest.raises(OSError, match="full"):
            await catalog.settle(embedded(embed))
    assert await catalog.fed() == []
    assert catalog.writer.statistics().feed_seq == 0
    assert catalog.writer.statistics().embedded == 0
    await catalog.settle(embedded(embed))
    assert await catalog.fed() == [("add", 1)]
