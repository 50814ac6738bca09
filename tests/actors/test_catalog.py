"""Who gets work from the catalog, when somebody dies in between."""

from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from actors.catalog import Catalog
from actors.messages import DecodeTask, Pull
from runtime.demand import Demand
from runtime.messages import Down

pytestmark = pytest.mark.anyio


class Books:
    """A writer that leases two tasks to whoever asks, and lets something happen meanwhile."""

    def __init__(self):
        self.given_back = []
        self.meanwhile = None

    async def lease(self, kind, n, owner, epoch, now_ns):
        del kind, n, owner, epoch, now_ns
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
            return [DecodeTask(each, each, b"/x", 1, 1, 1, False) for each in (7, 8)]
        return []

    async def give_back(self, owner, epoch, now_ns):
        del owner, epoch, now_ns

    async def give_back_some(self, ids, owner, now_ns):
        del now_ns
        self.given_back.append((ids, owner))


class Line:
    def __init__(self, name, epoch):
        self.name, self.epoch = name, epoch
        self.told = []

    def tell(self, message):
        self.told.append(message)


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def catalog():
    catalog: Any = Catalog(SimpleNamespace(space=SimpleNamespace(name="s")))
    catalog._writer = Books()
    catalog._desk = SimpleNamespace(paused_since_ns=0)
    catalog._demand = {"decode": Demand()}
    catalog._dispatching = {"decode": anyio.Lock()}
    catalog._pullers, catalog._followers = {}, {}
    catalog._doubted = set()
    catalog._spool = SimpleNamespace(admit=lambda tasks: tasks)
    return catalog


async def test_work_for_who_died_while_it_was_leased_goes_back_to_the_queue(catalog):
    line = Line("decode.0", 5)

    async def die():
        down = Down("decode.0", 5, "killed by SIGKILL", False, [])
        catalog._demand["decode"].gone(down.name, down.incarnation)
        del catalog._pullers["decode.0"]

    catalog._writer.meanwhile = die
    await catalog._offered(Pull("decode", 4, [], 0), line)
    assert catalog._writer.given_back == [([7, 8], "decode.0")]
    assert line.told == []


async def test_its_successor_gets_nothing_that_was_leased_to_it(catalog):
    line, successor = Line("decode.0", 5), Line("decode.0", 6)

    async def die():
        catalog._pullers["decode.0"] = successor
        catalog._demand["decode"].offer("decode.0", 6, 4, [], 0)

    catalog._writer.meanwhile = die
    await catalog._offered(Pull("decode", 4, [], 0), line)
    assert catalog._writer.given_back == [([7, 8], "decode.0")]
    assert (line.told, successor.told) == ([], [])
