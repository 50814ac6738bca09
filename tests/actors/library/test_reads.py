"""What the library can be asked."""

import sqlite3
from pathlib import Path

import pytest

from actors.library.errors import CatalogNotReady
from actors.library.reads import FeedRow, KnownFile, open_reader
from actors.messages import QueueStatus, SeenFile, Totals
from runtime.blame import PROOF
from tests.actors.library.catalogs import ROOT, Catalog, decoded, digest_of, embedded

pytestmark = pytest.mark.anyio


async def test_a_reader_that_comes_before_the_catalog_is_told_to_come_again(url: str):
    with pytest.raises(CatalogNotReady, match="schema 0"):
        await open_reader(url)


async def test_a_reader_makes_no_database(url: str, tmp_path: Path):
    with pytest.raises(CatalogNotReady):
        await open_reader(url)
    assert list(tmp_path.iterdir()) == []


async def test_a_reader_cannot_write(catalog: Catalog):
    async with catalog.reader._engine.connect() as connection:
        with pytest.raises(Exception, match=r"read-?only"):
            await connection.exec_driver_sql("DELETE FROM library")


async def test_an_empty_library_answers_everything_with_nothing(catalog: Catalog):
    reader = catalog.reader
    assert await reader.totals() == Totals(0, 0, 0, 0, 0, 0)
    assert await reader.feed_head() == 0
    assert await reader.feed_after(0, "clip", 10) == []
    assert await reader.vectors_of("clip", 0, 10) == []
    assert await reader.vectors_of("no such space", 0, 10) == []
    assert await reader.known_files(ROOT, b"") == {}
    assert await reader.known_directories(ROOT) == []
    assert [each async for each in reader.known(ROOT)] == []
    assert await reader.hits([]) == {}
    assert await reader.photo(1) is None
    assert await reader.dead_letters() == []
    assert await reader.queues() == [
        QueueStatus("decode", 0, 0, 0, 0),
        QueueStatus("embed", 0, 0, 0, 0),
        QueueStatus("face", 0, 0, 0, 0),
        QueueStatus("caption", 0, 0, 0, 0),
    ]


async def test_a_library_keeps_its_name_and_its_birthday(catalog: Catalog):
    info = await catalog.reader.info()
    assert info.created_ns == catalog.now
    catalog.now += 1
    await catalog.restart()
    assert await catalog.reader.info() == info


async def test_every_file_is_counted_in_exactly_one_way(catalog: Catalog):
    await catalog.index(b"indexed", b"duplicate", same=b"x")
    await catalog.see(b"skipped", skip="a video")
    await catalog.see(b"dead")
    await catalog.fail(await catalog.decodes(), "photo")
    await catalog.see(b"cannot be embedded")
    await catalog.settle(*[decoded(task) for task in await catalog.decodes()])
    await catalog.fail(await catalog.embeds(), "photo")
    await catalog.see(b"missing")
    await catalog.lose(b"missing")
    await catalog.see(b"pending", b"decoded only")
    await catalog.settle(*[decoded(task) for task in await catalog.decodes(n=1)])
    assert await catalog.totals() == Totals(
        files=7, indexed=1, skipped=1, dead=2, duplicates=1, pending=2
    )


async def test_the_walk_is_told_what_is_known_of_one_directory(catalog: Catalog):
    await catalog.see(b"a", b"b", directory=b"x", version=7)
    await catalog.see(b"c", directory=b"y")
    assert await catalog.reader.known_files(ROOT, b"x") == {
        b"a": (1, 100, 7, 7),
        b"b": (2, 100, 7, 7),
    }
    assert await catalog.reader.known_files(b"/elsewhere", b"x") == {}


async def test_everything_that_is_known_comes_by_directory_in_the_order_of_bytes(
    catalog: Catalog,
):
    for directory in (b"b", b"", b"a/\xff", b"a", b"gone", b"a-b"):
        await catalog.see(b"1", b"2", directory=directory)
    await catalog.see(b"1", root=b"/other")
    await catalog.lose(b"1", b"2", directory=b"gone")
    await catalog.lose(b"2", directory=b"b")
    known = [each async for each in catalog.reader.known(ROOT)]
    directories = [b"", b"a", b"a-b", b"a/\xff", b"b"]
    assert [directory for directory, _ in known] == directories
    assert await catalog.reader.known_directories(ROOT) == directories
    assert known[-1] == (b"b", [KnownFile(1, b"1", 100, 1, 1)])
    assert known[0] == (b"", [KnownFile(3, b"1", 100, 1, 1), KnownFile(4, b"2", 100, 1, 1)])


async def test_more_directories_than_one_statement_asks_for_are_all_told(catalog: Catalog):
    files = [SeenFile(b"%04d" % i, b"x", 1, 1, 1) for i in range(600)]
    await catalog.writer.seen(ROOT, files, 0, catalog.now)
    known = [directory async for directory, _ in catalog.reader.known(ROOT)]
    assert known == [file.directory for file in files]


async def test_the_feed_comes_in_pages_with_the_vectors_of_what_is_added(catalog: Catalog):
    await catalog.index(b"a", b"b", b"c")
    await catalog.lose(b"b")
    rows: list[FeedRow] = []
    while page := await catalog.reader.feed_after(rows[-1].seq if rows else 0, "clip", 3):
        rows += page
    assert [(row.op, row.content) for row in rows] == [
        ("add", 1),
        ("add", 2),
        ("add", 3),
        ("remove", 2),
    ]
    assert [row.vector for row in rows] == [b"\1" * 16] * 3 + [None]
    assert rows[-1].seq == await catalog.reader.feed_head()


async def test_the_writer_knows_the_head_of_the_feed_after_each_commit(catalog: Catalog):
    for _ in range(2):
        await catalog.index(b"a")
        head = await catalog.reader.feed_head()
        assert catalog.writer.statistics().feed_seq == head > 0
        await catalog.restart()
        assert catalog.writer.statistics().feed_seq == head


async def test_live_vectors_come_in_pages_by_content(catalog: Catalog):
    await catalog.index(*[b"%d" % i for i in range(5)])
    await catalog.lose(b"1")
    first = await catalog.reader.vectors_of("clip", 0, 2)
    rest = await catalog.reader.vectors_of("clip", first[-1][0], 10)
    assert [content for content, _ in first + rest] == [1, 3, 4, 5]


async def test_a_hit_shows_the_first_file_that_is_there(catalog: Catalog):
    await catalog.index(b"a", b"b", same=b"x")
    await catalog.index(b"\xff.jpg")
    await catalog.lose(b"a")
    hits = await catalog.reader.hits([2, 1, 999])
    assert hits[1].path == b"/photos/b"
    assert hits[2].path == b"/photos/\xff.jpg"
    assert hits[1].digest == digest_of(b"x")
    assert hits[1][2:5] == ("2019-03-21T11:04:22", 40, 30)
    assert hits.keys() == {1, 2}


async def test_a_hit_without_a_file_is_left_out(catalog: Catalog):
    await catalog.index(b"a")
    await catalog.lose(b"a")
    assert await catalog.reader.hits([1]) == {}


async def test_a_photo_names_every_file_that_is_there(catalog: Catalog):
    await catalog.index(b"a", b"b", b"c", same=b"x")
    await catalog.lose(b"b")
    photo = await catalog.reader.photo(1)
    assert photo is not None
    assert photo.paths == [b"/photos/a", b"/photos/c"]
    await catalog.lose(b"a", b"c")
    photo = await catalog.reader.photo(1)
    assert photo is not None
    assert photo.paths == []


async def test_readers_see_no_half_commit_while_the_writer_works(catalog: Catalog):
    await catalog.see(*[b"%d" % i for i in range(200)])
    tasks = await catalog.decodes(n=200)
    for start in range(0, 200, 20):
        await catalog.settle(*[decoded(task) for task in tasks[start : start + 20]])
        batch = await catalog.embeds()
        await catalog.settle(*[embedded(task) for task in batch])
        assert await catalog.reader.miscounted() == []
        assert (await catalog.totals()).indexed == start + 20


async def test_a_wrong_counter_is_found(catalog: Catalog):
    await catalog.see(b"a")
    async with catalog.writer._engine.begin() as connection:
        await connection.exec_driver_sql("UPDATE counters SET n = n + 2 WHERE state = 'ready'")
    assert await catalog.reader.miscounted() == [("decode", "ready", 2)]
    async with catalog.writer._engine.begin() as connection:
        await connection.exec_driver_sql("UPDATE counters SET n = n - 2 WHERE state = 'ready'")


# ── whether all of it agrees ────────────────────────────────────────────────────────────────


async def test_a_healthy_database_has_nothing_to_say(catalog: Catalog):
    await catalog.index(b"a", b"b")
    assert await catalog.reader.integrity() == []
    assert await catalog.reader.integrity(deep=True) == []
    assert await catalog.reader.unembedded(0, 10) == []


async def test_a_row_that_points_nowhere_is_found(catalog: Catalog, tmp_path: Path):
    await catalog.index(b"a")
    connection = sqlite3.connect(tmp_path / "catalog.sqlite")
    connection.execute("UPDATE feed SET space = 9")
    connection.commit()
    assert await catalog.reader.integrity() == ["table feed: row 1 points nowhere in spaces"]
    connection.close()


async def test_what_should_be_on_the_disk_comes_in_pages(catalog: Catalog):
    await catalog.index(b"a", b"b", b"c")
    await catalog.lose(b"b")
    await catalog.writer.decode_again([3], catalog.now)
    first = await catalog.reader.derived(0, 1)
    rest = await catalog.reader.derived(first[-1].content, 10)
    assert [(each.content, bool(each.waiting)) for each in first + rest] == [(1, False), (3, True)]
    assert first[0][1:4] == (digest_of(b"a"), 256, 1024)
    assert await catalog.reader.indexed("clip", 0, 10) == [1, 3]
    unknown = digest_of(b"x")
    assert await catalog.reader.known_digests([digest_of(b"b"), unknown]) == {digest_of(b"b")}


async def test_what_waits_for_its_task_or_its_embedding_is_not_lost(catalog: Catalog):
    await catalog.see(b"a", b"b")
    await catalog.settle(*[decoded(task) for task in await catalog.decodes()])
    (_, second) = await catalog.embeds()
    await catalog.fail([second], "photo")
    assert await catalog.reader.unembedded(0, 10) == []


async def test_a_proof_is_the_newest_photo_that_can_be_decoded_again(catalog: Catalog):
    assert await catalog.reader.proof() is None
    await catalog.index(b"a", b"b", b"c")
    await catalog.lose(b"c")
    await catalog.see(b"new")
    proof = await catalog.reader.proof()
    assert proof is not None
    assert (proof.id, proof.path, proof.size) == (PROOF, b"/photos/b", 100)


async def test_a_file_is_known_by_its_path_wherever_it_lies(catalog: Catalog):
    await catalog.index(b"a.jpg")
    await catalog.see(b"b.jpg", directory=b"x/y")
    await catalog.see(b"a.jpg", root=b"/")
    await catalog.see(b"none.txt", skip="no photo")
    reader = catalog.reader
    assert await reader.file(ROOT + b"/a.jpg") == (1,)
    assert await reader.file(ROOT + b"/x/y/b.jpg") == (None,)
    assert await reader.file(ROOT + b"/none.txt") == (None,)
    assert await reader.file(b"/a.jpg") == (None,)
    for path in (b"/elsewhere.jpg", ROOT, ROOT + b"/", ROOT + b"/x", ROOT + b"/x/b.jpg", b"a.jpg"):
        assert await reader.file(path) is None
    await catalog.lose(b"a.jpg")
    assert await reader.file(ROOT + b"/a.jpg") is None
