"""Helpers end with their work, with the actor's patience, or with the actor."""

import os
import signal
import subprocess
import sys
import time

import anyio
import psutil
import pytest

from runtime.helper import run_helper

pytestmark = pytest.mark.anyio
ERRAND = "tests.runtime.errand"


def sleepers():
    """Helpers of ours that sleep now."""
    return [
        each
        for each in psutil.process_iter(["cmdline"])
        if ERRAND in (each.info["cmdline"] or ()) and "sleep" in each.info["cmdline"]
    ]


async def asleep(path):
    """The one helper, once it sleeps."""
    with anyio.fail_after(30):
        while not path.exists():
            await anyio.sleep(0.01)
    (helper,) = [each for each in sleepers() if str(path) in each.cmdline()]
    return helper


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.getcwd())


@pytest.mark.parametrize("code", [0, 3])
async def test_the_exit_code_is_the_answer(code):
    with anyio.fail_after(30):
        assert await run_helper(ERRAND, "exit", str(code)) == code


async def test_a_killed_helper_says_by_which_signal(tmp_path):
    codes = []

    async def run():
        codes.append(await run_helper(ERRAND, "sleep", str(tmp_path / "there")))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        (await asleep(tmp_path / "there")).kill()
    assert codes == [-signal.SIGKILL]


async def test_cancelling_kills_the_helper_at_once(tmp_path):
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_helper, ERRAND, "sleep", str(tmp_path / "there"))
        helper = await asleep(tmp_path / "there")
        begin = time.monotonic()
        tasks.cancel_scope.cancel()
    assert time.monotonic() - begin < 2
    assert not helper.is_running()


async def test_a_helper_steps_back_in_a_session_of_its_own(tmp_path):
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_helper, ERRAND, "sleep", str(tmp_path / "there"))
        helper = await asleep(tmp_path / "there")
        assert helper.nice() == 19
        assert helper.ionice().ioclass == psutil.IOPRIO_CLASS_IDLE
        assert os.getsid(helper.pid) == helper.pid
        tasks.cancel_scope.cancel()


async def test_a_helper_dies_with_its_actor(tmp_path):
    program = (
        "import anyio, sys; from runtime.helper import run_helper; "
        f"anyio.run(run_helper, {ERRAND!r}, 'sleep', {str(tmp_path / 'there')!r})"
    )
    actor = subprocess.Popen([sys.executable, "-c", program])  # noqa: ASYNC220
    helper = await asleep(tmp_path / "there")
    actor.kill()
    actor.wait()
    with anyio.fail_after(5):
        while helper.is_running() and helper.status() != psutil.STATUS_ZOMBIE:
            await anyio.sleep(0.01)
