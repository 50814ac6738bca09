"""A chain of actors on standing offers: endless source → relay → slow sink."""

import time
from collections import deque

import anyio
import msgspec

from runtime.actor import Actor
from runtime.demand import Demand, Offer
from runtime.node import Line

WINDOW = 8
ITEM_BYTES = 100_000
ITEMS_PER_S = 10


class Pull(msgspec.Struct, frozen=True, tag="flow.pull", tag_field="t"):
    window: int
    outstanding: list[int]
    delivery: int


class Item(msgspec.Struct, frozen=True, tag="flow.item", tag_field="t"):
    id: int
    delivery: int
    data: bytes


class AskCount(msgspec.Struct, frozen=True, tag="flow.ask_count", tag_field="t"):
    """Answered `Count`."""


class Count(msgspec.Struct, frozen=True, tag="flow.count", tag_field="t"):
    sent: int
    handled: int
    most_waiting: int  #: in the mailbox, ever
    most_held: int


AnyFlow = Pull | Item | AskCount | Count


class Stage(Actor):
    """What the three have in common."""

    messages = AnyFlow
    upstream = ""

    async def on_start(self):
        self.demand = Demand()
        self.offer = Offer(WINDOW)
        self.items: deque[tuple[int, bytes]] = deque()
        self.downstream: Line
        self.wanted = False
        self.sent = self.handled = self.most_held = 0
        self.arrived = anyio.Event()
        if self.upstream:
            self.ref(self.upstream)

    async def on_up(self, name):
        if name == self.upstream:
            self.offer.renew()
            self.say_offer()

    async def handle(self, message, line):
        match message:
            case AskCount():
                waiting = self.node.mailbox.statistics().highest
                return Count(self.sent, self.handled, waiting, self.most_held)
            case Pull(window, outstanding, delivery):
                self.downstream = line
                self.wanted = True
                self.demand.offer(line.name, line.epoch, window, outstanding, delivery)
                self.serve()
            case Item(id_, delivery, data):
                if self.offer.deliver(delivery, [id_]):
                    self.items.append((id_, data))
                self.most_held = max(self.most_held, len(self.items))
                self.arrived.set()
                self.serve()
        return None

    def serve(self):
        """Hand on what there is room for."""

    def say_offer(self):
        now = time.monotonic()
        line = self.ref(self.upstream).line
        if line is not None and self.offer.due(now):
            line.tell(Pull(WINDOW, list(self.offer.outstanding), self.offer.delivery))
            self.offer.said(now)

    def hand_on(self, item, data):
        self.sent += 1
        delivery = self.demand.delivered(self.downstream.name, [item])
        self.downstream.tell(Item(item, delivery, data))


class Source(Stage):
    """Has more than anybody can take."""

    def serve(self):
        while self.demand.room(self.downstream.name):
            self.hand_on(self.sent + 1, bytes(ITEM_BYTES))


class Relay(Stage):
    upstream = "source"

    def serve(self):
        while self.wanted and self.items and self.demand.room(self.downstream.name):
            item, data = self.items.popleft()
            self.hand_on(item, data)
            self.offer.settle([item])
        self.say_offer()


class Sink(Stage):
    """Ten items a second, one after the other."""

    upstream = "relay"

    async def run(self):
        while True:
            while self.items:
                item, _ = self.items.popleft()
                await anyio.sleep(1 / ITEMS_PER_S)
                self.handled += 1
                self.offer.settle([item])
                self.say_offer()
            self.arrived = anyio.Event()
            await self.arrived.wait()
