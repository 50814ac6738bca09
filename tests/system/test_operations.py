"""Operating a library: letters, pause, stop, check and repair, forget; by the command line."""

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from bench.system import ROOT, SUPERVISOR, command, environment, index_once, running

pytestmark = pytest.mark.timeout(300)

SMALL = 24


@pytest.fixture(scope="module")
def photos(drawings, tmp_path_factory):
    """Some pictures, two of them in a folder of their own, and one that is none."""
    folder = tmp_path_factory.mktemp("operations") / "photos"
    (folder / "Zoë's trip").mkdir(parents=True)
    for number, picture in enumerate(sorted(drawings.glob("*.jpg"))[:SMALL]):
        place = folder / "Zoë's trip" if number < 2 else folder
        (place / f"picture {number}.jpg").write_bytes(picture.read_bytes())
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 this is no picture")
    return folder


@pytest.fixture(scope="module")
def prepared(photos, tmp_path_factory):
    data = tmp_path_factory.mktemp("prepared") / "data"
    summary = index_once(photos, data)
    assert (summary["indexed"], summary["dead"]) == (SMALL, 1)
    return data


@pytest.fixture
def data(prepared, tmp_path):
    """The indexed library, to do with as one likes."""
    return shutil.copytree(prepared, tmp_path / "data")


def ask(*words, data, status=0):
    """What a command says with --json."""
    done = command(*words, "--json", "--data", data)
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout) if done.stdout else done.stderr


def rows(data, sql, *values):
    with contextlib.closing(sqlite3.connect(data / "catalog.sqlite", timeout=10)) as database:
        found = database.execute(sql, values).fetchall()
        database.commit()
    return found


def thumbnails(data, side=256):
    """Content → thumbnail."""
    digests = rows(data, "SELECT id, hex(digest) FROM contents")
    return {
        content: data / "derived" / digest[:2].lower() / f"{digest.lower()}.{side}.jpg"
        for content, digest in digests
    }


def tear(path):
    """As a power cut leaves a file that was not synced."""
    os.truncate(path, path.stat().st_size // 2)


def tear_snapshot(data):
    """Flip a byte in the middle of the largest file of a snapshot."""
    (largest,) = sorted(
        data.glob("index/*/snapshot-*/**/*.*"), key=lambda each: each.stat().st_size
    )[-1:]
    raw = bytearray(largest.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    largest.write_bytes(raw)


def indexed(data):
    return rows(
        data,
        "SELECT hex(contents.digest), hex(vector) FROM vectors"
        " JOIN contents ON contents.id = vectors.content ORDER BY 1",
    )


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


# ── check ───────────────────────────────────────────────────────────────────────────────────


def test_a_torn_library_is_mended_without_one_inference_too_many(fewer, tmp_path):
    data = tmp_path / "data"
    index_once(fewer, data)
    assert ask("check", data=data) == {
        "ok": True,
        "photos": 150,
        "index_compared": True,
        "found": [],
    }
    before = indexed(data)
    torn = list(thumbnails(data).values())[::10]
    for path in torn:
        tear(path)
    tear_snapshot(data)

    found = {each["what"]: each["count"] for each in ask("check", data=data, status=1)["found"]}
    assert found == {"thumbnails": 15, "snapshot": 1}
    table = command("check", "--data", data)
    assert table.returncode == 1
    assert "to be made again" in table.stdout

    mended = ask("check", "--repair", data=data)["found"]
    assert {each["what"]: each["repaired"] for each in mended} == found
    again = index_once(fewer, data)
    assert (again["decodes"], again["inferences"]["embed"]) == (15, 0)
    assert (again["indexed"], again["dead"]) == (150, 0)
    assert indexed(data) == before
    assert ask("check", "--deep", data=data)["ok"]


def test_a_running_library_is_mended_while_it_answers(photos, data):
    with running(photos, data) as library:
        library.wait_indexed()
        paths = thumbnails(data)
        tear(paths[3])
        paths[4].unlink()
        tear_snapshot(data)
        rows(data, "DELETE FROM vectors WHERE content IN (5, 6)")
        rows(data, "UPDATE counters SET n = n + 7 WHERE kind = 'file'")
        (paths[5].parent / f".{paths[5].name}.99999999").write_bytes(b"half a picture")
        found = {each["what"]: each["count"] for each in ask("check", data=data, status=1)["found"]}
        assert found.pop("counters") > 2  # the deleted vectors were counted, too
        assert found == {
            "thumbnails": 2,
            "vectors": 2,
            "faces": 2,
            "captions": 2,
            "snapshot": 1,
            "index": 1,
            "leftovers": 1,
        }
        mended = command("check", "--repair", "--data", data)
        assert mended.returncode == 0, mended.stderr
        library.wait_indexed()
        wait_until(lambda: command("check", "--data", data).returncode == 0)
        status = library.status()["catalog"]
        assert (status["decodes"], status["embeds"]) == (2, 2)
        assert len(json.loads(command("search", "a circle", "--json", "--data", data).stdout)) > 0


def test_a_damaged_database_is_told_and_not_repaired(data):
    database = data / "catalog.sqlite"
    raw = bytearray(database.read_bytes())
    raw[3 * 16384 : 8 * 16384] = os.urandom(5 * 16384)
    database.write_bytes(raw)
    (line,) = ask("check", "--repair", data=data, status=1)["found"]
    assert (line["what"], line["repaired"]) == ("database", 0)


# ── thumbnails that are lost ────────────────────────────────────────────────────────────────


def test_a_thumbnail_that_is_gone_when_it_is_to_be_embedded_is_made_again(photos, data):
    for path in (*thumbnails(data).values(), *thumbnails(data, 1024).values()):
        tear(path)
    ((space,),) = rows(data, "SELECT id FROM spaces WHERE kind = 'embed'")
    rows(data, "DELETE FROM vectors WHERE space = ?", space)
    rows(data, "DELETE FROM feed WHERE space = ?", space)
    rows(data, "UPDATE tasks SET state = 'ready' WHERE kind = 'embed'")
    rows(data, "DELETE FROM counters WHERE kind = 'embed'")
    rows(data, "DELETE FROM counters WHERE kind = 'vector' AND state = ?", str(space))
    rows(data, "INSERT INTO counters VALUES ('embed', 'ready', ?)", SMALL)
    summary = index_once(photos, data)
    assert (summary["indexed"], summary["dead"]) == (SMALL, 1)
    assert summary["inferences"]["embed"] == SMALL
    assert summary["decodes"] == SMALL
    assert ask("check", data=data)["ok"]
    attempts = rows(data, "SELECT DISTINCT attempts FROM tasks WHERE state = 'done'")
    assert attempts == [(0,)]


def test_a_thumbnail_that_is_gone_when_it_is_to_be_seen_is_made_again(photos, data):
    with running(photos, data) as library:
        assert library.run["pack"] == "sketch"
        library.wait_indexed()
        thumbnails(data)[7].unlink()
        token = (data / "token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        request = urllib.request.Request(library.run["http"] + "/thumb/7/256", headers=headers)

        def served():
            try:
                with urllib.request.urlopen(request, timeout=10) as response:
                    return response.status == 200
            except urllib.error.HTTPError as error:
                return error.code != 404

        assert not served()
        wait_until(served)


# ── dead letters ────────────────────────────────────────────────────────────────────────────


def test_letters_are_listed_shown_retried_and_dropped(photos, data):
    (letter,) = ask("dead-letters", "list", data=data)
    assert letter["path"] == str(photos / "broken.jpg")
    assert set(letter) == {"id", "path", "kind", "reason", "attempts", "crashes", "when"}
    number = letter["id"]
    listing = command("dead-letters", "list", "--data", data).stdout
    assert "broken.jpg" in listing
    shown = ask("dead-letters", "show", number, data=data)
    assert shown["stderr_tail"] == ""
    assert shown["reason"] == letter["reason"]
    for words in (["show", 999], ["retry", 999], ["drop", 998, 999]):
        refused = command("dead-letters", *words, "--data", data)
        numbers = ", ".join(str(each) for each in words[1:])
        assert refused.returncode == 1
        assert refused.stderr == (
            f"obscura: no dead letter has the number {numbers}; see: dead-letters list\n"
        )
    with running(photos, data) as library:
        library.wait_indexed()
        assert ask("dead-letters", "retry", "--all", data=data)["retried"] == [number]
        library.wait_indexed()
        (again,) = ask("dead-letters", "list", data=data)
        assert again["when"] > letter["when"]
        assert ask("dead-letters", "drop", number, data=data)["dropped"] == [number]
        totals = library.status()["totals"]
        assert (totals["dead"], totals["skipped"]) == (0, 1)
        assert command("dead-letters", "list", "--data", data).stdout == "no dead letters\n"


# ── pause, stop ─────────────────────────────────────────────────────────────────────────────


def test_a_paused_library_searches_and_waits_until_it_is_resumed(photos, data, tmp_path):
    own = shutil.copytree(photos, tmp_path / "photos")
    with running(own, data) as library:
        library.wait_indexed()
        assert command("pause", "--data", data).stdout == "paused until `resume`\n"
        (own / "new.jpg").write_bytes((own / "picture 5.jpg").read_bytes() + b"\0")
        wait_until(lambda: library.status()["totals"]["pending"] == 1)
        shown = command("status", "--data", data).stdout
        assert "paused by its owner since" in shown
        assert "1 photos to be read" in shown
        assert json.loads(command("search", "a circle", "--json", "--data", data).stdout)
        stopped = command("stop", "--data", data)
        assert (stopped.returncode, stopped.stdout) == (0, "stopped\n")
        assert library.process.wait(1) == 0
    refused = command("--originals", own, "--data", data, "--once", timeout=60)
    assert refused.returncode == 75
    assert refused.stderr.splitlines()[-1].startswith(
        "obscura: the library is paused by its owner since"
    )
    assert ask("resume", data=data) == {"paused": False}
    assert index_once(own, data)["indexed"] == SMALL + 1


def test_stop_without_a_system_says_so_and_stops_no_stranger(data):
    (data / "lock").write_text(f"{os.getpid()}\n")  # what is left of one that was killed
    done = command("stop", "--data", data)
    assert done.returncode == 69
    assert "is not running" in done.stderr


def test_a_system_that_is_still_starting_can_be_stopped(photos, data):
    (data / "lock").unlink()
    process = subprocess.Popen(
        [*SUPERVISOR, "--originals", str(photos), "--data", str(data)],
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        env=environment(),
    )
    try:
        wait_until(lambda: (data / "lock").exists() and (data / "lock").read_text().strip())
        stopped = command("stop", "--data", data)
        assert stopped.returncode == 0
        # the last one: before there was anything that needs an order
        assert process.wait(1) in {0, 128 + signal.SIGTERM, -signal.SIGTERM}
    finally:
        process.kill()
        process.wait()


# ── forget ──────────────────────────────────────────────────────────────────────────────────


def traces(data, *needles):
    """Files below *data* that hold one of *needles*, or are called by it."""
    found = set()
    for path in data.rglob("*"):
        raw = path.read_bytes() if path.is_file() else b""
        for needle in needles:
            if needle in raw or needle in os.fsencode(path.name):
                found.add(path.name)
    return found


def test_a_forgotten_photo_leaves_no_trace_and_stays_forgotten(photos, data):
    ((content, digest, vector),) = rows(
        data,
        "SELECT contents.id, digest, vector FROM files JOIN contents ON contents.id = files.content"
        " JOIN vectors ON vectors.content = contents.id"
        " JOIN spaces ON spaces.id = vectors.space WHERE spaces.kind = 'embed' AND files.name = ?",
        b"picture 9.jpg",
    )
    half = np.frombuffer(vector, "<f4").astype("<f2").tobytes()  # as a snapshot has it
    needles = (b"picture 9.jpg", digest, digest.hex().encode(), vector, half)
    with (data / "logs" / "decode.0.log").open("a", encoding="utf-8") as log:
        log.write(json.dumps({"event": "debugging", "path": str(photos / "picture 9.jpg")}) + "\n")
    with running(photos, data) as library:
        library.wait_indexed()
        assert all(traces(data, needle) for needle in needles)
        assert "decode.0.log" in traces(data, *needles)
        refused = command("forget", photos / "picture 9.jpg", "--data", data)
        assert refused.returncode == 2  # nobody can be asked here
        done = ask("forget", "--yes", photos / "picture 9.jpg", data=data)
        assert done == {"files": 1, "photos": 1, "kept": 0, "elsewhere": []}
        assert traces(data, *needles) == set()
        library.wait_indexed()
        hits = json.loads(command("search", "a circle", "-k", 99, "--json", "--data", data).stdout)
        assert len(hits) == SMALL - 1
        assert command("check", "--data", data).returncode == 0
        unknown = command("forget", "--yes", photos / "picture 9.jpg", "--data", data)
        assert unknown.returncode == 1
        assert "the library knows nothing at or below" in unknown.stderr
    again = index_once(photos, data)
    assert (again["indexed"], again["decodes"]) == (SMALL - 1, 0)
    assert traces(data, *needles) == set()
    what = rows(data, "SELECT what FROM audit ORDER BY id DESC LIMIT 1")
    assert what == [("forgot 1 files, 1 photos",)]
    assert (photos / "picture 9.jpg").exists()
    assert content not in [hit for (hit,) in rows(data, "SELECT content FROM vectors")]


def test_a_folder_is_forgotten_at_rest_and_comes_back_when_it_changes(photos, tmp_path):
    own, data = Path(shutil.copytree(photos, tmp_path / "photos")), tmp_path / "data"
    index_once(own, data)
    trip = own / "Zoë's trip"
    assert ask("forget", "-y", trip, data=data)["photos"] == 2
    assert traces(data, trip.name.encode()) == set()
    assert ask("check", data=data)["ok"]
    os.chmod(trip / "picture 0.jpg", 0o600)
    os.utime(trip / "picture 1.jpg")
    again = index_once(own, data)
    assert (again["decodes"], again["indexed"]) == (1, SMALL - 1)
    assert command("search", "a circle", "--data", data).returncode == 69


def test_a_forgotten_photo_is_in_no_graph_either(photos, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "obscura.toml").write_text("[vectors]\nseal_rows = 16\n")
    with running(photos, data, "--profile", "P2") as library:
        library.wait_indexed()
        wait_until(lambda: list(data.glob("index/*/snapshot-*/segments/*")))
        held = rows(data, "SELECT vector FROM vectors ORDER BY content")
        halves = [np.frombuffer(vector, "<f4").astype("<f2").tobytes() for (vector,) in held]

        def in_graphs(half):
            graphs = data.glob("index/*/snapshot-*/segments/**/*")
            return any(half in each.read_bytes() for each in graphs if each.is_file())

        wait_until(lambda: any(in_graphs(half) for half in halves))
        number = next(number for number, half in enumerate(halves) if in_graphs(half)) + 1
        ((directory, name),) = rows(
            data,
            "SELECT directories.path, name FROM files JOIN directories"
            " ON directories.id = directory WHERE content = ?",
            number,
        )
        path = photos / os.fsdecode(directory) / os.fsdecode(name)
        assert ask("forget", "-y", path, data=data)["photos"] == 1
        library.wait_indexed()
        wait_until(lambda: list(data.glob("index/*/snapshot-*/segments/*")))
        assert traces(data, halves[number - 1]) == set()
        assert command("check", "--data", data).returncode == 0
