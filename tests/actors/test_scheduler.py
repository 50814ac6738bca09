"""The shell of the scheduler: what it says to the catalog and to workers, and whom it believes."""

from types import SimpleNamespace
from typing import cast

import anyio
import pytest

from actors.messages import (
    AskStatus,
    Batch,
    EmbedTask,
    EmbedTasks,
    Grant,
    Prepared,
    Pull,
    Released,
    SchedulerStatus,
    Upstream,
)
from actors.scheduler import WINDOW, Scheduler
from actors.settings import SchedulerSettings
from runtime.errors import PeerAway
from runtime.messages import Down
from runtime.node import Line, Node

pytestmark = pytest.mark.anyio

BUCKET = 4
FULL = WINDOW * BUCKET


@pytest.fixture
def anyio_backend():
    return "asyncio"


class Peer:
    """As a `Ref` and as a `Line`; what it was told."""

    def __init__(self, name):
        self.name, self.epoch, self.up = name, 1, True
        self.told = []

    @property
    def incarnation(self):
        return self.epoch if self.up else None

    def tell(self, body):
        if not self.up:
            raise PeerAway(self.name)
        self.told.append(body)

    def hear(self):
        told, self.told = self.told, []
        return told


class Place:
    """A scheduler that does nothing by itself, and its neighbours."""

    def __init__(self, settle_s=0.0):
        self.catalog, self.embed, self.face = map(Peer, ("catalog", "embed", "face"))
        told = SchedulerSettings({"embed": [1, BUCKET], "face": [BUCKET]}, "cuda:0", settle_s)
        self.scheduler = Scheduler(told)
        self.scheduler.node = cast("Node", SimpleNamespace(ref=lambda name: getattr(self, name)))

    async def hear(self, peer, message, epoch=None):
        line = SimpleNamespace(name=peer.name, epoch=epoch or peer.epoch, tell=peer.tell)
        return await self.scheduler.handle(message, cast("Line", line))

    async def deliver(self, kind, *ids, delivery=1, epoch=None):
        tasks = [EmbedTask(each, each, bytes(32), 64, 64) for each in ids]
        await self.hear(self.catalog, EmbedTasks(tasks, delivery, kind), epoch)

    async def workers_ask(self):
        await self.hear(self.embed, Pull("embed", 2 * BUCKET, [], 0))
        await self.hear(self.face, Pull("face", 2 * BUCKET, [], 0))

    def say(self):
        """One turn of its loop; what the catalog hears then."""
        now = anyio.current_time()
        self.scheduler._carry_out(self.scheduler._core.tick(now))
        for kind in self.scheduler._core.kinds:
            self.scheduler._say_offer(kind, now)
        return self.catalog.hear()

    async def die(self, peer, executing=()):
        await self.scheduler.on_down(
            Down(peer.name, peer.epoch, "SIGKILL", True, list(executing), "", "kill", [])
        )
        peer.epoch += 1


@pytest.fixture
async def place():
    place = Place()
    await place.scheduler.on_start()
    return place


EMBED = Pull("embed", FULL, [], 0)
FACE = Pull("face", FULL, [], 0)


async def test_it_asks_for_work_of_a_class_only_while_that_is_open(place):
    assert place.say() == [EMBED]
    await place.hear(place.catalog, Upstream([]))
    assert place.say() == [FACE]
    await place.hear(place.catalog, Upstream(["decode"]))
    assert place.say() == [Pull("face", 0, [], 0)]
    assert place.say() == []
    await place.hear(place.catalog, Upstream([]))
    assert place.say() == [FACE]


async def test_a_class_that_waits_says_to_a_new_catalog_what_it_holds_and_wants_no_more(place):
    await place.hear(place.catalog, Upstream([]))
    place.say()
    await place.deliver("face", 7, 8)
    await place.die(place.catalog)
    place.catalog.up = False
    assert place.say() == []
    place.catalog.up = True
    await place.scheduler.on_up("catalog")
    assert place.say() == [EMBED, Pull("face", 0, [7, 8], 0)]
    await place.hear(place.catalog, Upstream([]))
    assert place.say() == [Pull("face", FULL, [7, 8], 0)]


async def test_a_class_that_waits_and_holds_nothing_says_nothing_to_a_new_catalog(place):
    place.say()
    await place.die(place.catalog)
    await place.scheduler.on_up("catalog")
    assert place.say() == [EMBED]


async def test_what_an_old_catalog_or_somebody_else_says_is_not_believed(place):
    place.catalog.epoch = 2
    await place.hear(place.catalog, Upstream([]), epoch=1)
    await place.deliver("embed", 1, epoch=1)
    await place.hear(place.embed, Upstream([]), epoch=2)
    status = await place.hear(place.catalog, AskStatus())
    assert [each.queued for each in status.classes] == [0, 0]
    assert status.classes[1].reason == "the catalog has not said what comes first"


async def test_what_is_upstream_is_forgotten_with_the_catalog_that_said_it(place):
    await place.hear(place.catalog, Upstream([]))
    place.say()
    await place.die(place.catalog)
    status = await place.hear(place.catalog, AskStatus())
    assert not status.classes[1].open


async def test_tasks_of_each_class_go_to_its_worker_and_the_device_to_the_first(place):
    await place.hear(place.catalog, Upstream([]))
    await place.workers_ask()
    await place.deliver("face", 11, 12, 13, 14, 15, 16)
    await place.hear(place.face, Prepared(1))
    *batches, grant = place.face.hear()
    assert [type(each) for each in batches] == [Batch, Batch]
    assert grant == Grant(1, 1, "cuda:0")
    await place.deliver("embed", 1, 2, 3, 4, delivery=2)
    await place.hear(place.embed, Prepared(1))
    await place.hear(place.face, Prepared(2))
    await place.hear(place.face, Released(1, 1, 0.1))
    assert place.face.hear() == []
    assert [type(each) for each in place.embed.hear()] == [Batch, Grant]
    status = await place.hear(place.catalog, AskStatus())
    assert isinstance(status, SchedulerStatus)
    assert [(each.kind, each.batches, each.open) for each in status.classes] == [
        ("embed", 1, True),
        ("face", 1, False),
    ]
    assert status.classes[1].reason == "embeddings first"
    assert status.leases == 2


async def test_a_face_worker_that_dies_with_the_device_leaves_it_to_others(place):
    await place.hear(place.catalog, Upstream([]))
    await place.workers_ask()
    await place.deliver("face", 11, 12, 13, 14)
    await place.hear(place.face, Prepared(1))
    await place.deliver("embed", 1, 2, 3, 4, delivery=2)
    await place.hear(place.embed, Prepared(1))
    assert [type(each) for each in place.embed.hear()] == [Batch]
    await place.die(place.face, [11, 12, 13, 14])
    assert place.embed.hear() == [Grant(1, 2, "cuda:0")]


async def test_work_of_a_class_that_it_does_not_know_is_refused_aloud(place):
    with pytest.raises(KeyError):
        await place.hear(place.embed, Pull("decode", 8, [], 0))
