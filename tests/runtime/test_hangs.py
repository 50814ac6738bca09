"""Real processes that hang, each in its own way, and what becomes of them."""

import os
import signal
import time

import anyio
import psutil
import pytest

from runtime.messages import Down
from runtime.restart import OnLimit
from runtime.testing import (
    HASTY,
    AskHeard,
    AskPid,
    Extend,
    Heard,
    ScapegoatSettings,
    Strike,
    scapegoat,
    stage,
)

pytestmark = pytest.mark.anyio


async def downs_of(s, witness, name):
    """The `Down` of *name* that *witness* heard."""
    with anyio.fail_after(30):
        while True:
            heard = await s.ask(witness, AskHeard())
            assert isinstance(heard, Heard)
            found = [down for down in heard.downs if down.name == name]
            if found:
                return found
            await anyio.sleep(0.02)


#: name → what it is told, and what is said of it; who keeps the GIL needs the time to be noticed
HANGS = {
    "gil": (Strike("gil", "work", [7], 2.0), "keeps the GIL"),
    "spin-gil": (Strike("spin-gil", "work", [7], 2.0), "keeps the GIL"),
    "deadlock": (Strike("deadlock", "work", [7], 0.5), "gets nowhere"),
    "thread": (Strike("deadlock", "work", [7], 0.5, thread=True), "gets nowhere"),
    "wait": (Strike("wait", "work", [7], 0.5), "gets nowhere"),
    "spin": (Strike("spin", "work", [7], 0.5), "gets nowhere"),
}


async def test_c06_a_phase_past_its_deadline_is_dumped_killed_and_told(anyio_backend_name):
    """Six processes hang at once, each in its own way, on the loop of their supervisor."""
    goats = [scapegoat(name, backend=anyio_backend_name) for name in HANGS]
    witness = scapegoat("witness", peers=tuple(HANGS))
    async with stage(*goats, witness, limits=HASTY) as s:
        for name, (strike, _) in HANGS.items():
            s.tell(name, strike)
        for name, (_, how) in HANGS.items():
            assert how in (await s.wait("suspect", name))["why"], name
            assert (await s.wait("died", name))["class"] == "hung", name
            (down,) = await downs_of(s, "witness", name)
            assert isinstance(down, Down)
            assert (down.exit_class, down.crashed, down.executing) == ("hung", True, [7]), name
            assert "most recent call first" in down.stderr_tail, name
            assert "faults.py" in down.stderr_tail or name == "wait"
        for name in HANGS:
            await s.wait("ready", name, 2)


async def test_c06_a_blocked_loop_without_a_phase_is_dumped_and_then_killed():
    async with stage(scapegoat("goat"), limits=HASTY) as s:
        s.tell("goat", Strike("sleep"))
        suspect = await s.wait("suspect", "goat")
        assert "its loop is blocked" in suspect["why"]
        assert s.state("goat").state == "suspect"
        assert (await s.wait("died", "goat"))["class"] == "hung"


async def test_c06_a_blocked_loop_that_comes_back_recovers():
    async with stage(scapegoat("goat"), limits=HASTY) as s:
        s.tell("goat", Strike("sleep:2.8"))
        await s.wait("suspect", "goat")
        await s.wait("recovered", "goat")
        assert s.state("goat").life == "ready"
        assert not s.said("died")


async def test_c06_a_native_call_that_keeps_the_gil_is_left_alone_before_its_deadline():
    async with stage(scapegoat("goat"), limits=HASTY) as s:
        await s.ask("goat", Strike("gil:4", "work", [7], 30))
        assert not s.said("suspect")


async def test_c06_a_stopped_child_is_shown_not_killed_and_goes_on():
    async with stage(scapegoat("goat"), limits=HASTY) as s:
        pid = (await s.ask("goat", AskPid())).pid
        s.tell("goat", Strike("sleep:0.3", "work", [7], 1.0))
        os.kill(pid, signal.SIGSTOP)
        await s.wait("stopped", "goat")
        assert s.state("goat").state == "stopped"
        await anyio.sleep(HASTY.loop_kill_s + 1)
        os.kill(pid, signal.SIGCONT)
        await s.wait("recovered", "goat")
        assert (await s.ask("goat", AskPid())).pid == pid
        assert not s.said("suspect")


async def test_c06_a_stuck_start_ends_at_its_limit():
    stuck = scapegoat("goat", ScapegoatSettings(start="deadlock"), startup_s=1.0)
    async with stage(stuck, limits=HASTY, ready=False) as s:
        assert (await s.wait("start_too_slow", "goat"))["s"] == 1.0
        assert (await s.wait("died", "goat"))["class"] == "slow_start"
        assert any("most recent call first" in each["line"] for each in s.said("line", "goat"))


async def test_c06_a_child_that_hangs_while_it_stops_comes_to_its_end_by_the_ladder():
    stubborn = scapegoat("goat", ScapegoatSettings(drain="deadlock"), drain_s=0.5)
    async with stage(stubborn, limits=HASTY) as s:
        s.supervisor.stop()
        with anyio.fail_after(8):
            assert await s.supervisor.wait_stopped() == 0
        assert [each["step"] for each in s.said("stopping", "goat")] == ["drain", "term"]
        assert s.said("ended", "goat")[0]["class"] == "stopped"


async def test_c07_a_long_legal_call_that_says_so_is_not_killed(anyio_backend_name):
    async with stage(scapegoat("goat", backend=anyio_backend_name), limits=HASTY) as s:
        pid = (await s.ask("goat", AskPid())).pid
        await s.ask("goat", Extend(seconds=0.8, times=6), seconds=60)
        assert (await s.ask("goat", AskPid())).pid == pid
        assert not s.said("suspect")


async def test_a_start_is_shown_as_it_goes():
    warm = scapegoat("goat", ScapegoatSettings(warm="sleep:1.0"))
    async with stage(warm, limits=HASTY, ready=False) as s:
        seen = []
        with anyio.fail_after(60):
            while not s.supervisor.all_ready.is_set():
                seen.append(s.state("goat").life)
                await anyio.sleep(0.05)
            await anyio.sleep(0.5)
        assert {"spawning", "warming"} <= set(seen)
        assert s.state("goat").life == "ready"
        s.tell("goat", Strike("wait", "work", [7], 60))
        with anyio.fail_after(10):
            while s.state("goat").life != "busy":
                await anyio.sleep(0.05)
        assert s.state("goat").state == "ready"


async def test_b02_a_supervisor_that_stands_still_kills_nobody():
    """Its own loop is blocked for longer than every limit, while a child is in a phase."""
    async with stage(scapegoat("a"), scapegoat("b"), limits=HASTY) as s:
        s.tell("a", Strike("sleep:2.0", "work", [7], 3.0))
        await anyio.sleep(0.3)
        time.sleep(HASTY.loop_kill_s * 1.3)  # noqa: ASYNC251 - that is the point
        await anyio.sleep(2)
        assert not s.said("died")
        assert not s.said("suspect")


async def test_a_hang_of_an_isolated_kind_leaves_the_rest_at_work():
    async with stage(
        scapegoat("goat", on_limit=OnLimit.ISOLATE), scapegoat("other"), limits=HASTY
    ) as s:
        pid = (await s.ask("other", AskPid())).pid
        s.tell("goat", Strike("gil", "work", [7], 0.3))
        await s.wait("died", "goat")
        assert psutil.pid_exists(pid)
        assert (await s.ask("other", AskPid())).pid == pid
