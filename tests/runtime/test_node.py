"""Two nodes and their lines: who is heard, who is not, and what becomes of a question."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
import zmq

from runtime import wire
from runtime.errors import (
    Busy,
    DeadlinePassed,
    PeerAway,
    PeerRefused,
    PeerRestarted,
    Unsupported,
    WindowBroken,
)
from runtime.messages import AnyControl, Down, Ok, Up
from runtime.node import Node, trace
from runtime.sockets import MAX_MESSAGE_BYTES
from runtime.wire import Nack
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
        await wait_until(lambda: there.statistics().stale == 2)
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


async def wait_until(condition):
    with anyio.fail_after(10):
        while not condition():
            await anyio.sleep(0.002)


async def test_a_tell_beyond_the_window_closes_the_line_and_fails_its_sender(run_dir):
    there = Node("there", 5, run_dir, CODEC, mailbox=64, window=3)
    async with there.open():
        with pytest.raises(WindowBroken, match="there held 3 of yours"):
            await _tell_five(run_dir)
        statistics = there.statistics()
        assert (statistics.closed, statistics.overrun) == (1, 2)
        assert statistics.mailbox.length == 3, "what came within the window is still there"
        line = (await there.mailbox.get()).line
        with pytest.raises(PeerAway):
            line.tell(Ok())


async def _tell_five(run_dir):
    async with Node("here", 1, run_dir, CODEC).open() as here:
        here.ref("there")
        here.peer_up(Up("there", 5))
        for number in range(5):
            here.ref("there").tell(Say(str(number)))
        await anyio.sleep_forever()


async def test_a_closed_line_stays_closed_until_the_peer_comes_back_as_another(run_dir):
    async with pair(run_dir, window=1) as (here, there):
        here.ref("there")
        here.peer_up(Up("there", 5))
        here.ref("there").tell(Say("one"))
        line = (await there.mailbox.get()).line
        line.closed = True
        with pytest.raises(PeerRefused, match="closed this line"):
            await here.ref("there").ask(Say("two"), 5)
        there.peer_down(Down("here", 1, "exit 1", True, []))
        async with Node("here", 2, run_dir, CODEC).open() as successor:
            successor.ref("there")
            successor.peer_up(Up("there", 5))
            successor.ref("there").tell(Say("three"))
            assert (await there.mailbox.get()).body == Say("three")


async def test_one_flooding_peer_leaves_room_for_the_others(run_dir):
    async with pair(run_dir, mailbox=100, window=4) as (here, there):
        here.ref("there")
        here.peer_up(Up("there", 5))

        async def flood():
            with contextlib.suppress(Busy, PeerRefused):
                await here.ref("there").ask(Say("me"), 5)

        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(flood)
            await wait_until(lambda: there.statistics().mailbox.length == 4)
            async with Node("other", 1, run_dir, CODEC).open() as other:
                other.ref("there")
                other.peer_up(Up("there", 5))
                other.ref("there").tell(Say("may I?"))
                await wait_until(lambda: there.statistics().mailbox.length == 5)
            tasks.cancel_scope.cancel()


async def test_a_refused_tell_is_heard_of_by_its_sender_and_not_refused_back(run_dir):
    async with pair(run_dir, mailbox=1) as (here, _):
        here.ref("there")
        here.peer_up(Up("there", 5))
        here.ref("there").tell(Say("one"))
        here.ref("there").tell(Say("two"))
        refusal = await here.mailbox.get()
        assert refusal.body == Nack("busy", "there has a full mailbox")
        refusal.refuse("unsupported")  # a Nack for a Nack: taken note of, and no more
        await anyio.sleep(0.05)
        assert here.statistics().mailbox.length == 0


async def test_the_supervisors_words_find_room_in_a_full_mailbox(run_dir):
    supervisor = Node("supervisor", 0, run_dir, CODEC)
    child = Node("child", 1, run_dir, CODEC, mailbox=1)
    async with supervisor.open(), child.open():
        child.ref("supervisor")
        child.peer_up(Up("supervisor", 0))
        child.ref("supervisor").tell(Ok())
        line = (await supervisor.mailbox.get()).line
        for incarnation in range(1, 5):
            line.tell(Up("other", incarnation))
        await wait_until(lambda: child.statistics().mailbox.length == 4)


async def test_messages_of_the_wrong_shape_are_counted_and_harm_nobody(run_dir):
    async with pair(run_dir) as (here, there):
        here.ref("there")
        here.peer_up(Up("there", 5))
        with zmq.Context() as context, context.socket(zmq.DEALER) as stranger:
            stranger.linger = 0
            stranger.connect(f"ipc://{run_dir}/there.ipc")
            for frames in ([b"one"], [b"", b"", b""], [b"x"] * 5, [b"not a", b"header"]):
                stranger.send_multipart(frames)
            await wait_until(lambda: there.statistics().broken == 1)
        assert there.statistics().sockets["router"].misshapen == 3
        here.ref("there").tell(Say("still here"))
        assert (await there.mailbox.get()).body == Say("still here")


async def test_an_oversized_message_ends_its_connection_only(run_dir):
    async with pair(run_dir) as (here, there):
        here.ref("there")
        here.peer_up(Up("there", 5))
        with zmq.Context() as context, context.socket(zmq.DEALER) as stranger:
            stranger.linger = 0
            stranger.connect(f"ipc://{run_dir}/there.ipc")
            stranger.send_multipart([b"header", bytes(MAX_MESSAGE_BYTES + 1)])
            here.ref("there").tell(Say("small"))
            assert (await there.mailbox.get()).body == Say("small")
        assert there.statistics().broken == 0


async def test_a_trace_travels_with_what_it_caused(run_dir):
    cause = bytes(range(16))
    async with pair(run_dir) as (here, there):
        here.ref("there")
        here.peer_up(Up("there", 5))
        for each in (cause, b"", cause):
            trace.set(each)
            here.ref("there").tell(Say("x"))
            assert (await there.mailbox.get()).header.trace == each


async def test_an_answer_too_large_for_a_message_is_a_refusal_and_ends_nobody(run_dir):
    async with pair(run_dir) as (here, there), anyio.create_task_group() as tasks:
        here.ref("there")
        here.peer_up(Up("there", 5))

        async def ask():
            with pytest.raises(PeerRefused, match="bytes"):
                await here.ref("there").ask(Say("?"), 5)

        tasks.start_soon(ask)
        envelope = await there.mailbox.get()
        envelope.reply(Say("x" * (wire.MAX_BODY_BYTES + 1)))


async def test_an_answer_that_came_before_the_news_of_its_senders_death_counts(run_dir):
    """As of who answers and then ends: the two come by different ways."""
    async with pair(run_dir) as (here, there), anyio.create_task_group() as tasks:
        here.ref("there")
        here.peer_up(Up("there", 5))

        async def ask():
            assert await here.ref("there").ask(Say("?"), 5) == Ok()

        tasks.start_soon(ask)
        envelope = await there.mailbox.get()
        envelope.reply(Ok())
        while not here._dealers["there"][0]._readable():
            pass  # no turn of the loop, which would deliver it
        here.peer_down(Down("there", 5, "exit 86", False, []))


async def test_a11_a_ghost_gets_no_line_and_its_answers_resolve_nothing(run_dir):
    async with pair(run_dir) as (here, there), anyio.create_task_group() as tasks:
        here.ref("there")
        here.peer_up(Up("there", 5))

        async def ask():
            with pytest.raises(PeerRestarted):
                await here.ref("there").ask(Say("?"), 5)

        tasks.start_soon(ask)
        envelope = await there.mailbox.get()
        here.peer_down(Down("there", 5, "exit 1", True, []))
        envelope.reply(Ok())  # its line to us is gone: nobody hears it
        with anyio.move_on_after(0.1):
            await here.mailbox.get()
        assert here.statistics().questions == 0
        assert not here.peer_up(Up("there", 5)), "an announcement of the dead changes nothing"


async def test_c18_leaving_takes_no_longer_than_two_seconds_with_words_for_the_dead(run_dir):
    """One peer is stopped and takes nothing, one was killed; both have unsent words waiting."""
    bodies = "x" * 100_000
    peers = [_listener(run_dir, name) for name in ("stopped", "killed")]
    os.kill(peers[0].pid, signal.SIGSTOP)
    async with Node("here", 1, run_dir, CODEC).open() as here:
        for name in ("stopped", "killed"):
            here.ref(name)
            here.peer_up(Up(name, 1))
            with contextlib.suppress(Busy):
                for _ in range(500):
                    here.ref(name).tell(Say(bodies))
        os.kill(peers[1].pid, signal.SIGKILL)
        begin = time.monotonic()
    assert time.monotonic() - begin < 2
    for peer in peers:
        peer.kill()
        peer.wait()


def _listener(run_dir, name):
    """A process that binds *name*'s endpoint and reads nothing."""
    script = (
        "import sys, time, zmq\n"
        "socket = zmq.Context().socket(zmq.ROUTER)\n"
        "socket.bind(sys.argv[1]); print('bound', flush=True); time.sleep(600)"
    )
    endpoint = f"ipc://{run_dir}/{name}.ipc"
    process = subprocess.Popen([sys.executable, "-c", script, endpoint], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout as out:
        assert out.readline() == b"bound\n"
    return process


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
    count, window = 50_000, 48
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
