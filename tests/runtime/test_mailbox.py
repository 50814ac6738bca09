"""The inbox: bounded, one wake-up an item, and nothing lost by cancelling."""

from typing import Any

import anyio
import anyio.lowlevel
import pytest

from runtime.mailbox import TURN, Mailbox, MailboxStatistics

pytestmark = pytest.mark.anyio


async def test_a_full_mailbox_refuses_and_counts():
    mailbox: Mailbox[Any] = Mailbox(2)
    assert [mailbox.put_nowait(n) for n in range(3)] == [True, True, False]
    mailbox.put_always("the supervisor's")
    assert mailbox.statistics() == MailboxStatistics(length=3, capacity=2, highest=3, refused=1)


async def test_items_come_out_in_order_and_wait_for_nobody():
    mailbox: Mailbox[Any] = Mailbox(10)
    for number in range(5):
        mailbox.put_nowait(number)
    assert [await mailbox.get() for _ in range(5)] == [0, 1, 2, 3, 4]


async def test_an_item_wakes_one_consumer_only():
    mailbox: Mailbox[Any] = Mailbox(10)
    got = []

    async def consume(name):
        got.append((name, await mailbox.get()))

    async with anyio.create_task_group() as tasks:
        for name in "abc":
            tasks.start_soon(consume, name)
            await anyio.wait_all_tasks_blocked()
        mailbox.put_nowait(1)
        await anyio.wait_all_tasks_blocked()
        assert got == [("a", 1)]
        tasks.cancel_scope.cancel()


async def test_a_consumer_cancelled_as_it_was_woken_hands_the_item_on():
    mailbox: Mailbox[Any] = Mailbox(10)
    got = []

    async def consume(scope):
        with scope:
            got.append(await mailbox.get())

    first, second = anyio.CancelScope(), anyio.CancelScope()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(consume, first)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(consume, second)
        await anyio.wait_all_tasks_blocked()
        mailbox.put_nowait("item")
        first.cancel()
        with anyio.fail_after(2):
            while not got:
                await anyio.lowlevel.checkpoint()
        second.cancel()
    assert got == ["item"]
    assert mailbox.statistics().length == 0


async def test_a_consumer_cancelled_while_it_waits_is_forgotten():
    mailbox: Mailbox[Any] = Mailbox(10)
    with anyio.move_on_after(0.01):
        await mailbox.get()
    mailbox.put_nowait("item")
    assert await mailbox.get() == "item"


async def test_a_consumer_that_never_waits_lets_others_have_a_turn():
    mailbox: Mailbox[Any] = Mailbox(10 * TURN)
    turns = 0

    async def other():
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    for number in range(4 * TURN):
        mailbox.put_nowait(number)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        for _ in range(4 * TURN):
            await mailbox.get()
        tasks.cancel_scope.cancel()
    assert turns >= 3
