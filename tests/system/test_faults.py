"""Processes that die between two steps, at points that no signal from outside would hit.

Each point strikes once, wherever it is passed first, and the system has to come to what it would
have come to anyway.  `tests/actors/test_delivery.py` tells which row of DESIGN §2 is shown where.
"""

import contextlib
import json
import os
import sqlite3

import pytest

from bench.system import command, index_once
from tests.system.test_kill import contents, searchable, states

pytestmark = pytest.mark.timeout(300)

PICTURES = 24
#: hardly any waiting between restarts
SETTINGS = {"OBSCURA__RUNTIME__BACKOFF": "0.05", "OBSCURA__RUNTIME__BACKOFF_CAP": "0.2"}


@pytest.fixture(scope="module")
def photos(drawings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    pictures = sorted(each for each in drawings.iterdir() if each.suffix != ".jsonl")
    for each in pictures[:PICTURES]:
        os.link(each, folder / each.name)
    return folder


@pytest.fixture(scope="module")
def undisturbed(photos, tmp_path_factory):
    data = tmp_path_factory.mktemp("undisturbed") / "data"
    index_once(photos, data)
    return contents(data), searchable(data)


def added(data):
    """How often each content was told to the index."""
    with contextlib.closing(sqlite3.connect(data / "catalog.sqlite")) as database:
        return database.execute(
            "SELECT op, count(*) FROM feed GROUP BY op, space, content"
        ).fetchall()


@pytest.mark.parametrize(
    "points",
    [
        {"catalog.seen": 1, "writer.commit": 12, "catalog.results": 2, "catalog.committed": 3},
        {
            "decode.begun": 4,
            "outbox.send": 1,
            "outbox.answered": 2,
            "scheduler.granted": 1,
            "embed.begun": 1,
            "embed.done": 1,
            "caption.word": 5,
            "index.applied": 1,
        },
    ],
    ids=["catalog", "workers"],
)
def test_c09_a_death_between_two_steps_changes_nothing(photos, undisturbed, tmp_path, points):
    data, struck = tmp_path / "data", tmp_path / "struck"
    struck.mkdir()
    plan = " ".join(f"{point}=kill@{n}" for point, n in points.items())
    armed = {"RUNTIME_FAULTS": plan, "RUNTIME_FAULTS_ONCE": str(struck)}
    done = command(
        *("--originals", photos, "--data", data, "--once", "--json"), env=SETTINGS | armed
    )
    assert done.returncode == 0, done.stderr
    assert {each.name for each in struck.iterdir()} == points.keys()
    summary = json.loads(done.stdout)
    assert (summary["indexed"], summary["dead"]) == (PICTURES, 0)
    assert sum(summary["restarts"].values()) >= len(points)
    assert (contents(data), searchable(data)) == undisturbed
    assert states(data) == {"done": 4 * PICTURES}
    assert added(data) == [("add", 1)] * 3 * PICTURES  # to each space


@pytest.mark.parametrize("worker", ["decode", "embed"])
def test_a13_a_worker_that_dies_of_any_photo_is_set_aside_and_no_photo_is_given_up(
    photos, undisturbed, tmp_path, worker
):
    data = tmp_path / "data"
    everything = ("--originals", photos, "--data", data, "--once", "--json")
    broken = command(*everything, env=SETTINGS | {"RUNTIME_FAULTS": f"{worker}.begun=segfault"})
    assert broken.returncode
    assert "3 times in a row over any work" in broken.stderr
    with contextlib.closing(sqlite3.connect(data / "catalog.sqlite")) as database:
        charged = database.execute("SELECT sum(crash_attempts), sum(state = 'dead') FROM tasks")
        assert charged.fetchall() == [(0, 0)]
    mended = json.loads(command(*everything, env=SETTINGS).stdout)
    assert (mended["indexed"], mended["dead"]) == (PICTURES, 0)
    assert (contents(data), searchable(data)) == undisturbed
