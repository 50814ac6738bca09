"""The text tower: a query in, its vector out.

A process of its own, resident, on the CPU and without a lease, so that search never waits
for indexing.

A query says by which pack it wants to be understood, and the answer says by which it was: while
one model takes over from another, both are here.  The one that serves is loaded at the start,
any other one when it is first asked for, beside the queries to the first; that is before it
serves (`catalog`).  A tower that nobody has asked for `SPARE_S` is dropped, unless it is the
last.
"""

from typing import Any, ClassVar

import anyio
import anyio.to_thread

from actors.messages import AnyMessage, EncodeText, Vectors
from actors.packs import Packs
from actors.settings import TextSettings
from models.clip import TextTower
from models.errors import ModelsError
from runtime.actor import Actor
from runtime.errors import ActorUnusable
from runtime.node import Line

#: for queries that are on their way, and for an owner who changes his mind
SPARE_S = 600.0


class Spoken:
    """A loaded tower."""

    def __init__(self, tower: TextTower, name: str, now: float, *, demo: bool) -> None:
        self.tower = tower
        self.name = name
        self.demo = demo
        self.used_at = now
        self.lock = anyio.Lock()


class Text(Actor):
    Settings: ClassVar[Any] = TextSettings
    messages: ClassVar[Any] = AnyMessage
    concurrency: ClassVar[int] = 4

    async def on_start(self) -> None:
        self.settings: TextSettings
        self._packs = Packs(self.settings.folders, self.settings.pack, self.settings.database)
        self._loading = anyio.Lock()
        try:
            self._first = self._load(self._packs.serving(), anyio.current_time())
        except ModelsError as error:
            raise ActorUnusable(str(error)) from error
        self._towers = {self._first.name: self._first}

    async def handle(self, message: Any, line: Line) -> Vectors:
        del line
        if not isinstance(message, EncodeText):
            raise NotImplementedError(type(message).__name__)
        spoken = await self._tower(message.pack or self._first.name)
        async with spoken.lock:
            vectors = await anyio.to_thread.run_sync(spoken.tower.encode, message.texts)
        tower = spoken.tower
        data = vectors.astype("<f4", copy=False).tobytes()
        return Vectors(tower.space, tower.dimensions, data, spoken.name, spoken.demo)

    async def _tower(self, name: str) -> Spoken:
        now = anyio.current_time()
        if name not in self._towers:
            async with self._loading:
                if name not in self._towers:
                    self._towers[name] = await anyio.to_thread.run_sync(self._load, name, now)
        spoken = self._towers[name]
        spoken.used_at = now
        if len(self._towers) > 1:
            self._towers = {
                each: tower for each, tower in self._towers.items() if now - tower.used_at < SPARE_S
            }
        return spoken

    def _load(self, name: str, now: float) -> Spoken:
        pack = self._packs.find(name)
        tower = TextTower.open(pack, threads=self.settings.threads, limit_s=self.settings.limit_s)
        return Spoken(tower, pack.name, now, demo=pack.demo)
