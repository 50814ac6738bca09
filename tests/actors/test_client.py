"""A client whose system is replaced while it is connected."""

import os
from typing import cast

import pytest

from actors.client import Client, NotRunning, StartedAnew
from runtime.errors import Busy, PeerAway
from runtime.node import Node

pytestmark = pytest.mark.anyio


class Gone:
    """A node none of whose peers is there any more."""

    def __init__(self, error):
        self._error = error

    def ref(self, name):
        return self

    async def ask(self, body, seconds):
        raise self._error


def write_run(data, run):
    text = f'{{"pid": {os.getpid()}, "run": "{run}", "run_dir": "{data}"}}'
    (data / "run.json").write_text(text)


@pytest.mark.parametrize("error", [PeerAway("supervisor"), Busy("supervisor")])
async def test_who_asks_a_system_that_was_started_anew_is_told_to_connect_again(tmp_path, error):
    client = Client(cast("Node", Gone(error)), tmp_path, "first")
    write_run(tmp_path, "second")
    with pytest.raises(StartedAnew, match="connect again"):
        await client.search("a red circle")


async def test_who_asks_a_system_that_is_gone_is_told_how_to_start_it(tmp_path):
    client = Client(cast("Node", Gone(PeerAway("supervisor"))), tmp_path, "first")
    with pytest.raises(NotRunning, match="start it with"):
        await client.search("a red circle")
