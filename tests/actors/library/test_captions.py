"""Captions in the library: what is kept of them, and which words find them."""

import sqlite3
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from actors.library import reads
from actors.library.captions import LONGEST, words
from actors.library.space import Space
from actors.messages import Captioned, EmbedTask, ThumbnailLost
from tests.actors.library.catalogs import (
    CAPTIONS,
    Catalog,
    captioned,
    decoded,
    embedded,
)
from tests.actors.library.test_forgetting import everything

pytestmark = pytest.mark.anyio
NEWER = Space("says-2", "teller-2", "r1", "p1", "fp32", 0, "caption")


async def to_be_told(catalog: Catalog, *names: bytes) -> list[EmbedTask]:
    await catalog.index(*names)
    await catalog.writer.register_space(CAPTIONS, catalog.now)
    await catalog.writer.backfill("says", 100, catalog.now)
    return sorted(await catalog.tells(), key=lambda task: task.content)


async def told(catalog: Catalog, *texts: str) -> list[int]:
    """The contents of photos with these captions, in this order."""
    tasks = await to_be_told(catalog, *[b"%d.jpg" % n for n in range(len(texts))])
    await catalog.settle(*[captioned(*each) for each in zip(tasks, texts, strict=True)])
    return [task.content for task in tasks]


async def found(catalog: Catalog, question: str, limit: int = 100) -> list[int]:
    return [each.content for each in await catalog.reader.captioned(question, limit)]


# ── what is kept ────────────────────────────────────────────────────────────────────────────


async def test_photos_that_came_before_and_after_the_model_are_described(catalog: Catalog):
    (old,) = await to_be_told(catalog, b"a.jpg")
    await catalog.index(b"b.jpg")
    (new,) = await catalog.tells()
    assert (old.pack, new.pack) == ("teller", "teller")
    await catalog.settle(captioned(old, "a dog", score=-0.25), captioned(new, "a cat"))
    assert await catalog.counts("caption") == (0, 0, 2, 0)
    assert await catalog.reader.captions([old.content, new.content, 99]) == {
        old.content: ("a dog", -0.25, "teller"),
        new.content: ("a cat", -0.5, "teller"),
    }
    assert await catalog.reader.looking("caption") == ("says", "teller", 0, 2, 0)
    assert catalog.writer.statistics().captioned == 2


async def test_a_result_that_comes_twice_counts_once(catalog: Catalog):
    (task,) = await to_be_told(catalog, b"a.jpg")
    assert await catalog.settle(captioned(task, "a dog")) == [task.id]
    assert await catalog.settle(captioned(task, "a cat")) == [task.id]
    assert await found(catalog, "dog") == [task.content]
    assert await found(catalog, "cat") == []
    assert catalog.writer.statistics().captioned == 1


async def test_two_results_in_one_message_count_once(catalog: Catalog):
    (task,) = await to_be_told(catalog, b"a.jpg")
    await catalog.settle(captioned(task, "a dog"), captioned(task, "a cat"))
    assert len(await found(catalog, "dog")) + len(await found(catalog, "cat")) == 1
    assert await catalog.counts("caption") == (0, 0, 1, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda task: Captioned(task.id, task.content, "clip", "x", 0.0),
        lambda task: Captioned(task.id, task.content + 1, "says", "x", 0.0),
        lambda task: Captioned(task.id, task.content, "says", "x", float("nan")),
        lambda task: Captioned(task.id, task.content, "says", "x", float("-inf")),
        embedded,
    ],
)
async def test_a_caption_that_is_none_costs_one_task_and_not_the_batch(catalog: Catalog, wrong):
    bad, good = await to_be_told(catalog, b"a.jpg", b"b.jpg")
    await catalog.settle(wrong(bad), captioned(good, "a dog"))
    assert await catalog.counts("caption") == (1, 0, 1, 0)
    assert list(await catalog.reader.captions([bad.content, good.content])) == [good.content]


async def test_a_caption_for_another_kind_of_task_is_none(catalog: Catalog):
    await catalog.see(b"a.jpg")
    await catalog.settle(*[decoded(task) for task in await catalog.decodes()])
    (task,) = await catalog.embeds()
    await catalog.settle(captioned(task, "a dog"))
    assert await catalog.counts("embed") == (1, 0, 0, 0)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("two\nlines \t here ", "two lines here"),
        ("\0 and \ud800", None),
        ("word " * 1000, None),
        ("", ""),
    ],
)
async def test_whatever_a_model_writes_is_kept_as_one_line_of_text(catalog: Catalog, text, kept):
    (task,) = await to_be_told(catalog, b"a.jpg")
    await catalog.settle(captioned(task, text))
    (row,) = (await catalog.reader.captions([task.content])).values()
    assert kept in {None, row.text}
    assert row.text.isprintable()
    assert len(row.text) <= LONGEST


async def test_another_model_takes_over_when_it_has_described_all_and_can_be_left_again(
    catalog: Catalog,
):
    one, two = await told(catalog, "a dog", "a cat")
    await catalog.writer.use_space(NEWER, catalog.now)
    await catalog.writer.backfill("says-2", 100, catalog.now)
    again = await catalog.tells()
    assert {task.pack for task in again} == {"teller-2"}
    await catalog.settle(*[captioned(task, "a wolf", NEWER) for task in again])
    assert await found(catalog, "wolf") == []  # it does not serve yet
    assert await found(catalog, "dog") == [one]
    await catalog.writer.backfill("says-2", 100, catalog.now)
    assert await catalog.writer.switch_space("says-2", catalog.now)
    assert await found(catalog, "wolf") == [one, two]
    assert await found(catalog, "dog") == []
    assert (await catalog.reader.captions([one]))[one].pack == "teller-2"
    # … and going back costs nothing, and leaves the others' spaces alone
    await catalog.writer.use_space(CAPTIONS, catalog.now)
    assert await catalog.tells() == []
    while await catalog.writer.backfill("says", 100, catalog.now):
        pass
    assert await catalog.writer.switch_space("says", catalog.now)
    assert await found(catalog, "dog") == [one]
    assert await catalog.reader.serving("caption") == ("says", "teller")
    assert await catalog.reader.serving() == ("clip", "clip-b32")


async def test_an_old_model_is_dropped_with_what_it_wrote(catalog: Catalog):
    (content,) = await told(catalog, "a dog")
    await catalog.writer.use_space(NEWER, catalog.now, at_once=True)
    assert await catalog.writer.drop_space("says", 0, 10, catalog.now) == [content]
    await catalog.writer.use_space(CAPTIONS, catalog.now, at_once=True)
    assert await catalog.reader.captions([content]) == {}
    assert await found(catalog, "dog") == []
    assert await catalog.reader.misworded() == ""


async def test_a_photo_without_its_caption_is_found_and_described_again(catalog: Catalog):
    (task,) = await to_be_told(catalog, b"a.jpg")
    assert await catalog.reader.unembedded(0, 10, "caption") == []
    await catalog.settle(captioned(task, "a dog"))
    assert await catalog.writer.backfill("says", 100, catalog.now) == 0
    async with catalog.writer._transaction(catalog.now) as tx:
        await tx.connection.exec_driver_sql("DELETE FROM captions")
        await tx.connection.exec_driver_sql("DELETE FROM vectors WHERE space = 2")
    await catalog.writer.recount(catalog.now)
    assert await catalog.reader.unembedded(0, 10, "caption") == [task.content]
    assert await catalog.reader.unembedded(0, 10) == []
    assert await catalog.writer.look_again("caption", [task.content], catalog.now) == 1
    (again,) = await catalog.tells()
    await catalog.settle(captioned(again, "a dog again"))
    assert await found(catalog, "again") == [task.content]


async def test_a_caption_of_which_the_other_half_was_lost_is_replaced(catalog: Catalog):
    (content,) = await told(catalog, "a dog")
    async with catalog.writer._transaction(catalog.now) as tx:
        await tx.connection.exec_driver_sql("DELETE FROM vectors WHERE space = 2")
    await catalog.writer.recount(catalog.now)
    assert await catalog.writer.look_again("caption", [content], catalog.now) == 1
    (task,) = await catalog.tells()
    await catalog.settle(captioned(task, "a cat"))
    assert await found(catalog, "dog") == []
    assert await found(catalog, "cat") == [content]


async def test_a_lost_thumbnail_is_made_again_and_then_described(catalog: Catalog):
    (task,) = await to_be_told(catalog, b"a.jpg")
    await catalog.settle(ThumbnailLost(task.id, task.content))
    assert await catalog.tells() == []
    await catalog.settle(*[decoded(each) for each in await catalog.decodes()])
    assert [each.id for each in await catalog.tells()] == [task.id]


async def test_a_photo_that_cannot_be_described_is_a_dead_letter_of_that_kind(catalog: Catalog):
    (task,) = await to_be_told(catalog, b"a.jpg")
    await catalog.fail([task], "photo")
    (letter,) = await catalog.reader.dead_letters("caption")
    assert (letter.kind, letter.path, letter.reason) == (
        "caption",
        b"/photos/a.jpg",
        "photo is at fault",
    )
    looking = await catalog.reader.looking("caption")
    assert looking is not None
    assert looking.unlooked == 0
    assert await catalog.writer.retry([letter.task], catalog.now) == [letter.task]
    assert [each.id for each in await catalog.tells()] == [task.id]


async def test_no_word_of_a_forgotten_photo_can_be_read_from_the_disk(
    catalog: Catalog, tmp_path: Path
):
    tasks = await to_be_told(catalog, b"a.jpg", b"b.jpg")
    await catalog.settle(captioned(tasks[0], "a xylograph of quetzals in a zwinger"))
    await catalog.settle(captioned(tasks[1], "a dog"))
    path = tmp_path / "catalog.sqlite"
    await catalog.writer.checkpoint()
    # as the text says it, and as the index has it
    traces = [b"xylograph", b"quetzals", b"quetzal", b"zwinger"]
    assert all(trace in everything(path) for trace in traces)
    with sqlite3.connect(path) as database:
        blocks = database.execute("SELECT block FROM caption_words_data").fetchall()
    database.close()
    assert any(b"xylograph" in block for (block,) in blocks)
    await catalog.writer.forget(b"/photos/a.jpg", 10, catalog.now)
    await catalog.writer.checkpoint()
    left = everything(path)
    assert [trace for trace in traces if trace in left] == []
    assert await catalog.reader.captions([tasks[0].content]) == {}
    assert await found(catalog, "dog") == [tasks[1].content]
    assert await catalog.reader.misworded() == ""


# ── what finds them ─────────────────────────────────────────────────────────────────────────


async def test_all_words_have_to_be_there_wherever_they_stand(catalog: Catalog):
    one, two, _ = await told(catalog, "a black dog on a red sofa", "a red car", "a black cat")
    assert await found(catalog, "red") == [two, one]  # the shorter says it more plainly
    assert await found(catalog, "sofa black") == [one]
    assert await found(catalog, "red cat") == []


async def test_what_stands_in_quotes_has_to_be_there_as_it_stands(catalog: Catalog):
    one, two = await told(catalog, "a black dog and a red sofa", "a black sofa and a red dog")
    assert await found(catalog, '"black dog"') == [one]
    assert await found(catalog, '"red dog') == [two]  # the closing one may be missing
    assert await found(catalog, '"dog black"') == []


async def test_forms_of_a_word_accents_and_capitals_do_not_matter(catalog: Catalog):
    one, two = await told(catalog, "two dogs running past a café", "Ein Häuschen in München")
    for question in ("dog", "DOGS", "runs", "cafe", "photo of a dog!", "show me the dogs"):
        assert await found(catalog, question) == [one], question
    assert await found(catalog, "munchen") == [two]


async def test_every_script_has_words(catalog: Catalog):
    texts = ["красная машина", "κόκκινο σπίτι", "سيارة حمراء", "赤い 車", "a 🐈 cat"]
    contents = await told(catalog, *texts)
    for content, question in zip(contents, ["машина", "σπίτι", "سيارة", "車", "cat"], strict=True):
        assert await found(catalog, question) == [content]


async def test_a_file_that_is_gone_is_not_found_and_comes_back_with_it(catalog: Catalog):
    one, two = await told(catalog, "a dog", "a dog too")
    await catalog.lose(b"0.jpg")
    assert await found(catalog, "dog") == [two]
    await catalog.see(b"0.jpg")
    await catalog.settle(*[decoded(task) for task in await catalog.decodes()])
    assert await found(catalog, "dog") == [one, two]


async def test_captions_that_say_the_same_have_one_rank_and_come_in_the_order_of_age(
    catalog: Catalog,
):
    contents = await told(catalog, "a dog", "a dog", "a dog on a long, long road", "a dog")
    matches = await catalog.reader.captioned("dog", 10)
    assert [each.content for each in matches] == [*contents[:2], contents[3], contents[2]]
    assert len({each.rank for each in matches[:3]}) == 1
    assert matches[3].rank > matches[0].rank
    assert len(await found(catalog, "dog", 2)) == 2


async def test_of_very_many_captions_only_the_last_written_are_ranked(
    catalog: Catalog, monkeypatch
):
    texts = ["a dog", "a dog", "a dog on a long, long road", "a dog"]
    tasks = await to_be_told(catalog, *[b"%d.jpg" % n for n in range(len(texts))])
    for task, text in zip(tasks, texts, strict=True):
        await catalog.settle(captioned(task, text))
    monkeypatch.setattr(reads, "RANKED", 2)
    assert await found(catalog, "dog") == [tasks[3].content, tasks[2].content]


@pytest.mark.parametrize(
    ("question", "as_asked"),
    [
        ("a red boat", '"red" "boat"'),
        ("photo of the", '"photo" "of" "the"'),  # nothing else is there
        ("show me a photo of a dog?", '"dog?"'),
        ('"in the snow"', '"in the snow"'),
        ("", ""),
        ("  !? - * ", ""),
        ("dog AND NOT cat*", '"dog" "cat*"'),
        ('say "', '"say"'),
    ],
)
def test_a_question_becomes_words(question, as_asked):
    asked = words(question)
    assert asked.replace('"AND" "NOT" ', "").replace('"NOT" ', "") == as_asked


def index():
    database = sqlite3.connect(":memory:")
    database.execute(
        "CREATE VIRTUAL TABLE words USING fts5("
        "text, tokenize='porter unicode61 remove_diacritics 2')"
    )
    return database


WORDS = index()
OPERATORS = ["AND", "OR", "NOT", "NEAR", "NEAR(a b, 2)", "text:", *"\"'*()^-+:{},"]
LETTERS = ["\0", "é", "ß", "漢字", "🐈\u200d⬛", "\u0301", "\u202e", " ", "\n", "dog"]
tricky = st.sampled_from([*OPERATORS, *LETTERS])


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), st.lists(tricky).map("".join), st.lists(tricky).map(" ".join)))
@example('a" OR "b')
@example("NEAR(")
@example("\ud800".encode("utf-8", "replace").decode())
def test_whatever_is_asked_is_words_to_the_index_and_never_an_error(question):
    asked = words(question)
    if asked:
        WORDS.execute("SELECT count(*) FROM words WHERE words MATCH ?", (asked,)).fetchall()


letters = st.text(st.characters(categories=["Lu", "Ll"], max_codepoint=0x24F), min_size=1)


@settings(max_examples=100, deadline=None)
@given(st.lists(letters, min_size=1, max_size=6))
def test_a_caption_is_found_by_any_of_its_words(some):
    WORDS.execute("DELETE FROM words")
    WORDS.execute("INSERT INTO words VALUES (?)", (" ".join(some),))
    for each in some:
        (n,) = WORDS.execute(
            "SELECT count(*) FROM words WHERE words MATCH ?", (words(each),)
        ).fetchone()
        assert n == 1


async def test_the_library_takes_every_question(catalog: Catalog):
    (content,) = await told(catalog, "a dog")
    for question in ('"', "a* OR", "NEAR(", "dog\0", "-dog", "^dog", "{text}: dog", "(dog"):
        assert await found(catalog, question) in ([], [content]), question
