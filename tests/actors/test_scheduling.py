"""Leases and classes: one lease a device, a strict order, nothing lost, nothing left behind."""

from collections import deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from actors.batching import Batching, SendBatch
from actors.messages import ASKS, AskCaption, ClassStatus, EmbedTask, Pull, Saying, Upstream
from actors.scheduling import DIED, SchedulerCore, SendGrant, SendSaying
from runtime.blame import PROOF

SETTLE_S = 10.0
QUIET = Upstream([])
BUCKET = 4


def tasks(*numbers):
    return [EmbedTask(number, number, b"d" * 32, 640, 480) for number in numbers]


def core_of(*kinds):
    return SchedulerCore([Batching(kind, (1, BUCKET), 3 * BUCKET) for kind in kinds], SETTLE_S)


class Desk:
    """A core with a worker of each class, all of which want work."""

    def __init__(self, *kinds):
        self.core = core_of(*kinds)
        for kind in kinds:
            self.pull(kind, 1, 0.0)

    def pull(self, kind, epoch, now, held=()):
        pull = Pull(kind, 3 * BUCKET, list(held), 0)
        return self.core.worker_pulls(kind, epoch, pull, now)

    def arrive(self, kind, *numbers, now):
        delivery = self.core.offer(kind).delivery + 1
        return self.core.tasks_arrived(kind, delivery, tasks(*numbers), now)

    def reason(self, kind, now):
        (found,) = [each for each in self.core.status(now).classes if each.kind == kind]
        return found.reason

    def granted(self, kind, batch=1, *, now):
        """Prepare a batch; the grant that this gives."""
        (grant,) = self.core.worker_prepared(kind, batch, now)
        assert (grant.worker, grant.batch) == (kind, batch)
        return grant

    def release(self, grant, now):
        return self.core.worker_released(grant.worker, grant.batch, grant.lease, now)


@pytest.fixture
def desk():
    return Desk("embed", "face")


@pytest.fixture
def open_desk(desk):
    """One where faces may have the device, at 20 s."""
    desk.core.upstream_is(QUIET, 0.0)
    desk.core.tick(20.0)
    return desk


# ── one lease ───────────────────────────────────────────────────────────────────────────────


def test_only_one_batch_holds_the_lease(desk):
    desk.arrive("embed", *range(1, 9), now=0.0)
    grant = desk.granted("embed", 1, now=0.0)
    assert desk.core.worker_prepared("embed", 2, 0.0) == []
    assert desk.release(grant, 0.5) == [SendGrant("embed", 2, 2)]


def test_a_batch_that_runs_is_not_granted_again(desk):
    desk.arrive("embed", *range(1, 5), now=0.0)
    grant = desk.granted("embed", 1, now=0.0)
    assert desk.core.worker_prepared("embed", 1, 0.0) == []
    assert desk.release(grant, 0.5) == []


def test_a_release_of_somebody_elses_lease_frees_nothing(desk):
    desk.arrive("embed", *range(1, 9), now=0.0)
    desk.granted("embed", 1, now=0.0)
    desk.core.worker_prepared("embed", 2, 0.0)
    assert desk.core.worker_released("embed", 2, 99, 0.5) == []


def test_a_death_frees_the_lease(desk):
    desk.arrive("embed", *range(1, 5), now=0.0)
    desk.granted("embed", 1, now=0.0)
    assert desk.core.worker_died("embed", 1, [2], 1.0) == []
    (batch,) = desk.pull("embed", 2, 1.0)
    assert [each.id for each in batch.tasks] == [1, 3, 4]
    assert desk.core.worker_prepared("embed", 1, 1.0) == [SendGrant("embed", 1, 2)]


def test_who_prepares_or_dies_before_it_ever_asked_for_work_changes_nothing(desk):
    assert desk.core.worker_prepared("stranger", 1, 0.0) == []
    assert desk.core.worker_released("stranger", 1, 1, 0.0) == []
    assert desk.core.worker_died("stranger", 1, [1], 0.0) == []


# ── when a class may begin ──────────────────────────────────────────────────────────────────


def test_the_first_class_waits_for_nobody(desk):
    desk.core.upstream_is(Upstream(["scan", "decode", "embed", "face"]), 0.0)
    assert desk.core.is_open("embed", 0.0)
    desk.core.upstream_lost(1.0)
    assert desk.core.is_open("embed", 1.0)


def test_faces_begin_when_all_before_them_has_been_quiet_for_so_long_exactly(desk):
    desk.core.upstream_is(QUIET, 5.0)
    assert desk.core.next_tick_s(5.0) == SETTLE_S
    desk.core.tick(14.9)
    assert not desk.core.is_open("face", 14.9)
    desk.core.tick(15.0)
    assert desk.core.is_open("face", 15.0)


@pytest.mark.parametrize("stage", ["scan", "decode", "embed"])
def test_each_stage_before_them_keeps_faces_waiting_and_puts_them_back_to_the_start(desk, stage):
    desk.core.upstream_is(QUIET, 0.0)
    desk.core.upstream_is(Upstream([stage]), 9.0)
    desk.core.upstream_is(QUIET, 9.5)
    desk.core.tick(19.4)
    assert not desk.core.is_open("face", 19.4)
    desk.core.tick(19.5)
    assert desk.core.is_open("face", 19.5)


def test_their_own_work_keeps_faces_from_nothing(desk):
    desk.core.upstream_is(Upstream(["face"]), 0.0)
    desk.core.tick(10.0)
    assert desk.core.is_open("face", 10.0)


def test_where_nothing_can_come_any_more_faces_begin_at_once(desk):
    desk.core.upstream_is(Upstream(["embed"], final=True), 0.0)
    assert not desk.core.is_open("face", 0.0)
    desk.core.upstream_is(Upstream([], final=True), 1.0)
    assert desk.core.is_open("face", 1.0)


def test_as_long_as_nobody_says_what_comes_first_faces_wait(desk):
    desk.core.tick(1000.0)
    assert not desk.core.is_open("face", 1000.0)


def test_while_the_catalog_is_away_faces_wait_and_so_they_do_a_while_after(open_desk):
    open_desk.core.upstream_lost(20.0)
    assert not open_desk.core.is_open("face", 20.0)
    open_desk.core.upstream_is(QUIET, 30.0)
    open_desk.core.tick(39.0)
    assert not open_desk.core.is_open("face", 39.0)
    open_desk.core.tick(40.0)
    assert open_desk.core.is_open("face", 40.0)


def test_an_upstream_that_flaps_never_lets_faces_begin_and_strands_nothing(open_desk):
    open_desk.arrive("face", 1, 2, 3, 4, now=20.0)
    for now in range(21, 200, 2):
        open_desk.core.upstream_is(Upstream(["decode"]), float(now))
        effects = open_desk.core.upstream_is(QUIET, now + 1.0)
        effects += open_desk.core.worker_prepared("face", 1, now + 1.0)
        assert effects == []
    assert open_desk.core.tick(300.0) == [SendGrant("face", 1, 1)]


# ── when somebody comes first ───────────────────────────────────────────────────────────────


def test_what_is_there_already_waits_in_the_queue_while_its_class_is_closed(desk):
    assert desk.arrive("face", 1, 2, 3, 4, now=0.0) == []
    assert desk.core.status(0.0).classes[1].queued == 4
    desk.core.upstream_is(QUIET, 0.0)
    (batch,) = desk.core.tick(10.0)
    assert batch == SendBatch("face", 1, 4, tasks(1, 2, 3, 4))


def test_embeddings_that_come_while_a_face_batch_runs_are_next(open_desk):
    desk = open_desk
    desk.arrive("face", *range(1, 9), now=20.0)
    grant = desk.granted("face", 1, now=20.0)
    assert desk.core.worker_prepared("face", 2, 20.0) == []
    (batch,) = desk.arrive("embed", *range(11, 15), now=21.0)
    assert batch.worker == "embed"
    assert not desk.core.is_open("face", 21.0)
    assert desk.core.worker_prepared("embed", 1, 21.0) == []  # what runs ends
    (granted,) = desk.release(grant, 22.0)
    assert granted.worker == "embed"
    assert desk.release(granted, 23.0) == []  # the second batch of faces waits, prepared
    desk.core.tick(32.9)
    assert desk.core.tick(33.0) == [SendGrant("face", 2, 3)]


def test_a_face_batch_that_is_ready_waits_for_an_embedding_that_is_not(open_desk):
    desk = open_desk
    desk.arrive("face", *range(1, 5), now=20.0)
    assert desk.arrive("embed", 11, now=20.0) == []
    assert desk.core.worker_prepared("face", 1, 20.0) == []


def test_no_work_is_given_to_a_class_that_waits(open_desk):
    desk = open_desk
    desk.core.upstream_is(Upstream(["scan"]), 20.0)
    assert desk.arrive("face", *range(1, 9), now=20.0) == []
    assert desk.core.worker_died("face", 1, [], 21.0) == []
    assert desk.pull("face", 2, 21.0) == []


def test_a_third_class_waits_for_both():
    desk = Desk("embed", "face", "third")
    desk.core.upstream_is(Upstream(["face"]), 0.0)
    desk.core.tick(10.0)
    assert [desk.core.is_open(kind, 10.0) for kind in desk.core.kinds] == [True, True, False]


# ── deaths ──────────────────────────────────────────────────────────────────────────────────


def test_a_face_worker_that_dies_with_a_batch_costs_embeddings_nothing(open_desk):
    desk = open_desk
    desk.arrive("face", *range(1, 9), now=20.0)
    desk.granted("face", 1, now=20.0)
    desk.core.worker_prepared("face", 2, 20.0)
    (batch,) = desk.arrive("embed", *range(11, 15), now=21.0)
    desk.core.worker_prepared("embed", 1, 21.0)
    assert desk.core.worker_died("face", 1, [1, 2, 3, 4], 22.0) == [SendGrant("embed", 1, 2)]
    desk.release(SendGrant("embed", 1, 2), 23.0)
    assert [each.id for each in batch.tasks] == [11, 12, 13, 14]
    assert desk.pull("face", 2, 23.0) == []  # closed
    (again,) = desk.core.tick(33.0)
    assert again == SendBatch("face", 1, 4, tasks(5, 6, 7, 8))


def test_after_a_restart_of_the_scheduler_held_tasks_are_nobodys_and_new_ones_go_on():
    """Both classes had tasks out; the workers say so, and the catalog takes them back."""
    desk = Desk()
    desk.core = core_of("embed", "face")
    assert desk.pull("embed", 1, 0.0, held=[1, 2]) == []
    assert desk.pull("face", 1, 0.0, held=[101, 102]) == []
    assert not desk.core.is_open("face", 0.0)
    assert list(desk.core.offer("face").outstanding) == []
    (batch,) = desk.arrive("embed", 3, 4, 5, 6, now=0.0)
    grant = desk.granted("embed", batch.batch, now=0.0)
    assert desk.release(grant, 1.0) == []
    desk.arrive("face", 103, 104, 105, 106, now=1.0)
    desk.core.upstream_is(QUIET, 1.0)
    (face,) = desk.core.tick(11.0)
    assert (face.worker, face.tasks) == ("face", tasks(103, 104, 105, 106))


# ── what is said of it ──────────────────────────────────────────────────────────────────────


def test_status_says_why_a_class_waits(desk):
    assert desk.reason("face", 0.0) == "the catalog has not said what comes first"
    desk.core.upstream_is(Upstream(["scan"]), 0.0)
    assert desk.reason("face", 0.0) == "folders are being walked"
    desk.core.upstream_is(Upstream(["scan", "decode"]), 0.0)
    assert desk.reason("face", 0.0) == "photos are being read"
    desk.core.upstream_is(Upstream(["scan", "decode", "embed"]), 0.0)
    assert desk.reason("face", 0.0) == "embeddings first"
    desk.core.upstream_is(QUIET, 1.0)
    assert desk.reason("face", 1.5) == "begins in 10 s, unless something comes first"
    desk.core.tick(11.0)
    assert desk.reason("face", 11.0) == ""


def test_status_counts_what_waits_what_is_out_and_how_long_the_device_was_leased(desk):
    desk.arrive("embed", *range(1, 6), now=0.0)
    desk.arrive("face", 101, now=0.0)
    grant = desk.granted("embed", 1, now=1.0)
    desk.release(grant, 3.5)
    desk.core.worker_died("embed", 1, [], 4.0)
    status = desk.core.status(4.0)
    assert status.classes == [
        ClassStatus("embed", 1, 0, open=True, reason="its worker is not up"),
        ClassStatus("face", 1, 0, open=False, reason="the catalog has not said what comes first"),
    ]
    assert (status.leases, status.busy_s) == (1, 2.5)


# ── death ───────────────────────────────────────────────────────────────────────────────────


def test_what_a_worker_was_done_with_and_had_not_told_is_given_back_to_the_catalog(desk):
    """Results wait a moment to be committed together: that moment is long enough to die in."""
    desk.arrive("embed", 1, 2, 3, 4, now=0.0)
    desk.release(desk.granted("embed", 1, now=0.0), 0.5)
    desk.core.worker_died("embed", 1, [], 0.6)
    assert not desk.core.offer("embed").outstanding
    assert desk.pull("embed", 2, 1.0) == []


def test_what_it_was_not_done_with_stays_here(desk):
    desk.arrive("embed", *range(1, 9), now=0.0)
    desk.release(desk.granted("embed", 1, now=0.0), 0.5)
    desk.core.worker_died("embed", 1, [], 0.6)
    assert list(desk.core.offer("embed").outstanding) == [5, 6, 7, 8]
    assert desk.pull("embed", 2, 1.0) == [SendBatch("embed", 1, 4, tasks(5, 6, 7, 8))]


def test_a_successor_waits_until_the_death_before_it_is_told(desk):
    assert not desk.core.is_early("embed", 1)
    assert desk.core.is_early("embed", 2)
    desk.core.worker_died("embed", 1, [], 0.6)
    assert not desk.core.is_early("embed", 2)


def test_a_death_that_is_told_late_takes_nothing_from_the_successor():
    core = core_of("embed", "face")
    core.worker_pulls("embed", 2, Pull("embed", 8, [], 0), 0.0)  # the first that was ever heard
    core.tasks_arrived("embed", 1, tasks(1, 2, 3, 4), 0.0)
    (grant,) = core.worker_prepared("embed", 1, 0.0)
    core.worker_died("embed", 1, [9], 0.5)
    assert list(core.offer("embed").outstanding) == [1, 2, 3, 4]
    assert core.worker_prepared("embed", 1, 0.6) == []  # it has the lease already
    core.worker_released("embed", grant.batch, grant.lease, 1.0)
    assert core.status(1.0).busy_s == 1.0


# ── asks ────────────────────────────────────────────────────────────────────────────────────

ASK = AskCaption(7, 3, b"d" * 32, 640, 480, "sketch")
ASKED = EmbedTask(ASKS + 1, 3, b"d" * 32, 640, 480, pack="sketch")


@pytest.fixture
def asked():
    """All classes, and nobody has said what is upstream: only embeddings may have the device."""
    return Desk("embed", "face", "caption")


def test_who_asks_for_a_caption_waits_for_no_class(asked):
    assert asked.core.asked("gateway", 1, ASK, 0.0) == [SendBatch("caption", 1, 1, [ASKED])]
    assert asked.core.worker_prepared("caption", 1, 0.0) == [SendGrant("caption", 1, 1)]


def test_an_ask_waits_for_the_batch_that_runs_and_for_no_other(asked):
    asked.arrive("embed", *range(1, 13), now=0.0)
    grant = asked.granted("embed", 1, now=0.0)
    asked.core.asked("gateway", 1, ASK, 0.0)
    assert asked.core.worker_prepared("embed", 2, 0.0) == []
    assert asked.core.worker_prepared("caption", 1, 0.0) == []
    assert SendGrant("caption", 1, 2) in asked.release(grant, 0.5)


def test_an_ask_is_sent_to_a_worker_that_has_no_room(asked):
    asked.core.upstream_is(QUIET, 0.0)
    asked.core.tick(20.0)
    asked.arrive("caption", *range(1, 13), now=20.0)
    assert asked.core.asked("gateway", 1, ASK, 20.0) == [SendBatch("caption", 4, 1, [ASKED])]


def test_what_is_said_goes_to_who_asked_under_its_own_number(asked):
    asked.core.asked("gateway", 1, ASK, 0.0)
    assert asked.core.said(Saying(ASKED.id, "two")) == [SendSaying("gateway", Saying(7, "two"))]
    last = Saying(ASKED.id, "two red", done=True)
    (told,) = asked.core.said(last)
    assert told.saying == Saying(7, "two red", done=True)
    assert asked.core.said(last) == []  # it is over


def test_an_ask_dies_with_its_worker_and_who_asked_is_told(asked):
    asked.core.asked("gateway", 1, ASK, 0.0)
    effects = asked.core.worker_died("caption", 1, [ASKED.id], 1.0)
    assert effects == [SendSaying("gateway", Saying(7, "", done=True, error=DIED))]
    asked.pull("caption", 2, 2.0)
    assert asked.core.tick(20.0) == []


def test_an_ask_whose_worker_was_about_to_end_is_given_to_the_next_once(asked):
    asked.core.asked("gateway", 1, ASK, 0.0)
    assert asked.core.worker_died("caption", 1, [], 1.0) == []
    assert asked.pull("caption", 2, 2.0) == [SendBatch("caption", 1, 1, [ASKED])]
    (told,) = asked.core.worker_died("caption", 2, [], 3.0)
    assert told.saying.error == DIED


def test_an_ask_that_no_worker_has_yet_waits_for_one():
    core = core_of("embed", "caption")
    assert core.asked("gateway", 1, ASK, 0.0) == []
    assert core.worker_pulls("caption", 1, Pull("caption", 2, [], 0), 5.0) == [
        SendBatch("caption", 1, 1, [ASKED])
    ]


def test_nobody_works_for_who_is_gone():
    core = core_of("embed", "caption")
    core.asked("gateway", 1, ASK, 0.0)
    core.asker_gone("gateway", 1)
    assert core.worker_pulls("caption", 1, Pull("caption", 2, [], 0), 5.0) == []
    assert core.said(Saying(ASKED.id, "two")) == []


def test_what_an_ask_did_well_is_no_proof_of_a_worker(asked):
    """It is no picture that could be given to its successor: nobody knows whether it still is."""
    asked.core.asked("gateway", 1, ASK, 0.0)
    (grant,) = asked.core.worker_prepared("caption", 1, 0.0)
    asked.release(grant, 1.0)
    asked.core.upstream_is(QUIET, 0.0)
    asked.core.tick(20.0)
    asked.arrive("caption", *range(1, 5), now=20.0)
    asked.core.worker_died("caption", 1, [1, 2], 21.0)
    (batch,) = asked.pull("caption", 2, 30.0)
    assert {each.id for each in batch.tasks} == {3, 4}


# ── all of it, in any order ─────────────────────────────────────────────────────────────────

KINDS = ("embed", "face")
TASKS = {"embed": range(1, 41), "face": range(101, 141)}


class Hands:
    """What the worker of a class has, and what became of the class's tasks."""

    def __init__(self, kind):
        self.fresh = deque(TASKS[kind])  #: in the catalog, with nobody
        self.epoch = 1
        self.seen = 0
        self.batches: dict[int, list[int]] = {}
        self.prepared: set[int] = set()  #: of those, said to be and not granted yet
        self.results: set[int] = set()  #: computed, not yet committed
        self.done: set[int] = set()
        self.charged: set[int] = set()  #: by the catalog, outside the core
        self.delivery = 0

    @property
    def held(self):
        return [each for ids in self.batches.values() for each in ids] + sorted(self.results)

    def empty(self):
        self.batches, self.prepared, self.seen = {}, set(), 0


class World(RuleBasedStateMachine):
    """A catalog, a worker of each class that may die, and the core between them."""

    def __init__(self):
        super().__init__()
        self.core = core_of(*KINDS)
        self.now = 0.0
        self.hands = {kind: Hands(kind) for kind in KINDS}
        self.upstream: Upstream | None = None
        self.opens_at: float | None = None  #: for faces, as this side sees it
        self.granted: SendGrant | None = None

    def above(self):
        """Is anything before faces busy, or not known?"""
        if self.upstream is None or {"scan", "decode", "embed"} & set(self.upstream.busy):
            return True
        embed = self.core.status(self.now).classes[0]
        return embed.queued > 0 or embed.batches > 0

    def act(self, effects):
        if self.above():
            self.opens_at = None
        elif self.opens_at is None:
            self.opens_at = self.now + SETTLE_S
        for effect in effects:
            hands = self.hands[effect.worker]
            if effect.worker == "face":
                final = self.upstream is not None and self.upstream.final
                assert not self.above(), "faces went before embeddings"
                assert final or (self.opens_at is not None and self.now >= self.opens_at)
            if isinstance(effect, SendBatch):
                assert len(effect.tasks) <= effect.bucket
                hands.seen = effect.batch
                hands.batches[effect.batch] = [each.id for each in effect.tasks]
            else:
                assert self.granted is None, "two leases on one device"
                assert effect.worker == "embed" or not self.hands["embed"].prepared
                hands.prepared.remove(effect.batch)
                self.granted = effect

    @rule(kind=st.sampled_from(KINDS), most=st.integers(1, 6))
    def catalog_delivers(self, kind, most):
        hands, offer = self.hands[kind], self.core.offer(kind)
        count = min(most, offer.room, len(hands.fresh))
        if not count:
            return
        hands.delivery += 1
        ids = [hands.fresh.popleft() for _ in range(count)]
        self.act(self.core.tasks_arrived(kind, hands.delivery, tasks(*ids), self.now))

    @rule(
        busy=st.lists(st.sampled_from(["scan", "decode", "embed", "face"]), max_size=2),
        final=st.booleans(),
    )
    def catalog_tells_what_is_upstream(self, busy, final):
        self.upstream = Upstream(busy, final)
        self.act(self.core.upstream_is(self.upstream, self.now))

    @rule()
    def all_is_quiet(self):
        self.upstream = QUIET
        self.act(self.core.upstream_is(QUIET, self.now))

    @rule()
    def catalog_is_away(self):
        self.upstream = None
        self.act(self.core.upstream_lost(self.now))

    @rule(kind=st.sampled_from(KINDS))
    def worker_offers(self, kind):
        hands = self.hands[kind]
        pull = Pull(kind, 2 * BUCKET, hands.held, hands.seen)
        self.act(self.core.worker_pulls(kind, hands.epoch, pull, self.now))

    @rule(kind=st.sampled_from(KINDS), last=st.booleans())
    def worker_prepares(self, kind, last):
        hands = self.hands[kind]
        running = self.granted is not None and self.granted.worker == kind and self.granted.batch
        waiting = [each for each in sorted(hands.batches) if each != running]
        if waiting:
            batch = waiting[-1 if last else 0]
            hands.prepared.add(batch)
            self.act(self.core.worker_prepared(kind, batch, self.now))

    @precondition(lambda self: self.granted is not None)
    @rule()
    def worker_runs(self):
        grant, self.granted = self.granted, None
        assert grant is not None
        hands = self.hands[grant.worker]
        hands.results.update(hands.batches.pop(grant.batch))
        self.act(self.core.worker_released(grant.worker, grant.batch, grant.lease, self.now))

    @rule(kind=st.sampled_from(KINDS))
    def catalog_commits(self, kind):
        hands = self.hands[kind]
        hands.done |= hands.results
        hands.results = set()

    @rule(kind=st.sampled_from(KINDS), while_running=st.booleans())
    def worker_dies(self, kind, while_running):
        hands, executing = self.hands[kind], []
        runs = self.granted is not None and self.granted.worker == kind
        if runs and while_running:
            assert self.granted is not None
            executing = hands.batches[self.granted.batch]
        hands.charged |= set(executing) - {PROOF}
        # results that were not committed die with it; their tasks go back to the catalog
        lost, hands.results = hands.results - {PROOF}, set()
        hands.empty()
        if runs:
            self.granted = None
        self.act(self.core.worker_died(kind, hands.epoch, sorted(executing), self.now))
        assert lost.isdisjoint(self.core.offer(kind).outstanding), "they are lost for ever"
        hands.fresh.extend(sorted(lost))
        hands.epoch += 1

    @rule()
    def scheduler_dies(self):
        """What runs ends without a lease; all else goes back to the catalog."""
        grant, self.granted = self.granted, None
        for kind, hands in self.hands.items():
            if grant is not None and grant.worker == kind:
                hands.results.update(hands.batches.pop(grant.batch))
            somewhere = hands.results | hands.done | hands.charged
            hands.fresh = deque(each for each in TASKS[kind] if each not in somewhere)
            hands.delivery = 0
            hands.empty()
        self.core = core_of(*KINDS)
        self.upstream = self.opens_at = None
        self.act([])

    @rule(seconds=st.floats(0, 12))
    def time_passes(self, seconds):
        self.now += seconds
        self.act(self.core.tick(self.now))

    @invariant()
    def every_task_is_somewhere(self):
        for kind, found in zip(KINDS, self.core.status(self.now).classes, strict=True):
            hands = self.hands[kind]
            held = {each for ids in hands.batches.values() for each in ids}
            given = [each - {PROOF} for each in (held, hands.results, hands.done, hands.charged)]
            places = len(hands.fresh) + found.queued + sum(map(len, given))
            assert places == len(TASKS[kind])

    @invariant()
    def the_device_is_not_idle_while_somebody_may_have_it(self):
        if self.granted is None:
            assert not self.hands["embed"].prepared
            if self.core.is_open("face", self.now):
                assert not self.hands["face"].prepared

    def teardown(self):
        """Whatever happened: if nothing more does, everything is done in the end."""
        self.upstream = Upstream([], final=True)
        for _ in range(200):
            self.act(self.core.upstream_is(self.upstream, self.now))
            for kind in KINDS:
                self.catalog_delivers(kind, 6)
                self.worker_prepares(kind, last=False)
                self.catalog_commits(kind)
                self.worker_offers(kind)
            if self.granted is not None:
                self.worker_runs()
            self.time_passes(1.0)
        for kind, hands in self.hands.items():
            assert (hands.done | hands.charged) - {PROOF} == set(TASKS[kind])


TestWorld = World.TestCase
TestWorld.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
