"""Demand, not push: who works says how much it can hold, and nobody is sent more.

A *standing offer* says "keep up to `window` items with me; I hold these".  It is absolute and
idempotent, unlike credits that are added and subtracted: saying it twice changes nothing, and
a lost one is repaired by the next.  Between an offer and the deliveries that cross it on the
way stands one number: the provider counts its deliveries to a puller, the puller reports the
last one it has seen, and what was delivered after that is in flight, not lost.  That is exact,
because a line between two incarnations keeps order and loses nothing until one of them dies.

Prior art: GenStage's demand, Pekko's consumer-driven windows, JetStream's pull consumers.
Rejected: additive credits (a lost or doubled one is never repaired), visibility timeouts
(endless duplicates when too short, slow recovery when too long).

Both halves are pure; they know ids, names and incarnations, not what an item is.
"""

from collections.abc import Iterable

import msgspec


class Offer:
    """The puller's half: what it holds, and when to say so.

    Args:
        window: most items to hold at once.
    """

    #: seconds after which the offer is said again although nothing changed
    REPEAT_S = 2.0

    def __init__(self, window: int) -> None:
        self.window = window
        self.delivery = 0  #: number of the last delivery seen
        self.outstanding: dict[int, None] = {}  #: ids in order of arrival
        self._said_at = float("-inf")
        self._said_room = 0

    def deliver(self, delivery: int, ids: Iterable[int]) -> list[int]:
        """Take a delivery in; the ids that are new, in order."""
        self.delivery = delivery
        new = [each for each in ids if each not in self.outstanding]
        self.outstanding.update(dict.fromkeys(new))
        self._said_room -= len(new)
        return new

    def settle(self, ids: Iterable[int]) -> None:
        """Hold *ids* no longer."""
        for each in ids:
            self.outstanding.pop(each, None)

    def renew(self) -> None:
        """A new incarnation of the provider: deliveries begin at 1 again; say all of it again."""
        self.delivery = 0
        self._said_at = float("-inf")

    @property
    def room(self) -> int:
        return max(self.window - len(self.outstanding), 0)

    def due(self, now: float) -> bool:
        """Is it time to say the offer?

        Yes once half the window is free beyond what was offered (saying each freed place
        alone would cost a message an item), or after `REPEAT_S`.
        """
        freed = self.room - max(self._said_room, 0)
        return now - self._said_at >= self.REPEAT_S or freed * 2 >= self.window

    def said(self, now: float) -> None:
        self._said_at = now
        self._said_room = self.room


class _Puller:
    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.window = 0
        self.delivery = 0
        self.held: set[int] = set()  #: as the puller said
        self.in_flight: dict[int, int] = {}  #: id → number of its delivery


class DemandStatistics(msgspec.Struct, frozen=True):
    window: int  #: sum over the pullers
    held: int
    in_flight: int


class Demand:
    """The provider's half: who wants how much, and who holds what."""

    def __init__(self) -> None:
        self._pullers: dict[str, _Puller] = {}

    def offer(
        self, name: str, epoch: int, window: int, outstanding: Iterable[int], delivery: int
    ) -> tuple[set[int], set[int]]:
        """Note a standing offer.

        Returns:
            (adopted, lost): ids the puller holds that were not known to be its own, as after
            a restart of the provider; and ids that were delivered to it and seen by it, that
            it no longer holds.
        """
        puller = self._pullers.get(name)
        if puller is None or puller.epoch < epoch:
            puller = self._pullers[name] = _Puller(epoch)
        elif puller.epoch > epoch:
            return set(), set()
        held = set(outstanding)
        seen = {each for each, number in puller.in_flight.items() if number <= delivery}
        known = puller.held | puller.in_flight.keys()
        adopted = held - known
        lost = (puller.held | seen) - held
        for each in seen:
            del puller.in_flight[each]
        puller.window = window
        puller.held = held
        return adopted, lost

    def room(self, name: str) -> int:
        """How many more items *name* wants now."""
        puller = self._pullers.get(name)
        if puller is None:
            return 0
        return max(puller.window - len(puller.held | puller.in_flight.keys()), 0)

    def delivered(self, name: str, ids: Iterable[int]) -> int:
        """Note that *ids* go to *name* now; the number to send along."""
        puller = self._pullers[name]
        puller.delivery += 1
        puller.in_flight.update(dict.fromkeys(ids, puller.delivery))
        return puller.delivery

    def settled(self, ids: Iterable[int]) -> None:
        """Items that are done, whoever held them."""
        ids = list(ids)
        for puller in self._pullers.values():
            puller.held.difference_update(ids)
            for each in ids:
                puller.in_flight.pop(each, None)

    def gone(self, name: str, epoch: int) -> set[int]:
        """Incarnation *epoch* of *name* died; the ids it held."""
        puller = self._pullers.get(name)
        if puller is None or puller.epoch > epoch:
            return set()
        del self._pullers[name]
        return puller.held | puller.in_flight.keys()

    def waiting(self) -> list[str]:
        """Who has room, those with most of it first."""
        names = [name for name in self._pullers if self.room(name)]
        return sorted(names, key=lambda name: (-self.room(name), name))

    def statistics(self) -> DemandStatistics:
        pullers = self._pullers.values()
        return DemandStatistics(
            sum(each.window for each in pullers),
            sum(len(each.held) for each in pullers),
            sum(len(each.in_flight) for each in pullers),
        )
