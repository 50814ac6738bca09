"""Nobody outlives who started it, whoever is killed and whenever."""

import contextlib
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import anyio
import psutil
import pytest

from runtime.leftovers import VARIABLE, Mark, kill_leftovers
from runtime.testing import AskPid, Beget, Strike, scapegoat, stage
from runtime.vitals import start_time
from tests.runtime.victim import NAMES

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 200 if os.environ.get("SOAK") else 5
#: what an orphan may take to die
GONE_S = 5.0


def members(run_dir):
    """Living processes that carry the mark of *run_dir*."""
    found = []
    for pid in psutil.pids():
        mark = Mark.of(pid)
        if mark is not None and mark.run_dir == str(run_dir):
            found.append(pid)
    return found


def gone(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@pytest.fixture
def base():
    """A directory for run directories, whose names have a part in common as real ones have."""
    with tempfile.TemporaryDirectory(prefix="runs") as directory:
        yield Path(directory)


def start_victim(run_dir, backend):
    run_dir.mkdir(mode=0o700)
    return subprocess.Popen(
        [sys.executable, "-m", "tests.runtime.victim", str(run_dir), backend],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
    )


def tied(run_dir):
    """The children of the run.  A grandchild has no tie to the supervisor; see the next run."""
    found = []
    for pid in members(run_dir):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "time.sleep" not in " ".join(psutil.Process(pid).cmdline()):
                found.append(pid)
    return found


def kill_one(run_dir, backend, *, ready, after_s):
    """Kill a supervisor at a moment of its life; how long its children outlived it, in s."""
    with start_victim(run_dir, backend) as victim:
        if ready:
            assert victim.stdout.readline() == b"ready\n"
            assert len(members(run_dir)) == len(NAMES) + 1
        time.sleep(after_s)
        victim.kill()
    begin = time.monotonic()
    assert wait_until(lambda: not tied(run_dir), GONE_S), tied(run_dir)
    return time.monotonic() - begin


@pytest.mark.timeout(120 + 10 * ROUNDS)
def test_c04_a_killed_supervisor_leaves_nobody_behind(anyio_backend_name, base):
    """At any moment of its life: while it starts, and while its children hang."""
    rng = random.Random(4)
    outlived = []
    for number in range(ROUNDS):
        run_dir = base / f"data-{number}"
        ready = bool(number % 2)
        after_s = rng.uniform(0, 0.2) if ready else rng.uniform(0.2, 1.5)
        outlived.append(kill_one(run_dir, anyio_backend_name, ready=ready, after_s=after_s))
        kill_leftovers(Mark.of_this_process(base / "data-next"))
        assert wait_until(partial(lambda each: not members(each), run_dir), GONE_S)
    logging.getLogger(__name__).info("%d rounds, outlived by %.3f s", ROUNDS, max(outlived))


@pytest.mark.anyio
@pytest.mark.parametrize("session", [False, True])
async def test_c15_a_grandchild_dies_with_the_child(session):
    async with stage(scapegoat("parent")) as s:
        parent = (await s.ask("parent", AskPid())).pid
        grandchild = (await s.ask("parent", Beget(session))).pid
        assert os.getsid(grandchild) == (grandchild if session else parent)
        os.kill(parent, signal.SIGKILL)
        await s.wait("ready", "parent", 2)
        with anyio.fail_after(5):
            while psutil.pid_exists(grandchild):  # not even a zombie stays
                await anyio.sleep(0.02)


@pytest.mark.anyio
async def test_c15_a_grandchild_dies_when_its_parent_stops_in_order():
    async with stage(scapegoat("parent")) as s:
        grandchildren = [(await s.ask("parent", Beget(each))).pid for each in (False, True)]
    with anyio.fail_after(5):
        while not all(gone(each) for each in grandchildren):
            await anyio.sleep(0.02)


@pytest.mark.anyio
async def test_c15_the_children_of_others_are_left_alone():
    """Whoever runs a supervisor in-process may have children of its own."""
    mine = subprocess.Popen(["sleep", "3600"])  # noqa: ASYNC220
    apart = subprocess.Popen(["sleep", "3600"], start_new_session=True)  # noqa: ASYNC220
    try:
        async with stage(scapegoat("goat")) as s:
            os.kill((await s.ask("goat", AskPid())).pid, signal.SIGKILL)
            await s.wait("ready", "goat", 2)
        assert mine.poll() is None
        assert apart.poll() is None
    finally:
        for each in (mine, apart):
            each.kill()
            assert each.wait() == -signal.SIGKILL


@pytest.fixture
def sleeper():
    """Starts processes that sleep and carry a mark; none of them stays."""
    started = []

    def start(mark):
        process = subprocess.Popen(["sleep", "3600"], env=os.environ | {VARIABLE: str(mark)})
        started.append(process)
        assert wait_until(lambda: Mark.of(process.pid) == mark, 5)
        return process

    yield start
    for each in started:
        each.kill()
        each.wait()


def dead():
    """Pid and start time of a process that is no more."""
    process = subprocess.Popen(["true"])
    started = start_time(process.pid)
    process.wait()
    return process.pid, started


def test_c13_what_an_earlier_run_left_is_killed_and_nobody_else(sleeper):
    now = Mark.of_this_process(Path("/run/x/data-2"))
    leftover = sleeper(Mark("/run/x/data-1", *dead()))
    other_data = sleeper(Mark("/run/x/else-1", *dead()))
    living = sleeper(Mark.of_this_process(Path("/run/x/data-0")))
    reused = sleeper(
        Mark("/run/x/data-1", os.getpid(), now.started - 1)
    )  # the pid has another owner now
    unmarked = subprocess.Popen(["sleep", "3600"])
    try:
        assert set(kill_leftovers(now)) == {leftover.pid, reused.pid}
        assert leftover.wait(5) == -signal.SIGKILL
        for each in (other_data, living, unmarked):
            assert each.poll() is None
    finally:
        unmarked.kill()
        unmarked.wait()


def test_a_run_directory_without_a_family_has_no_leftovers(sleeper):
    mark = Mark.of_this_process(Path("/run/plain"))
    sleeper(Mark("/run/plain", *dead()))
    assert kill_leftovers(mark) == []


@pytest.mark.anyio
async def test_a_new_run_ends_what_the_last_one_left(base, sleeper):
    leftover = sleeper(Mark(str(base / "data-1"), *dead()))
    run_dir = base / "data-2"
    run_dir.mkdir()
    async with stage(scapegoat("goat"), run_dir=run_dir) as s:
        assert s.said("leftovers") == [{"pids": [leftover.pid]}]
        assert leftover.wait(5) == -signal.SIGKILL


@pytest.mark.anyio
async def test_a_child_that_died_of_its_own_child_is_restarted_once():
    async with stage(scapegoat("goat")) as s:
        await s.ask("goat", Beget(session=True))
        s.tell("goat", Strike("segfault"))
        await s.wait("ready", "goat", 2)
        assert len(s.said("spawned", "goat")) == 2
