"""No statement walks a table that grows with the library.

SQLite plans without statistics, so it plans for an empty database as for one of a million
photos: what searches here searches there.
"""

import re
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import event

from actors.library.space import Space
from actors.messages import ThumbnailLost
from tests.actors.library.catalogs import (
    CAPTIONS,
    FACES,
    ROOT,
    Catalog,
    captioned,
    decoded,
    embedded,
    faced,
    found,
)

pytestmark = pytest.mark.anyio

GROWING = ("files", "directories", "contents", "vectors", "faces", "captions", "tasks", "feed")
#: An index of what is leased holds no more than all windows together.
SMALL = "USING INDEX tasks_leased"
#: What was parked with its space is looked for only when its owner wants that space back.
RARE = "tasks.state = 'parked'"


@pytest.fixture
def statements(catalog: Catalog):
    """Every statement that reaches the database."""
    seen: set[str] = set()

    def note(*details):
        seen.add(details[2])

    for engine in (catalog.writer._engine, catalog.reader._engine):
        event.listen(engine.sync_engine, "before_cursor_execute", note)
    return seen


def plan(tmp_path: Path, statement: str) -> list[str]:
    """How SQLite means to do it; the values do not matter to it."""
    if not re.match("SELECT|INSERT|UPDATE|DELETE", statement):
        return []
    connection = sqlite3.connect(tmp_path / "catalog.sqlite")
    rows = connection.execute(f"EXPLAIN QUERY PLAN {statement}", [None] * statement.count("?"))
    details = [row[3] for row in rows]
    connection.close()
    return details


async def live(catalog: Catalog) -> None:
    """Use every verb and every question once."""
    writer, reader, now = catalog.writer, catalog.reader, catalog.now
    await catalog.index(b"a", b"b", b"c", same=b"x")
    await catalog.index(b"d", b"e")
    await catalog.index(b"e", version=2)
    await catalog.lose(b"d", b"e")
    await catalog.see(b"d")
    await catalog.see(b"e", skip="no more")
    await catalog.see(*[b"%d" % i for i in range(9)])
    tasks = await catalog.decodes()
    ids = [task.id for task in tasks]
    await writer.executing(ids[:2], now)
    await writer.charge(ids[:1], "signal 9", "", now)
    await writer.refund(ids[:1], now)
    await writer.charge(ids[3:4], "signal 9", "", now)
    await catalog.fail([tasks[3]], "photo")
    await reader.trimmed()
    await writer.adopt(ids[:1], "decode.0", 1, now)
    await writer.give_back_some(ids[2:3], "decode.0", now)
    for fault in ("photo", "worker", "host"):
        await catalog.fail([tasks[4]], fault)
    await catalog.settle(*[decoded(task) for task in tasks[5:]])
    embeds = await catalog.embeds(space="clip")
    await catalog.fail(embeds[:1], "photo")
    await catalog.settle(*[embedded(task) for task in embeds[1:]])
    await reader.dead_letters()
    await reader.dead_letters("embed")
    await writer.drop([embeds[0].id], now)
    await writer.retry([embeds[0].id, tasks[4].id], now)
    await writer.decode_again([1], now)
    await writer.give_back("decode.0", 1, now)
    await catalog.settle(*[ThumbnailLost(task.id, task.content) for task in embeds])
    await writer.look_again("embed", [1, 2], now)
    await writer.pause(now, on=True)
    await writer.forget(ROOT + b"/d", 1, now)  # not the last step, which looks for orphans
    await catalog.see(b"d", b"f")
    await reader.below(ROOT + b"/a")
    await reader.known_digests([bytes(32)])
    await writer.register_space(Space("b", "b", "1", "1", "fp32", 4), now)
    await writer.backfill("b", 100, now)
    await reader.waits(Space("b", "b", "1", "1", "fp32", 4))
    await writer.register_space(FACES, now)
    await writer.backfill("faces", 100, now)
    looks = await catalog.looks()
    await catalog.settle(*[faced(task, found()) for task in looks[1:]])
    await catalog.settle(*[ThumbnailLost(task.id, task.content) for task in looks[:1]])
    await catalog.settle(*[decoded(task) for task in await catalog.decodes()])
    assert await reader.faces([1, 2])
    await reader.face_vector(1 << 12)
    await reader.looked_through([bytes(32)])
    assert await reader.face_counts([1, 2])
    assert await reader.with_faces(1, 9, (0, 0), 10)
    assert await reader.looking()
    await reader.unembedded(0, 10, "face")
    await writer.look_again("face", [1, 2], now)
    await writer.register_space(CAPTIONS, now)
    await writer.backfill("says", 100, now)
    await catalog.settle(*[captioned(task, "a dog") for task in await catalog.tells()])
    assert await reader.captions([1, 2])
    assert await reader.captioned("dog", 10)
    assert await reader.looking("caption")
    await reader.unembedded(0, 10, "caption")
    await writer.look_again("caption", [1, 2], now)
    assert await reader.file(ROOT + b"/a")
    await reader.serving()
    await reader.photos()
    third = Space("c", "c", "1", "1", "fp32", 4)
    await writer.use_space(third, now)  # which retires b
    await writer.drop_space("b", 0, 10, now)
    await writer.backfill("c", 100, now)
    await catalog.settle(*[embedded(task, third) for task in await catalog.embeds(space="c")])
    await writer.backfill("c", 100, now)
    await writer.switch_space("c", now)
    await writer.drop_space("clip", 0, 10, now)
    await writer.begin_with(third, now)
    await writer.recover(2, now)
    assert await reader.proof()
    await reader.totals()
    await reader.queues()
    await reader.hits([1, 2])
    await reader.photo(1)
    await reader.known_files(ROOT, b"")
    await reader.feed_after(0, "clip", 10)
    await reader.vectors_of("clip", 0, 10)
    await reader.spaces()
    assert [each async for each in reader.known(ROOT)]


async def test_no_verb_and_no_question_walks_a_growing_table(
    catalog: Catalog, statements, tmp_path
):
    await live(catalog)
    walks = []
    for statement in statements:
        for detail in plan(tmp_path, statement):
            walked = re.match(r"SCAN (\w+)", detail)
            if RARE in statement or detail.endswith(SMALL):
                continue
            if walked and walked[1] in GROWING:
                walks.append((detail, statement))
    assert walks == []
    assert len(statements) > 50


async def test_a_lease_is_decided_by_its_index_alone(catalog: Catalog, statements, tmp_path):
    await catalog.see(b"a")
    await catalog.decodes()
    ordinary, suspects = sorted(
        (each for each in statements if "tasks.not_before_ns <=" in each),
        key=lambda each: each.count("crash_attempts"),
    )
    wanted = "SEARCH tasks USING COVERING INDEX tasks_ready (kind=? AND suspect=?)"
    assert wanted in plan(tmp_path, ordinary)
    # suspects are few, and looked up one by one to be sorted
    assert wanted.replace(" COVERING", "") in plan(tmp_path, suspects)
