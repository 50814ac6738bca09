"""Real processes under a real supervisor, on both loops."""

import contextlib
import os
import random
import signal
import tempfile
from pathlib import Path

import anyio
import pytest

from runtime import wire
from runtime.errors import HandlerFailed, PeerAway, PeerRestarted
from runtime.messages import AnyControl, Up
from runtime.node import Node
from runtime.restart import Backoff, Intensity, OnLimit
from runtime.spec import ChildSpec, GroupSpec
from runtime.supervision import Supervisor
from tests.runtime.cast import AnyWord, Do, Me, Say, WhoAreYou

pytestmark = pytest.mark.anyio

FAST = Backoff(base_s=0.05, cap_s=0.2)


@pytest.fixture
def run_dir():
    with tempfile.TemporaryDirectory(prefix="obs") as directory:
        yield Path(directory)


class Stage:
    """A running tree, an outside node that can talk to its actors, and what happened."""

    def __init__(self, supervisor, node, events):
        self.supervisor = supervisor
        self.node = node
        self.events = events

    async def ask(self, name, body, seconds=10):
        """Ask whoever is *name* now."""
        state = next(p for p in self.supervisor.processes() if p.name == name)
        self.node.peer_up(Up(name, state.incarnation))
        return await self.node.ref(name).ask(body, seconds)

    async def wait_event(self, event, name, count=1):
        with anyio.fail_after(30):
            while sum(e == event and f.get("name") == name for e, f in self.events) < count:
                await self.changed.wait()

    @property
    def changed(self):
        return self.supervisor.changed_for_test


@contextlib.asynccontextmanager
async def stage(run_dir, *children, group=None):
    events = []
    changed = anyio.Event()

    class Watched(Supervisor):
        changed_for_test = changed

    def on_event(event, fields):
        events.append((event, fields))
        supervisor.changed_for_test.set()
        supervisor.changed_for_test = anyio.Event()

    tree = group or GroupSpec(name="root", children=children, backoff=FAST)
    supervisor = Watched(
        tree,
        run_dir=run_dir,
        run="test",
        on_line=lambda name, line: events.append(("line", {"name": name, "line": line})),
        on_event=on_event,
        rng=random.Random(7),
    )
    async with supervisor.running():
        outside = Node("outside", 0, run_dir, wire.Codec(AnyWord | AnyControl))
        async with outside.open(bind=False):
            yield Stage(supervisor, outside, events)


def echo(name="echo", **settings):
    return ChildSpec(name=name, actor="tests.runtime.cast:Echo", drain_s=5, **settings)


async def test_an_actor_answers_and_stops_when_asked(run_dir):
    async with stage(run_dir, echo()) as s:
        with anyio.fail_after(20):
            await s.supervisor.all_ready.wait()
        assert await s.ask("echo", Say("hello")) == Say("hello")
        pid = (await s.ask("echo", WhoAreYou())).pid
    assert any(e == "ended" and f["pid"] == pid and f["exit"] == "exit 0" for e, f in s.events)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_killed_actor_comes_back_and_its_question_fails_at_once(run_dir):
    async with stage(run_dir, echo()) as s:
        await s.supervisor.all_ready.wait()
        before = await s.ask("echo", WhoAreYou())
        os.kill(before.pid, signal.SIGKILL)
        await s.wait_event("ready", "echo", 2)
        after = await s.ask("echo", WhoAreYou())
        assert after.pid != before.pid
        assert after.incarnation > before.incarnation


async def test_peers_hear_of_a_death_with_what_was_executing_and_of_the_return(run_dir):
    async with stage(run_dir, echo("a", peers=("b",)), echo("b")) as s:
        await s.supervisor.all_ready.wait()
        with anyio.move_on_after(0.5), contextlib.suppress(PeerAway, PeerRestarted):
            await s.ask("b", Do("kill"))
        await s.wait_event("ready", "b", 2)
        me = await s.ask("a", WhoAreYou())
        assert isinstance(me, Me)
        assert me.heard[-2:] == ["down b killed by SIGKILL [7, 9]", "up b"]


async def test_an_exception_in_an_ask_is_answered_and_harms_nobody(run_dir):
    async with stage(run_dir, echo()) as s:
        await s.supervisor.all_ready.wait()
        with pytest.raises(HandlerFailed, match="as asked"):
            await s.ask("echo", Do("raise"))
        assert await s.ask("echo", Say("still here")) == Say("still here")


async def test_a_child_that_fails_every_start_makes_its_group_give_up(run_dir):
    broken = ChildSpec(name="broken", actor="tests.runtime.cast:Broken")
    tree = GroupSpec(
        name="root", children=(echo(), broken), intensity=Intensity(2, 60), backoff=FAST
    )
    async with stage(run_dir, group=tree) as s:
        with anyio.fail_after(30):
            assert await s.supervisor.wait_stopped() == 1
    assert sum(e == "spawned" and f["name"] == "broken" for e, f in s.events) == 3


async def test_an_isolated_child_leaves_the_rest_at_work(run_dir):
    broken = ChildSpec(name="broken", actor="tests.runtime.cast:Broken", on_limit=OnLimit.ISOLATE)
    tree = GroupSpec(
        name="root", children=(echo(), broken), intensity=Intensity(1, 60), backoff=FAST
    )
    async with stage(run_dir, group=tree) as s:
        await s.wait_event("isolated", "broken")
        assert await s.ask("echo", Say("fine")) == Say("fine")


async def test_a_configuration_error_is_not_retried_and_reaches_the_top(run_dir):
    bad = ChildSpec(name="bad", actor="tests.runtime.cast:Misconfigured")
    async with stage(run_dir, bad) as s:
        with anyio.fail_after(30):
            assert await s.supervisor.wait_stopped() == 78
    assert s.supervisor.problem == "the model file is not there"
    assert sum(e == "spawned" for e, _ in s.events) == 1


async def test_an_isolated_child_that_cannot_work_fails_the_first_start_of_the_whole_tree(run_dir):
    bad = ChildSpec(name="bad", actor="tests.runtime.cast:Misconfigured", on_limit=OnLimit.ISOLATE)
    groups = (GroupSpec(name="one", children=(echo(),)), GroupSpec(name="two", children=(bad,)))
    async with stage(run_dir, group=GroupSpec(name="root", children=groups)) as s:
        with anyio.fail_after(30):
            assert await s.supervisor.wait_stopped() == 78
        assert s.supervisor.problem == "the model file is not there"


async def test_once_the_tree_was_up_such_a_child_is_set_aside_and_the_rest_works_on(run_dir):
    async with stage(run_dir, echo("a", on_limit=OnLimit.ISOLATE), echo("b")) as s:
        await s.supervisor.all_ready.wait()
        with anyio.move_on_after(0.5), contextlib.suppress(PeerAway, PeerRestarted):
            await s.ask("a", Do("unusable"))
        await s.wait_event("set_aside", "a")
        assert ("set_aside", {"name": "a", "reason": "the token is gone"}) in s.events
        assert await s.ask("b", Say("fine")) == Say("fine")
        states = {each.name: each.state for each in s.supervisor.processes()}
        assert states == {"a": "broken", "b": "ready"}


async def test_a_full_disk_stops_everybody_with_one_reason(run_dir):
    async with stage(run_dir, echo("a", on_limit=OnLimit.ISOLATE), echo("b")) as s:
        await s.supervisor.all_ready.wait()
        with anyio.move_on_after(0.5), contextlib.suppress(PeerAway, PeerRestarted):
            await s.ask("a", Do("full"))
        with anyio.fail_after(30):
            assert await s.supervisor.wait_stopped() == 74
        assert s.supervisor.problem == "the disk is full"


async def test_a_start_that_leaves_somebody_isolated_is_over_too(run_dir):
    broken = ChildSpec(name="broken", actor="tests.runtime.cast:Broken", on_limit=OnLimit.ISOLATE)
    tree = GroupSpec(
        name="root", children=(echo(), broken), intensity=Intensity(1, 60), backoff=FAST
    )
    async with stage(run_dir, group=tree) as s:
        with anyio.fail_after(30):
            await s.supervisor.all_tried.wait()
        assert not s.supervisor.all_ready.is_set()


async def test_a_stop_is_heard_while_a_child_fails_every_start(run_dir):
    broken = ChildSpec(name="broken", actor="tests.runtime.cast:Broken")
    tree = GroupSpec(name="root", children=(broken,), intensity=Intensity(50, 600), backoff=FAST)
    async with stage(run_dir, group=tree) as s:
        await s.wait_event("died", "broken", 2)
        with anyio.fail_after(10):
            s.supervisor.stop()
            assert await s.supervisor.wait_stopped() == 0
