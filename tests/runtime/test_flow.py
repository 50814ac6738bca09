"""Back-pressure from end to end, through real processes."""

import anyio
import psutil
import pytest

from runtime.spec import ChildSpec
from runtime.testing import stage
from tests.runtime.flow import ITEM_BYTES, WINDOW, AnyFlow, AskCount

pytestmark = pytest.mark.anyio

NAMES = ("source", "relay", "sink")
SETTLE_S = 1.0
WATCH_S = 2.0


async def test_c12_a_slow_consumer_bounds_the_memory_of_everybody_before_it(anyio_backend_name):
    """An endless source of 100 kB items, ten a second handled at the far end."""
    peers = {"source": (), "relay": ("source",), "sink": ("relay",)}
    children = [
        ChildSpec(
            name=name,
            actor=f"tests.runtime.flow:{name.capitalize()}",
            peers=peers[name],
            backend=anyio_backend_name,
            drain_s=2,
        )
        for name in NAMES
    ]
    async with stage(*children, messages=AnyFlow) as on:
        processes = {name: psutil.Process(on.state(name).pid) for name in NAMES}
        await anyio.sleep(SETTLE_S)
        before = {name: process.memory_info().rss for name, process in processes.items()}
        await anyio.sleep(WATCH_S)
        after = {name: process.memory_info().rss for name, process in processes.items()}
        counts = {name: await on.ask(name, AskCount()) for name in NAMES}

    # what was taken from the source lies handled, or within one of the two windows
    assert counts["sink"].handled > 0
    assert counts["source"].sent <= counts["sink"].handled + 2 * WINDOW + 1
    for name in NAMES:
        assert counts[name].most_waiting <= WINDOW + 2, name
        assert counts[name].most_held <= WINDOW, name
        # unbounded, the source alone would have sent gigabytes meanwhile
        assert after[name] <= before[name] * 1.1 + 2 * WINDOW * ITEM_BYTES, name
