"""`models use`: from one pack to another and back, while somebody searches and processes die.

The two packs find the same pictures at the same cosines, each in a space of its own, and a
vector of one compared with one of the other gives noise (`tests.packs`).  So one list of right
answers is enough to see that an answer is whole, and of one model.
"""

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import threading
import time

import numpy as np
import pytest

from actors.client import BlockingClient, NotRunning
from bench.system import command, index_once, running
from runtime.errors import RuntimeFault
from tests.packs import turned

pytestmark = pytest.mark.timeout(300)

PICTURES = 60
K = 5
QUERIES = ("a red circle", "two blue squares on green", "a beach", "a small dark triangle")
SETTINGS = """
[runtime]
restarts = 50
period = 600.0
backoff = 0.05
backoff_cap = 0.2
"""
#: instants in the life of a switch at which the catalog dies, each once
CATALOG = ("writer.use", "catalog.complete", "catalog.switching", "writer.switch")
AFTER = "catalog.switched"


@pytest.fixture(scope="module")
def indexed(drawings, tmp_path_factory):
    """Some pictures, and a data directory in which the built-in pack has indexed them."""
    place = tmp_path_factory.mktemp("indexed")
    photos, data = place / "photos", place / "data"
    photos.mkdir()
    for each in sorted(drawings.glob("*.jpg"))[:PICTURES]:
        os.link(each, photos / each.name)
    index_once(photos, data)
    (data / "obscura.toml").write_text(SETTINGS)
    (data / "packs").mkdir()
    turned(data / "packs", "turned")
    return photos, data


@pytest.fixture
def library(indexed, tmp_path):
    photos, data = indexed
    shutil.copytree(data, tmp_path / "data")
    return photos, tmp_path / "data"


def ask_database(data, query):
    with contextlib.closing(sqlite3.connect(data / "catalog.sqlite")) as database:
        return database.execute(query).fetchall()


def states(data):
    return dict(ask_database(data, "SELECT pack, state FROM spaces WHERE kind = 'embed'"))


def vectors(data):
    """Pack → content → vector."""
    found: dict[str, dict[int, np.ndarray]] = {}
    query = """
        SELECT pack, content, vector FROM vectors JOIN spaces ON spaces.id = vectors.space
        WHERE kind = 'embed'
    """
    for pack, content, vector in ask_database(data, query):
        found.setdefault(pack, {})[content] = np.frombuffer(vector, "<f4")
    return found


def use(data, name):
    """Say it as an owner would, again when the one who should have answered has died."""
    for _ in range(5):
        done = command("models", "use", name, "--data", data, "--json")
        if not done.returncode:
            return json.loads(done.stdout)
        assert done.returncode == 75, done.stderr
    raise AssertionError(done.stderr)


class Seeker(threading.Thread):
    """Searches all the while, and keeps every answer."""

    def __init__(self, data):
        super().__init__(daemon=True)
        self.data = data
        self.answers = []  # (query, found)
        self.refusals = []
        self._over = threading.Event()

    def run(self):
        number = 0
        while not self._over.is_set():
            with (
                contextlib.suppress(NotRunning, RuntimeFault),
                BlockingClient.connect(self.data) as client,
            ):
                while not self._over.is_set():
                    number += 1
                    query = QUERIES[number % len(QUERIES)]
                    try:
                        self.answers.append((query, client.search(query, K)))
                    except RuntimeFault as error:
                        self.refusals.append(str(error))
                    time.sleep(0.01)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self.join(30)


def wait(condition, what, seconds=60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(RuntimeFault, NotRunning, sqlite3.OperationalError):
            if condition():
                return
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen in time")


def kill(client, *names):
    for name in names:
        (process,) = [each for each in client.status().processes if each.name == name]
        if process.pid:
            os.kill(process.pid, signal.SIGKILL)


def embeds(client):
    catalog = client.status().catalog
    return None if catalog is None else catalog.embeds


def settled(client):
    catalog = client.status().catalog
    return catalog is not None and catalog.settled


def check(answers, right):
    """Every answer is whole, and what its model would say."""
    for query, found in answers:
        assert found.model in {"sketch", "turned"}
        assert len(found.hits) == K, (query, found)
        assert not found.degraded, (query, found)
        scores = [hit.score for hit in found.hits]
        assert np.allclose(scores, right[query], atol=2e-3), (query, found.model)


def test_a_library_changes_its_model_and_back_while_it_is_searched_and_everybody_dies(
    library, tmp_path, monkeypatch
):
    photos, data = library
    struck = tmp_path / "struck"
    struck.mkdir()
    monkeypatch.setenv("RUNTIME_FAULTS", " ".join(f"{point}=kill" for point in (*CATALOG, AFTER)))
    monkeypatch.setenv("RUNTIME_FAULTS_ONCE", str(struck))
    with running(photos, data), BlockingClient.connect(data) as client:
        right = {query: [hit.score for hit in client.search(query, K).hits] for query in QUERIES}
        with Seeker(data) as seeker:
            # there: half built, and then at every step of the switch
            use(data, "turned")
            wait(lambda: vectors(data).get("turned"), "the first vector")
            kill(client, "embed", "text", "index", "gateway")
            wait(lambda: states(data)["turned"] == "active", "the switch")
            wait(lambda: seeker.answers[-1][1].model == "turned", "an answer of the new model")
            assert {each.name for each in struck.iterdir()} == {*CATALOG, AFTER}
            wait(lambda: settled(client), "rest")
            built = vectors(data)

            # and back: nothing is computed
            before = embeds(client)
            use(data, "sketch")
            kill(client, "index", "text")
            wait(lambda: states(data)["sketch"] == "active", "the way back")
            wait(lambda: seeker.answers[-1][1].model == "sketch", "an answer of the old model")
            assert embeds(client) == before

            # and there once more, with the ones that answer dying at once
            use(data, "turned")
            kill(client, "catalog", "gateway", "embed")
            wait(lambda: states(data)["turned"] == "active", "the second switch")
            wait(lambda: embeds(client) == 0, "a new catalog")
            wait(lambda: seeker.answers[-1][1].model == "turned", "an answer of the new model")
    check(seeker.answers, right)
    assert {found.model for _, found in seeker.answers} == {"sketch", "turned"}
    assert len(seeker.answers) > 5 * len(seeker.refusals)

    # what is there is what would be there if nobody had died
    assert states(data) == {"sketch": "retired", "turned": "active"}
    for pack, found in built.items():
        assert len(found) == PICTURES, pack
        assert all(np.array_equal(found[each], vectors(data)[pack][each]) for each in found)
    (before, after) = (
        np.array([built[pack][each] for each in sorted(built[pack])])
        for pack in ("sketch", "turned")
    )
    assert np.allclose(before @ before.T, after @ after.T, atol=2e-3)
    assert dict(ask_database(data, "SELECT state, count(*) FROM tasks GROUP BY 1")) == {
        "done": 5 * PICTURES  # decoded, embedded twice, looked at for faces, described
    }


def test_the_word_of_the_owner_outlasts_the_run_and_a_death_of_all_of_it(library):
    photos, data = library
    with running(photos, data) as system:
        use(data, "turned")
        system.process.kill()
        system.process.wait()
    summary = index_once(photos, data)
    assert states(data) == {"sketch": "retired", "turned": "active"}
    assert {pack: len(each) for pack, each in vectors(data).items()} == {
        "sketch": PICTURES,
        "turned": PICTURES,
    }
    assert summary["indexed"] == PICTURES
    # at rest the way back is a word, and it holds at the next start
    assert use(data, "sketch")["state"] == "active"
    assert index_once(photos, data)["inferences"]["embed"] == 0
    with running(photos, data), BlockingClient.connect(data) as client:
        found = client.search("a red circle", K)
        assert (found.model, len(found.hits)) == ("sketch", K)


def test_a_photo_that_comes_while_another_space_is_built_is_found_at_once(library, tmp_path):
    source, data = library
    photos = tmp_path / "photos"
    shutil.copytree(source, photos)
    with running(photos, data), BlockingClient.connect(data) as client:
        command("pause", "--data", data)
        use(data, "turned")
        newcomer = min(photos.glob("*.jpg")).read_bytes()
        (photos / "new.jpg").write_bytes(newcomer + b"\0")
        command("resume", "--data", data)
        wait(lambda: client.totals().indexed == PICTURES + 1, "the new photo")
        wait(lambda: states(data)["turned"] == "active", "the switch")
        wait(lambda: client.search("a red circle", K).model == "turned", "the new model")
        assert client.totals().indexed == PICTURES + 1
    assert all(len(each) == PICTURES + 1 for each in vectors(data).values())


def test_a_pack_that_the_library_needs_is_not_removed(library):
    photos, data = library
    use(data, "turned")
    index_once(photos, data)
    for state, reason in (("active", "is in use"), ("retired", "can go back to it")):
        assert states(data)["turned"] == state
        refused = command("models", "remove", "turned", "--yes", "--data", data)
        assert refused.returncode == 78
        assert reason in refused.stderr
        use(data, "sketch")
    gone = command("models", "remove", "turned", "--yes", "--with-vectors", "--data", data)
    assert gone.returncode == 0, gone.stderr
    assert not (data / "packs" / "turned").exists()
    assert vectors(data).keys() == {"sketch"}
    # who comes again begins anew
    turned(data / "packs", "turned")
    use(data, "turned")
    assert index_once(photos, data)["inferences"]["embed"] == PICTURES
    assert states(data) == {"sketch": "retired", "turned": "active"}


def test_a_library_whose_model_is_gone_says_so_and_can_be_given_another(library):
    photos, data = library
    use(data, "turned")
    index_once(photos, data)
    assert states(data)["turned"] == "active"
    shutil.rmtree(data / "packs" / "turned")
    start = ("--originals", photos, "--data", data, "--once", "--json")
    refused = command(*start)
    assert refused.returncode == 78
    assert "it serves this library: bring it back, or choose another" in refused.stderr
    assert use(data, "sketch")["state"] == "active"
    done = command(*start, env={"OBSCURA__MODEL__PACK": "another"})
    assert json.loads(done.stdout)["inferences"]["embed"] == 0
    assert "this one is served by sketch" in done.stderr


def test_a_pack_that_does_not_work_is_refused_before_anything_is_built(library):
    _, data = library
    image = data / "packs" / "turned" / "image.onnx"
    image.write_bytes(image.read_bytes()[:-100])
    refused = command("models", "use", "turned", "--data", data)
    assert refused.returncode == 78
    assert "turned is damaged" in refused.stderr
    assert states(data) == {"sketch": "active"}
