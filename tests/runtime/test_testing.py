"""The pieces that other tests are made of."""

import random

import anyio
import pytest

from runtime import wire
from runtime.errors import DeadlinePassed, PeerAway
from runtime.messages import AnyControl, Up
from runtime.node import Node
from runtime.testing import (
    AnyOrder,
    AskPid,
    Beget,
    ManualClock,
    Network,
    Pid,
    Strike,
    Weather,
    instant_trio,
    scapegoat,
    stage,
)

CODEC = wire.Codec(AnyOrder | AnyControl)


@pytest.fixture
def anyio_backend():
    """Time that nobody waits for exists on trio only."""
    return instant_trio()


def nodes(network, tmp_path):
    there = network.join(Node("there", 5, tmp_path, CODEC, mailbox=4096, window=4096))
    here = network.join(Node("here", 1, tmp_path, CODEC, mailbox=4096))
    return here, there


def meet(here):
    here.ref("there")
    here.peer_up(Up("there", 5))


async def answer(node):
    while True:
        envelope = await node.mailbox.get()
        envelope.reply(Pid(int(envelope.body.session), 1))


@pytest.mark.anyio
async def test_two_nodes_talk_in_memory(tmp_path):
    here, there = nodes(Network(), tmp_path)
    async with there.open(), here.open(), anyio.create_task_group() as tasks:
        tasks.start_soon(answer, there)
        meet(here)
        assert await here.ref("there").ask(Beget(session=True), 5) == Pid(1, 1)
        tasks.cancel_scope.cancel()


@pytest.mark.anyio
async def test_order_is_kept_in_good_weather(tmp_path):
    here, there = nodes(Network(), tmp_path)
    async with there.open(), here.open():
        meet(here)
        for number in range(500):
            here.ref("there").tell(Strike(str(number)))
        said = [(await there.mailbox.get()).body.act for _ in range(500)]
        assert said == [str(number) for number in range(500)]


@pytest.mark.anyio
async def test_a_minute_of_silence_takes_no_time(tmp_path):
    here, there = nodes(Network(), tmp_path)
    async with there.open(), here.open():
        meet(here)
        before = anyio.current_time()
        with pytest.raises(DeadlinePassed):
            await here.ref("there").ask(AskPid(), 60)
        assert anyio.current_time() - before == pytest.approx(60, abs=1)


@pytest.mark.anyio
async def test_who_is_gone_cannot_be_told_anything(tmp_path):
    here, there = nodes(Network(), tmp_path)
    async with there.open():
        async with here.open():
            meet(here)
            here.ref("there").tell(AskPid())
            envelope = await there.mailbox.get()
        with pytest.raises(PeerAway):
            envelope.line.tell(AskPid())


async def stormy(seed, tmp_path):
    """What arrives of 200 messages in bad weather, in order."""
    network = Network(Weather(drop=0.2, double=0.2, delay_s=1.0), random.Random(seed))
    here, there = nodes(network, tmp_path)
    arrived = []
    async with there.open(), here.open():
        meet(here)
        for number in range(200):
            here.ref("there").tell(Strike(str(number)))
        with anyio.move_on_after(10):
            while True:
                arrived.append((await there.mailbox.get()).body.act)
    assert len(arrived) == 200 - network.dropped + network.doubled
    return arrived


@pytest.mark.anyio
async def test_bad_weather_is_the_same_for_the_same_seed(tmp_path):
    first = await stormy(1, tmp_path)
    assert first == await stormy(1, tmp_path)
    assert first != await stormy(2, tmp_path)
    assert len(set(first)) < 200
    assert len(first) > len(set(first))
    assert first != sorted(first, key=int)


def test_a_manual_clock_goes_when_told():
    clock = ManualClock(5.0)
    assert clock() == 5.0
    assert clock.advance(2.0) == clock() == 7.0


class TestReal:
    """On both loops, with real processes."""

    pytestmark = pytest.mark.anyio

    @pytest.fixture(params=["asyncio", "trio"])
    def anyio_backend(self, request):
        return request.param

    async def test_a_stage_tells_what_happened_and_who_is_there(self):
        async with stage(scapegoat("goat")) as s:
            pid = await s.ask("goat", AskPid())
            assert s.state("goat").pid == pid.pid
            assert s.said("ready", "goat") == [{"name": "goat"}]
            with pytest.raises(TimeoutError):
                await s.wait("died", "goat", seconds=0.05)
        assert s.said("ended", "goat")[0]["class"] == "normal"

    async def test_a_fault_point_armed_by_the_specification_strikes_in_the_child(self, tmp_path):
        once = {"RUNTIME_FAULTS": "actor.start=exit:9", "RUNTIME_FAULTS_ONCE": str(tmp_path)}
        async with stage(scapegoat("goat", env=once)) as s:
            assert s.said("died", "goat")[0]["exit"] == "exit 9"
            assert len(s.said("spawned", "goat")) == 2

    async def test_c18_a_node_closes_within_two_seconds_whatever_lies_unsent(self, tmp_path):
        """Its peer is dead and will never take the rest."""
        here = Node("here", 1, tmp_path, CODEC)
        async with here.open():
            meet(here)  # nobody listens there
            for _ in range(500):
                here.ref("there").tell(Strike("x" * 10_000))
            before = anyio.current_time()
        assert anyio.current_time() - before < 2.5
