"""Standing offers: never more than the window, nothing lost, whatever is repeated or crosses."""

from collections import deque

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

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


def test_an_offer_of_a_dead_incarnation_changes_nothing():
    demand = Demand()
    demand.offer("w", 2, 4, [], 0)
    assert demand.offer("w", 1, 100, [9], 5) == (set(), set())
    assert demand.room("w") == 4


def test_a_death_returns_everything_held_and_in_flight():
    demand = Demand()
    demand.offer("w", 1, 4, [], 0)
    demand.delivered("w", [1])
    demand.offer("w", 1, 4, [1], 1)
    demand.delivered("w", [2])
    assert demand.gone("w", 1) == {1, 2}
    assert demand.gone("w", 1) == set()


class Exchange(RuleBasedStateMachine):
    """One provider, one puller, two queues between them that keep order but are slow."""

    def __init__(self):
        super().__init__()
        self.queue = deque(range(1, 200))
        self.demand = Demand()
        self.offer = Offer(5)
        self.to_puller: deque[tuple[int, list[int]]] = deque()
        self.to_provider: deque[tuple[list[int], int]] = deque()
        self.done = set()
        self.clock = 0.0

    @rule()
    def puller_says_its_offer(self):
        self.to_provider.append((list(self.offer.outstanding), self.offer.delivery))
        self.offer.said(self.clock)

    @precondition(lambda self: self.to_provider)
    @rule(repeat=st.booleans())
    def provider_hears(self, repeat):
        outstanding, delivery = self.to_provider.popleft()
        for _ in range(1 + repeat):
            adopted, lost = self.demand.offer("w", 1, 5, outstanding, delivery)
            assert not adopted - self.done
            assert lost <= self.done, "only what is done may go missing"

    @precondition(lambda self: self.demand.room("w") and self.queue)
    @rule(most=st.integers(1, 5))
    def provider_delivers(self, most):
        count = min(most, self.demand.room("w"), len(self.queue))
        ids = [self.queue.popleft() for _ in range(count)]
        self.to_puller.append((self.demand.delivered("w", ids), ids))

    @precondition(lambda self: self.to_puller)
    @rule()
    def puller_receives(self):
        self.offer.deliver(*self.to_puller.popleft())

    @precondition(lambda self: self.offer.outstanding)
    @rule()
    def puller_finishes_one(self):
        item = next(iter(self.offer.outstanding))
        self.done.add(item)
        self.offer.settle([item])

    @invariant()
    def window_holds(self):
        in_flight = sum(len(ids) for _, ids in self.to_puller)
        assert len(self.offer.outstanding) + in_flight <= 5

    @invariant()
    def nothing_is_lost_or_doubled(self):
        flying = [each for _, ids in self.to_puller for each in ids]
        places = [*self.queue, *flying, *self.offer.outstanding, *self.done]
        assert sorted(places) == list(range(1, 200))


TestExchange = Exchange.TestCase
TestExchange.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)


@given(st.lists(st.tuples(st.integers(1, 8), st.lists(st.integers(1, 20), max_size=10))))
def test_room_is_never_negative_whatever_a_puller_claims(claims):
    demand = Demand()
    for window, outstanding in claims:
        demand.offer("w", 1, window, outstanding, 0)
        assert 0 <= demand.room("w") <= window
