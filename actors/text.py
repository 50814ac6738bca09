"""The text tower: a query in, its vector out.

A process of its own, resident, on the CPU and without a lease, so that search never waits
for indexing.
"""

from pathlib import Path
from typing import Any, ClassVar

import anyio.to_thread

from actors.messages import AnyMessage, EncodeText, Vectors
from actors.settings import TextSettings
from models.clip import TextTower
from models.errors import ModelsError
from models.pack import load_pack
from runtime.actor import Actor
from runtime.errors import ActorUnusable
from runtime.node import Line


class Text(Actor):
    Settings: ClassVar[Any] = TextSettings
    messages: ClassVar[Any] = AnyMessage

    async def on_start(self) -> None:
        self.settings: TextSettings
        try:
            self._tower = TextTower.open(
                load_pack(Path(self.settings.pack)),
                threads=self.settings.threads,
                limit_s=self.settings.limit_s,
            )
        except ModelsError as error:
            raise ActorUnusable(str(error)) from error

    async def handle(self, message: Any, line: Line) -> Vectors:
        del line
        if not isinstance(message, EncodeText):
            raise NotImplementedError(type(message).__name__)
        vectors = await anyio.to_thread.run_sync(self._tower.encode, message.texts)
        data = vectors.astype("<f4", copy=False).tobytes()
        return Vectors(self._tower.space, self._tower.dimensions, data)
