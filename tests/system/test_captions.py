"""Captions through the running system, by a captioner of which every word can be foretold."""

import contextlib
import json
import sqlite3
import time

import numpy as np
import psutil
import pytest
from PIL import Image

from actors.client import BlockingClient
from bench.system import command, index_once, running
from tests.captioner import BRIGHT, NAME, SENTENCE, teller

pytestmark = pytest.mark.timeout(300)

SETTINGS = """
[captions]
pack = "{pack}"
deadline = 2.0
idle = {idle}

[runtime]
restarts = 50
period = 600.0
backoff = 0.05
backoff_cap = 0.2
"""
PHOTOS = 13
#: photos of a batch
BATCH = 4


def prepared(data, *, mib=0, idle=60.0):
    (data / "packs").mkdir(parents=True)
    teller(data / "packs", mib=mib)
    (data / "obscura.toml").write_text(SETTINGS.format(pack=NAME, idle=idle))
    return data


def draw(folder, numbers):
    """Pictures as bright as one of the words, each a little different."""
    folder.mkdir(exist_ok=True)
    for number in numbers:
        shade = round(255 * (number % len(BRIGHT)) / (len(BRIGHT) - 1))
        noise = np.random.default_rng(number).integers(-9, 10, (90, 120, 3))
        pixels = np.clip(shade + noise, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02}.png")


def told(data):
    """File → its caption."""
    query = "SELECT files.name, text FROM captions JOIN files USING (content)"
    with contextlib.closing(sqlite3.connect(data / "catalog.sqlite")) as database:
        rows = database.execute(query).fetchall()
    assert len(rows) == len(dict(rows))
    return {name.decode(): text for name, text in rows}


def foretold(numbers):
    return {
        f"{number:02}.png": " ".join([*SENTENCE, BRIGHT[number % len(BRIGHT)]])
        for number in numbers
    }


def charges(data):
    """How often photos were charged for a death, and for a failure, while they were described."""
    query = "SELECT crash_attempts, attempts FROM tasks WHERE kind = 'caption'"
    with contextlib.closing(sqlite3.connect(data / "catalog.sqlite")) as database:
        rows = database.execute(query).fetchall()
    return [crashes for crashes, _ in rows if crashes], [tries for _, tries in rows if tries]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    draw(folder, range(PHOTOS))
    return folder


def disturbed(photos, data, faults):
    """Index everything with *faults*, each of which strikes once."""
    struck = data.parent / "struck"
    struck.mkdir()
    done = command(
        *("--originals", photos, "--data", data, "--once", "--json"),
        env={
            "RUNTIME_FAULTS": faults,
            "RUNTIME_FAULTS_ONCE": str(struck),
            # Described once all are decoded: four by four, whoever is struck.
            "OBSCURA__SCHEDULER__SETTLE": "1",
        },
    )
    assert done.returncode == 0, done.stderr
    assert {each.name for each in struck.iterdir()} == {
        each.partition("=")[0] for each in faults.split()
    }
    summary = json.loads(done.stdout)
    assert (summary["indexed"], summary["dead"]) == (PHOTOS, 0)
    return summary


def test_every_photo_is_described_once(photos, tmp_path):
    data = prepared(tmp_path / "data")
    summary = index_once(photos, data)
    assert summary["inferences"]["caption"] == PHOTOS
    assert not any(summary["restarts"].values())
    assert told(data) == foretold(range(PHOTOS))
    assert charges(data) == ([], [])
    assert index_once(photos, data)["inferences"]["caption"] == 0


def test_a_worker_that_is_killed_in_the_middle_of_a_word_leaves_no_half_caption(photos, tmp_path):
    data = prepared(tmp_path / "data")
    disturbed(photos, data, "caption.begun=kill@2 caption.word=kill@9 caption.done=kill@1")
    assert told(data) == foretold(range(PHOTOS))
    crashes, failures = charges(data)
    # It died over work twice: once over one batch of four and once over another.
    assert set(crashes) <= {1}
    assert len(crashes) <= 2 * BATCH < PHOTOS
    assert failures == []


def test_a_batch_that_takes_too_long_is_broken_off_and_nobody_is_charged(photos, tmp_path):
    data = prepared(tmp_path / "data")
    summary = disturbed(photos, data, "caption.word=spin:3@9")
    assert told(data) == foretold(range(PHOTOS))
    assert charges(data) == ([], [])
    assert summary["restarts"]["caption"] == 0


def test_a_worker_that_hangs_is_killed_at_its_deadline_and_only_its_batch_is_suspected(
    photos, tmp_path
):
    data = prepared(tmp_path / "data")
    summary = disturbed(photos, data, "caption.word=sleep@9")
    assert told(data) == foretold(range(PHOTOS))
    crashes, failures = charges(data)
    assert crashes == [1] * BATCH
    assert failures == []
    assert summary["restarts"]["caption"] == 1


# ── memory ──────────────────────────────────────────────────────────────────────────────────

HEAVY_MIB = 160


def resident(library):
    """Bytes in memory of all processes of the tree."""
    root = psutil.Process(library.process.pid)
    total = 0
    for each in (root, *root.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += each.memory_info().rss
    return total


def is_at_rest(client):
    """Whether who describes is ready and holds no model; each start of it is a new process."""
    for each in client.status().processes:
        if each.name == "caption" and each.state == "ready":
            with contextlib.suppress(psutil.NoSuchProcess):
                return psutil.Process(each.pid).memory_info().rss < HEAVY_MIB << 19
    return False


def described_and_at_rest(library, photos, numbers):
    """Add photos; the most memory it took to describe them, and what is left of that."""
    draw(photos, numbers)
    wanted = foretold(range(numbers.stop)).keys()
    most = 0
    deadline = time.monotonic() + 120
    with BlockingClient.connect(library.data) as client:
        # News of the folder may come in two parts, and the model be given back between them.
        while told(library.data).keys() < wanted or not is_at_rest(client):
            assert time.monotonic() < deadline
            most = max(most, resident(library))
            time.sleep(0.02)
    library.wait_indexed()
    return most, resident(library)


def test_the_memory_of_the_model_goes_back_when_nothing_is_to_be_described(tmp_path):
    data, photos = prepared(tmp_path / "data", mib=HEAVY_MIB, idle=0.5), tmp_path / "photos"
    photos.mkdir()
    with running(photos, data) as library:
        library.wait_indexed()
        _, before = described_and_at_rest(library, photos, range(3))
        most, after = described_and_at_rest(library, photos, range(3, 6))
        assert most > before + (HEAVY_MIB << 20)
        assert after == pytest.approx(before, rel=0.05)
    assert told(data) == foretold(range(6))
