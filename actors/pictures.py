"""What decode has left of the photos in a batch, read for a model.

A picture that is missing or torn is no fault of the photo: it is made again.  One that no model
can take is.  Neither keeps the others of its batch waiting.
"""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from actors.messages import EmbedTask, Failed, Result, ThumbnailLost
from models.errors import PictureBroken, ThumbnailBroken

T = TypeVar("T")


def read_each(
    tasks: Sequence[EmbedTask],
    where: Callable[[EmbedTask], Path],
    prepare: Callable[[Path, EmbedTask], T],
) -> tuple[list[Result], list[EmbedTask], list[T]]:
    """The results of *tasks* that cannot be done, the others, and what *prepare* made of each.

    Args:
        tasks: of one batch.
        where: the file of a task's picture.
        prepare: reads it; may raise ThumbnailBroken and PictureBroken.
    """
    failed: list[Result] = []
    good: list[EmbedTask] = []
    prepared: list[T] = []
    for task in tasks:
        path = where(task)
        try:
            prepared.append(prepare(path, task))
        except ThumbnailBroken:
            # Whoever makes it again keeps what looks whole, which this may do.
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            failed.append(ThumbnailLost(task.id, task.content))
        except PictureBroken as error:
            failed.append(Failed(task.id, "photo", str(error)))
        else:
            good.append(task)
    return failed, good, prepared
