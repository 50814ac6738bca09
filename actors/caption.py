"""The caption worker: pictures in, sentences out.

Captions are written when nothing else is to be done, or when somebody asks for one; the model is
the largest there is.  So it is loaded with the first batch, few batches wait here, and its memory
goes back after a minute without work (`worker`).

A sentence is written word by word, and some take much longer than others.  When a batch does not
end in time, its photos are tried one by one, each on record as the only one: who is too slow alone
fails, and nobody beside it pays for that.  A caption is handed in whole or not at all.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import anyio.from_thread

from actors.messages import Captioned, EmbedTask, Failed, Result
from actors.pictures import read_each
from actors.settings import CaptionSettings
from actors.worker import Ready, Worker
from models.errors import PictureBroken, RanTooLong
from models.pack import Pack
from runtime.faults import fault

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from actors.describer import Describer


class Caption(Worker["Describer", "NDArray[np.float32]"]):
    Settings: ClassVar[Any] = CaptionSettings
    settings: CaptionSettings
    kind = "caption"
    eager = False
    window = 2  #: a batch takes seconds, and whoever asks for a caption waits behind one of them

    async def on_start(self) -> None:
        self.idle_s = self.settings.idle_s
        await super().on_start()

    def load(self, pack: Pack) -> "Describer":
        from actors.describer import Describer  # noqa: PLC0415 - a start would wait for it

        return Describer.open(
            pack, self.settings.device, self.settings.threads, batch_s=self.settings.batch_s
        )

    def read(
        self, loaded: "Describer", tasks: list[EmbedTask]
    ) -> "tuple[list[Result], Ready[Describer, NDArray[np.float32]]]":
        """The tensor of *tasks*, a row each."""
        import numpy as np  # noqa: PLC0415

        from actors.photo.thumbnails import thumbnail_path  # noqa: PLC0415
        from models.image import open_thumbnail, thumbnail_for  # noqa: PLC0415

        derived = Path(self.settings.derived)

        def where(task: EmbedTask) -> Path:
            size = thumbnail_for(loaded.size, task.width, task.height)
            return thumbnail_path(derived, task.digest, size)

        def row(path: Path, task: EmbedTask) -> "NDArray[np.float32]":
            picture = open_thumbnail(path, loaded.size)
            return loaded.prepare(picture, (task.width, task.height))

        failed, good, rows = read_each(tasks, where, row)
        return failed, Ready(good, np.concatenate(rows or [np.empty(0, np.float32)]), loaded)

    def compute(self, ready: "Ready[Describer, NDArray[np.float32]]") -> list[Result]:
        """A caption of each row."""
        tasks, loaded = ready.tasks, ready.loaded
        try:
            return self._describe(tasks, ready.data, loaded)
        except RanTooLong as error:
            if len(tasks) == 1:
                return [Failed(tasks[0].id, "worker", str(error))]
        results: list[Result] = []
        for row, task in enumerate(tasks):
            anyio.from_thread.run_sync(self.node.executing, self.kind, [task.id], loaded.batch_s)
            try:
                results += self._describe([task], ready.data[row : row + 1], loaded)
            except RanTooLong as error:
                results.append(Failed(task.id, "worker", str(error)))
        return results

    def _describe(
        self, tasks: list[EmbedTask], tensor: "NDArray[np.float32]", loaded: "Describer"
    ) -> list[Result]:
        written = loaded.describe(tensor, self._said(tasks))
        results: list[Result] = []
        for task, each in zip(tasks, written, strict=True):
            if isinstance(each, PictureBroken):
                results.append(Failed(task.id, "photo", str(each)))
            elif task.asked:
                self.say(task, each.text, done=True)
            else:
                results.append(
                    Captioned(task.id, task.content, loaded.space, each.text, each.score)
                )
        return results

    def _said(self, tasks: list[EmbedTask]) -> Callable[[int, str], None]:
        """Hears each word; whoever asked is told."""

        def said(row: int, text: str) -> None:
            fault("caption.word")
            if tasks[row].asked:
                self.say(tasks[row], text)

        return said
