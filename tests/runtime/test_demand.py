"""Standing offers: never more than the window, nothing lost, whatever is repeated or crosses."""

from collections import deque

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from runtime.demand import Demand, Offer


def test_a_new_offer_is_due_at_once_and_then_after_two_seconds():
    offer = Offer(4)
    assert offer.due(0.0)
    offer.said(0.0)
    assert not offer.due(1.9)
    assert offer.due(2.0)


def test_an_offer_is_said_again_once_half_the_window_is_free():
    offer = Offer(4)
    offer.said(0.0)
    offer.deliver(1, [1, 2, 3, 4])
    offer.settle([1])
    assert not offer.due(0.1)
    offer.settle([2])
    assert offer.due(0.1)


def test_what_is_delivered_twice_is_new_once():
    offer = Offer(4)
    assert offer.deliver(1, [1, 2]) == [1, 2]
    assert offer.deliver(2, [2, 3]) == [3]


def test_a_provider_sends_nothing_to_strangers():
    assert Demand().room("nobody") == 0


def test_an_offer_that_crosses_a_delivery_loses_nothing():
    demand = Demand()
    demand.offer("w", 1, 4, [], 0)
    number = demand.delivered("w", [1, 2])
    adopted, lost = demand.offer("w", 1, 4, [], number - 1)  # said before the delivery came
    assert (adopted, lost) == (set(), set())
    assert demand.room("w") == 2


def test_what_a_puller_saw_and_no_longer_holds_is_lost():
    demand = Demand()
    demand.offer("w", 1, 4, [], 0)
    number = demand.delivered("w", [1, 2])
    assert demand.offer("w", 1, 4, [1], number) == (set(), {2})


def test_a_new_provider_adopts_what_a_puller_still_holds():
    assert Demand().offer("w", 1, 4, [7], 3) == ({7}, set())


def test_a_death_returns_everything_held_and_in_flight():
    demand = Demand()
    demand.offer("w", 1, 4, [], 0)
    demand.delivered("w", [1])
    demand.offer("w", 1, 4, [1], 1)
    demand.delivered("w", [2])
    assert demand.gone("w", 1) == {1, 2}
    assert demand.gone("w", 1) == set()


def test_a11_an_offer_of_a_dead_incarnation_changes_nothing():
    demand = Demand()
    demand.offer("w", 2, 4, [1], 0)
    demand.delivered("w", [2])
    before = demand.statistics()
    assert demand.offer("w", 1, 100, [9], 5) == (set(), set())
    assert msgspec.structs.replace(demand.statistics(), stale=0) == before
    assert demand.room("w") == 2


def test_a11_the_death_of_an_older_incarnation_takes_nothing_from_its_successor():
    demand = Demand()
    demand.offer("w", 2, 4, [1], 0)
    assert demand.gone("w", 1) == set()
    assert demand.room("w") == 3


def test_a_late_offer_is_ignored():
    demand = Demand()
    demand.offer("w", 1, 4, [], 0)
    demand.delivered("w", [1])
    demand.offer("w", 1, 4, [1], 1)
    assert demand.offer("w", 1, 4, [], 0) == (set(), set())
    assert demand.statistics().stale == 1
    assert demand.room("w") == 3


def test_a_puller_that_counts_anew_is_believed_in_the_end():
    demand = Demand()
    demand.offer("w", 1, 4, [], 0)
    demand.delivered("w", [1])
    demand.offer("w", 1, 4, [1], 1)
    for _ in range(Demand.PATIENCE):
        demand.offer("w", 1, 4, [], 0)
    assert demand.offer("w", 1, 4, [], 0) == (set(), {1})


def test_a_delivery_that_comes_late_or_twice_is_ignored():
    offer = Offer(4)
    offer.deliver(2, [3])
    assert offer.deliver(1, [1]) == []
    assert offer.deliver(2, [3]) == []
    assert offer.statistics().stale == 2
    assert list(offer.outstanding) == [3]


def test_a_provider_that_breaks_the_window_gets_the_rest_back_with_the_next_offer():
    demand, offer = Demand(), Offer(2)
    demand.offer("w", 1, 4, [], 0)  # it thinks the window is 4
    assert offer.deliver(demand.delivered("w", [1, 2, 3]), [1, 2, 3]) == [1, 2]
    assert offer.statistics().over == 1
    assert demand.offer("w", 1, 2, list(offer.outstanding), offer.delivery) == (set(), {3})


def test_a_lost_delivery_is_noticed_with_the_next_one():
    demand, offer = Demand(), Offer(4)
    demand.offer("w", 1, 4, [], 0)
    demand.delivered("w", [1])  # never arrives
    offer.deliver(demand.delivered("w", [2]), [2])
    assert demand.offer("w", 1, 4, list(offer.outstanding), offer.delivery) == (set(), {1})


def test_a_lost_last_delivery_is_noticed_by_an_empty_one():
    demand, offer = Demand(), Offer(1)
    demand.offer("w", 1, 1, [], 0)
    demand.delivered("w", [1])  # never arrives
    for _ in range(Demand.PATIENCE):
        assert not demand.doubts("w")
        assert demand.offer("w", 1, 1, [], 0) == (set(), set())
    assert demand.doubts("w")
    assert offer.deliver(demand.delivered("w", []), []) == []
    assert demand.offer("w", 1, 1, [], offer.delivery) == (set(), {1})
    assert not demand.doubts("w")


class Exchange(RuleBasedStateMachine):
    """A8: one provider and one puller that may both die, be drained and give back items.

    Two queues between them keep order but are slow, as lines are; a death empties them.
    """

    ITEMS = range(1, 200)
    WINDOW = 5

    def __init__(self):
        super().__init__()
        self.queue = deque(self.ITEMS)
        self.demand = Demand()
        self.offer = Offer(self.WINDOW)
        self.epoch = 1
        self.to_puller: deque[tuple[int, list[int]]] = deque()
        self.to_provider: deque[tuple[int, list[int], int]] = deque()
        self.ghosts: list[tuple[int, int, list[int], int]] = []  #: offers of dead pullers
        self.unheard: set[int] = set()  #: held by the puller, and queued by a provider new to it
        self.done = set()
        self.clock = 0.0

    # ── the ordinary ──

    @rule()
    def puller_says_its_offer(self):
        offer = self.offer
        self.to_provider.append((offer.window, list(offer.outstanding), offer.delivery))
        offer.said(self.clock)

    @precondition(lambda self: self.to_provider)
    @rule(repeat=st.booleans())
    def provider_hears(self, repeat):
        window, outstanding, delivery = self.to_provider.popleft()
        self.unheard = set()
        for _ in range(1 + repeat):
            adopted, lost = self.demand.offer("w", self.epoch, window, outstanding, delivery)
            self.queue = deque(each for each in self.queue if each not in adopted)
            self._give_back(lost)

    @precondition(lambda self: self.demand.room("w") and self.queue)
    @rule(most=st.integers(1, 5))
    def provider_delivers(self, most):
        count = min(most, self.demand.room("w"), len(self.queue))
        ids = [self.queue.popleft() for _ in range(count)]
        self.to_puller.append((self.demand.delivered("w", ids), ids))

    @precondition(lambda self: self.to_puller)
    @rule()
    def puller_receives(self):
        delivery, ids = self.to_puller.popleft()
        room = self.offer.room  # less than was offered once, when it drains
        assert self.offer.deliver(delivery, ids) == ids[:room]

    @precondition(lambda self: self.offer.outstanding)
    @rule(known=st.booleans())
    def puller_finishes_one(self, known):
        item = next(iter(self.offer.outstanding))
        self.done.add(item)
        self.offer.settle([item])
        if item in self.unheard:
            self.queue.remove(item)
            self.unheard.remove(item)
        if known:  # the provider is the one who commits
            self.demand.settled([item])

    # ── the rest of life ──

    @precondition(lambda self: self.offer.outstanding)
    @rule()
    def puller_gives_one_back(self):
        """As while draining: it will not be done here."""
        item = next(reversed(self.offer.outstanding))
        self.offer.settle([item])
        self.unheard.discard(item)

    @rule(window=st.sampled_from([0, WINDOW]))
    def puller_is_drained_or_not(self, window):
        self.offer.window = window

    @rule()
    def puller_dies(self):
        self.ghosts += [(self.epoch, *each) for each in self.to_provider]
        self.to_provider.clear()
        self.to_puller.clear()
        self._give_back(self.demand.gone("w", self.epoch))
        self.unheard = set()
        self.epoch += 1
        self.offer = Offer(self.WINDOW)

    @rule()
    def provider_dies(self):
        """Its books go with it; what is done is known, the rest is queued again."""
        self.to_provider.clear()
        self.to_puller.clear()
        self.demand = Demand()
        self.offer.renew()
        self.queue = deque(each for each in self.ITEMS if each not in self.done)
        self.unheard = set(self.offer.outstanding)

    @precondition(lambda self: self.ghosts)
    @rule()
    def a_dead_puller_is_heard(self):
        """A11: of an older incarnation, nothing has an effect."""
        epoch, window, outstanding, delivery = self.ghosts.pop()
        if self.demand.statistics().pullers:
            before = self.demand.statistics()
            assert self.demand.offer("w", epoch, window, outstanding, delivery) == (set(), set())
            assert self.demand.gone("w", epoch) == set()
            assert msgspec.structs.replace(self.demand.statistics(), stale=before.stale) == before

    def _give_back(self, ids):
        self.queue.extendleft(sorted(ids - self.done - set(self.queue), reverse=True))

    def _flying(self):
        return sum(len(ids) for _, ids in self.to_puller)

    @invariant()
    def window_holds(self):
        assert len(self.offer.outstanding) + self._flying() <= self.WINDOW
        assert 0 <= self.demand.room("w") <= self.WINDOW

    @invariant()
    def credits_add_up(self):
        books = self.demand.statistics()
        if books.window >= self.WINDOW:
            taken = {each for puller in self.demand._pullers.values() for each in puller.taken}
            # An offer from before something was committed names it once more, until the next one.
            assert self.demand.room("w") == max(books.window - len(taken), 0)

    @invariant()
    def nothing_is_lost_or_doubled(self):
        flying = [each for _, ids in self.to_puller for each in ids]
        queued = [each for each in self.queue if each not in self.unheard]
        places = [*queued, *flying, *self.offer.outstanding]
        assert len(places) == len(set(places))
        # what was given back is on its way: the provider hears of it with the next offer
        known = {each for puller in self.demand._pullers.values() for each in puller.taken}
        assert {*places, *known, *self.done} == set(self.ITEMS)


def test_a08_credits_hold_over_crash_give_back_and_drain():
    run_state_machine_as_test(
        Exchange, settings=settings(max_examples=40, stateful_step_count=60, deadline=None)
    )


@given(st.lists(st.tuples(st.integers(1, 8), st.lists(st.integers(1, 20), max_size=10))))
def test_room_is_never_negative_whatever_a_puller_claims(claims):
    demand = Demand()
    for window, outstanding in claims:
        demand.offer("w", 1, window, outstanding, 0)
        assert 0 <= demand.room("w") <= window
