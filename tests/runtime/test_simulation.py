"""Provider, workers and supervisor under every fault at once, in simulated time.

A failure names its seed; `World(seed).run()` repeats it exactly.  `SOAK=1` runs all seeds.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runtime.simulation import PROVIDER, Worker, World

SEEDS = 10_000 if os.environ.get("SOAK") else 300
CHUNK = 100
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_b01_everything_is_committed_once_whatever_the_network_does(first):
    for seed in range(first, first + CHUNK):
        try:
            World(seed).run()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error


def test_b01_the_faults_do_happen():
    seen = dict.fromkeys(("drop", "die", "stale", "commit"), 0)
    reruns = 0
    for seed in range(40):
        world = World(seed).run()
        for key in seen:
            seen[key] += world.counts[key]
        reruns += sum(count > 1 for count in world.runs.values())
    assert all(seen.values()), seen
    assert reruns, "work is done at least once, so some of it must have been done twice"


def test_a_perfect_world_runs_every_task_once():
    world = World(1, worst=0.0, crashes_until=0.0)
    world.strike = 0.0
    world.run()
    assert set(world.runs.values()) == {1}


def test_b03_the_same_seed_gives_the_same_event_log_in_another_process():
    """With another hash seed, so that no set or dict of strings decides anything."""
    script = (
        "from tests.runtime.simulation import World\n"
        "for seed in range(5): print(World(seed).run().digest.hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(digests) == 1
    assert World(1).run().digest.digest() != World(2).run().digest.digest()


@pytest.mark.parametrize("seed", range(20))
def test_b04_a_worker_cut_off_from_the_supervisor_goes_on_and_is_fenced_when_restarted(seed):
    """Data flows on, news do not: a provider restarted meanwhile is dialled after the cut."""
    world = World(seed, worst=0.0, tasks=60, crashes_until=0.0)
    world.strike = 0.0
    for name in world.names[1:]:
        world.cut("supervisor", name, 1.0, 20.0)
    world.after(2.0, lambda: world.kill(PROVIDER))
    world.run()
    assert world.now < 60


@pytest.mark.parametrize("seed", range(20))
def test_b04_a_worker_that_cannot_say_that_it_is_ready_is_restarted(seed):
    world = World(seed, worst=0.0, crashes_until=0.0)
    world.strike = 0.0
    world.cut("supervisor", "worker0", 0.0, 12.0)
    world.run()
    if len(world.names) == 2:
        assert world.counts["too_slow"] >= 1


@pytest.mark.parametrize("seed", range(20))
def test_b04_a_worker_cut_off_from_its_provider_commits_after_the_cut_and_only_once(seed):
    world = World(seed, worst=0.0, tasks=60, crashes_until=0.0)
    world.strike = 0.0
    world.cut(PROVIDER, "worker0", 1.0, 30.0)
    world.run()
    assert world.now < 60


@pytest.mark.parametrize("seed", range(20))
def test_b04_a_worker_killed_while_cut_off_leaves_its_tasks_to_the_others(seed):
    world = World(seed, worst=0.0, tasks=60, crashes_until=0.0)
    world.strike = 0.0
    world.cut(PROVIDER, "worker0", 1.0, 30.0)
    world.after(5.0, lambda: world.kill("worker0"))
    world.run()
    others = [p for p in world.processes.values() if isinstance(p, Worker) and p.name != "worker0"]
    assert world.now < (20 if others else 60)
