"""The websocket as a client meets it."""

import contextlib
import itertools
import json
import time

import anyio
import httpx
import pytest
from websockets import Close
from websockets.exceptions import ConnectionClosed, InvalidStatus

from actors.messages import AskLink, EncodeText, Nearest
from actors.web import app, board, protocol, questions, session
from tests.actors.web.stage import code_of, stage
from tests.actors.web.talking import anyio_wait, greeted, talk

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


# ── who may come in ─────────────────────────────────────────────────────────────────────────


async def status_of_handshake(it, **options):
    with pytest.raises(InvalidStatus) as caught:
        async with talk(it, **options):
            pass
    return caught.value.response.status_code, json.loads(caught.value.response.body)


async def test_a_wrong_token_in_the_handshake_is_refused_with_its_reason():
    async with stage() as it:
        status, body = await status_of_handshake(it, token="wrong")
        assert (status, body["error"]["code"]) == (401, "unauthorized")


async def test_a_foreign_origin_cannot_open_a_websocket_even_with_a_cookie():
    async with stage() as it, httpx.AsyncClient(trust_env=False) as http:
        await http.get((await it.ask(AskLink())).url)
        ((name, value),) = http.cookies.items()
        cookie = {"Cookie": f"{name}={value}"}
        async with talk(it, token=False, headers=cookie, origin=it.url) as client:
            assert (await client.hear())["type"] == "hello"
        for origin in ("http://example.org", "http://127.0.0.1:1", "null"):
            status, body = await status_of_handshake(it, token=False, headers=cookie, origin=origin)
            assert (status, body["error"]["code"]) == (403, "foreign_origin")


async def test_a_foreign_host_cannot_open_a_websocket():
    async with stage() as it:
        upgrade = {
            "Host": "example.org",
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        }
        async with it.client() as http:
            response = await http.get("/ws", headers=upgrade)
        assert (response.status_code, code_of(response)) == (403, "foreign_host")


async def test_a_first_message_with_the_token_opens_it():
    async with stage() as it, talk(it, token=False) as client:
        hello = await client.answer(type="auth", token=it.token)
        assert hello == {
            "type": "hello",
            "version": 1,
            "model": "sketch",
            "demo": True,
            "profile": "P1",
            "roots": ["Pictures"],
        }
        hits, _ = await client.search(1, "boat")
        assert len(hits) == 3


async def test_any_other_first_message_ends_it():
    async with stage() as it:
        for first in (
            {"type": "auth", "token": "wrong"},
            {"type": "auth"},
            {"type": "search", "id": 1, "query": "boat"},
            {"type": "dance"},
        ):
            async with talk(it, token=False) as client:
                error = await client.answer(**first)
                assert error["error"]["code"] == "unauthorized"
                with pytest.raises(ConnectionClosed) as caught:
                    await client.hear()
                assert caught.value.rcvd == Close(4401, "")
        assert it.neighbours["text"].heard == []


async def test_who_says_nothing_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(protocol, "AUTH_S", 0.1)
    async with stage() as it, talk(it, token=False) as client:
        assert (await client.hear())["error"]["code"] == "unauthorized"
        with pytest.raises(ConnectionClosed):
            await client.hear()


async def test_beyond_the_limit_of_connections_the_next_is_refused(monkeypatch):
    monkeypatch.setattr(app, "MOST_WEBSOCKETS", 1)
    async with stage() as it:
        async with greeted(it):
            status, body = await status_of_handshake(it)
            assert (status, body["error"]["code"]) == (503, "busy")
        await it.ask_until_free()
        async with greeted(it):
            pass


# ── requests ────────────────────────────────────────────────────────────────────────────────


async def test_hits_stream_in_best_first_and_end_with_done():
    async with stage(photos=30) as it, greeted(it) as client:
        hits, done = await client.search(7, "a red boat", k=25)
        assert [hit["content"] for hit in hits] == list(range(1, 26))
        assert [hit["score"] for hit in hits] == sorted((h["score"] for h in hits), reverse=True)
        assert done.pop("seconds") > 0
        assert done == {
            "type": "done",
            "id": 7,
            "count": 25,
            "model": "sketch",
            "demo": True,
            "indexed": 30,
            "degraded": "exact",
            "unlooked": 0,
        }


async def test_malformed_frames_are_answered_and_the_connection_stays():
    async with stage() as it, greeted(it) as client:
        for frame in ("", "{", "[]", "nonsense", b"\xff\xfe", '{"type":"dance","id":4}'):
            await client.socket.send(frame)
            assert (await client.hear())["type"] == "error"
        error = await client.answer(type="search", id=9, query="boat", k=501)
        assert (error["id"], error["error"]["code"]) == (9, "bad_request")
        error = await client.answer(type="search", id=10, query=" ")
        assert (error["id"], error["error"]["code"]) == (10, "bad_request")
        _, done = await client.search(11, "boat")
        assert done["type"] == "done"


async def test_half_of_a_surrogate_pair_is_refused_and_nobody_dies():
    async with stage() as it, greeted(it) as client:
        await client.socket.send('{"type":"search","id":1,"query":"\\ud83d boat"}')
        assert (await client.hear())["type"] in {"error", "done"}
        _, done = await client.search(2, "🚤")
        assert done["type"] == "done"


async def test_an_oversized_frame_is_answered_and_ends_the_connection():
    async with stage() as it:
        async with greeted(it) as client:
            error = await client.answer(type="search", id=1, query="x" * 20_000)
            assert error["error"]["code"] == "too_large"
            with pytest.raises(ConnectionClosed) as caught:
                await client.hear()
            assert caught.value.rcvd == Close(1009, "")
        async with greeted(it) as client:
            await client.socket.send("x" * 1_000_000)
            with pytest.raises(ConnectionClosed):
                await client.hear()
        async with greeted(it) as client:
            assert (await client.search(1, "boat"))[1]["type"] == "done"


async def test_an_absent_index_is_an_error_of_that_search_alone(monkeypatch):
    monkeypatch.setattr(questions, "GRACE_S", 0.2)
    async with stage(neighbours=("text", "catalog")) as it, greeted(it) as client:
        error = await client.answer(type="search", id=3, query="boat")
        assert (error["id"], error["error"]["code"]) == (3, "index_away")
        status = await client.answer(type="status", id=4)
        assert status["status"]["index"] is None


async def test_a_slow_search_holds_up_no_status_and_ids_are_told_apart():
    async with stage() as it, greeted(it) as client:
        it.neighbours["text"].answers[EncodeText] = None
        await client.say(type="search", id=1, query="boat")
        status = await client.answer(type="status", id=2)
        assert (status["type"], status["id"]) == ("status", 2)
        error = await client.answer(type="search", id=1, query="ship")
        assert (error["id"], error["error"]["code"]) == (1, "bad_request")
        assert "in use" in error["error"]["message"]


async def test_too_many_requests_at_once_are_refused_not_queued():
    async with stage() as it, greeted(it) as client:
        it.neighbours["index"].answers[Nearest] = None
        for id_ in range(8):
            await client.say(type="search", id=id_, query="boat")
        error = await client.answer(type="search", id=8, query="boat")
        assert (error["id"], error["error"]["code"]) == (8, "busy")


async def test_status_tells_of_every_part_without_tags_of_the_wire():
    async with stage() as it, greeted(it) as client:
        status = (await client.answer(type="status", id=1))["status"]
        parts = {"processes", "catalog", "index", "scheduler", "model", "demo", "profile"}
        assert set(status) == parts
        assert status["index"] == {
            "space": "fake@1",
            "vectors": 3,
            "seq": 7,
            "degraded": "",
            "spaces": [],
        }
        assert status["catalog"]["settled"] is True
        assert status["processes"][0] == {
            "name": "catalog",
            "state": "ready",
            "pid": 4242,
            "incarnation": 1,
            "restarts": 0,
            "last_exit": "",
        }


# ── progress ────────────────────────────────────────────────────────────────────────────────


async def test_progress_comes_at_once_and_then_when_it_changes():
    async with stage() as it, greeted(it) as client:
        first = await client.answer(type="subscribe", id=5, topic="progress")
        assert (first["type"], first["id"]) == ("progress", 5)
        assert first["totals"]["indexed"] == 3
        assert first["pace"] == {
            "decode": None,
            "embed": None,
            "eta_seconds": None,
            "faces": None,
            "faces_left": 0,
            "faces_eta_seconds": None,
            "faces_wait": "",
            "captions": None,
            "captions_left": 0,
            "captions_eta_seconds": None,
            "captions_wait": "",
        }
        it.library.add(50)
        it.decodes += 1
        while (frame := await client.hear())["totals"]["indexed"] != 4:
            pass
        assert frame["status"]["index"]["vectors"] == 4


async def test_progress_is_told_at_most_twice_a_second():
    async with stage() as it, greeted(it) as client:
        await client.say(type="subscribe", id=5, topic="progress")
        times = []
        for _ in range(4):
            await client.hear()
            times.append(time.monotonic())
            it.decodes += 1
        gaps = [after - before for before, after in itertools.pairwise(times)]
        assert min(gaps) > 0.4


async def test_a_death_is_told_soon_though_nothing_else_changes(monkeypatch):
    monkeypatch.setattr(session, "QUIET_S", 60.0)
    async with stage() as it, greeted(it) as client:
        await client.say(type="subscribe", id=5, topic="progress")
        assert (await client.hear())["status"]["index"] is not None
        await anyio.sleep(1.2)  # long enough for it to look seldom
        await it.neighbours["index"].stop(it)
        started = time.monotonic()
        while (await client.hear())["status"]["index"] is not None:
            pass
        assert time.monotonic() - started < 20


async def test_who_unsubscribes_hears_no_more():
    async with stage() as it, greeted(it) as client:
        await client.answer(type="subscribe", id=5, topic="progress")
        await client.say(type="unsubscribe", id=5)
        while (frame := await client.hear())["type"] == "progress":
            pass
        assert frame == {"type": "unsubscribed", "id": 5}
        it.decodes += 1
        with anyio.move_on_after(1.2) as silence:
            await client.hear()
        assert silence.cancelled_caught


async def test_many_pages_ask_the_catalog_as_often_as_one(monkeypatch):
    monkeypatch.setattr(board, "FRESH_S", 60)
    async with stage() as it, contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(greeted(it)) for _ in range(5)]
        for client in clients:
            await client.answer(type="subscribe", id=1, topic="progress")
        assert len(it.neighbours["catalog"].heard) == 1


# ── ends ────────────────────────────────────────────────────────────────────────────────────


async def test_a_client_that_leaves_in_the_middle_harms_nobody():
    async with stage() as it:
        it.neighbours["index"].answers[Nearest] = None
        async with greeted(it) as client:
            await client.say(type="search", id=1, query="boat")
            await client.say(type="subscribe", id=2, topic="progress")
            client.socket.transport.abort()
        await it.ask_until_free()
        async with it.client() as http:
            assert (await http.get("/health")).status_code == 200


async def test_a_drain_closes_the_connection_and_says_to_come_again():
    async with stage() as it, talk(it) as client:
        assert (await client.hear())["type"] == "hello"
        await client.answer(type="subscribe", id=1, topic="progress")
        await it.drain()
        await anyio_wait(client.socket.wait_closed())
        assert client.socket.close_code == 1012


async def test_faces_are_asked_for_over_the_websocket():
    def looked(it):
        it.library.look(1, (0.1, 0.1, 0.4, 0.5), (0.5, 0.1, 0.8, 0.5))
        it.library.look(2, (0.2, 0.2, 0.4, 0.5))

    async with stage(before=looked) as it, greeted(it) as socket:
        hits, done = await socket.search(1, "people", faces=2)
        assert [(hit["content"], hit["faces"], hit["face"]) for hit in hits] == [(1, 2, None)]
        assert done["unlooked"] == 1
        answer = await socket.answer(type="faces", id=2, content=1)
        assert [face["id"] for face in answer["faces"]] == [4096, 4097]
        assert (answer["type"], answer["looked"], answer["model"]) == ("faces", True, "people")
        assert "t" not in answer
        await socket.say(type="faces_like", id=3, face=4096)
        found = [(await socket.hear())["hit"]["face"]["id"] for _ in range(2)]
        assert found == [4097, 8192]
        assert (await socket.hear())["type"] == "done"
        answer = await socket.answer(type="faces_like", id=4, face=4096 * 3)
        assert answer["error"]["code"] == "not_looked"
        answer = await socket.answer(type="search", id=5, query="x", has_faces=False, faces=1)
        assert answer["error"]["code"] == "bad_request"
