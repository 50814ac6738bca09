"""Workers and their provider killed again and again, under load; `SOAK=1` for ten minutes."""

import contextlib
import logging
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import anyio
import psutil
import pytest

from runtime.restart import Backoff, Intensity
from runtime.spec import GroupSpec
from runtime.testing import stage
from tests.runtime.mill import AnyWord, read, specs

pytestmark = pytest.mark.anyio

#: tasks, seconds of work each, seconds between two kills
TASKS, WORK_S, KILL_S = (
    (20_000, 0.09, (0.3, 2.0)) if os.environ.get("SOAK") else (900, 0.01, (0.3, 0.8))
)
WORKERS = ("worker.0", "worker.1", "worker.2")
PROVIDERS_S = 1.0


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "run").mkdir()
    return tmp_path


def mill(folder, backend, *, work_s=WORK_S, tasks=0):
    """A stage on which somebody may be killed every few moments, for ever."""
    (folder / "tasks").write_text(str(tasks))
    children = tuple(specs(folder, WORKERS, work_s=work_s, backend=backend))
    patient = Intensity(1000, 10_000.0)
    group = GroupSpec(name="root", children=children, intensity=patient, backoff=Backoff(0.05, 0.2))
    return stage(group=group, run_dir=folder / "run", messages=AnyWord)


class Taken:
    """What the supervisor, which is this process, takes of the machine."""

    def __init__(self, run_dir):
        me = psutil.Process()
        self.descriptors = len(os.listdir("/proc/self/fd"))
        self.threads = me.num_threads()
        self.children = sorted(child.status() == psutil.STATUS_ZOMBIE for child in me.children())
        self.files = sorted(os.listdir(run_dir))
        self.rss = me.memory_info().rss

    @property
    def countable(self):
        """All but memory and threads; of both there may have been more for a moment, before."""
        return vars(self) | {"rss": 0, "threads": 0}

    def leaves_nothing(self, before):
        return self.countable == before.countable and self.threads <= before.threads


def shared_memory(pid):
    maps = Path("/proc", str(pid), "maps").read_text()
    return [line for line in maps.splitlines() if "/dev/shm/" in line]


async def is_so(condition, seconds):
    with anyio.move_on_after(seconds):
        while not condition():
            await anyio.sleep(0.01)
        return True
    return condition()


@pytest.mark.timeout(120 + TASKS * WORK_S)
async def test_c03_workers_killed_under_load_lose_nothing_and_leave_nothing(
    anyio_backend_name, folder
):
    rng = random.Random(3)
    kills = 0
    async with mill(folder, anyio_backend_name, tasks=TASKS) as s:
        with anyio.fail_after(30):
            while not read(folder / "committed"):
                await anyio.sleep(0.01)
        before = Taken(folder / "run")
        begin = time.monotonic()
        while len(read(folder / "committed")) < TASKS:
            await anyio.sleep(rng.uniform(*KILL_S))
            victim = s.state(rng.choice(WORKERS))
            if victim.state == "ready":
                with contextlib.suppress(ProcessLookupError):  # the last kill is not known yet
                    os.kill(victim.pid, signal.SIGKILL)
                    kills += 1
        seconds = time.monotonic() - begin
        everybody = len(WORKERS) + 1
        assert await is_so(lambda: len(s.said("ready")) == everybody + kills, 30)
        await is_so(lambda: Taken(folder / "run").leaves_nothing(before), 5)
        after = Taken(folder / "run")
        assert after.countable == before.countable
        assert after.threads <= before.threads
        assert after.rss < before.rss * 1.1 + 8e6
        assert not any(shared_memory(each.pid) for each in s.supervisor.processes())
    assert Counter(read(folder / "committed")) == Counter(range(1, TASKS + 1))
    assert kills > seconds / KILL_S[1] / 2
    logging.getLogger(__name__).info("%d kills in %.1f s", kills, seconds)


async def test_c20_a_killed_provider_finds_idle_workers_and_a_full_queue_and_work_flows(
    anyio_backend_name, folder
):
    """Once while they idle, and once more in the midst of it."""
    committed = folder / "committed"
    async with mill(folder, anyio_backend_name, work_s=0.01) as s:
        (folder / "tasks").write_text("300")  # which nobody knows yet
        for birth in (2, 3):
            before = len(read(committed))
            os.kill(s.state("provider").pid, signal.SIGKILL)
            await s.wait("ready", "provider", birth)
            flowing = lambda before=before: len(read(committed)) > before
            assert await is_so(flowing, PROVIDERS_S), "work does not flow"
        assert await is_so(lambda: len(read(committed)) == 300, 20)
    assert Counter(read(committed)) == Counter(range(1, 301))
