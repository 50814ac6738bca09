"""Why processes end: the classes, and real processes that end in each of them."""

import contextlib
import os
import resource
import signal
from pathlib import Path

import anyio
import pytest

from runtime.exits import ExitClass, classify
from runtime.restart import OnLimit
from runtime.testing import AskHeard, AskPid, Strike, scapegoat, stage


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (0, "normal"),
        (1, "abnormal"),
        (70, "gpu"),
        (71, "oom"),
        (74, "host"),
        (75, "temporary"),
        (78, "config"),
        (86, "recycle"),
        (233, "abnormal"),
        (-signal.SIGSEGV, "native"),
        (-signal.SIGABRT, "native"),
        (-signal.SIGBUS, "native"),
        (-signal.SIGILL, "native"),
        (-signal.SIGFPE, "native"),
        (-signal.SIGKILL, "signal"),
        (-signal.SIGTERM, "signal"),
    ],
)
def test_c08_each_exit_has_its_class(code, expected):
    assert classify(code) == expected


def test_c08_a_kill_while_the_kernel_ran_out_of_memory_is_oom():
    assert classify(-signal.SIGKILL, oom=True) is ExitClass.OOM
    assert classify(-signal.SIGSEGV, oom=True) is ExitClass.NATIVE
    assert classify(1, oom=True) is ExitClass.ABNORMAL


def test_a_kill_of_our_own_is_named_by_its_reason_but_not_what_it_did_to_itself_before():
    assert classify(-signal.SIGKILL, killed_for=ExitClass.HUNG, oom=True) is ExitClass.HUNG
    assert classify(-signal.SIGTERM, killed_for=ExitClass.STOPPED) is ExitClass.STOPPED
    assert classify(-signal.SIGSEGV, killed_for=ExitClass.STOPPED) is ExitClass.NATIVE
    assert classify(0, killed_for=ExitClass.STOPPED) is ExitClass.NORMAL


def test_only_deaths_against_its_will_charge_what_it_had_in_hand():
    charged = {each.value for each in ExitClass if each.crashed}
    assert charged == {"gpu", "oom", "native", "hung", "slow_start", "signal", "abnormal"}


# ── real ones ───────────────────────────────────────────────────────────────────────────────

ENDS = {
    "segfault": ("segfault", "native", "killed by SIGSEGV", True),
    "abort": ("abort", "native", "killed by SIGABRT", True),
    "exit": ("exit:3", "abnormal", "exit 3", True),
    "kill": ("kill", "signal", "killed by SIGKILL", True),
    "gpu": ("exit:70", "gpu", "exit 70 (the GPU context is lost)", True),
    "away": ("exit:75", "temporary", "exit 75 (something it needs is away)", False),
    "config": ("exit:78", "config", "exit 78 (configuration)", False),
    "recycle": ("exit:86", "recycle", "exit 86 (planned recycle)", False),
}


@pytest.mark.anyio
async def test_c08_every_end_is_classified_charged_or_not_and_treated_by_its_rule():
    goats = [scapegoat(name, on_limit=OnLimit.ISOLATE) for name in ENDS]
    async with stage(*goats, scapegoat("witness", peers=tuple(ENDS))) as s:
        for name, (act, *_) in ENDS.items():
            s.tell(name, Strike(act, "work", [7], 60))
        for name in ENDS:
            if name != "config":
                await s.wait("ready", name, 2)
        await s.wait("set_aside", "config")
        assert s.state("config").state == "broken"
        assert len(s.said("spawned", "config")) == 1
        heard = await s.ask("witness", AskHeard())
        downs = {down.name: down for down in heard.downs}
        for name, (_, kind, told, crashed) in ENDS.items():
            down = downs[name]
            assert (down.exit_class, down.exit, down.crashed) == (kind, told, crashed), name
            assert down.executing == [7], name


@contextlib.contextmanager
def memory_group(pid, megabytes):
    """Put *pid* into a control group of its own that may hold so much."""
    one, two = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
    base, limit = (one, "memory.limit_in_bytes") if one.is_dir() else (two, "memory.max")
    group = base / f"test-{pid}"
    try:
        group.mkdir()
        (group / limit).write_text(str(megabytes << 20))
        (group / "cgroup.procs").write_text(str(pid))
    except OSError as error:
        with contextlib.suppress(OSError):
            group.rmdir()
        pytest.skip(f"no control group can be made here: {error}")
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            group.rmdir()


@pytest.mark.anyio
async def test_c08_who_is_killed_for_want_of_memory_is_told_apart_from_who_is_just_killed():
    async with stage(scapegoat("hoarder")) as s:
        pid = (await s.ask("hoarder", AskPid())).pid
        with memory_group(pid, 160):
            s.tell("hoarder", Strike("oom", "work", [7], 60))
            died = await s.wait("died", "hoarder")
        assert died["class"] == "oom"
        assert died["exit"] == "killed by SIGKILL (out of memory)"
        await anyio.sleep(2.5)  # nobody's death is put down to this one any more
        os.kill((await s.ask("hoarder", AskPid())).pid, signal.SIGKILL)
        assert (await s.wait("died", "hoarder", 2))["class"] == "signal"


@pytest.mark.anyio
async def test_c08_a_memory_error_is_out_of_memory_too():
    async with stage(scapegoat("hoarder")) as s:
        pid = (await s.ask("hoarder", AskPid())).pid
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[0])
        room = pages * resource.getpagesize() + (64 << 20)
        resource.prlimit(pid, resource.RLIMIT_AS, (room, room))
        s.tell("hoarder", Strike("oom"))
        died = await s.wait("died", "hoarder")
        assert (died["class"], died["exit"]) == ("oom", "exit 71 (out of memory)")


@pytest.mark.anyio
async def test_c08_two_children_that_lose_the_gpu_are_both_isolated():
    goats = [scapegoat(name) for name in ("embed", "face", "other")]
    async with stage(*goats) as s:
        s.tell("embed", Strike("exit:70"))
        await s.wait("ready", "embed", 2)
        s.tell("face", Strike("exit:70"))
        assert "the GPU was lost by" in (await s.wait("isolated", "face"))["reason"]
        await s.wait("isolated", "embed")
        assert s.state("other").state == "ready"
        assert {s.state("embed").state, s.state("face").state} == {"isolated"}
