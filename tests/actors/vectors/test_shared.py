import threading

import anyio
import numpy as np
import pytest

from actors.vectors.flat import FlatIndex
from actors.vectors.shared import SharedIndex

pytestmark = pytest.mark.anyio
VECTORS = np.eye(4, dtype=np.float32)


@pytest.fixture
def shared():
    index = FlatIndex(4)
    index.add([1, 2, 3], VECTORS[:3])
    return SharedIndex(index)


async def begun(tasks, do, gate):
    """*do* a function that has begun in its thread and ends when *gate* opens."""
    running = threading.Event()

    def work():
        running.set()
        assert gate.wait(20)

    tasks.start_soon(do, work)
    await anyio.to_thread.run_sync(running.wait, 20)


async def test_a_search_does_not_wait_for_a_look(shared):
    gate = threading.Event()
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            await begun(tasks, shared.look, gate)
            ids, _ = await shared.search(VECTORS[:1], 1)
            gate.set()
    assert ids.tolist() == [[1]]


async def test_a_change_waits_for_a_look_and_a_search_for_a_change(shared):
    order: list[str | int] = []
    look, change = threading.Event(), threading.Event()

    async def remove():
        await shared.change(shared.index.remove, [1])
        order.append("changed")

    async def search():
        ids, _ = await shared.search(VECTORS[:1], 3)
        order.append(len(ids[0]))

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            await begun(tasks, shared.look, look)
            tasks.start_soon(remove)
            await anyio.wait_all_tasks_blocked()
            assert order == []
            look.set()
        async with anyio.create_task_group() as tasks:
            await begun(tasks, shared.change, change)
            tasks.start_soon(search)
            await anyio.wait_all_tasks_blocked()
            assert order == ["changed"]
            change.set()
    assert order == ["changed", 2]


async def test_the_status_is_of_the_last_change_and_never_waits(shared):
    assert shared.vectors == 3
    gate = threading.Event()
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            await begun(tasks, shared.change, gate)
            assert (shared.vectors, shared.degraded) == (3, "")
            gate.set()
    await shared.change(shared.index.remove, [1])
    assert shared.vectors == 2
    await shared.replace(FlatIndex(4))
    assert shared.vectors == 0
