"""Graphs built by real builders, beside an index that goes on answering."""

import contextlib
import os
from pathlib import Path

import anyio
import numpy as np
import psutil
import pytest

from actors import sealing
from actors.sealing import Sealing
from actors.vectors import snapshot
from actors.vectors.flat import FlatIndex
from actors.vectors.segmented import SegmentedIndex
from actors.vectors.shared import SharedIndex
from runtime.restart import Backoff
from tests.actors.vectors.oracle import clustered, overlap

pytestmark = pytest.mark.anyio
WIDE = 16
VECTORS = clustered(2000, WIDE)
BUILDER = "actors.vectors.build"


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.getcwd())


def builders():
    return [
        each
        for each in psutil.Process().children()
        if each.status() != psutil.STATUS_ZOMBIE and BUILDER in each.cmdline()
    ]


class Stage:
    """An index that is being sealed in *home*."""

    def __init__(self, home, seal_rows):
        self.index = SegmentedIndex(WIDE, seal_rows=seal_rows)
        self.shared = SharedIndex(self.index)
        self.home = home
        self.seals = 0
        self.sealed = anyio.Event()
        self.sealing = Sealing(self.shared, self.index, home, threads=1, on_sealed=self.on_sealed)

    def on_sealed(self):
        self.seals += 1
        self.sealed.set()

    async def add(self, some):
        await self.shared.change(self.index.add, np.arange(2000)[some], VECTORS[some])
        self.sealing.look()

    async def wait_sealed(self):
        with anyio.fail_after(60):
            await self.sealed.wait()
        self.sealed = anyio.Event()

    async def builder(self):
        with anyio.fail_after(30):
            while not (found := builders()):
                await anyio.sleep(0.005)
        return found[0]

    def directories(self):
        return sorted(each.name for each in self.home.glob("sealing-*"))


@contextlib.asynccontextmanager
async def stage(home, seal_rows=500):
    s = Stage(home, seal_rows)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(s.sealing.run)
        yield s
        tasks.cancel_scope.cancel()


async def test_each_part_becomes_a_graph_and_searches_go_on(tmp_path):
    exact = FlatIndex(WIDE)
    async with stage(tmp_path) as s:
        for part in (slice(0, 500), slice(500, 1100), slice(1100, 1300)):
            await s.add(part)
            exact.add(np.arange(2000)[part], VECTORS[part])
            if part.stop < 1300:
                assert s.shared.degraded == "exact"
                ids, _ = await s.shared.search(VECTORS[:1], 1)
                assert ids.tolist() == [[0]]
                await s.wait_sealed()
                assert s.shared.degraded == ""
        found = s.index.statistics()
        assert (found.segments, found.sealed, found.vectors) == (2, 1100, 1300)
        queries = clustered(50, WIDE, seed=8)
        ids, _ = await s.shared.search(queries, 20)
        assert overlap(ids, exact.search(queries, 20)[0]) >= 0.99


async def test_a_killed_builder_is_followed_by_another(tmp_path, monkeypatch):
    monkeypatch.setattr(sealing, "RETRY", Backoff(base_s=0.05, cap_s=0.1))
    async with stage(tmp_path) as s:
        await s.add(slice(0, 500))
        for _ in range(2):
            (await s.builder()).kill()
            with anyio.fail_after(30):
                while builders():
                    await anyio.sleep(0.005)
            assert s.shared.degraded == "exact"
            ids, _ = await s.shared.search(VECTORS[7:8], 1)
            assert ids.tolist() == [[7]]
        await s.add(slice(500, 600))
        await s.wait_sealed()
        assert s.index.statistics().sealed == 500
        assert len(s.directories()) == 1


async def test_a_disk_that_takes_nothing_is_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(sealing, "RETRY", Backoff(base_s=0.05, cap_s=0.1))
    home = tmp_path / "home"
    home.touch()  # a file where the directory should be
    async with stage(home) as s:
        await s.add(slice(0, 500))
        await anyio.sleep(0.3)
        assert s.seals == 0
        home.unlink()
        await s.wait_sealed()


async def test_stopping_ends_the_builder_and_leaves_nothing(tmp_path):
    async with stage(tmp_path) as s:
        await s.add(slice(0, 500))
        builder = await s.builder()
    assert not builder.is_running()
    assert s.directories() == []
    assert len(s.index) == 500


async def test_what_a_dead_index_left_is_removed(tmp_path):
    (tmp_path / "sealing-dead" / "rows").mkdir(parents=True)
    (tmp_path / "snapshot-1-x").mkdir()
    async with stage(tmp_path) as s:
        await s.add(slice(0, 500))
        await s.wait_sealed()
    assert "sealing-dead" not in s.directories()
    assert (tmp_path / "snapshot-1-x").is_dir()


async def test_a_frozen_part_that_is_removed_ends_the_trying(tmp_path, monkeypatch):
    monkeypatch.setattr(sealing, "RETRY", Backoff(base_s=0.05, cap_s=0.1))
    async with stage(tmp_path) as s:
        await s.add(slice(0, 500))
        builder = await s.builder()
        await s.shared.change(s.index.remove, np.arange(500))
        builder.kill()
        await s.add(slice(500, 1000))
        await s.wait_sealed()
        assert s.index.ids().tolist() == list(range(500, 1000))
        assert s.index.statistics().sealed == 500


async def test_a_snapshot_takes_the_graphs_over_and_their_directories_go(tmp_path):
    async with stage(tmp_path) as s:
        await s.add(slice(0, 500))
        await s.wait_sealed()
        graphs = list(s.sealing.unsaved)
        assert [each.name for each in graphs] == s.directories()
        snapshot.write(tmp_path, "space", s.index, 1)
        s.sealing.saved(graphs)
        assert (s.directories(), s.sealing.unsaved) == ([], [])
        # … and the next snapshot finds the files where the last one has them
        snapshot.write(tmp_path, "space", s.index, 2)
        again = SegmentedIndex(WIDE)
        snapshot.read(tmp_path, "space", again)
        assert again.statistics().sealed == 500
        assert np.array_equal(again.search(VECTORS[:9], 5)[0], s.index.search(VECTORS[:9], 5)[0])


def test_the_place_of_graphs_is_not_taken_for_a_snapshot():
    assert not sealing.PREFIX.startswith(snapshot.PREFIX)
    assert Path(sealing.PREFIX).name == sealing.PREFIX
