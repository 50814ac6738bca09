"""Workers that die over photos: what each death costs, and whom it is blamed on.

The catalog is the real one on a real database, and so are the cores of the scheduler and of the
supervisor's group; workers, sockets and processes are a few lines here.

What becomes of work where somebody dies, and where that is shown (`faults` stands for
tests/system/test_faults.py with the point that is armed, `kill` for test_kill.py beside it):

    crash point                      outcome                   shown by
    ───────────────────────────────  ────────────────────────  ────────────────────────────────
    `Seen` sent, not committed       seen again                faults: catalog.seen
    leased, not executing            goes back uncharged       library/test_queue.py: test_what_a_
                                                               dead_incarnation_held_goes_back_…
    executing                        charged, runs alone       here: test_a12, test_a13; faults:
                                                               decode.begun, embed.begun
    … and the whole system dies      likewise                  library/test_queue.py: test_when_the_
                                                               whole_system_dies_what_was_…
    result sent, not committed       computed or sent again    faults: outbox.send, catalog.results,
                                                               writer.commit
    committed, answer lost           sent again, `already`     faults: catalog.committed,
                                                               outbox.answered
    the catalog dies                 results kept, re-sent     library/test_queue.py: restarts; kill
    the scheduler dies               batch ends, lease drops   faults: scheduler.granted; kill
    the index dies, position unsaved replays the feed          faults: index.applied
    the supervisor dies              all end; next run resumes kill: test_killing_the_supervisor_…
    any of these, in any order       nothing lost or doubled   library/test_history.py
"""

import contextlib
import random
from types import SimpleNamespace
from typing import cast

import anyio
import pytest

from actors.batching import Batching, SendBatch
from actors.catalog import Catalog
from actors.library.queue import CRASHES
from actors.messages import (
    DecodeTask,
    DecodeTasks,
    EmbedTasks,
    Pull,
    Results,
    Seen,
    SeenFile,
)
from actors.scheduling import SchedulerCore, SendGrant
from actors.settings import CatalogSettings
from runtime.blame import DEATHS, PROOF
from runtime.demand import Offer
from runtime.messages import Down
from runtime.node import Node
from runtime.restart import (
    Backoff,
    Due,
    Exited,
    GroupCore,
    Intensity,
    Isolated,
    OnLimit,
    Policy,
    Ready,
    Start,
)
from tests.actors.library.catalogs import CLIP, ROOT, decoded, embedded, empty_catalog

pytestmark = pytest.mark.anyio

WINDOW = 16
BUCKETS = (1, 8, 32)


@pytest.fixture
def anyio_backend():
    return "asyncio"


class Asked(Catalog):
    """One that hands out work when asked to, and not by itself."""

    def _dispatch_soon(self, kind):
        del kind


class Line:
    def __init__(self, name, epoch):
        self.name, self.epoch = name, epoch
        self.told = []

    def tell(self, message):
        self.told.append(message)

    def hear(self):
        told, self.told = self.told, []
        return told


class System:
    """One catalog, one decoder, one scheduler, one embedder.

    *decoder_dies* and *embedder_dies* tell of a task whether it takes its process down.
    """

    def __init__(self, catalog):
        self.catalog = catalog
        self.decoder_dies = self.embedder_dies = lambda _task: False
        self.group = GroupCore(
            [Policy(name, on_limit=OnLimit.ISOLATE) for name in ("decode.0", "embed")],
            intensity=Intensity(0, 0.5),  # no death may count
            backoff=Backoff(base_s=0.001, cap_s=0.001),
            rng=random.Random(1),
        )
        self.group.step(Start(), 0.0)
        self.epochs = {"decode.0": 1, "embed": 1}
        self.deaths: dict[str, list[list[int]]] = {"decode.0": [], "embed": []}
        self.isolated = []
        self.decoder = Line("decode.0", 1)
        self.scheduler = Line("scheduler", 1)
        self.core = SchedulerCore([Batching("embed", BUCKETS, 4 * max(BUCKETS))])
        self.now = 0.0

    async def see(self, *names):
        files = [SeenFile(b"", name, 100, 1, 1) for name in names]
        await self.catalog.handle(Seen(ROOT, files), Line("ingest", 1))

    async def die(self, name, ids, *, finished):
        """A death as the supervisor tells of it; False when the worker is set aside for it."""
        self.now += 1.0
        self.deaths[name].append(ids)
        self.group.step(Ready(name), self.now)
        gone = Exited(name, -11, excused=bool(ids), charged=ids, finished=finished)
        effects = self.group.step(gone, self.now)
        isolated = [each for each in effects if isinstance(each, Isolated)]
        self.isolated += isolated
        innocent = [id_ for each in isolated for id_ in each.innocent]
        down = Down(name, self.epochs[name], "SIGSEGV", True, ids, "", "native", innocent)
        for _ in range(2):  # as if it were announced twice
            await self.catalog.on_down(down)
        self.core.worker_died(name, self.epochs[name], ids, self.now)
        self.epochs[name] += 1
        if not isolated:
            self.group.step(Due(name), self.now)
        return not isolated

    async def decode(self, deaths=1000):
        """Until nothing is left, the decoder is set aside, or has died so often."""
        for _ in range(deaths):
            line = Line("decode.0", self.epochs["decode.0"])
            charged = await self._decode(line, Offer(WINDOW))
            if charged is None:
                return
            ids, finished = charged
            if not await self.die("decode.0", ids, finished=finished):
                return

    async def _decode(self, line, offer):
        finished = False
        while True:
            pull = Pull("decode", WINDOW, list(offer.outstanding), offer.delivery)
            await self.catalog._offered(pull, line)
            tasks = [
                task
                for message in line.hear()
                if isinstance(message, DecodeTasks)
                for task in message.tasks
                if task.id in offer.deliver(message.delivery, [task.id])
            ]
            if not tasks:
                return None
            for task in tasks:
                if self.decoder_dies(task):
                    return [task.id], finished
                finished = True
                done = await self.catalog.handle(Results([decoded(task)]), line)
                offer.settle(done.tasks)

    async def embed(self):
        """Likewise; the scheduler lives on."""
        while True:
            charged = await self._embed()
            if charged is None:
                return
            ids, finished = charged
            if not await self.die("embed", ids, finished=finished):
                return

    async def _embed(self):
        finished, line, offer = False, Line("embed", self.epochs["embed"]), Offer(WINDOW)
        mail, held = [], {}
        idle = 0
        while idle < 2:
            idle += 1
            own = self.core.offer("embed")
            pull = Pull("embed", own.window, list(own.outstanding), own.delivery)
            await self.catalog._offered(pull, self.scheduler)
            for message in self.scheduler.hear():
                if isinstance(message, EmbedTasks):
                    mail += self.core.tasks_arrived(
                        message.kind, message.delivery, message.tasks, self.now
                    )
            self.now += 3.0
            pull = Pull("embed", 3 * max(BUCKETS), list(offer.outstanding), offer.delivery)
            mail += self.core.worker_pulls("embed", line.epoch, pull, self.now)
            while mail:
                idle = 0
                match mail.pop(0):
                    case SendBatch(_, batch, _, tasks):
                        assert len(tasks) == 1 or not any(task.suspect for task in tasks)
                        offer.deliver(batch, [task.id for task in tasks])
                        held[batch] = tasks
                        mail += self.core.worker_prepared("embed", batch, self.now)
                    case SendGrant(_, batch, lease):
                        tasks = held.pop(batch)
                        if any(self.embedder_dies(task) for task in tasks):
                            return [task.id for task in tasks], finished
                        finished = True
                        results = Results([embedded(task) for task in tasks])
                        done = await self.catalog.handle(results, line)
                        offer.settle(done.tasks)
                        mail += self.core.worker_released("embed", batch, lease, self.now)
        return None

    async def letters(self):
        return await self.catalog._reader.dead_letters()

    async def totals(self):
        return await self.catalog._reader.totals()

    async def charges(self):
        """Crash attempts of every task that has some."""
        async with self.catalog._writer._engine.begin() as connection:
            query = "SELECT id, crash_attempts FROM tasks WHERE crash_attempts ORDER BY id"
            return {row[0]: row[1] for row in await connection.exec_driver_sql(query)}

    def only_kills(self, *names):
        """A decoder dies of these files, and of nothing else."""
        paths = {ROOT + b"/" + name for name in names}
        self.decoder_dies = lambda task: task.path in paths


@pytest.fixture
def made(tmp_path):
    (tmp_path / "catalog.sqlite").write_bytes(empty_catalog())


@pytest.fixture
async def system(made, tmp_path, anyio_backend):
    url = f"sqlite+aiosqlite:///{tmp_path}/catalog.sqlite"
    catalog = Asked(CatalogSettings(url, str(tmp_path), CLIP, [ROOT], str(tmp_path / "derived")))
    catalog.run_id, catalog.node = "run-1", cast("Node", SimpleNamespace(incarnation=1))
    async with anyio.create_task_group() as tasks, contextlib.AsyncExitStack() as stack:
        catalog.tasks = tasks
        await catalog.on_start()
        stack.push_async_callback(catalog.on_stop)
        system = System(catalog)
        yield system
        assert await catalog._reader.miscounted() == []


def names(count, what=b"photo"):
    return [b"%s-%03d" % (what, number) for number in range(count)]


# ── one bad photo ───────────────────────────────────────────────────────────────────────────


async def test_a12_one_poison_in_a_batch_of_32_costs_one_photo_and_three_deaths(system):
    await system.see(*names(32))
    await system.decode()
    system.embedder_dies = lambda task: task.content == 17
    await system.embed()
    assert (await system.totals()).indexed == 31
    (letter,) = await system.letters()
    assert letter.crash_attempts == CRASHES
    assert [len(ids) for ids in system.deaths["embed"]] == [32, 1, 1]
    assert system.isolated == []


async def test_a12_poison_in_a_batch_after_others_went_well_costs_as_little(system):
    await system.see(*names(200))
    await system.decode()
    system.embedder_dies = lambda task: task.content in {100, 150, 151}
    await system.embed()
    totals = await system.totals()
    assert (totals.indexed, totals.dead) == (197, 3)
    assert len(system.deaths["embed"]) <= 3 * CRASHES
    assert system.isolated == []


async def test_a12_a_folder_of_bad_photos_costs_those_and_no_more(system):
    """Whether they come in a row or at the very end, where nothing else is left to be done."""
    good, bad = names(40), names(7, b"poison")
    await system.see(*good[:20], *bad, *good[20:], *names(5, b"zz-poison"))
    system.only_kills(*bad, *names(5, b"zz-poison"))
    await system.decode()
    assert len(await system.letters()) == 12
    assert len(system.deaths["decode.0"]) == 12 * CRASHES
    assert system.isolated == []
    await system.embed()
    totals = await system.totals()
    assert (totals.indexed, totals.dead) == (40, 12)


async def test_a12_bad_photos_that_are_all_that_is_left_after_a_restart_are_given_up(system):
    await system.see(*names(3), *names(4, b"poison"))
    system.only_kills(*names(4, b"poison"))
    await system.decode(deaths=5)
    assert await system.letters() == []
    system.group = System(system.catalog).group  # a new run, in which nothing was ever finished
    await system.decode()
    assert len(await system.letters()) == 4
    assert system.isolated == []


# ── a bad worker ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("photos", [40, 3, 2])
async def test_a13_a_decoder_that_dies_of_anything_gives_up_no_photo(system, photos):
    await system.see(*names(photos))
    system.decoder_dies = lambda _task: True
    await system.decode()
    assert len(system.deaths["decode.0"]) == DEATHS
    assert [each.name for each in system.isolated] == ["decode.0"]
    assert await system.letters() == []
    assert await system.charges() == {}
    system.decoder_dies = lambda _task: False  # five minutes later somebody has mended it
    system.group.step(Due("decode.0"), 1000.0)
    await system.decode()
    assert (await system.totals()).pending == photos  # to be embedded
    assert (await system.charges(), await system.letters()) == ({}, [])


@pytest.mark.parametrize("photos", [200, 33, 2])
async def test_a13_an_embedder_that_dies_of_anything_gives_up_no_photo(system, photos):
    await system.see(*names(photos))
    await system.decode()
    system.embedder_dies = lambda _task: True
    await system.embed()
    assert len(system.deaths["embed"]) == DEATHS
    assert [each.name for each in system.isolated] == ["embed"]
    assert (await system.charges(), await system.letters()) == ({}, [])
    system.embedder_dies = lambda _task: False
    system.group.step(Due("embed"), 1000.0)
    await system.embed()
    assert (await system.totals()).indexed == photos


async def test_a13_a_photo_that_is_alone_in_the_world_is_given_up_since_nobody_can_tell(system):
    await system.see(*names(1))
    system.decoder_dies = lambda _task: True
    await system.decode()
    (letter,) = await system.letters()
    assert letter.crash_attempts == CRASHES
    assert system.isolated == []


async def test_a13_bad_photos_that_are_alone_in_the_world_look_like_a_bad_decoder(system):
    await system.see(*names(3))
    system.decoder_dies = lambda _task: True
    await system.decode()
    assert [each.name for each in system.isolated] == ["decode.0"]


async def test_a13_a_decoder_that_breaks_later_is_found_out_by_what_it_could_do_before(system):
    """Only the first photo is charged at all, even where only one is left to be done."""
    await system.see(*names(20))
    await system.decode()
    await system.see(b"new")
    system.decoder_dies = lambda _task: True
    await system.decode()
    (first, *others) = system.deaths["decode.0"]
    assert first != [PROOF]
    assert others == [[PROOF], [PROOF]]
    assert [each.name for each in system.isolated] == ["decode.0"]
    assert (await system.charges(), await system.letters()) == ({}, [])


async def test_a13_an_embedder_that_breaks_later_is_found_out_likewise(system):
    await system.see(*names(40))
    await system.decode()
    await system.embed()
    await system.see(b"new")
    await system.decode()
    system.embedder_dies = lambda _task: True
    await system.embed()
    assert [len(ids) for ids in system.deaths["embed"]] == [1, 1, 1]
    assert system.deaths["embed"][1:] == [[PROOF], [PROOF]]
    assert [each.name for each in system.isolated] == ["embed"]
    assert (await system.charges(), await system.letters()) == ({}, [])


async def test_what_was_done_before_is_given_again_without_being_counted_or_committed(system):
    await system.see(*names(3))
    await system.decode()
    before = system.catalog._writer.statistics().decoded
    killed = iter([True])

    def dies(task):
        seen.append(task)
        return task.path.endswith(b"new") and next(killed, False)

    seen: list[DecodeTask] = []
    system.decoder_dies = dies
    await system.see(b"new")
    await system.decode()
    new, proof, again = seen
    assert (proof.id, proof.path) == (PROOF, ROOT + b"/photo-002")
    assert (new.path, new.id) == (again.path, again.id)
    assert system.catalog._writer.statistics().decoded == before + 1
