"""What everybody does who works on a device, shown with a worker that only counts."""

import contextlib
import threading
from types import SimpleNamespace
from typing import cast

import anyio
import pytest

from actors.messages import (
    ASKS,
    Batch,
    Committed,
    EmbedTask,
    Failed,
    Grant,
    Prepared,
    Pull,
    Released,
    Results,
    Saying,
    Skipped,
)
from actors.settings import WorkerSettings
from actors.worker import AHEAD, Ready, Worker
from models.errors import PackNotFound
from models.pack import BUILT_IN
from runtime.errors import ActorUnusable, PeerAway, RecycleMe
from runtime.messages import Down
from runtime.node import Line, Node
from tests.packs import turned

pytestmark = pytest.mark.anyio

BATCH_S = 7.0


@pytest.fixture
def anyio_backend():
    return "asyncio"


class Model:
    def __init__(self, pack):
        self.name = pack.name
        self.batch_s = BATCH_S


class Counting(Worker[Model, list[int]]):
    """Each task of an even id ends in what it was loaded for; an odd one cannot be read."""

    kind = "face"
    eager = False

    def __init__(self, settings):
        super().__init__(settings)
        self.loads: list[str] = []
        self.most_reading = self.reading = 0
        self.may_compute = threading.Event()
        self.may_compute.set()

    def load(self, pack):
        self.loads.append(pack.name)
        return Model(pack)

    def read(self, loaded, tasks):
        self.reading += 1
        self.most_reading = max(self.most_reading, self.reading)
        good = [each for each in tasks if each.id % 2 == 0]
        self.reading -= 1
        failed = [Failed(each.id, "photo", "odd") for each in tasks if each not in good]
        return failed, Ready(good, [each.content for each in good], loaded)

    def compute(self, ready):
        assert self.may_compute.wait(10)
        return [
            Skipped(task.id, f"{ready.loaded.name} {data}")
            for task, data in zip(ready.tasks, ready.data, strict=True)
        ]


class Eager(Counting):
    eager = True


class Peer:
    """A neighbour of one incarnation, as a `Ref` and as a `Line`; what it was told."""

    def __init__(self, name):
        self.name, self.epoch, self.up = name, 1, True
        self.told = []
        self.results = {}
        self.changed = anyio.Event()

    @property
    def incarnation(self):
        return self.epoch if self.up else None

    def tell(self, body):
        if not self.up:
            raise PeerAway(self.name)
        self.told.append(body)
        self.changed.set()
        self.changed = anyio.Event()

    async def ask(self, body, seconds):
        """As the catalog: it commits."""
        assert isinstance(body, Results)
        self.results |= {each.task: each for each in body.results}
        self.changed.set()
        self.changed = anyio.Event()
        return Committed([each.task for each in body.results])

    def heard(self, kind):
        return [each for each in self.told if isinstance(each, kind)]

    async def wait(self, condition):
        with anyio.fail_after(10):
            while not condition():
                await self.changed.wait()


class Place:
    """A worker that runs, and its two neighbours."""

    def __init__(self, worker):
        self.worker = worker
        self.scheduler, self.catalog = Peer("scheduler"), Peer("catalog")
        self.pages: list[tuple[str, list[int], float]] = []
        worker.node = cast(
            "Node",
            SimpleNamespace(
                ref=lambda name: getattr(self, name),
                executing=lambda *page: self.pages.append(page),
                finished=lambda ids: self.pages.append(("idle", ids, 0.0)),
            ),
        )

    @property
    def line(self):
        """The way back to the scheduler that is there now."""
        now = self.scheduler
        return cast("Line", SimpleNamespace(name=now.name, epoch=now.epoch, tell=now.tell))

    async def send(self, number, *ids, pack="sketch"):
        tasks = [EmbedTask(each, 10 * each, bytes(32), 64, 64, pack=pack) for each in ids]
        await self.worker.handle(Batch(number, 8, tasks), self.line)

    async def prepared(self, *numbers):
        found = lambda: {each.batch for each in self.scheduler.heard(Prepared)}
        await self.scheduler.wait(lambda: found() >= set(numbers))

    async def grant(self, number):
        await self.worker.handle(Grant(number, 100 + number, "cpu:0"), self.line)

    async def released(self, number):
        found = lambda: [each.batch for each in self.scheduler.heard(Released)]
        await self.scheduler.wait(lambda: number in found())

    async def committed(self, *ids):
        await self.catalog.wait(lambda: self.catalog.results.keys() >= set(ids))


@contextlib.asynccontextmanager
async def working(kind=Counting, folders=(BUILT_IN,)):
    told = WorkerSettings(
        str(BUILT_IN / "sketch"), "", [1, 8], folders=[str(each) for each in folders]
    )
    place = Place(kind(told))
    async with anyio.create_task_group() as tasks:
        place.worker.tasks = tasks
        await place.worker.on_start()
        tasks.start_soon(place.worker.run)
        yield place
        tasks.cancel_scope.cancel()


async def test_a_batch_is_read_waits_for_the_lease_runs_and_its_results_are_committed():
    async with working() as place:
        await place.scheduler.wait(lambda: place.scheduler.heard(Pull))
        assert place.scheduler.told[0] == Pull("face", Worker.window * 8, [], 0)
        await place.send(1, 2, 3, 4)
        await place.prepared(1)
        await place.committed(3)  # cannot be read: known before the lease
        assert place.pages == []
        await place.grant(1)
        await place.released(1)
        await place.committed(2, 4)
        assert place.pages == [("face", [2, 4], BATCH_S), ("idle", [2, 4], 0.0)]
        assert place.catalog.results == {
            2: Skipped(2, "sketch 20"),
            3: Failed(3, "photo", "odd"),
            4: Skipped(4, "sketch 40"),
        }


async def test_a_batch_of_which_nothing_can_be_read_frees_the_device_at_once():
    async with working() as place:
        await place.send(1, 1, 3)
        await place.prepared(1)
        await place.grant(1)
        await place.released(1)
        assert place.pages == []


async def test_only_so_many_batches_are_read_ahead_and_one_at_a_time():
    async with working() as place:
        for number in range(1, 5):
            await place.send(number, 2 * number)
        await place.prepared(1, 2)
        await anyio.wait_all_tasks_blocked()
        assert len(place.scheduler.heard(Prepared)) == AHEAD
        await place.grant(1)
        await place.prepared(3)
        assert place.worker.most_reading == 1


# ── models ──────────────────────────────────────────────────────────────────────────────────


async def test_an_eager_worker_loads_what_serves_before_it_is_ready_and_another_with_its_batch(
    tmp_path,
):
    turned(tmp_path, "turned")
    async with working(Eager, (tmp_path, BUILT_IN)) as place:
        assert place.worker.loads == ["sketch"]
        await place.send(1, 2, pack="turned")
        await place.send(2, 4, pack="")
        await place.prepared(1, 2)
        assert place.worker.loads == ["sketch", "turned"]


async def test_an_eager_worker_without_its_model_does_not_begin(tmp_path):
    with pytest.raises(ActorUnusable):
        await Place(Eager(WorkerSettings(str(tmp_path), "", [1]))).worker.on_start()


async def test_another_worker_loads_nothing_before_its_first_batch():
    async with working() as place:
        await place.scheduler.wait(lambda: place.scheduler.heard(Pull))
        assert place.worker.loads == []
        for number in (1, 2):
            await place.send(number, 2 * number)
        await place.prepared(1, 2)
        assert place.worker.loads == ["sketch"]


async def test_without_its_model_a_batch_costs_no_photo_and_frees_the_device():
    async with working() as place:
        await place.send(1, 2, 4, pack="absent")
        await place.prepared(1)
        await place.committed(2, 4)
        assert {(each.fault, each.task) for each in place.catalog.results.values()} == {
            ("host", 2),
            ("host", 4),
        }
        await place.grant(1)
        await place.released(1)


async def test_a_model_that_cannot_be_loaded_is_not_tried_all_the_time(tmp_path):
    async with working(folders=(tmp_path, BUILT_IN)) as place:
        worker = place.worker
        with pytest.raises(PackNotFound):
            await worker._loaded_for("turned")
        turned(tmp_path, "turned")
        with pytest.raises(PackNotFound):
            await worker._loaded_for("turned")
        assert (await worker._loaded_for("sketch")).name == "sketch"
        refused_at, error = worker._refused["turned"]
        worker._refused["turned"] = refused_at - 3600, error
        assert (await worker._loaded_for("turned")).name == "turned"


# ── giving memory back ──────────────────────────────────────────────────────────────────────


async def done(place, number=1):
    """One batch from its arrival to its commit."""
    await place.send(number, 2 * number)
    await place.prepared(number)
    await place.grant(number)
    await place.released(number)
    await place.committed(2 * number)
    await anyio.wait_all_tasks_blocked()


async def test_a_model_that_nobody_needs_any_more_ends_the_process(monkeypatch):
    async with working() as place:
        await done(place)
        monkeypatch.setattr(place.worker, "needed", set)
        place.worker._let_go()  # nobody can tell
        monkeypatch.setattr(place.worker, "needed", lambda: {"sketch", "another"})
        place.worker._let_go()
        monkeypatch.setattr(place.worker, "needed", lambda: {"another"})
        with pytest.raises(RecycleMe, match="nobody needs"):
            place.worker._let_go()


async def test_who_has_nothing_to_do_for_a_while_gives_its_memory_back(monkeypatch):
    async with working() as place:
        monkeypatch.setattr(place.worker, "idle_s", 3600.0)
        place.worker._worked_at -= 3600
        place.worker._let_go()  # nothing is loaded
        await done(place)
        place.worker._let_go()
        place.worker._worked_at -= 3600
        await place.send(2, 4)
        await place.prepared(2)
        place.worker.may_compute.clear()
        await place.grant(2)
        await anyio.wait_all_tasks_blocked()
        place.worker._let_go()  # it computes
        place.worker.may_compute.set()
        await place.released(2)
        await place.committed(4)
        await anyio.wait_all_tasks_blocked()
        place.worker._let_go()
        place.worker._worked_at -= 3600
        with pytest.raises(RecycleMe, match="nothing was to be done"):
            place.worker._let_go()


async def test_a_batch_that_has_waited_as_long_goes_back_and_takes_the_model_with_it(monkeypatch):
    async with working() as place:
        monkeypatch.setattr(place.worker, "idle_s", 3600.0)
        await place.send(1, 2)
        await place.prepared(1)
        place.worker._let_go()
        place.worker._worked_at -= 3600
        with pytest.raises(RecycleMe, match="nothing was to be done"):
            place.worker._let_go()


# ── asks ────────────────────────────────────────────────────────────────────────────────────


class Telling(Counting):
    """Says two words of an ask, and never has a result for it."""

    def compute(self, ready):
        assert self.may_compute.wait(10)
        for task in ready.tasks:
            if task.asked:
                self.say(task, "two")
                self.say(task, "two words", done=True)
        return [Skipped(each.id, "") for each in ready.tasks if not each.asked]


async def test_an_ask_is_answered_word_by_word_and_the_catalog_never_hears_of_it():
    async with working(Telling) as place:
        await place.send(1, ASKS + 2)
        await place.prepared(1)
        await place.grant(1)
        await place.released(1)
        assert place.scheduler.heard(Saying) == [
            Saying(ASKS + 2, "two"),
            Saying(ASKS + 2, "two words", done=True),
        ]
        await place.send(2, 4)
        await place.prepared(2)
        await place.grant(2)
        await place.committed(4)
        assert list(place.catalog.results) == [4]
        assert len(place.worker._puller) == 0


async def test_an_ask_is_read_although_enough_is_read_ahead():
    async with working(Telling) as place:
        for number in range(1, AHEAD + 1):
            await place.send(number, 2 * number)
        await place.prepared(*range(1, AHEAD + 1))
        await place.send(AHEAD + 1, ASKS + 2)
        await place.prepared(AHEAD + 1)


async def test_who_asked_for_what_cannot_be_read_is_told_why():
    async with working(Telling) as place:
        await place.send(1, ASKS + 1)
        await place.prepared(1)
        assert place.scheduler.heard(Saying) == [Saying(ASKS + 1, "", done=True, error="odd")]
        assert len(place.worker._puller) == 0
        assert place.catalog.results == {}


# ── who comes and goes ──────────────────────────────────────────────────────────────────────


def death(place):
    """The scheduler's, and its next incarnation."""
    place.scheduler.epoch += 1
    place.scheduler.told.clear()
    return Down("scheduler", place.scheduler.epoch - 1, "SIGKILL", True, [], "", "kill", [])


async def test_when_the_scheduler_dies_what_was_prepared_is_held_no_longer():
    async with working() as place:
        for number in (1, 2, 3):
            await place.send(number, 2 * number)
        await place.prepared(1, 2)
        await place.worker.on_down(death(place))
        await anyio.wait_all_tasks_blocked()
        await place.worker.on_up("scheduler")
        nothing = Pull("face", Worker.window * 8, [], 0)
        await place.scheduler.wait(lambda: nothing in place.scheduler.told)
        await place.send(1, 8)  # under the numbers of the new one
        await place.prepared(1)
        await place.grant(1)
        await place.committed(8)
        assert sorted(place.catalog.results) == [8]


async def test_when_the_scheduler_dies_the_batch_that_runs_ends_and_counts():
    async with working() as place:
        await place.send(1, 2)
        await place.prepared(1)
        place.worker.may_compute.clear()
        await place.grant(1)
        await anyio.wait_all_tasks_blocked()
        await place.worker.on_down(death(place))
        place.worker.may_compute.set()
        await place.committed(2)


async def test_word_of_a_dead_scheduler_is_not_acted_on():
    async with working() as place:
        stale = cast("Line", SimpleNamespace(name="scheduler", epoch=0))
        await place.worker.handle(Batch(1, 8, []), stale)
        await anyio.wait_all_tasks_blocked()
        assert place.worker.loads == []
        assert place.scheduler.heard(Prepared) == []


async def test_who_is_asked_to_stop_ends_its_batch_has_it_committed_and_begins_no_other():
    async with working() as place:
        await place.send(1, 2)
        await place.prepared(1)
        place.worker.may_compute.clear()
        await place.grant(1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(place.worker.on_drain)
            await anyio.wait_all_tasks_blocked()
            await place.send(2, 4)
            place.worker.may_compute.set()
        assert sorted(place.catalog.results) == [2]
        assert len(place.scheduler.heard(Prepared)) == 1
