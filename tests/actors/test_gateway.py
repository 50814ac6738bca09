"""The gateway as a process: its address, its peers, its ZeroMQ side, its end."""

import os
import socket
import stat
import time

import anyio
import msgspec
import pytest

from actors.gateway import Gateway
from actors.library.reads import Serving
from actors.messages import (
    AskIndexIds,
    AskLink,
    AskPlaces,
    AskStatus,
    AskTotals,
    EncodeText,
    Forget,
    Found,
    IndexIds,
    LettersMoved,
    Nearest,
    Neighbours,
    RetryLetters,
    Search,
    Status,
    ThumbnailsLost,
    Totals,
    Vectors,
)
from actors.settings import GatewaySettings
from actors.web import search
from runtime.actor import decode_settings
from runtime.errors import ActorUnusable, HandlerFailed
from runtime.wire import Nack
from tests.actors.web.stage import DIMENSIONS, stage, vector_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def test_it_is_ready_with_no_neighbour_at_all_and_says_who_is_missing():
    async with stage(neighbours=()) as it, it.client() as http:
        assert (await http.get("/health")).status_code == 200
        ready = await http.get("/ready")
        assert ready.status_code == 503
        assert ready.json() == {"ready": False, "missing": ["text", "index"]}


async def test_its_address_is_in_the_run_directory_when_it_is_ready():
    async with stage() as it:
        address = msgspec.json.decode((it.run_dir / "gateway.json").read_bytes())
        assert address == {"host": "127.0.0.1", "port": it.address.port}
        with socket.create_connection(("127.0.0.1", it.address.port), 5):
            pass


async def test_a_token_file_that_others_can_read_stops_the_start(tmp_path):
    token = tmp_path / "token"
    token.write_text("x" * 43)
    token.chmod(0o644)
    settings = GatewaySettings(
        data=os.fsencode(tmp_path),
        derived=b"",
        database="",
        pack="sketch",
        demo=True,
        profile="P1",
        port=0,
    )
    with pytest.raises(ActorUnusable, match=r"others can read it \(mode 0644\)"):
        await Gateway(settings).on_start()


async def test_the_token_is_made_at_first_start_and_kept():
    async with stage() as it:
        status = (it.data / "token").stat()
        assert stat.S_IMODE(status.st_mode) == 0o600
        assert len(it.token) >= 43


async def test_settings_survive_the_way_to_the_process():
    settings = GatewaySettings(
        data=b"/d/\xff",
        derived=b"/d/\xff/derived",
        database="sqlite+aiosqlite:////d/catalog.sqlite",
        pack="sketch",
        demo=True,
        profile="P2",
        roots=("Pictures",),
    )
    assert decode_settings(Gateway, msgspec.msgpack.encode(settings)) == settings


# ── the ZeroMQ side ─────────────────────────────────────────────────────────────────────────


async def test_a_search_over_zeromq_is_answered():
    async with stage() as it:
        found = await it.ask(Search("a red boat", 2))
        assert isinstance(found, Found)
        assert [hit.content for hit in found.hits] == [1, 2]
        assert found.hits[0].path.endswith("photo 1.jpg")
        assert found.hits[0].thumbnail.startswith("/thumb/1/256?v=")
        assert (found.model, found.demo, found.indexed, found.degraded) == (
            "sketch",
            True,
            3,
            "exact",
        )


async def test_a_link_over_zeromq_opens_the_page_once():
    async with stage() as it, it.client(token=False) as http:
        link = (await it.ask(AskLink())).url
        assert link.startswith(f"{it.url}/open?once=")
        assert (await http.get(link)).status_code == 303
        assert (await http.get("/")).status_code == 200
        assert (await http.get(link)).status_code == 403


async def test_without_authentication_the_link_is_the_page_itself():
    async with stage(auth="none") as it:
        assert (await it.ask(AskLink())).url == f"{it.url}/"


async def test_status_and_totals_over_zeromq():
    async with stage() as it:
        status = await it.ask(AskStatus())
        assert isinstance(status, Status)
        assert {each.name for each in status.processes} == {"catalog", "index", "text", "gateway"}
        assert status.catalog is not None
        assert status.index is not None
        assert (status.index.vectors, status.profile) == (3, "P1")
        assert await it.ask(AskTotals()) == Totals(5, 3, 1, 1, 0, 0)


async def test_who_is_absent_is_none_in_the_status():
    async with stage(neighbours=("index",)) as it:
        status = await it.ask(AskStatus())
        assert status.catalog is None
        assert status.index is not None


async def test_a_catalog_that_does_not_answer_is_none_in_the_status_and_costs_a_second():
    async with stage() as it:
        it.neighbours["catalog"].answers[AskStatus] = None
        started = time.monotonic()
        status = await it.ask(AskStatus())
        assert status.catalog is None
        assert status.index is not None
        assert time.monotonic() - started < 2


@pytest.mark.parametrize("missing", ["text", "index"])
async def test_a_missing_neighbour_is_named_and_never_a_hang(missing):
    others = tuple(name for name in ("text", "index") if name != missing)
    async with stage(neighbours=others) as it:
        started = time.monotonic()
        with pytest.raises(HandlerFailed, match=f"is not up.*{missing}_away"):
            await it.ask(Search("boat"))
        assert time.monotonic() - started < 5


async def test_a_neighbour_that_is_soon_back_is_not_missed():
    async with stage() as it:
        await it.neighbours["index"].stop(it)
        await it.wait_down("index")
        async with anyio.create_task_group() as tasks:
            answers = []

            async def search():
                answers.append(await it.ask(Search("boat")))

            tasks.start_soon(search)
            await it.neighbours["index"].start(it)
        assert len(answers[0].hits) == 3


async def test_a_question_that_died_with_its_neighbour_is_asked_again():
    async with stage() as it:
        index = it.neighbours["index"]
        answer = index.answers[Nearest]
        asked = anyio.Event()
        index.answers[Nearest] = lambda message: asked.set()  # heard, never answered
        async with anyio.create_task_group() as tasks:
            answers = []

            async def search():
                answers.append(await it.ask(Search("boat")))

            tasks.start_soon(search)
            await asked.wait()
            index.answers[Nearest] = answer
            await index.stop(it)
            await index.start(it)
        assert len(answers[0].hits) == 3


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Nack("failed", "no space of that name"), r"no space of that name.*index_failed"),
        (Nack("busy", "full"), r"too much to do.*busy"),
        (AskTotals(), r"answer of type AskTotals.*index_failed"),
        (None, r"did not answer within 0.3 s.*index_slow"),
    ],
)
async def test_what_is_wrong_with_the_index_reaches_the_asker(answer, words, monkeypatch):
    monkeypatch.setattr(search, "INDEX_S", 0.3)
    async with stage() as it:
        it.neighbours["index"].answers[Nearest] = answer
        with pytest.raises(HandlerFailed, match=words):
            await it.ask(Search("boat"))


async def test_a_repeated_query_asks_the_text_tower_once_and_anew_after_its_restart():
    async with stage() as it:
        text = it.neighbours["text"]
        for _ in range(3):
            await it.ask(Search("a red   boat"))
        assert text.heard == [EncodeText(["a red boat"])]
        await text.stop(it)
        await it.wait_down("text")
        assert len((await it.ask(Search("a red boat"))).hits) == 3  # what is cached still works
        await text.start(it)
        await it.wait_up("text")
        await it.ask(Search("a red boat"))
        assert len(text.heard) == 2


async def test_an_answer_is_of_the_model_that_serves_and_names_it():
    async with stage() as it:
        text, index = it.neighbours["text"], it.neighbours["index"]

        def encode(message):
            return Vectors(f"{message.pack}@1", DIMENSIONS, vector_of("x"), message.pack)

        text.answers[EncodeText] = encode
        for pack in ("one", "two", "one"):
            it.library.served = Serving(f"{pack}@1", pack)
            found = await it.ask(Search("a red boat"))
            assert (found.model, found.demo) == (pack, False)
        assert [each.pack for each in text.heard] == ["one", "two"]  # the third was remembered
        asked = [each.space for each in index.heard if isinstance(each, Nearest)]
        assert asked == ["one@1", "two@1", "one@1"]
        assert (await it.ask(AskStatus())).model == "one"


async def test_a_model_that_went_while_it_was_asked_is_replaced_by_the_one_that_serves():
    async with stage() as it:
        it.library.served = Serving("old@1", "old")

        def encode(message):
            return Vectors(f"{message.pack}@1", DIMENSIONS, vector_of("x"), message.pack)

        def nearest(message):
            if message.space == "old@1":
                it.library.served = Serving("new@1", "new")
                return Nack("failed", "this index is of new@1")
            return Neighbours([[1]], [[0.5]], seq=7)

        it.neighbours["text"].answers[EncodeText] = encode
        it.neighbours["index"].answers[Nearest] = nearest
        found = await it.ask(Search("a red boat"))
        assert (found.model, [hit.content for hit in found.hits]) == ("new", [1])


async def test_a_pack_whose_vectors_are_not_those_of_the_library_answers_nothing():
    async with stage() as it:
        it.library.served = Serving("new@2", "new")
        with pytest.raises(HandlerFailed, match=r"has other vectors than the library.*text_failed"):
            await it.ask(Search("a red boat"))


async def test_a_senseless_search_is_refused():
    async with stage() as it:
        for query, k in (("", 5), ("   ", 5), ("x" * 1001, 5), ("boat", 0), ("boat", 501)):
            with pytest.raises(HandlerFailed, match="bad_request"):
                await it.ask(Search(query, k))


async def test_an_answer_above_what_a_message_holds_is_refused_and_nobody_dies():
    def before(it):
        for content, (row, photo) in it.library.photos.items():
            long = msgspec.structs.replace(row, path=b"/long" * 80_000)
            it.library.photos[content] = (long, photo)

    async with stage(before=before) as it:
        with pytest.raises(HandlerFailed, match="too_large"):
            await it.ask(Search("boat"))
        assert len((await it.ask(Search("boat", 1))).hits) == 1


async def test_photos_that_went_since_the_index_heard_are_left_out():
    async with stage() as it:
        it.neighbours["index"].answers[Nearest] = lambda _: it._nearest(Nearest("", b"", 3))
        del it.library.photos[2]
        found = await it.ask(Search("boat"))
        assert [hit.content for hit in found.hits] == [1, 3]


async def test_hostile_file_names_are_made_harmless():
    def before(it):
        it.library.add(9, name=b"\xff \x1b[31m\n\xe2\x80\xae<img src=x>.jpg")

    async with stage(photos=0, before=before) as it:
        (hit,) = (await it.ask(Search("boat"))).hits
        assert hit.path.endswith("/\\xff \\x1b[31m\\n\\u202e<img src=x>.jpg")


# ── what the owner wants ────────────────────────────────────────────────────────────────────


async def test_the_owners_words_go_to_the_catalog_and_its_answer_comes_back():
    async with stage() as it:
        it.neighbours["catalog"].answers[RetryLetters] = LettersMoved([7])
        assert await it.ask(RetryLetters([7, 8])) == LettersMoved([7])
        assert RetryLetters([7, 8]) in it.neighbours["catalog"].heard


async def test_what_the_catalog_refuses_is_refused_with_its_words():
    async with stage() as it:
        it.neighbours["catalog"].answers[Forget] = Nack("failed", "the disk is full")
        with pytest.raises(HandlerFailed, match="the disk is full"):
            await it.ask(Forget(b"/photos"))


async def test_words_about_the_index_go_to_the_index():
    async with stage() as it:
        it.neighbours["index"].answers[AskIndexIds] = IndexIds(7, 3, b"digest")
        assert await it.ask(AskIndexIds()) == IndexIds(7, 3, b"digest")


async def test_it_tells_where_the_library_lies():
    async with stage() as it:
        places = await it.ask(AskPlaces())
        assert places.derived == os.fsencode(it.derived)
        assert places.index == os.fsencode(it.data / "index")


async def test_a_thumbnail_that_is_not_there_is_told_to_the_catalog_once():
    async with stage() as it, it.client() as http:
        it.library.thumb(it.library.photos[2][1].digest, 256).unlink()
        for _ in range(3):
            assert (await http.get("/thumb/2/256")).status_code == 404
        catalog = it.neighbours["catalog"]
        with anyio.fail_after(10):
            while ThumbnailsLost([2]) not in catalog.heard:
                await anyio.sleep(0.05)
        assert (await http.get("/thumb/1/256")).status_code == 200
        assert [each for each in catalog.heard if isinstance(each, ThumbnailsLost)] == [
            ThumbnailsLost([2])
        ]
