"""Batches of one class: when they are due, how large they are, what comes back from the dead."""

import msgspec
import pytest

from actors.batching import BUSY_WAIT_S, IDLE_WAIT_S, RELAX_S, Batching, SendBatch
from actors.messages import EmbedTask, Pull
from runtime.blame import PROOF


def task(number, *, suspect=False):
    return EmbedTask(number, number, b"d" * 32, 640, 480, suspect)


def tasks(*numbers):
    return [task(number) for number in numbers]


class One(Batching):
    """Every event together with what can be sent after it."""

    def arrive(self, arrived, now=0.0):
        self.tasks_arrived(self.offer.delivery + 1, arrived, now)
        return self.send(now)

    def pull(self, worker, epoch, window, now=0.0):
        self.worker_pulls(worker, epoch, Pull("embed", window, [], 0))
        return self.send(now)

    def die(self, executing, *, worker="w", epoch=1, now=1.0, oom=False):
        self.worker_died(worker, epoch, executing, now, oom=oom)


@pytest.fixture
def one():
    one = One("embed", (1, 4, 8), window=32)
    one.pull("w", 1, 24)
    return one


def test_half_a_bucket_is_sent_at_once(one):
    (batch,) = one.arrive(tasks(1, 2, 3, 4))
    assert batch == SendBatch("w", 1, 4, tasks(1, 2, 3, 4))


def test_a_single_task_waits_a_moment_and_is_sent(one):
    assert one.arrive(tasks(1)) == []
    assert one.due_s(0.0) == IDLE_WAIT_S
    assert one.send(IDLE_WAIT_S) == [SendBatch("w", 1, 1, tasks(1))]


def test_while_a_batch_runs_a_single_task_waits_longer(one):
    one.arrive(tasks(1, 2, 3, 4))
    one.arrive(tasks(5))
    assert one.send(IDLE_WAIT_S) == []
    assert one.send(BUSY_WAIT_S) == [SendBatch("w", 2, 1, tasks(5))]


def test_a_batch_is_for_one_model_and_a_lonely_task_for_another_holds_up_nobody(one):
    mixed = [
        msgspec.structs.replace(each, pack="b" if each.id != 2 else "a")
        for each in tasks(2, 1, 3, 4, 5)
    ]
    (batch,) = one.arrive(mixed)
    assert [each.id for each in batch.tasks] == [1, 3, 4, 5]
    (alone,) = one.send(BUSY_WAIT_S)
    assert [each.id for each in alone.tasks] == [2]


def test_a_suspect_runs_alone(one):
    one.arrive(tasks(5, 6, 7, 8))
    one.worker_released("w", 1)  # it can work
    sent = one.arrive([task(9, suspect=True), *tasks(1, 2, 3, 4)])
    assert sent[0] == SendBatch("w", 2, 1, [task(9, suspect=True)])


def test_the_largest_bucket_bounds_a_batch(one):
    assert [len(each.tasks) for each in one.arrive(tasks(*range(1, 25)))] == [8, 8, 8]


def test_there_is_something_to_do_until_the_last_batch_is_released(one):
    assert not one.busy
    one.arrive(tasks(1))
    assert one.busy
    one.send(IDLE_WAIT_S)
    assert one.busy
    one.worker_released("w", 1)
    assert not one.busy


def test_a_batch_is_prepared_once_and_only_by_whom_it_was_sent_to(one):
    one.arrive(tasks(1, 2, 3, 4))
    for _ in range(2):
        one.worker_prepared("w", 1)
    one.worker_prepared("x", 1)
    one.worker_prepared("w", 7)
    assert list(one.prepared) == [("w", 1)]


def test_a_death_brings_back_in_order_what_was_not_executing(one):
    one.arrive(tasks(*range(1, 9)))
    one.worker_prepared("w", 1)
    one.die([2])
    assert not one.prepared
    assert one.pull("w", 2, 8, 1.0) == [SendBatch("w", 1, 8, tasks(1, 3, 4, 5, 6, 7, 8))]


# ── want of memory ──────────────────────────────────────────────────────────────────────────


def sizes(one, *numbers, now):
    """How large the batches are in which *numbers* go out to a new worker, one at a time."""
    one.pull("w2", 1, len(numbers), now)
    return [len(each.tasks) for each in one.arrive(tasks(*numbers), now)]


def test_c08_a_death_for_want_of_memory_makes_batches_smaller_for_a_while(one):
    one.arrive(tasks(*range(1, 9)))
    one.die(list(range(1, 9)), oom=True)
    assert sizes(one, *range(11, 19), now=2.0) == [4, 4]
    one.die([], worker="w2", now=3.0)
    assert [len(each.tasks) for each in one.pull("w3", 1, 8, 1.0 + RELAX_S)] == [8]


def test_c08_one_picture_that_needs_too_much_memory_makes_no_batch_smaller(one):
    one.arrive([task(1, suspect=True)])
    one.die([1], oom=True)
    assert sizes(one, *range(11, 19), now=2.0) == [8]


# ── proof ───────────────────────────────────────────────────────────────────────────────────


def death(one, ids):
    """The worker dies over *ids*, and comes back; what it is sent then."""
    one.die(ids)
    return one.pull("w", 2, 24, 1.0)


def test_after_a_death_over_tasks_something_that_went_well_is_run_first_and_alone(one):
    one.arrive(tasks(*range(1, 9)))
    one.worker_released("w", 1)
    one.arrive([*tasks(*range(9, 17)), task(17, suspect=True)])
    (batch, *_) = death(one, range(9, 17))
    proof = EmbedTask(PROOF, 8, b"d" * 32, 640, 480, suspect=True)
    assert batch == SendBatch("w", 1, 1, [proof])
    one.worker_released("w", 1)
    assert SendBatch("w", 2, 1, [task(17, suspect=True)]) in one.send(2.0)


def test_a_death_that_has_nothing_to_do_with_tasks_proves_nothing(one):
    one.arrive(tasks(*range(1, 9)))
    one.worker_released("w", 1)
    one.arrive(tasks(*range(9, 17)))
    assert death(one, []) == [SendBatch("w", 1, 8, tasks(*range(9, 17)))]


def test_nothing_is_proved_where_nothing_went_well_yet(one):
    one.arrive(tasks(1, 2, 3, 4))
    one.arrive(tasks(5, 6, 7, 8))
    assert death(one, [1, 2, 3, 4]) == [SendBatch("w", 1, 4, tasks(5, 6, 7, 8))]


def test_before_anything_went_well_others_take_their_turn_before_a_suspect(one):
    """Else a worker that dies of any photo dies thrice of the first one, which is given up."""
    assert one.arrive([task(1, suspect=True), task(2)]) == []
    assert one.send(IDLE_WAIT_S) == [SendBatch("w", 1, 1, tasks(2))]
