"""Two nodes and their lines: who is heard, who is not, and what becomes of a question."""

import contextlib
import tempfile
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from runtime import wire
from runtime.errors import Busy, DeadlinePassed, PeerAway, PeerRestarted, Unsupported
from runtime.messages import AnyControl, Down, Ok, Up
from runtime.node import Node
from tests.runtime.cast import AnyWord, Do, Say

pytestmark = pytest.mark.anyio

CODEC = wire.Codec(AnyWord | AnyControl)


@pytest.fixture
def run_dir():
    with tempfile.TemporaryDirectory(prefix="obs") as directory:
        yield Path(directory)


@contextlib.asynccontextmanager
async def pair(run_dir, *, mailbox=64, window=None, codec=CODEC):
    """`here` knows `there` and may dial it; `there` answers nothing by itself."""
    there = Node("there", 5, run_dir, codec, mailbox=mailbox, window=window)
    here = Node("here", 1, run_dir, CODEC)
    async with there.open(), here.open():
        yield here, there


async def test_a_question_asked_before_the_peer_is_up_is_answered_once_it_is(run_dir):
    async with pair(run_dir) as (here, there), anyio.create_task_group() as tasks:

        async def ask():
            assert await here.ref("there").ask(Say("early"), 5) == Say("early")
            tasks.cancel_scope.cancel()

        tasks.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        here.peer_up(Up("there", 5))
        envelope = await there.mailbox.get()
        envelope.reply(envelope.body)
        await anyio.sleep_forever()


async def test_nobody_up_is_told_as_such(run_dir):
    async with pair(run_dir) as (here, _):
        with pytest.raises(PeerAway):
            here.ref("there").tell(Say("hello"))
        with pytest.raises(PeerAway):
            await here.ref("there").ask(Say("hello"), 0.05)


async def test_silence_ends_at_the_deadline(run_dir):
    async with pair(run_dir) as (here, _):
        here.ref("there")
        here.peer_up(Up("there", 5))
        with pytest.raises(DeadlinePassed, match=r"within 0\.1 s"):
            await here.ref("there").ask(Say("hello"), 0.1)


async def test_a_question_to_the_dead_fails_at_once(run_dir):
    async with pair(run_dir) as (here, there), anyio.create_task_group() as tasks:
        here.ref("there")
        here.peer_up(Up("there", 5))

        async def ask():
            with anyio.fail_after(5), pytest.raises(PeerRestarted):
                await here.ref("there").ask(Say("hello"), 60)
            tasks.cancel_scope.cancel()

        tasks.start_soon(ask)
        await there.mailbox.get()
        here.peer_down(Down("there", 5, "killed by SIGKILL", True, []))
        await anyio.sleep_forever()


async def test_an_announcement_of_an_older_incarnation_changes_nothing(run_dir):
    async with pair(run_dir) as (here, _):
        here.ref("there")
        here.peer_up(Up("there", 5))
        line = here.ref("there").line
        assert not here.peer_up(Up("there", 4))
        here.peer_down(Down("there", 4, "exit 1", True, []))
        assert here.ref("there").line is line


async def test_words_of_a_dead_incarnation_are_dropped_and_counted(run_dir):
    async with pair(run_dir) as (here, there):
        there.peer_up(Up("here", 2))  # so incarnation 1 is a ghost
        here.ref("there")
        here.peer_up(Up("there", 5))
        here.ref("there").tell(Say("boo"))
        with pytest.raises(DeadlinePassed):
            await here.ref("there").ask(Say("boo"), 0.1)
        assert there.statistics().stale == 2
        assert there.statistics().mailbox.length == 0


async def test_a_message_of_unknown_type_is_answered_no_and_harms_nobody(run_dir):
    async with pair(run_dir, codec=wire.Codec(Say | AnyControl)) as (here, there):
        here.ref("there")
        here.peer_up(Up("there", 5))
        with pytest.raises(Unsupported):
            await here.ref("there").ask(Do("anything"), 5)
        assert there.statistics().unsupported == 1


async def test_a_full_mailbox_says_busy_instead_of_dropping(run_dir):
    async with pair(run_dir, mailbox=2) as (here, there):
        here.ref("there")
        here.peer_up(Up("there", 5))
        here.ref("there").tell(Say("one"))
        here.ref("there").tell(Say("two"))
        with pytest.raises(Busy):
            await here.ref("there").ask(Say("three"), 5)
        assert there.mailbox.statistics().refused == 1


async def test_an_answer_after_the_deadline_is_counted_and_forgotten(run_dir):
    async with pair(run_dir) as (here, there):
        here.ref("there")
        here.peer_up(Up("there", 5))
        with pytest.raises(DeadlinePassed):
            await here.ref("there").ask(Say("slow"), 0.05)
        (await there.mailbox.get()).reply(Ok())
        with anyio.fail_after(5):
            while not here.statistics().late:
                await anyio.sleep(0.005)


async def test_c01_a_flood_with_sends_in_between_arrives_whole_and_in_order(run_dir):
    """The edge-triggered descriptor must never leave anybody waiting."""
    count, window = 20_000, 48
    async with pair(run_dir, mailbox=256) as (here, there), anyio.create_task_group() as tasks:
        here.ref("there")
        here.peer_up(Up("there", 5))

        async def echo():
            while True:
                envelope = await there.mailbox.get()
                envelope.line.tell(envelope.body)

        tasks.start_soon(echo)
        sent = received = 0
        with anyio.fail_after(60):
            while received < count:
                while sent < count and sent - received < window:
                    here.ref("there").tell(Say(str(sent)))
                    sent += 1
                assert (await here.mailbox.get()).body == Say(str(received))
                received += 1
        tasks.cancel_scope.cancel()
        stalls = [s.stalls for node in (here, there) for s in node.statistics().sockets.values()]
        assert stalls == [0] * len(stalls)


async def test_c02_cancelled_receivers_lose_nothing(run_dir):
    count = 2000
    async with (
        pair(run_dir, mailbox=4096) as (here, there),
        anyio.create_task_group() as tasks,
    ):
        here.ref("there")
        here.peer_up(Up("there", 5))
        received: list[str] = []

        async def impatient():
            while len(received) < count:
                with anyio.move_on_after(0.001):
                    received.append((await there.mailbox.get()).body.text)

        for _ in range(3):
            tasks.start_soon(impatient)
        for number in range(count):
            here.ref("there").tell(Say(str(number)))
            if not number % 20:
                await anyio.lowlevel.checkpoint()
    assert sorted(map(int, received)) == list(range(count))
