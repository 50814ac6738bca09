"""Births, the ladder that ends a life, and what a hundred of them leave behind: nothing."""

import os
import signal
import threading
from collections import deque
from pathlib import Path

import anyio
import anyio.to_thread
import psutil
import pytest

from runtime import process as process_module
from runtime.process import TAIL_CHARS, Process, describe
from runtime.restart import Backoff, Intensity
from runtime.spec import Birth, ChildSpec, GroupSpec
from runtime.testing import AskPid, Beget, ScapegoatSettings, Strike, scapegoat, stage

pytestmark = pytest.mark.anyio
SOAK = bool(os.environ.get("SOAK"))
RESTARTS = 100 if SOAK else 16


# ── birth ───────────────────────────────────────────────────────────────────────────────────


async def retire_worker_threads(anyio_backend_name, monkeypatch):
    """Let a worker thread come and go.  What it started would be killed with it by now."""
    if anyio_backend_name == "trio":
        import trio._core._thread_cache as cache

        monkeypatch.setattr(cache, "IDLE_TIMEOUT", 0.1)
    before = threading.active_count()
    await anyio.to_thread.run_sync(threading.active_count)
    if anyio_backend_name == "trio":
        with anyio.fail_after(5):
            while threading.active_count() > before:
                await anyio.sleep(0.05)
    if SOAK:
        await anyio.sleep(30)


async def test_c05_a_child_outlives_the_worker_threads_of_the_loop(anyio_backend_name, monkeypatch):
    """PR_SET_PDEATHSIG fires at the end of the thread that forked, not of the process."""
    async with stage(scapegoat("goat")) as s:
        pid = (await s.ask("goat", AskPid())).pid
        await retire_worker_threads(anyio_backend_name, monkeypatch)
        await anyio.sleep(0.3)
        assert (await s.ask("goat", AskPid())).pid == pid
        os.kill(pid, signal.SIGKILL)  # … and so does one that was born later
        await s.wait("ready", "goat", 2)
        pid = (await s.ask("goat", AskPid())).pid
        await retire_worker_threads(anyio_backend_name, monkeypatch)
        await anyio.sleep(0.3)
        assert (await s.ask("goat", AskPid())).pid == pid


async def test_c05_no_child_is_born_from_another_thread(tmp_path):
    birth = Birth(ChildSpec(name="x", actor="nobody:Nobody"), 1, "run", str(tmp_path))
    with pytest.raises(RuntimeError, match="the main one"):
        await anyio.to_thread.run_sync(Process.spawn, birth)


# ── the ladder ──────────────────────────────────────────────────────────────────────────────


def ladder(s, name):
    return [each["step"] for each in s.said("stopping", name)]


async def test_c11_a_stop_while_loading_waits_for_nobody(anyio_backend_name):
    told = ScapegoatSettings(start="sleep")
    loading = scapegoat("goat", told, drain_s=30, backend=anyio_backend_name)
    async with stage(loading, ready=False) as s:
        with anyio.fail_after(60):
            while s.state("goat").life != "loading":
                await anyio.sleep(0.02)
        s.supervisor.stop()
        with anyio.fail_after(3):
            assert await s.supervisor.wait_stopped() == 0
        assert ladder(s, "goat") == ["term"]


async def test_c11_who_ignores_term_is_killed_within_the_budget():
    deaf = scapegoat("goat", ScapegoatSettings(drain="deadlock", deaf=True), drain_s=30)
    async with stage(deaf, shutdown_s=4) as s:
        s.supervisor.stop()
        begin = anyio.current_time()
        assert await s.supervisor.wait_stopped() == 0
        assert anyio.current_time() - begin < 4.5
        assert ladder(s, "goat") == ["drain", "term", "kill"]
        assert s.said("ended", "goat")[0]["class"] == "stopped"


async def test_c11_a_tree_of_stubborn_children_stops_within_its_budget_and_right_to_left():
    told = ScapegoatSettings(drain="deadlock", deaf=True)
    names = list("abc")
    async with stage(*(scapegoat(name, told, drain_s=30) for name in names), shutdown_s=8) as s:
        s.supervisor.stop()
        begin = anyio.current_time()
        assert await s.supervisor.wait_stopped() == 0
        assert anyio.current_time() - begin < 9
        assert [each["name"] for each in s.said("ended")] == names[::-1]
        first = [each["name"] for each in s.said("stopping") if each["step"] == "drain"]
        assert first == names[::-1]  # each of them was asked, the last one too


async def test_c11_who_cannot_hear_is_not_asked():
    async with stage(scapegoat("goat", drain_s=30)) as s:
        os.kill((await s.ask("goat", AskPid())).pid, signal.SIGSTOP)
        await s.wait("stopped", "goat")
        s.supervisor.stop()
        with anyio.fail_after(2):
            assert await s.supervisor.wait_stopped() == 0
        assert ladder(s, "goat") == ["kill"]


async def test_c11_a_second_request_ends_everybody_at_once():
    told = ScapegoatSettings(drain="wait")
    async with stage(scapegoat("a", told), scapegoat("b", told)) as s:
        s.supervisor.stop()
        await s.wait("stopping", "b")
        s.supervisor.kill()
        with anyio.fail_after(2):
            assert await s.supervisor.wait_stopped() == 0


async def test_a_process_that_cannot_be_killed_is_left_behind_and_replaced(monkeypatch):
    """As in uninterruptible sleep, over a dead network file system."""
    monkeypatch.setattr(process_module, "ABANDON_S", 0.3)
    monkeypatch.setattr("runtime.supervision.ABANDON_S", 0.3)
    async with stage(scapegoat("goat", ScapegoatSettings(), startup_s=30)) as s:
        pid = (await s.ask("goat", AskPid())).pid
        monkeypatch.setattr(s.supervisor._children["goat"].process, "signal", lambda number: None)
        s.tell("goat", Strike("wait", "work", [7], 0.1))
        await s.wait("abandoned", "goat", seconds=20)
        await s.wait("ready", "goat", 2)
        assert (await s.ask("goat", AskPid())).pid != pid
        assert psutil.pid_exists(pid)
        os.kill(pid, signal.SIGKILL)  # it wakes up and dies at last, and nobody mistakes it
        with anyio.fail_after(5):
            while psutil.pid_exists(pid):
                await anyio.sleep(0.02)
        assert len(s.said("died", "goat")) == 1
        assert s.state("goat").state == "ready"


async def test_a_machine_without_room_for_a_process_is_asked_again(monkeypatch):
    spawn = Process.spawn
    failures = iter([OSError(11, "Resource temporarily unavailable")] * 3)

    def fail_first(*birth):
        for error in failures:
            raise error
        return spawn(*birth)

    monkeypatch.setattr(Process, "spawn", fail_first)
    async with stage(scapegoat("goat")) as s:
        assert len(s.said("not_spawned", "goat")) == 3
        assert len(s.said("spawned", "goat")) == 1


# ── what it leaves ──────────────────────────────────────────────────────────────────────────


def test_every_exit_has_words():
    assert describe(0) == "exit 0"
    assert describe(3) == "exit 3"
    assert describe(-9) == "killed by SIGKILL"
    assert describe(-64) == "killed by signal 64" or "SIGRTMAX" in describe(-64)


async def test_last_words_are_bounded_whatever_it_wrote():
    process = Process.__new__(Process)
    process.tail = deque("x" * 10_000 for _ in range(10))
    assert sum(len(line) + 1 for line in process.last_words) <= TAIL_CHARS + 2
    process.tail = deque(["first", "last"])
    assert process.last_words == ["first", "last"]


def belongings(run_dir):
    """What this process holds: descriptors, threads, shared pages, files of the run."""
    pages = Path("/proc/self/maps").read_text(encoding="utf-8").count(".page")
    descriptors = [os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd") if fd(n)]
    return {
        "descriptors": len(descriptors),
        "sockets": sum(each.startswith("socket:") for each in descriptors),
        "threads": len(os.listdir("/proc/self/task")),
        "pages": pages,
        "files": sorted(os.listdir(run_dir)),
        "children": len(psutil.Process().children(recursive=True)),
    }


def fd(name):
    return os.path.lexists(f"/proc/self/fd/{name}")


@pytest.mark.timeout(120 + 10 * RESTARTS)
async def test_c16_restarts_leave_nothing_behind(tmp_path):
    swift = Backoff(base_s=0.001, cap_s=0.002)
    tree = GroupSpec(
        name="root",
        children=(scapegoat("goat"), scapegoat("witness", peers=("goat",))),
        backoff=swift,
        intensity=Intensity(1000, 3600.0),
    )
    async with stage(group=tree, run_dir=tmp_path) as s:

        async def restart(count):
            for _ in range(count):
                lives = len(s.said("ready", "goat"))
                await s.ask("goat", Beget(session=bool(lives % 2)))
                os.kill((await s.ask("goat", AskPid())).pid, signal.SIGKILL)
                await s.wait("ready", "goat", lives + 1)
            await s.ask("goat", AskPid())
            await anyio.sleep(1.0)  # the last heirs are reaped

        await restart(4)  # what is made once, is made
        before, rss = belongings(tmp_path), psutil.Process().memory_info().rss
        await restart(RESTARTS)
        after = belongings(tmp_path)
        assert after.pop("files") == before.pop("files")
        assert {key for key in after if after[key] > before[key]} == set(), (before, after)
        assert psutil.Process().memory_info().rss - rss < 8 << 20
