"""A captioner on its device, and how large a batch fits."""

import time
from collections.abc import Callable
from typing import Any, Self

from numpy.typing import NDArray

from actors.fitted import BATCH_S, BREAK_OFF, Fit, budget_s, ends_with_device, on_device
from models.captions.captioner import Captioner, Written
from models.errors import OutOfMemory, PictureBroken
from models.image import Picture, Size
from models.pack import Pack


class Describer:
    """[caption] of a pack."""

    def __init__(self, captioner: Captioner) -> None:
        self._captioner = captioner
        self._fit = Fit(min(captioner.buckets))
        self.space = captioner.space
        self.size = captioner.size  #: side of the square it looks at, pixels
        self.batch_s = BATCH_S  #: what one batch may take

    @classmethod
    def open(cls, pack: Pack, device: str, threads: int, *, batch_s: float = BATCH_S) -> Self:
        """Load and warm it; on the CPU where *device* cannot be used.

        A batch may take *batch_s* seconds, or more where the model is slow.

        Raises:
            ModelsError: it cannot be, or not even a batch of one fits.
            runtime.errors.DeviceLost: only a new process can go on.
        """
        describer = cls(on_device(lambda place: Captioner.open(pack, place, threads), device))
        begin = time.monotonic()
        try:
            with ends_with_device():
                describer._captioner.warm_up()
        except OutOfMemory as error:
            describer._fit.shrink(error)
        describer.batch_s = budget_s(time.monotonic() - begin, batch_s)
        describer._captioner.limit(BREAK_OFF * describer.batch_s)
        return describer

    def prepare(self, picture: Picture, original: Size) -> NDArray[Any]:
        """*picture*, a thumbnail of what is so wide and high, as a tensor of one row.

        Raises:
            PictureBroken: it has no pixels.
        """
        return self._captioner.prepare([picture], [original])

    def describe(
        self, tensor: NDArray[Any], said: Callable[[int, str], None]
    ) -> list[Written | PictureBroken]:
        """A caption of each row; *said* hears each row's as far as it is written.

        Raises:
            RanTooLong: it took longer than it may.
            MemoryError, runtime.errors.DeviceLost: see `Fit.run`.
        """
        return self._fit.run(lambda most: self._captioner.caption(tensor, largest=most, said=said))
