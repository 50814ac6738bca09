"""HTTP as a browser or a script meets it: a real server on a real socket."""

import os
import re
import socket

import anyio
import httpx
import pytest

from actors.messages import Nearest
from actors.web import questions
from tests.actors.web.stage import code_of, stage

pytestmark = pytest.mark.anyio

PRIVATE = [
    "/api/search?q=boat",
    "/api/status",
    "/thumb/1/256",
    "/original/1",
    "/metrics",
    "/nowhere",
]


@pytest.fixture
def anyio_backend():
    return "asyncio"


# ── who may come in ─────────────────────────────────────────────────────────────────────────


async def test_without_the_token_nothing_private_is_told():
    async with stage() as it:
        for token in (False, "wrong", it.token[:-1], "x" * 43):
            async with it.client(token=token) as http:
                for path in PRIVATE:
                    response = await http.get(path)
                    assert (response.status_code, code_of(response)) == (401, "unauthorized"), path
                assert it.library.asked == 0
                assert (await http.post("/once")).status_code == 401


async def test_the_probes_need_no_token_and_tell_no_path_query_or_pid():
    async with stage() as it, it.client(token=False) as http:
        health = await http.get("/health")
        assert health.status_code == 200
        assert health.json() == {
            "status": "ok",
            "database": "ready",
            "processes": dict.fromkeys(("catalog", "index", "text", "gateway"), "ready"),
        }
        assert (await http.get("/ready")).json() == {"ready": True, "missing": []}


async def test_a_foreign_host_is_refused_even_with_the_token():
    async with stage() as it:
        async with it.client(host="example.org") as http:
            for path in [*PRIVATE, "/", "/health", "/static/page.css"]:
                response = await http.get(path)
                assert (response.status_code, code_of(response)) == (403, "foreign_host"), path
        async with it.client(host=f"localhost:{it.address.port}") as http:
            assert (await http.get("/api/status")).status_code == 200


async def test_a_foreign_origin_is_refused_even_with_the_token():
    async with stage() as it:
        for origin in ("http://example.org", "null", "http://127.0.0.1:1"):
            async with it.client(origin=origin) as http:
                response = await http.get("/api/search?q=boat")
                assert (response.status_code, code_of(response)) == (403, "foreign_origin")
                assert (await http.post("/once")).status_code == 403
        async with it.client(origin=it.url) as http:
            assert (await http.get("/api/search?q=boat")).status_code == 200


async def test_without_authentication_the_page_is_open_and_hosts_are_still_checked():
    async with stage(auth="none") as it:
        assert not (it.data / "token").exists()
        async with it.client(token=False) as http:
            assert (await http.get("/")).status_code == 200
            assert (await http.get("/api/search?q=boat")).json()["count"] == 3
            foreign = await http.get("/api/status", headers={"host": "example.org"})
            assert foreign.status_code == 403


# ── sessions ────────────────────────────────────────────────────────────────────────────────


async def new_link(it):
    async with it.client() as http:
        answer = (await http.post("/once")).json()
    assert answer["expires_seconds"] == 60
    return answer["path"]


async def test_a_one_time_link_opens_the_page_once():
    async with stage() as it, it.client(token=False) as http:
        assert (await http.get("/")).status_code == 401
        link = await new_link(it)
        assert it.token not in link
        opened = await http.get(link)
        assert (opened.status_code, opened.headers["location"]) == (303, "/")
        cookie = opened.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert it.token not in cookie
        assert (await http.get("/")).status_code == 200
        assert (await http.get("/api/search?q=boat")).status_code == 200
        async with it.client(token=False) as other:
            again = await other.get(link)
            assert again.status_code == 403
            assert "set-cookie" not in again.headers
            assert (await other.get("/")).status_code == 401


async def test_of_two_uses_at_once_one_wins():
    async with stage() as it:
        link = await new_link(it)
        statuses = []

        async def use():
            async with it.client(token=False) as http:
                statuses.append((await http.get(link)).status_code)

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(use)
        assert sorted(statuses) == [303, 403, 403, 403, 403]


async def test_a_session_cannot_make_further_links():
    async with stage() as it, it.client(token=False) as http:
        await http.get(await new_link(it))
        assert (await http.get("/api/status")).status_code == 200
        assert (await http.post("/once")).status_code == 401


async def test_a_wrong_code_and_none_are_refused():
    async with stage() as it, it.client(token=False) as http:
        for path in ("/open", "/open?once=", "/open?once=guess"):
            assert (await http.get(path)).status_code == 403


# ── search ──────────────────────────────────────────────────────────────────────────────────


async def test_a_search_is_answered():
    async with stage() as it, it.client() as http:
        answer = (await http.get("/api/search", params={"q": "ein Boot 🚤", "k": 2})).json()
        assert answer["count"] == len(answer["hits"]) == 2
        assert answer["hits"][0]["taken_at"] == "2019-03-21T11:04:22"
        assert (answer["model"], answer["demo"], answer["indexed"]) == ("sketch", True, 3)


SENSELESS = [
    ("", "`q`"),
    ("k=5", "`q`"),
    ("q=", "empty"),
    ("q=%20%20", "empty"),
    ("q=boat&k=0", "500"),
    ("q=boat&k=501", "500"),
    ("q=boat&k=-1", "500"),
    ("q=boat&k=5.5", "500"),
    ("q=boat&k=", "500"),
    ("q=boat&k=%D9%A3", "500"),
    ("q=boat&k=9999999999999999999999", "500"),
    ("q=boat&limit=5", "`limit`"),
    ("q=boat&q=ship", "more than once"),
    ("q=" + "x" * 1001, "1000"),
]


async def test_a_senseless_search_is_a_clear_400():
    async with stage() as it, it.client() as http:
        for query, word in SENSELESS:
            response = await http.get(f"/api/search?{query}")
            assert (response.status_code, code_of(response)) == (400, "bad_request"), query
            assert word in response.json()["error"]["message"]


@pytest.mark.parametrize("missing", ["text", "index"])
async def test_a_missing_neighbour_is_a_503_with_its_name(missing, monkeypatch):
    monkeypatch.setattr(questions, "GRACE_S", 0.2)
    others = tuple(name for name in ("text", "index") if name != missing)
    async with stage(neighbours=others) as it, it.client() as http:
        response = await http.get("/api/search?q=boat")
        assert (response.status_code, code_of(response)) == (503, f"{missing}_away")
        assert response.headers["retry-after"] == "1"


async def test_a_library_that_is_away_is_a_503():
    async with stage() as it, it.client() as http:
        it.library.away = "the catalog has not made it yet"
        for path in ("/api/search?q=boat", "/thumb/1/256", "/original/1"):
            response = await http.get(path)
            assert (response.status_code, code_of(response)) == (503, "library_away"), path
        assert (await http.get("/ready")).json() == {"ready": False, "missing": ["database"]}
        assert (await http.get("/api/status")).json()["totals"] is None


async def test_a_bug_of_ours_is_a_500_that_tells_nothing_and_the_next_request_works():
    async with stage() as it, it.client() as http:
        index = it.neighbours["index"]
        good = index.answers[Nearest]
        index.answers[Nearest] = lambda _: type(good(Nearest("", b"", 1)))([], [], 0)
        response = await http.get("/api/search?q=boat")
        assert (response.status_code, code_of(response)) == (500, "internal")
        assert "IndexError" not in response.text
        index.answers[Nearest] = good
        assert (await http.get("/api/search?q=boat")).status_code == 200


# ── pictures ────────────────────────────────────────────────────────────────────────────────


async def test_a_thumbnail_of_a_hit_may_be_kept_for_ever():
    async with stage() as it, it.client() as http:
        path = (await http.get("/api/search?q=boat&k=1")).json()["hits"][0]["thumbnail"]
        for each in (path, path.replace("/256", "/1024")):
            response = await http.get(each)
            assert response.status_code == 200
            assert response.headers["content-type"] == "image/jpeg"
            assert "immutable" in response.headers["cache-control"]
            assert response.content[:2] == b"\xff\xd8"
            again = await http.get(each, headers={"if-none-match": response.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")


async def test_a_thumbnail_without_or_with_a_stale_version_is_asked_for_again_each_time():
    async with stage() as it, it.client() as http:
        for path in ("/thumb/1/256", "/thumb/1/256?v=0123456789abcdef"):
            response = await http.get(path)
            assert response.status_code == 200
            assert response.headers["cache-control"] == "private, no-cache"


async def test_a_grid_of_thumbnails_asks_the_database_once_a_photo():
    async with stage() as it, it.client() as http:
        before = it.library.asked
        for _ in range(5):
            await http.get("/thumb/1/256")
            await http.get("/thumb/1/1024")
        assert it.library.asked == before + 1


async def test_an_unknown_thumbnail_is_not_found():
    async with stage() as it, it.client() as http:
        for path in (
            "/thumb/99/256",
            f"/thumb/{2**63}/256",
            f"/thumb/{10**40}/256",
            "/original/99",
        ):
            response = await http.get(path)
            assert (response.status_code, code_of(response)) == (404, "not_found"), path


OUTSIDE = [
    "/thumb/1/255",
    "/thumb/1/0",
    "/thumb/1/",
    "/thumb/1",
    "/thumb/x/256",
    "/thumb/-1/256",
    "/thumb/1/256/",
    "/thumb/../token",
    "/thumb/..%2f..%2ftoken",
    "/static/../app.py",
    "/static/..%2fapp.py",
    "/static/%2e%2e/app.py",
    "/static//etc/passwd",
    "/static/",
    "/original/1/../../token",
    "/original/..%2ftoken",
]


async def test_no_path_leads_out_of_the_table():
    async with stage() as it:
        head = f"Host: localhost\r\nAuthorization: Bearer {it.token}\r\n\r\n"
        for path in OUTSIDE:
            request = f"GET {path} HTTP/1.1\r\n{head}".encode()
            answer = await anyio.to_thread.run_sync(raw, it.address.port, request)
            assert answer.startswith(b"HTTP/1.1 404 "), path
            assert b'"not_found"' in answer
            assert it.token.encode() not in answer


def raw(port, request):
    """What the server answers to these very bytes, which no client would send."""
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    return answer


async def test_a_torn_thumbnail_is_not_shown():
    async with stage() as it, it.client() as http:
        _, photo = it.library.photos[1]
        file = it.library.thumb(photo.digest, 256)
        file.write_bytes(file.read_bytes()[:100])
        response = await http.get("/thumb/1/256")
        assert (response.status_code, code_of(response)) == (404, "not_found")
        file.unlink()
        assert (await http.get("/thumb/1/256")).status_code == 404
        assert (await http.get("/thumb/1/1024")).status_code == 200


async def test_a_thumbnail_that_was_made_anew_is_shown():
    async with stage() as it, it.client() as http:
        first = await http.get("/thumb/1/256")
        it.library.add(1, colour=(20, 60, 200))
        second = await http.get("/thumb/1/256")
        assert second.status_code == 200
        assert second.content != first.content


async def test_an_original_is_streamed_as_what_it_is_in_a_sandbox():
    async with stage() as it, it.client() as http:
        response = await http.get("/original/1")
        assert response.status_code == 200
        assert response.headers["content-type"] == "image/jpeg"
        disposition = response.headers["content-disposition"]
        assert disposition == "inline; filename*=UTF-8''photo%201.jpg"
        assert "sandbox" in response.headers["content-security-policy"]
        assert response.content == (it.originals / "photo 1.jpg").read_bytes()
        head = await http.head("/original/1")
        assert head.headers["content-length"] == str(len(response.content))
        assert head.content == b""


async def test_what_a_browser_does_not_show_is_offered_as_a_file():
    def before(it):
        it.library.add(5, name='évil"\r\nx: y\xff.nef'.encode("latin-1"), kind="raw")

    async with stage(before=before) as it, it.client() as http:
        response = await http.get("/original/5")
        assert response.headers["content-type"] == "application/octet-stream"
        disposition = response.headers["content-disposition"]
        assert disposition == "attachment; filename*=UTF-8''%E9vil%22%0D%0Ax%3A%20y%FF.nef"
        assert "x" not in response.headers


async def test_an_original_that_is_gone_or_no_file_any_more_is_gone():
    async with stage() as it, it.client() as http:
        file = it.originals / "photo 1.jpg"
        file.unlink()
        response = await http.get("/original/1")
        assert (response.status_code, code_of(response)) == (410, "gone")
        file.symlink_to("/etc/passwd")
        assert (await http.get("/original/1")).status_code == 410
        file.unlink()
        os.mkfifo(file)
        assert (await http.get("/original/1")).status_code == 410
        file.unlink()
        file.mkdir()
        assert (await http.get("/original/1")).status_code == 410


# ── the page and its surroundings ───────────────────────────────────────────────────────────


async def test_every_answer_forbids_frames_sniffing_and_foreign_sources():
    async with stage() as it, it.client() as http:
        for path in ("/", "/health", "/api/search?q=boat", "/thumb/1/256", "/nowhere"):
            headers = (await http.get(path)).headers
            policy = headers["content-security-policy"]
            assert "default-src 'self'" in policy
            assert "frame-ancestors 'none'" in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["cross-origin-resource-policy"] == "same-origin"
            assert "access-control-allow-origin" not in headers
            assert "server" not in headers


async def test_the_page_takes_nothing_from_elsewhere_and_everything_it_takes_is_there():
    async with stage() as it, it.client() as http:
        names = set()
        for name in ("/", "/static/locked.html"):
            page = (await http.get(name)).text
            assert "http://" not in page.replace("http://www.w3.org/", "")
            assert "https://" not in page
            assert not re.search(r"<script(?![^>]*\ssrc=)|\sstyle=|\son\w+=|javascript:", page)
            names |= set(re.findall(r'(?:src|href)="(/[^"]*)"', page))
        assert names
        while names:
            name = names.pop()
            response = await http.get(name)
            assert response.status_code == 200, name
            again = await http.get(name, headers={"if-none-match": response.headers["etag"]})
            assert again.status_code == 304
            names |= {f"/static/{each}" for each in re.findall(r'from "\./([^"]+)"', response.text)}


async def test_a_wrong_method_and_an_unknown_path_are_json():
    async with stage() as it, it.client() as http:
        wrong = await http.post("/api/search")
        assert (wrong.status_code, code_of(wrong)) == (405, "method_not_allowed")
        assert set(wrong.headers["allow"].split(", ")) == {"GET", "HEAD"}
        assert code_of(await http.get("/nowhere")) == "not_found"
        assert code_of(await http.get("/api/search/")) == "not_found"


async def test_metrics_tell_latency_cache_queues_and_who_is_up():
    async with stage() as it, it.client() as http:
        await http.get("/api/search?q=boat")
        await http.get("/api/search?q=boat")
        await http.get("/api/search?q=")
        text = (await http.get("/metrics")).text
        for line in (
            "obscura_search_seconds_count 2.0",
            'obscura_searches_total{outcome="answered"} 2.0',
            'obscura_searches_total{outcome="bad_request"} 1.0',
            "obscura_query_cache_hits_total 1.0",
            "obscura_websocket_connections 0.0",
            'obscura_tasks{kind="decode",state="ready"} 0.0',
            'obscura_index_vectors{space="fake@1"} 3.0',
            'obscura_process_up{process="index"} 1.0',
            'obscura_files{state="indexed"} 3.0',
        ):
            assert line in text.splitlines(), line
        assert "boat" not in text


async def test_metrics_of_who_is_away_are_absent():
    async with stage(neighbours=("index",)) as it, it.client() as http:
        text = (await http.get("/metrics")).text
        assert "obscura_tasks{" not in text
        assert "obscura_index_vectors{" in text


async def test_bytes_that_are_no_request_end_that_connection_alone():
    async with stage() as it:
        for junk in (
            b"\x16\x03\x01\x02\x00junk\r\n\r\n",
            b"GET\r\n\r\n",
            b"x" * 100_000 + b"\r\n\r\n",
        ):
            answer = await anyio.to_thread.run_sync(raw, it.address.port, junk)
            assert answer == b"" or answer.startswith(b"HTTP/1.1 400")
        async with it.client() as http:
            assert (await http.get("/api/search?q=boat")).status_code == 200


async def test_small_frames_are_not_held_back_for_an_acknowledgement():
    async with stage() as it, it.client() as http:
        await http.get("/health")
        (connection,) = it.gateway._server.server_state.connections
        accepted = connection.transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_a_drain_lets_nobody_wait():
    async with stage() as it:
        http = it.client()
        await http.get("/health")
    await http.aclose()
    with pytest.raises(httpx.ConnectError):
        async with it.client(token="gone") as late:
            await late.get("/health")
