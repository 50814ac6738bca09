"""Ctrl-C, twice Ctrl-C, TERM, a second instance, and what is said when something is wrong."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from actors.client import BlockingClient
from bench.system import ROOT, SUPERVISOR, command, environment, index_once, running

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def photos(drawings, tmp_path):
    """A few pictures of one's own."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for picture in sorted(drawings.glob("*.jpg"))[:6]:
        (folder / picture.name).write_bytes(picture.read_bytes())
    return folder


def rows(data, sql):
    with contextlib.closing(sqlite3.connect(data / "catalog.sqlite")) as database:
        return database.execute(sql).fetchall()


def test_one_signal_stops_everything_in_order(photos, tmp_path):
    with running(photos, tmp_path / "data") as library:
        family = psutil.Process(library.process.pid).children(recursive=True)
        library.process.send_signal(signal.SIGINT)
        assert library.process.wait(20) == 0
        assert psutil.wait_procs(family, timeout=0)[1] == []
        assert not (tmp_path / "data" / "run.json").exists()


def test_c10_a_stop_under_load_takes_little_time_charges_nobody_and_loses_nothing(fewer, tmp_path):
    """150 pictures are under way, in every stage at once."""
    data = tmp_path / "data"
    with running(fewer, data) as library:
        family = psutil.Process(library.process.pid).children(recursive=True)
        with BlockingClient.connect(data) as client:
            while not (catalog := client.status().catalog) or catalog.embeds < 20:
                time.sleep(0.01)
        library.process.send_signal(signal.SIGTERM)
        assert library.process.wait(20) == 0
        assert psutil.wait_procs(family, timeout=0)[1] == []
    states = dict(rows(data, "SELECT state, count(*) FROM tasks GROUP BY 1"))
    assert states.keys() == {"done", "ready"}, "somebody still holds work"
    assert rows(data, "SELECT total(attempts), total(crash_attempts) FROM tasks") == [(0, 0)]
    assert rows(data, "SELECT count(*) FROM tasks WHERE suspect OR not_before_ns > 0") == [(0,)]
    decoded = "SELECT count(*) FROM tasks WHERE kind = 'decode' AND state = 'done'"
    [(before,)] = rows(data, decoded)
    assert 20 <= before < 150
    summary = index_once(fewer, data)
    assert (summary["indexed"], summary["dead"]) == (150, 0)
    assert summary["decodes"] == summary["files"] - before, "what was committed is not done again"


def test_a_second_signal_stops_at_once(photos, tmp_path):
    log = tmp_path / "log"
    with running(photos, tmp_path / "data", log=log) as library:
        family = psutil.Process(library.process.pid).children(recursive=True)
        pids = library.pids()
        os.kill(pids["catalog"], signal.SIGSTOP)  # so that the orderly stop takes its time
        library.process.send_signal(signal.SIGINT)
        while "stopping" not in log.read_text():
            time.sleep(0.01)
        library.process.send_signal(signal.SIGINT)
        assert library.process.wait(2) == 128 + signal.SIGINT
        assert psutil.wait_procs(family, timeout=5)[1] == []


def test_a_frozen_child_cannot_hold_up_the_stop(photos, tmp_path):
    with running(photos, tmp_path / "data") as library:
        os.kill(library.pids()["decode.0"], signal.SIGSTOP)
        library.process.send_signal(signal.SIGINT)
        assert library.process.wait(20) == 0


def test_ctrl_c_while_starting_stops_too(photos, tmp_path):
    process = subprocess.Popen(
        [*SUPERVISOR, "--originals", str(photos), "--data", str(tmp_path / "data"), "--port", "0"],
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        env=environment(),
    )
    while not list(psutil.Process(process.pid).children()):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130


def test_a_second_instance_on_the_same_data_is_refused(photos, tmp_path):
    data = tmp_path / "data"
    with running(photos, data) as library:
        library.wait_indexed()
        second = command("--originals", photos, "--data", data, "--once")
        assert second.returncode == 75
        assert second.stderr.startswith("obscura: process ")
        assert f"already works on {data}" in second.stderr
        # … and the first one is not disturbed
        found = command("search", "a circle", "--data", data, "--json")
        assert len(json.loads(found.stdout)) == 6


def test_commands_without_a_system_say_how_to_start_one(tmp_path):
    for words in (["search", "a circle"], ["status"]):
        done = command(*words, "--data", tmp_path)
        assert done.returncode == 69
        assert done.stderr == (
            f"obscura: Obscura is not running on {tmp_path}; start it with: "
            f"python -m supervisor --originals FOLDER --data {tmp_path}\n"
        )


def test_batch_answers_a_json_line_a_query(photos, tmp_path):
    data, queries = tmp_path / "data", tmp_path / "queries.txt"
    queries.write_text("a red circle\ntwo stars\n")
    with running(photos, data) as library:
        library.wait_indexed()
        done = command("search", "--batch", queries, "-k", 3, "--data", data)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [len(line) for line in lines] == [3, 3]
    shown = {"content", "path", "score", "taken_at", "thumbnail", "faces", "face"} | {
        "reason",
        "caption",
    }
    assert set(lines[0][0]) == shown
    assert Path(lines[0][0]["path"]).parent == photos


def test_a_query_needs_words(tmp_path):
    done = command("search", "--data", tmp_path)
    assert (done.returncode, done.stderr) == (
        2,
        "obscura: search: say what to look for, or give --batch FILE, or --face ID\n",
    )
