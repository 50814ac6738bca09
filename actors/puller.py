"""The shell around an `Offer`: says it when it is due, to whoever provides now."""

from collections.abc import Iterable

import anyio

from actors.messages import Kind, Pull
from runtime.demand import Offer
from runtime.errors import Busy, PeerAway
from runtime.node import Line, Ref


class Puller:
    """Work of one *kind* from one *provider*, at most *window* items at a time; see `Offer`."""

    def __init__(self, provider: Ref, kind: Kind, window: int, step: int | None = None) -> None:
        self._provider = provider
        self._kind: Kind = kind
        self._offer = Offer(window, step)
        self._changed = anyio.Event()
        self._closed = False

    def __len__(self) -> int:
        return len(self._offer.outstanding)

    def current(self, line: Line) -> bool:
        """Does *line* belong to the provider's present incarnation, and is work still taken?"""
        return line.epoch == self._provider.incarnation and not self._closed

    def deliver(self, delivery: int, ids: Iterable[int]) -> list[int]:
        """Take a delivery in; the ids that are new, in order."""
        return self._offer.deliver(delivery, ids)

    def settle(self, ids: Iterable[int]) -> None:
        """Hold *ids* no longer."""
        self._offer.settle(ids)
        self._changed.set()

    def renew(self) -> None:
        """The provider has a new incarnation."""
        self._offer.renew()
        self._changed.set()

    def close(self) -> None:
        """Ask for nothing more."""
        self._closed = True

    async def run(self) -> None:
        """Say the offer whenever it is due, until cancelled."""
        while True:
            if not self._closed:
                self._say(anyio.current_time())
            with anyio.move_on_after(Offer.REPEAT_S):
                await self._changed.wait()
            self._changed = anyio.Event()

    def _say(self, now: float) -> None:
        offer = self._offer
        if not offer.due(now):
            return
        try:
            self._provider.tell(
                Pull(self._kind, offer.window, list(offer.outstanding), offer.delivery)
            )
        except (PeerAway, Busy):
            return  # said when it comes up, or with the next tick
        offer.said(now)
