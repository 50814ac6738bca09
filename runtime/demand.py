"""Demand, not push: who works says how much it can hold, and nobody is sent more.

A *standing offer* says "keep up to `window` items with me; I hold these".  It is absolute and
idempotent, unlike credits that are added and subtracted: saying it twice changes nothing, and
a lost one is repaired by the next.  Between an offer and the deliveries that cross it on the
way stands one number: the provider counts its deliveries to a puller, the puller reports the
last one it has seen, and what was delivered after that is in flight, not lost.

A line between two incarnations keeps order and loses nothing until one of them dies, so that
number is exact.  Should a line be worse than that (a delivery refused by a full mailbox is
lost without a death), the books still close:

    what happened              who notices     what it does
    ─────────────────────────  ──────────────  ───────────────────────────────────────────────
    an offer was lost          nobody          the next one says the same
    an offer comes late        provider        ignores it: it knows a newer delivery as seen;
                                               but `PATIENCE` of them in a row mean a puller
                                               that began to count anew
    a delivery comes twice,    puller          ignores it: it has seen that number or a
    or after a later one                       later one; the provider hears "seen, not held"
    a delivery was lost        provider        a later one was seen: its items are lost, and go
                                               again
    the last one was lost      provider        `doubts` after `PATIENCE` offers without a sign
                                               of it: send an empty one, which will be seen
    more came than there is    puller          takes what fits; the provider hears of the rest
    room for                                   as above
    an item goes twice         the commit      it counts once; that is not demand's affair

The empty delivery is why this stays exact where lines keep order, however late they are: no
item is ever declared lost because time has passed.

Prior art: GenStage's demand, Pekko's consumer-driven windows, JetStream's pull consumers.
Rejected: additive credits (a lost or doubled one is never repaired), visibility timeouts
(endless duplicates when too short, slow recovery when too long).

Both halves are pure; they know ids, names and incarnations, not what an item is.
"""

from collections.abc import Iterable

import msgspec


class OfferStatistics(msgspec.Struct, frozen=True):
    window: int
    outstanding: int
    delivery: int  #: the last one seen
    stale: int  #: deliveries that came twice or too late
    over: int  #: items there was no room for: the provider's fault


class Offer:
    """The puller's half: what it holds, and when to say so.

    Args:
        window: most items to hold at once.
        step: free places that are worth saying, half the window unless told otherwise: to say
            each one alone would cost a message an item.
    """

    #: seconds after which the offer is said again although nothing changed
    REPEAT_S = 2.0

    def __init__(self, window: int, step: int | None = None) -> None:
        self.window = window
        self._step = step or (window + 1) // 2
        self.delivery = 0  #: number of the last delivery seen
        self.outstanding: dict[int, None] = {}  #: ids in order of arrival
        self._said_at = float("-inf")
        self._said_room = 0
        self._stale = 0
        self._over = 0

    def deliver(self, delivery: int, ids: Iterable[int]) -> list[int]:
        """Take a delivery in; the ids that are new and fit the window, in order."""
        if delivery <= self.delivery:
            self._stale += 1
            return []
        self.delivery = delivery
        outstanding = self.outstanding
        new = []
        for each in ids:
            if each in outstanding:
                continue
            if len(outstanding) >= self.window:
                self._over += 1
                continue
            outstanding[each] = None
            new.append(each)
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

        Yes once a step is free beyond what was offered, or after `REPEAT_S`.
        """
        freed = self.room - max(self._said_room, 0)
        return now - self._said_at >= self.REPEAT_S or freed >= self._step

    def said(self, now: float) -> None:
        self._said_at = now
        self._said_room = self.room

    def statistics(self) -> OfferStatistics:
        return OfferStatistics(
            self.window, len(self.outstanding), self.delivery, self._stale, self._over
        )


class _Puller:
    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.window = 0
        self.delivery = 0  #: the last one sent
        self.seen = 0  #: the last one it said to have seen
        self.behind = 0  #: offers in a row that knew less than one before them
        self.unaware = 0  #: offers since the last delivery that knew nothing of it
        self.held: set[int] = set()  #: as the puller said
        self.in_flight: dict[int, int] = {}  #: id → number of its delivery
        self.taken: set[int] = set()  #: both


class DemandStatistics(msgspec.Struct, frozen=True):
    window: int  #: sum over the pullers
    held: int
    in_flight: int
    pullers: int
    stale: int  #: offers that came too late


class Demand:
    """The provider's half: who wants how much, and who holds what."""

    #: offers without a sign of the last delivery after which an empty one asks for it
    PATIENCE = 4

    def __init__(self) -> None:
        self._pullers: dict[str, _Puller] = {}
        self._stale = 0

    def offer(
        self, name: str, epoch: int, window: int, outstanding: Iterable[int], delivery: int
    ) -> tuple[set[int], set[int]]:
        """Note a standing offer.

        Returns:
            (adopted, lost): ids the puller holds that were not known to be its own, as after
            a restart of the provider; and ids that were delivered to it and that it no longer
            holds, or never did: it has seen their delivery or a later one.
        """
        puller = self._pullers.get(name)
        if puller is None or puller.epoch < epoch:
            puller = self._pullers[name] = _Puller(epoch)
        elif puller.epoch > epoch:
            self._stale += 1
            return set(), set()
        elif delivery < puller.seen and puller.behind < self.PATIENCE:
            puller.behind += 1
            self._stale += 1
            return set(), set()
        puller.behind = 0
        # a number above ours is one of our predecessor's
        puller.seen = min(delivery, puller.delivery)
        puller.unaware = puller.unaware + 1 if puller.seen < puller.delivery else 0
        held = set(outstanding)
        adopted = held - puller.taken
        seen = {each for each, number in puller.in_flight.items() if number <= delivery}
        lost = (puller.held | seen) - held
        for each in seen:
            del puller.in_flight[each]
        puller.window = window
        puller.held = held
        puller.taken = held | puller.in_flight.keys()
        return adopted, lost

    def room(self, name: str) -> int:
        """How many more items *name* wants now."""
        puller = self._pullers.get(name)
        if puller is None:
            return 0
        return max(puller.window - len(puller.taken), 0)

    def delivered(self, name: str, ids: Iterable[int]) -> int:
        """Note that *ids* go to *name* now; the number to send along."""
        puller = self._pullers[name]
        puller.delivery += 1
        puller.unaware = 0
        for each in ids:
            puller.in_flight[each] = puller.delivery
            puller.taken.add(each)
        return puller.delivery

    def doubts(self, name: str) -> bool:
        """Was the last delivery to *name* lost, perhaps?  Then deliver nothing, with a number."""
        puller = self._pullers.get(name)
        return puller is not None and puller.unaware >= self.PATIENCE

    def settled(self, ids: Iterable[int]) -> None:
        """Items that are done, whoever held them."""
        ids = list(ids)
        for puller in self._pullers.values():
            puller.held.difference_update(ids)
            puller.taken.difference_update(ids)
            for each in ids:
                puller.in_flight.pop(each, None)

    def gone(self, name: str, epoch: int) -> set[int]:
        """Incarnation *epoch* of *name* died; the ids it held."""
        puller = self._pullers.get(name)
        if puller is None or puller.epoch > epoch:
            return set()
        del self._pullers[name]
        return puller.taken

    def waiting(self, part: float = 0.0) -> list[str]:
        """Who has room, those with most of it first.

        Args:
            part: of its window that has to be free at least, for a provider to whom a delivery
                is dear.
        """
        names = [
            name
            for name, each in self._pullers.items()
            if (room := self.room(name)) and room >= part * each.window
        ]
        return sorted(names, key=lambda name: (-self.room(name), name))

    def epoch(self, name: str) -> int | None:
        """The incarnation of *name* whose offer stands; None where none does."""
        puller = self._pullers.get(name)
        return None if puller is None else puller.epoch

    def pullers(self) -> list[str]:
        """Who makes offers, those with most room first."""
        return sorted(self._pullers, key=lambda name: (-self.room(name), name))

    def statistics(self) -> DemandStatistics:
        pullers = self._pullers.values()
        return DemandStatistics(
            window=sum(each.window for each in pullers),
            held=sum(len(each.held) for each in pullers),
            in_flight=sum(len(each.in_flight) for each in pullers),
            pullers=len(pullers),
            stale=self._stale,
        )
