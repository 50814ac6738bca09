"""Any process may be killed at any instant; afterwards the library is what it would have been."""

import contextlib
import itertools
import json
import os
import signal
import sqlite3
import subprocess
import time

import psutil
import pytest

from actors.client import BlockingClient, NotRunning
from actors.messages import Done, Pause
from actors.vectors import snapshot
from actors.vectors.backends import make_index
from bench.system import ROOT, SUPERVISOR, environment, index_once, running
from runtime.errors import RuntimeFault

pytestmark = pytest.mark.timeout(600)

#: after a provider is back, until work flows; other tests share the processors, so that of a few
#: kills the best is held to it, and none may have needed a timer that rescues what is stuck
PROVIDER_S, STUCK_S, KILLS = 1.0, 15.0, 2
BATCH = 20
KINDS = ("catalog", "index", "scheduler", "embed", "ingest", "decode.0", "text", "gateway")


def contents(data):
    """What the catalog holds: digest and vector of everything that is there, by path."""
    query = """
        SELECT directories.path, files.name, hex(contents.digest), hex(vectors.vector)
        FROM files JOIN directories ON directories.id = files.directory
        JOIN contents ON contents.id = files.content
        LEFT JOIN vectors ON vectors.content = contents.id
        WHERE files.missing_since_ns IS NULL ORDER BY 1, 2
    """
    with contextlib.closing(sqlite3.connect(data / "catalog.sqlite")) as database:
        return database.execute(query).fetchall()


def searchable(data):
    """Digests of what the index holds, read from the snapshot it wrote when it stopped."""
    homes = {snapshot.read_manifest(each).space: each for each in (data / "index").iterdir()}
    home = homes["sketch-1"]
    manifest = snapshot.read_manifest(home)
    index = make_index(manifest.backend, manifest.dimensions)
    snapshot.read(home, manifest.space, index)
    with contextlib.closing(sqlite3.connect(data / "catalog.sqlite")) as database:
        digests = dict(database.execute("SELECT id, hex(digest) FROM contents"))
    return sorted(digests[each] for each in index.ids().tolist())


def states(data):
    with contextlib.closing(sqlite3.connect(data / "catalog.sqlite")) as database:
        return dict(database.execute("SELECT state, count(*) FROM tasks GROUP BY 1"))


@pytest.fixture(scope="module")
def undisturbed(fewer, tmp_path_factory):
    """What a run that nobody disturbs leaves behind."""
    data = tmp_path_factory.mktemp("undisturbed") / "data"
    index_once(fewer, data)
    return contents(data), searchable(data)


def start_once(originals, data):
    return subprocess.Popen(
        [*SUPERVISOR, "--originals", str(originals), "--data", str(data), "--once", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        env=environment(),
    )


def wait_for(condition, what="it", seconds=60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        # whoever was just killed may be the one who would answer
        with contextlib.suppress(RuntimeFault, NotRunning):
            if found := condition():
                return found
        time.sleep(0.02)
    raise AssertionError(f"{what} did not happen in time")


def done(client):
    """Pictures that are through decoding."""
    catalog = client.status().catalog
    if catalog is None:  # it is the one that was killed
        return -1
    return next(each.done for each in catalog.queues if each.kind == "decode")


def kill(client, name):
    process = next(each for each in client.status().processes if each.name == name)
    if process.state != "ready":
        return False
    os.kill(process.pid, signal.SIGKILL)
    return True


def test_killing_each_process_in_turn_changes_nothing(fewer, undisturbed, tmp_path):
    data = tmp_path / "data"
    run = start_once(fewer, data)
    wait_for((data / "run.json").exists)
    with BlockingClient.connect(data) as client:
        for number, name in enumerate(KINDS):
            wait_for(lambda: done(client) >= 17 * number, f"picture {17 * number}")  # noqa: B023
            wait_for(lambda: kill(client, name), f"the death of {name}")  # noqa: B023
    output, _ = run.communicate(timeout=120)
    summary = json.loads(output)
    assert run.returncode == 0
    assert all(summary["restarts"][name] >= 1 for name in KINDS)
    assert summary["dead"] == 0
    assert (contents(data), searchable(data)) == undisturbed
    assert set(states(data)) == {"done"}


@pytest.mark.parametrize("decoded", [0, 40, 90])
def test_killing_the_supervisor_leaves_nobody_behind_and_loses_nothing(
    fewer, undisturbed, tmp_path, decoded
):
    data = tmp_path / "data"
    run = start_once(fewer, data)
    wait_for((data / "run.json").exists)
    with BlockingClient.connect(data) as client:
        wait_for(lambda: (c := client.status().catalog) and c.decodes >= decoded)
    family = psutil.Process(run.pid).children(recursive=True)
    assert len(family) >= len(KINDS)
    run.kill()
    run.wait()
    assert run.stdout is not None
    run.stdout.close()
    _, alive = psutil.wait_procs(family, timeout=5)
    assert alive == []
    summary = index_once(fewer, data)
    assert summary["dead"] == 0
    assert (contents(data), searchable(data)) == undisturbed


def test_c20_a_killed_provider_finds_idle_pullers_and_a_full_queue_and_work_flows(
    drawings, tmp_path
):
    """Within a second after it is back, and nobody who waits for work is left waiting."""
    photos, data = tmp_path / "photos", tmp_path / "data"
    photos.mkdir()
    pictures = iter(sorted(drawings.glob("*.jpg")))

    def add(number):
        for picture in itertools.islice(pictures, number):
            os.link(picture, photos / picture.name)

    def queue(client, kind):
        catalog = client.status().catalog
        return catalog and next((each for each in catalog.queues if each.kind == kind), None)

    def finished(client, kind):
        found = queue(client, kind)
        return found.done if found else 0

    def pause(client, *, on):
        client._portal.call(client._client.ask, Pause(on=on), Done)

    def killed(client, name):
        """Kill it, and return once its successor is ready."""
        old = next(each for each in client.status().processes if each.name == name)
        os.kill(old.pid, signal.SIGKILL)
        wait_for(
            lambda: any(
                each.name == name and each.state == "ready" and each.incarnation > old.incarnation
                for each in client.status().processes
            ),
            f"the return of {name}",
        )

    def until(condition, what):
        began = time.monotonic()
        wait_for(condition, what, STUCK_S)
        return time.monotonic() - began

    decoding, embedding = [], []
    with running(photos, data) as library, BlockingClient.connect(data) as client:
        for before in range(0, KILLS * 2 * BATCH, 2 * BATCH):
            # decoders idle because the owner has paused, and the queue fills
            pause(client, on=True)
            add(BATCH)
            wait_for(
                lambda: (found := queue(client, "decode")) and found.ready == BATCH, "a full queue"
            )
            killed(client, "catalog")
            pause(client, on=False)
            first = before + 1
            decoding.append(
                until(lambda: finished(client, "decode") >= first, "the first photo")  # noqa: B023
            )
            library.wait_indexed()

            # the embedder idles because nobody hands out what the queue has
            os.kill(library.pids()["scheduler"], signal.SIGSTOP)
            add(BATCH)
            half = before + BATCH
            wait_for(
                lambda: finished(client, "decode") == half + BATCH,  # noqa: B023
                "a full queue",
            )
            assert finished(client, "embed") == half
            killed(client, "scheduler")
            embedding.append(
                until(lambda: finished(client, "embed") > half, "the first vector")  # noqa: B023
            )
            library.wait_indexed()
        assert (min(decoding) <= PROVIDER_S, min(embedding) <= PROVIDER_S) == (True, True), (
            decoding,
            embedding,
        )

        # an idle system, and nothing to do when the provider dies
        killed(client, "catalog")
        add(1)
        library.wait_indexed(15)
        wait_for(lambda: client.totals().indexed == KILLS * 2 * BATCH + 1, "the last photo", 15)
