"""Profile P2 with small graphs: right answers, and nothing lost whoever dies while one is built."""

import contextlib
import json
import os
import signal
import time

import psutil
import pytest

from actors.client import BlockingClient
from bench.system import running
from runtime.errors import RuntimeFault

pytestmark = pytest.mark.timeout(600)

SEAL_ROWS = 100
P2 = ("--profile", "P2")


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "obscura.toml").write_text(f"[vectors]\nseal_rows = {SEAL_ROWS}\n")
    return folder


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder


@pytest.fixture
def pictures(drawings):
    return [each for each in sorted(drawings.iterdir()) if each.suffix != ".jsonl"]


def put(pictures, photos):
    for each in pictures:
        os.link(each, photos / each.name)


def wait_for(condition, what, seconds=60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(RuntimeFault, psutil.NoSuchProcess):
            if found := condition():
                return found
        time.sleep(0.005)
    raise AssertionError(f"{what} did not happen in time")


def index_of(library):
    """The process of the index; the command line of a status would be too slow here."""
    with BlockingClient.connect(library.data) as client:
        found = {each.name: each.pid for each in client.status().processes}
    return psutil.Process(found["index"])


def builder_of(index):
    return wait_for(
        lambda: next((c for c in index.children() if "actors.vectors.build" in c.cmdline()), None),
        "the start of the builder",
    )


def graphs(data):
    """Those of the snapshot."""
    manifests = list((data / "index").glob("*/manifest.json"))
    if not manifests:
        return []
    directory = manifests[0].parent / json.loads(manifests[0].read_text())["directory"]
    return list(directory.glob("segments/*"))


def leftovers(data):
    return list((data / "index").glob("*/sealing-*"))


def degraded(library):
    with BlockingClient.connect(library.data) as client:
        index = client.status().index
        return None if index is None else index.degraded


def through(library):
    """Files that are indexed."""
    with BlockingClient.connect(library.data) as client:
        totals = client.totals()
        return totals.indexed + totals.duplicates


def answers(library, captions, k):
    with BlockingClient.connect(library.data) as client:
        return [[hit.content for hit in client.search(each, k).hits] for each in captions]


def test_several_graphs_answer_as_the_exact_index(drawings, pictures, photos, data):
    lines = (drawings / "captions.jsonl").read_text().splitlines()
    captions = [json.loads(line)["caption"] for line in lines[:60]]
    with running(photos, data, *P2) as library:
        for number in range(2):
            put(pictures[120 * number : 120 * (number + 1)], photos)
            wait_for(lambda: len(graphs(data)) > number, "a graph in the snapshot")  # noqa: B023
        put(pictures[240:], photos)
        wait_for(lambda: through(library) == len(pictures), "the end of indexing")
        library.wait_indexed()
        assert degraded(library) == ""
        found = answers(library, captions, 20)
    with running(photos, data, "--profile", "P1") as library:
        library.wait_indexed()
        assert answers(library, captions, 20) == found


def test_a_killed_builder_costs_nothing_but_time(pictures, photos, data):
    put(pictures[:120], photos)
    with running(photos, data, *P2) as library:
        index = index_of(library)
        builder_of(index).kill()
        assert degraded(library) == "exact"
        assert len(answers(library, ["a red circle"], 20)[0]) == 20
        wait_for(lambda: graphs(data), "a graph in the snapshot")
        assert degraded(library) == ""
        wait_for(lambda: not leftovers(data), "the end of the builder's files")
        assert index_of(library).pid == index.pid


def test_a_killed_index_takes_its_builder_along_and_leaves_no_files(pictures, photos, data):
    put(pictures[:120], photos)
    with running(photos, data, *P2) as library:
        index = index_of(library)
        builder = builder_of(index)
        index.kill()
        assert psutil.wait_procs([builder], timeout=5)[1] == []
        wait_for(lambda: graphs(data), "a graph in the snapshot")
        wait_for(lambda: not leftovers(data), "the end of the builder's files")
        library.wait_indexed()
        assert len(answers(library, ["a red circle"], 200)[0]) == 120


def test_a_stop_does_not_wait_for_a_graph(pictures, photos, data):
    put(pictures[:120], photos)
    with running(photos, data, *P2) as library:
        builder = builder_of(index_of(library))
        builder.send_signal(signal.SIGSTOP)  # so that it cannot be done by chance
        library.process.send_signal(signal.SIGINT)
        assert library.process.wait(20) == 0
        assert not builder.is_running()
    assert leftovers(data) == []
