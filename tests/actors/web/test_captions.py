"""Captions at the edge: searching them, and having one written."""

import contextlib
import json
import os

import anyio
import pytest

import actors.client
from actors.client import Client, DeadlinePassed, NotDescribed, PeerRefused
from actors.library.faces import face_id
from actors.messages import (
    AskPhoto,
    Describe,
    Done,
    FacesLike,
    Nearest,
    PhotoIs,
    ProcessStatus,
    Saying,
    Search,
    Status,
)
from actors.web import captions, describing
from actors.web.errors import Refusal
from runtime.errors import HandlerFailed
from runtime.messages import Up
from runtime.node import Node
from tests.actors.web.stage import NEIGHBOURS, stage
from tests.actors.web.talking import greeted

pytestmark = pytest.mark.anyio
ALL = (*NEIGHBOURS, "scheduler")


@pytest.fixture
def anyio_backend():
    return "asyncio"


def told(it):
    """Of four photos, in the order of their vectors, the second and the last are described."""
    it.library.add(4)
    it.library.tell(2, "two red boats")
    it.library.tell(4, "a red boat")


def asked_of_index(it):
    return [each for each in it.neighbours["index"].heard if isinstance(each, Nearest)]


async def test_without_captions_the_answer_is_what_the_index_says():
    async with stage(photos=4) as it:
        found = await it.ask(Search("red", 3))
        assert [(hit.content, hit.reason, hit.caption) for hit in found.hits] == [
            (1, "vector", None),
            (2, "vector", None),
            (3, "vector", None),
        ]
        assert [(each.k, each.among) for each in asked_of_index(it)] == [(3, b"")]
        assert found.degraded == "exact"


async def test_where_no_caption_has_the_words_the_answer_is_what_the_index_says():
    async with stage(before=told) as it:
        found = await it.ask(Search("green", 2))
        assert [(hit.content, hit.reason) for hit in found.hits] == [(1, "vector"), (2, "vector")]
        assert found.hits[1].caption == "two red boats"
        assert [(each.k, each.among) for each in asked_of_index(it)] == [(2, b"")]


async def test_a_hit_says_whether_the_picture_was_found_or_the_words_or_both():
    async with stage(before=told) as it:
        found = await it.ask(Search("red", 20))
        assert [(hit.content, hit.reason) for hit in found.hits] == [
            (2, "both"),
            (4, "both"),
            (1, "vector"),
            (3, "vector"),
        ]
        assert [hit.caption for hit in found.hits] == ["two red boats", "a red boat", None, None]


async def test_whatever_a_photo_was_found_by_its_score_is_a_cosine():
    async with stage(before=told) as it:
        for content in range(5, 200):
            it.library.add(content)
        it.library.tell(180, "red")  # far down in the ranking of the index
        found = await it.ask(Search("red", 4))
        assert (found.hits[0].content, found.hits[0].reason) == (2, "both")
        (far,) = [hit for hit in found.hits if hit.content == 180]
        assert (far.reason, far.score) == ("caption", pytest.approx(0.5 - 0.179))


async def test_a_photo_without_a_vector_is_found_by_its_caption():
    async with stage(before=told) as it:
        it.library.unembedded.add(4)
        hit = (await it.ask(Search("boat", 2))).hits[1]
        assert (hit.content, hit.reason, hit.score) == (4, "caption", 0.0)


async def test_the_first_hits_do_not_depend_on_how_many_are_wanted():
    async with stage(before=told) as it:
        for content in range(5, 40):
            it.library.add(content)
            it.library.tell(content, "red " * (50 - content))
        all_ = [hit.content for hit in (await it.ask(Search("red", 30))).hits]
        for k in (1, 2, 7, 29):
            assert [hit.content for hit in (await it.ask(Search("red", k))).hits] == all_[:k]


async def test_a_choice_by_faces_holds_for_captions_too():
    def with_faces(it):
        told(it)
        it.library.look(1, (0, 0, 0.2, 0.2))
        it.library.look(2, (0, 0, 0.2, 0.2))
        it.library.look(4)

    async with stage(before=with_faces) as it:
        found = await it.ask(Search("red", has_faces=True))
        assert [(hit.content, hit.reason) for hit in found.hits] == [(2, "both"), (1, "vector")]
        found = await it.ask(Search("red", has_faces=False))
        assert [(hit.content, hit.reason) for hit in found.hits] == [(4, "both")]
        found = await it.ask(FacesLike(face_id(1, 0)))
        assert [(hit.content, hit.caption) for hit in found.hits] == [(2, "two red boats")]


async def test_search_does_not_wait_for_captions(monkeypatch):
    monkeypatch.setattr(captions, "PATIENCE_S", 0.01)
    async with stage(before=told) as it:
        it.library.reading = anyio.Event()
        for _ in range(captions.MOST + 1):
            found = await it.ask(Search("red"))
            assert (found.hits[0].content, found.hits[0].reason) == (1, "vector")
            assert found.degraded == f"exact; {captions.BUSY}"
        it.library.reading.set()
        found = await it.ask(Search("red"))
        while found.degraded != "exact":  # what was begun ends in its own time
            found = await it.ask(Search("red"))
        assert found.hits[0].content == 2


async def test_search_does_without_captions_that_cannot_be_read():
    async with stage(before=told) as it:

        async def broken(_question, _limit):
            raise OSError("a bug")

        async def damaged(_question, _limit):
            raise Refusal("library_away", "the database is damaged")

        for it.library.captioned in (broken, damaged):
            found = await it.ask(Search("red"))
            assert [hit.reason for hit in found.hits] == ["vector"] * 4
            assert found.degraded == f"exact; {captions.FAILED}"


async def test_the_file_of_a_photo_is_known_by_its_path():
    async with stage() as it:
        (path,) = it.library.photos[2][1].paths
        assert await it.ask(AskPhoto(path)) == PhotoIs(2, known=True)
        assert await it.ask(AskPhoto(path + b"x")) == PhotoIs(None, known=False)


# ── describing ──────────────────────────────────────────────────────────────────────────────


async def test_a_caption_comes_word_by_word():
    async with stage(before=told, neighbours=ALL) as it, greeted(it) as socket:
        await socket.say(type="describe", id=5, content=1)
        question = await it.scheduler.asked()
        assert (question.content, question.pack) == (1, "teller")
        assert (question.width, question.height) == (320, 240)
        it.scheduler.say("two")
        assert await socket.hear() == caption(5, "two")
        it.scheduler.say("two red", done=True)
        assert await socket.hear() == caption(5, "two red", done=True)
        await socket.say(type="status", id=5)  # its number is free again
        assert (await socket.hear())["type"] == "status"


def caption(id_, text, *, done=False, error=""):
    return {"type": "caption", "id": id_, "text": text, "done": done, "error": error}


async def test_what_comes_to_nothing_says_why():
    async with stage(before=told, neighbours=ALL) as it, greeted(it) as socket:
        await socket.say(type="describe", id=5, content=1)
        await it.scheduler.asked()
        it.scheduler.say("", done=True, error="the process that wrote it died; ask again")
        frame = await socket.hear()
        assert (frame["done"], "died" in frame["error"]) == (True, True)


async def test_when_the_scheduler_dies_whoever_waits_is_told():
    async with stage(before=told, neighbours=ALL) as it, greeted(it) as socket:
        await socket.say(type="describe", id=5, content=1)
        await it.scheduler.asked()
        await it.scheduler.stop(it)
        frame = await socket.hear()
        assert (frame["done"], "started anew" in frame["error"]) == (True, True)


async def test_who_says_nothing_for_long_is_waited_for_no_longer(monkeypatch):
    monkeypatch.setattr(describing, "SILENCE_S", 0.05)
    async with stage(before=told, neighbours=ALL) as it, greeted(it) as socket:
        await socket.say(type="describe", id=5, content=1)
        frame = await socket.hear()
        assert frame == caption(5, "", done=True, error="nothing was said within 0.05 s")


@pytest.mark.parametrize(
    ("before", "neighbours", "content", "code"),
    [
        (told, ALL, 99, "not_found"),
        (told, ALL, 2**53, "not_found"),
        (told, ALL, 0, "not_found"),
        (None, ALL, 1, "no_caption_model"),
        (told, NEIGHBOURS, 1, "caption_away"),
    ],
)
async def test_what_cannot_be_described_is_refused_at_once(before, neighbours, content, code):
    async with stage(before=before, neighbours=neighbours) as it, greeted(it) as socket:
        await socket.say(type="describe", id=5, content=content)
        frame = await socket.hear()
        assert (frame["type"], frame["id"], frame["error"]["code"]) == ("error", 5, code)
        with pytest.raises(HandlerFailed, match=code):
            await it.ask(Describe(1, content))


async def test_a_model_that_was_set_aside_is_not_waited_for():
    async with stage(before=told, neighbours=ALL) as it:
        status = await it.gateway._board.status()
        gone = Status([ProcessStatus("caption", "broken", 0, 3, 2)], None, None, "", False, "P1")

        async def now():
            return gone

        it.gateway._board.status = now
        assert status.processes
        with pytest.raises(HandlerFailed, match="caption model is not up"):
            await it.ask(Describe(1, 1))


async def test_only_so_many_photos_are_described_at_once():
    async with stage(before=told, neighbours=ALL) as it:
        for ask in range(describing.MOST):
            assert await it.ask(Describe(ask, 1)) == Done()
        with pytest.raises(HandlerFailed, match="busy"):
            await it.ask(Describe(99, 1))
        await it.scheduler.asked(1)
        it.scheduler.say("done", done=True)
        await heard(it.asker)
        assert await it.ask(Describe(99, 1)) == Done()


async def heard(node: Node):
    with anyio.fail_after(5):
        return (await node.mailbox.get()).body


async def test_a_program_hears_it_under_its_own_number():
    async with stage(before=told, neighbours=ALL) as it:
        assert await it.ask(Describe(41, 1)) == Done()
        assert await it.ask(Describe(42, 3)) == Done()
        await it.scheduler.asked(2)
        it.scheduler.say("a moon", n=2)
        assert await heard(it.asker) == Saying(42, "a moon")
        it.scheduler.say("a sun", n=1, done=True)
        assert await heard(it.asker) == Saying(41, "a sun", done=True)


async def test_who_left_is_forgotten_and_a_late_word_does_no_harm():
    async with stage(before=told, neighbours=ALL) as it:
        async with greeted(it) as socket:
            await socket.say(type="describe", id=5, content=1)
            await it.scheduler.asked()
        await it.ask_until_free()
        assert it.gateway._describer._asks == {}
        it.scheduler.say("two red boats", done=True)
        assert (await it.ask(Search("red"))).hits


# ── the client ──────────────────────────────────────────────────────────────────────────────


@contextlib.asynccontextmanager
async def client_of(it):
    run = {"pid": os.getpid(), "run": "1", "run_dir": str(it.run_dir)}
    (it.data / "run.json").write_text(json.dumps(run))
    async with Client.connect(it.data) as client:
        yield client


async def test_a_client_follows_what_is_written():
    async with stage(before=told, neighbours=ALL) as it, client_of(it) as client:
        texts = client.describe(1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(first_words, it)
            assert await anext(texts) == "two"
        it.scheduler.say("two red", done=True)
        assert await anext(texts) == "two red"
        assert await anext(texts, None) is None


async def first_words(it):
    await it.scheduler.asked()
    it.scheduler.say("two")


async def test_a_client_is_told_why_there_is_no_caption():
    async with stage(before=told, neighbours=ALL) as it, client_of(it) as client:
        texts = client.describe(1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(first_words, it)
            assert await anext(texts) == "two"
        await it.scheduler.stop(it)
        with pytest.raises(NotDescribed, match="started anew meanwhile"):
            await anext(texts)
        with pytest.raises(PeerRefused, match="scheduler is not up"):
            await anext(client.describe(1))


async def test_a_client_waits_only_so_long_for_a_word():
    async with stage(before=told, neighbours=ALL) as it, client_of(it) as client:
        with pytest.raises(DeadlinePassed):
            await anext(client.describe(1, seconds=0.2))
        assert client._said == {}


async def test_when_the_gateway_is_another_one_nothing_more_is_waited_for(monkeypatch):
    monkeypatch.setattr(actors.client, "SILENCE_S", 0.05)
    async with stage(before=told, neighbours=ALL) as it, client_of(it) as client:
        texts = client.describe(1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(first_words, it)
            assert await anext(texts) == "two"
        client._node.peer_up(Up("gateway", 2))
        with pytest.raises(NotDescribed, match="gateway was started anew"):
            await anext(texts)


async def test_a_client_knows_photos_by_their_paths():
    async with stage(before=told, neighbours=ALL) as it, client_of(it) as client:
        (path,) = it.library.photos[3][1].paths
        assert (await client.photo(path)).content == 3
