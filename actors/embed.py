"""The embedder: thumbnails in, vectors out.

Everything about batches, leases and models on their device is `worker`'s.
"""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from actors.fitted import Fitted
from actors.messages import Embedded, EmbedTask, Failed, Result
from actors.photo.thumbnails import thumbnail_path
from actors.pictures import read_each
from actors.settings import EmbedSettings
from actors.worker import Ready, Worker
from models.image import open_thumbnail, thumbnail_for
from models.pack import Pack


class Embed(Worker[Fitted, NDArray[Any]]):
    Settings: ClassVar[Any] = EmbedSettings
    kind = "embed"

    def load(self, pack: Pack) -> Fitted:
        return Fitted.open(pack, self.settings.device, self.settings.threads)

    def read(
        self, loaded: Fitted, tasks: list[EmbedTask]
    ) -> tuple[list[Result], Ready[Fitted, NDArray[Any]]]:
        """The tensor of *tasks*, a row each."""
        tower = loaded.tower
        derived = Path(self.settings.derived)

        def where(task: EmbedTask) -> Path:
            size = thumbnail_for(tower.size, task.width, task.height)
            return thumbnail_path(derived, task.digest, size)

        def row(path: Path, task: EmbedTask) -> NDArray[Any]:
            picture = open_thumbnail(path, tower.size)
            return tower.prepare([picture], [(task.width, task.height)])

        failed, good, rows = read_each(tasks, where, row)
        tensor = np.concatenate(rows) if rows else np.empty((0,))
        return failed, Ready(good, tensor, loaded)

    def compute(self, ready: Ready[Fitted, NDArray[Any]]) -> list[Result]:
        """A vector for each row."""
        vectors, broken = ready.loaded.embed(ready.data)
        data = vectors.astype("<f4", copy=False)
        space = ready.loaded.tower.space
        return [
            Failed(task.id, "photo", "the model gives no finite vector for this picture")
            if row in broken
            else Embedded(task.id, task.content, space, data[row].tobytes())
            for row, task in enumerate(ready.tasks)
        ]
