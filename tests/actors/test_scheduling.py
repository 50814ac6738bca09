"""Leases and batches: one lease a device, nothing lost, suspects alone."""

from collections import deque

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from actors.messages import EmbedTask, Pull
from actors.scheduling import (
    BUSY_WAIT_S,
    IDLE_WAIT_S,
    RELAX_S,
    SchedulerCore,
    SendBatch,
    SendGrant,
)
from runtime.blame import PROOF


def task(number, *, suspect=False):
    return EmbedTask(number, number, b"d" * 32, 640, 480, suspect)


def tasks(*numbers):
    return [task(number) for number in numbers]


def core_with_worker(buckets=(1, 4, 8), window=24):
    core = SchedulerCore(buckets, window=32)
    core.worker_pulls("w", 1, Pull("embed", window, [], 0), 0.0)
    return core


def test_half_a_bucket_is_sent_at_once():
    core = core_with_worker()
    (batch,) = core.tasks_arrived(1, tasks(1, 2, 3, 4), 0.0)
    assert batch == SendBatch("w", 1, 4, tasks(1, 2, 3, 4))


def test_a_single_task_waits_a_moment_and_is_sent():
    core = core_with_worker()
    assert core.tasks_arrived(1, tasks(1), 0.0) == []
    assert core.next_tick_s(0.0) == IDLE_WAIT_S
    assert core.tick(IDLE_WAIT_S) == [SendBatch("w", 1, 1, tasks(1))]


def test_while_a_batch_runs_a_single_task_waits_longer():
    core = core_with_worker()
    core.tasks_arrived(1, tasks(1, 2, 3, 4), 0.0)
    core.tasks_arrived(2, tasks(5), 0.0)
    assert core.tick(IDLE_WAIT_S) == []
    assert core.tick(BUSY_WAIT_S) == [SendBatch("w", 2, 1, tasks(5))]


def test_a_batch_is_for_one_model_and_a_lonely_task_for_another_holds_up_nobody():
    core = core_with_worker()
    mixed = [
        msgspec.structs.replace(each, pack="b" if each.id != 2 else "a")
        for each in tasks(2, 1, 3, 4, 5)
    ]
    (batch,) = core.tasks_arrived(1, mixed, 0.0)
    assert [each.id for each in batch.tasks] == [1, 3, 4, 5]
    (alone,) = core.tick(BUSY_WAIT_S)
    assert [each.id for each in alone.tasks] == [2]


def test_only_one_batch_holds_the_lease():
    core = core_with_worker()
    core.tasks_arrived(1, tasks(*range(1, 17)), 0.0)
    assert core.worker_prepared("w", 1, 0.0) == [SendGrant("w", 1, 1)]
    assert core.worker_prepared("w", 2, 0.0) == []
    assert core.worker_released("w", 1, 1, 0.5) == [SendGrant("w", 2, 2)]


def test_a_release_of_somebody_elses_lease_frees_nothing():
    core = core_with_worker()
    core.tasks_arrived(1, tasks(*range(1, 17)), 0.0)
    core.worker_prepared("w", 1, 0.0)
    core.worker_prepared("w", 2, 0.0)
    assert core.worker_released("w", 2, 99, 0.5) == []


def test_a_suspect_runs_alone():
    core = core_with_worker()
    effects = core.tasks_arrived(1, [task(9, suspect=True), *tasks(1, 2, 3, 4)], 0.0)
    assert effects[0] == SendBatch("w", 1, 1, [task(9, suspect=True)])


def test_a_death_frees_the_lease_and_brings_the_rest_back_in_order():
    core = core_with_worker(window=8)
    core.tasks_arrived(1, tasks(1, 2, 3, 4, 5, 6, 7, 8), 0.0)
    core.worker_prepared("w", 1, 0.0)
    assert core.worker_died("w", 1, [2], 1.0) == []
    again = core.worker_pulls("w", 2, Pull("embed", 8, [], 0), 1.0)
    assert again == [SendBatch("w", 1, 8, tasks(1, 3, 4, 5, 6, 7, 8))]
    assert core.worker_prepared("w", 1, 1.0) == [SendGrant("w", 1, 2)]


def sizes(core, *numbers, now):
    """How large the batches are in which *numbers* go out to a new worker, one at a time."""
    core.worker_pulls("w2", 1, Pull("embed", len(numbers), [], 0), now)
    effects = core.tasks_arrived(core.offer.delivery + 1, tasks(*numbers), now)
    return [len(each.tasks) for each in effects if isinstance(each, SendBatch)]


def test_c08_a_death_for_want_of_memory_makes_batches_smaller_for_a_while():
    core = core_with_worker()
    core.tasks_arrived(1, tasks(*range(1, 9)), 0.0)
    core.worker_died("w", 1, list(range(1, 9)), 1.0, oom=True)
    assert sizes(core, *range(11, 19), now=2.0) == [4, 4]
    core.worker_died("w2", 1, [], 3.0)
    effects = core.worker_pulls("w3", 1, Pull("embed", 8, [], 0), 1.0 + RELAX_S)
    assert [len(each.tasks) for each in effects if isinstance(each, SendBatch)] == [8]


def test_c08_one_picture_that_needs_too_much_memory_makes_no_batch_smaller():
    core = core_with_worker()
    core.tasks_arrived(1, [task(1, suspect=True)], 0.0)
    core.worker_died("w", 1, [1], 1.0, oom=True)
    assert sizes(core, *range(11, 19), now=2.0) == [8]


def test_the_largest_bucket_bounds_a_batch():
    core = core_with_worker(window=24)
    effects = core.tasks_arrived(1, tasks(*range(1, 25)), 0.0)
    assert [len(effect.tasks) for effect in effects] == [8, 8, 8]


class World(RuleBasedStateMachine):
    """A catalog, one worker that may die, and the core between them."""

    def __init__(self):
        super().__init__()
        self.core = SchedulerCore((1, 4), window=12)
        self.now = 0.0
        self.delivery = 0
        self.fresh = deque(range(1, 60))
        self.epoch = 1
        self.seen = 0
        self.batches: dict[int, list[int]] = {}  # batch → ids, in the worker's hands
        self.granted: SendGrant | None = None
        self.results: set[int] = set()  # computed, not yet committed
        self.done: set[int] = set()
        self.returned: set[int] = set()  # charged by the catalog, outside the core

    def act(self, effects):
        for effect in effects:
            if isinstance(effect, SendBatch):
                assert len(effect.tasks) <= effect.bucket
                self.seen = effect.batch
                self.batches[effect.batch] = [each.id for each in effect.tasks]
            else:
                assert self.granted is None, "two leases on one device"
                self.granted = effect

    @precondition(lambda self: self.fresh and self.core.offer.room)
    @rule(most=st.integers(1, 6))
    def catalog_delivers(self, most):
        self.delivery += 1
        count = min(most, self.core.offer.room, len(self.fresh))
        ids = [self.fresh.popleft() for _ in range(count)]
        self.act(self.core.tasks_arrived(self.delivery, tasks(*ids), self.now))

    @rule()
    def worker_offers(self):
        held = [each for ids in self.batches.values() for each in ids] + sorted(self.results)
        pull = Pull("embed", 8, held, self.seen)
        self.act(self.core.worker_pulls("w", self.epoch, pull, self.now))

    @precondition(lambda self: self.batches)
    @rule(data=st.data())
    def worker_prepares(self, data):
        batch = data.draw(st.sampled_from(sorted(self.batches)))
        self.act(self.core.worker_prepared("w", batch, self.now))

    @precondition(lambda self: self.granted is not None)
    @rule()
    def worker_runs(self):
        grant, self.granted = self.granted, None
        assert grant is not None
        self.results.update(self.batches.pop(grant.batch))
        self.act(self.core.worker_released("w", grant.batch, grant.lease, self.now))

    @precondition(lambda self: self.results)
    @rule()
    def catalog_commits(self):
        self.done |= self.results
        self.results = set()

    @rule(while_running=st.booleans())
    def worker_dies(self, while_running):
        executing = []
        if while_running and self.granted is not None:
            executing = self.batches[self.granted.batch]
        # results that were not committed die with it; their tasks go back to the catalog
        self.returned |= set(executing) | self.results
        lost = sorted(set(executing) | self.results)
        self.granted, self.batches, self.results, self.seen = None, {}, set(), 0
        self.act(self.core.worker_died("w", self.epoch, lost, self.now))
        self.epoch += 1

    @rule(seconds=st.floats(0, 3))
    def time_passes(self, seconds):
        self.now += seconds
        self.act(self.core.tick(self.now))

    @invariant()
    def every_task_is_somewhere(self):
        held = {each for ids in self.batches.values() for each in ids}
        waiting = self.core.statistics().queued
        given = [each - {PROOF} for each in (held, self.results, self.done, self.returned)]
        assert len(self.fresh) + waiting + sum(map(len, given)) == 59


def death(core, ids, epoch=1, now=1.0):
    """The worker dies over *ids*, and comes back; what it is sent then."""
    core.worker_died("w", epoch, ids, now)
    return core.worker_pulls("w", epoch + 1, Pull("embed", 24, [], 0), now)


def test_after_a_death_over_tasks_something_that_went_well_is_run_first_and_alone():
    core = core_with_worker()
    core.tasks_arrived(1, tasks(*range(1, 9)), 0.0)
    core.worker_prepared("w", 1, 0.0)
    core.worker_released("w", 1, 1, 0.5)
    core.tasks_arrived(2, [*tasks(*range(9, 17)), task(17, suspect=True)], 0.5)
    (batch, *_) = death(core, range(9, 17))
    proof = EmbedTask(PROOF, 8, b"d" * 32, 640, 480, suspect=True)
    assert batch == SendBatch("w", 1, 1, [proof])
    core.worker_prepared("w", 1, 2.0)
    assert SendBatch("w", 2, 1, [task(17, suspect=True)]) in core.worker_released("w", 1, 2, 2.0)


def test_a_death_that_has_nothing_to_do_with_tasks_proves_nothing():
    core = core_with_worker()
    core.tasks_arrived(1, tasks(*range(1, 9)), 0.0)
    core.worker_released("w", 1, 1, 0.5)
    core.tasks_arrived(2, tasks(*range(9, 17)), 0.5)
    assert death(core, []) == [SendBatch("w", 1, 8, tasks(*range(9, 17)))]


def test_nothing_is_proved_where_nothing_went_well_yet():
    core = core_with_worker()
    core.tasks_arrived(1, tasks(1, 2, 3, 4), 0.0)
    core.tasks_arrived(2, tasks(5, 6, 7, 8), 0.0)
    assert death(core, [1, 2, 3, 4]) == [SendBatch("w", 1, 4, tasks(5, 6, 7, 8))]


TestWorld = World.TestCase
TestWorld.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
