"""One socket: what it refuses, what it counts, and that no wake-up is ever missed."""

import contextlib
import tempfile

import anyio
import anyio.lowlevel
import pytest
import zmq

from runtime.errors import Busy, PeerAway
from runtime.loop import MOST
from runtime.sockets import HIGH_WATER_MARK, Context

pytestmark = pytest.mark.anyio


class End:
    """A socket and what it received."""

    def __init__(self):
        self.received = []

    def take(self, identity, header, body):
        self.received.append((identity, header, body))

    async def wait(self, count):
        with anyio.fail_after(10):
            while len(self.received) < count:
                await anyio.lowlevel.checkpoint()


@contextlib.asynccontextmanager
async def line():
    """(router, what it received, dealer, what it received), pumping."""
    context, near, far = Context(), End(), End()
    with tempfile.TemporaryDirectory(prefix="obs") as folder:
        endpoint = f"ipc://{folder}/x.ipc"
        router = context.bind(endpoint, "router", near.take)
        dealer = context.dial(endpoint, b"me", "dealer", far.take)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(router.pump)
                tasks.start_soon(dealer.pump)
                await anyio.wait_all_tasks_blocked()
                yield router, near, dealer, far
                tasks.cancel_scope.cancel()
        finally:
            context.term()


async def test_a_message_goes_there_and_back():
    async with line() as (router, near, dealer, far):
        dealer.send(b"", b"h", b"question")
        await near.wait(1)
        assert near.received == [(b"me", b"h", b"question")]
        router.send(b"me", b"h", b"answer")
        await far.wait(1)
        assert far.received == [(b"", b"h", b"answer")]


async def test_nobody_of_that_name_is_away():
    async with line() as (router, _, _, _):
        with pytest.raises(PeerAway):
            router.send(b"somebody else", b"h", b"b")


async def test_a_retired_socket_says_nothing_more():
    async with line() as (_, _, dealer, _):
        dealer.retire()
        with pytest.raises(PeerAway):
            dealer.send(b"", b"h", b"b")


async def test_last_words_are_heard_by_who_was_busy_when_they_were_said():
    theirs, ours, near, far = Context(), Context(), End(), End()
    with tempfile.TemporaryDirectory(prefix="obs") as folder:
        router = theirs.bind(f"ipc://{folder}/x.ipc", "router", near.take)
        dealer = ours.dial(f"ipc://{folder}/x.ipc", b"me", "dealer", far.take)
        monitor = dealer._socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(router.pump)
            dealer.send(b"", b"h", b"question")
            await near.wait(1)
            router.send(b"me", b"h", b"answer")
            tasks.cancel_scope.cancel()
        theirs.term()
        assert monitor.poll(10_000)  # it has hung up, and nobody has looked since
        dealer._socket.disable_monitor()
        monitor.close()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(dealer.pump)
            await far.wait(1)
            assert far.received == [(b"", b"h", b"answer")]
            tasks.cancel_scope.cancel()
        ours.term()


def flood(dealer, count):
    for _ in range(count):
        dealer.send(b"", b"h", b"x" * 2000)


async def test_a_full_queue_is_busy_and_loses_nothing_it_took():
    """Nobody pumps meanwhile: this task does not let go of the loop."""
    async with line() as (_, near, dealer, _):
        dealer.send(b"", b"h", b"first")
        await near.wait(1)
        with pytest.raises(Busy):
            flood(dealer, 10 * HIGH_WATER_MARK)
        await near.wait(dealer.statistics().sent)
        assert dealer.statistics().sent >= HIGH_WATER_MARK


@pytest.mark.parametrize("count", [1, 2, MOST - 1, MOST, MOST + 1, 3 * MOST])
async def test_a_burst_of_any_length_arrives_without_another_wake_up(count):
    async with line() as (router, near, dealer, _):
        for _ in range(3):  # also after the loop slept
            near.received.clear()
            for number in range(count):
                dealer.send(b"", b"h", b"%d" % number)
            await near.wait(count)
            await anyio.sleep(0.01)
        assert [body for _, _, body in near.received] == [b"%d" % n for n in range(count)]
        assert router.statistics().stalls == 0


async def test_what_arrives_while_the_loop_is_kept_busy_sending_is_not_forgotten():
    """Each send may swallow the edge of what comes meanwhile."""
    async with line() as (router, near, dealer, far):
        dealer.send(b"", b"h", b"hello")
        await near.wait(1)
        for round_ in range(1, 200):
            for _ in range(10):
                dealer.send(b"", b"h", b"ping")
                router.send(b"me", b"h", b"pong")
            await far.wait(10 * round_)
        await near.wait(1 + 10 * 199)
        assert router.statistics().stalls == dealer.statistics().stalls == 0


async def test_an_error_of_the_receiver_comes_out_of_the_pump():
    def fail(*_):
        raise ValueError("a bug")

    context, far = Context(), End()
    with tempfile.TemporaryDirectory(prefix="obs") as folder:
        router = context.bind(f"ipc://{folder}/x.ipc", "router", fail)
        dealer = context.dial(f"ipc://{folder}/x.ipc", b"me", "dealer", far.take)
        dealer.send(b"", b"h", b"b")
        with anyio.fail_after(5), pytest.raises(ValueError, match="a bug"):
            await router.pump()
        with anyio.move_on_after(0.01):
            await dealer.pump()
    context.term()
