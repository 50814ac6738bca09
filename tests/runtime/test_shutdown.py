"""However many children hang, a stop takes no longer than it may."""

import tempfile
import time
from pathlib import Path

import anyio
import pytest

from runtime.restart import Backoff
from runtime.spec import ChildSpec, GroupSpec
from runtime.supervision import Supervisor

pytestmark = pytest.mark.anyio


def child(name):
    return ChildSpec(name=name, actor="tests.runtime.stubborn:Stubborn", drain_s=60)


async def test_children_that_hang_share_the_time_for_the_stop():
    children = tuple(child(name) for name in "abcd")
    with tempfile.TemporaryDirectory(prefix="obs") as run_dir:
        supervisor = Supervisor(
            GroupSpec(name="root", children=children, backoff=Backoff(base_s=0.05, cap_s=0.2)),
            run_dir=Path(run_dir),
            run="test",
            on_line=lambda name, line: None,
            on_event=lambda event, fields: None,
            shutdown_s=2,
        )
        async with supervisor.running():
            with anyio.fail_after(60):
                await supervisor.all_ready.wait()
            begin = time.monotonic()
            supervisor.stop()
            await supervisor.wait_stopped()
    assert 1.5 < time.monotonic() - begin < 4
