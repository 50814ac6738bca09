"""Training pictures: families of four near neighbours, drawn once and kept in a folder.

The members of a family differ in one attribute or in two halves exchanged, so a batch of whole
families is full of the hardest negatives there are.

Chance comes from streams named for training.  Those of `render` have other names, so no seed of a
user ever draws a picture that the network has seen.
"""

from __future__ import annotations

import multiprocessing
from random import Random
from typing import TYPE_CHECKING, Final

import numpy as np

from models.sketch.drawing import draw
from models.sketch.reduction import SIDE, as_seen
from models.sketch.spec import Spec, family

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FAMILY: Final = 4
_CHUNK: Final = 128  #: families drawn by one process at a time
_SIDES: Final = (192, 224, 256)  #: of the pictures before they are reduced
_QUALITIES: Final = (75, 85, 85, 92)  #: of their thumbnails


def draw_dataset(directory: Path, pictures: int, processes: int) -> None:
    """Put at least `pictures` pictures into `directory`, unless some are there already.

    Writes pictures.npy, uint8 [n, 64, 64, 3], and specs.npy, int8 [n, 13]; rows 4i to 4i + 3 are
    one family.
    """
    if (directory / "specs.npy").exists():
        return
    per_chunk = _CHUNK * FAMILY
    chunks = -(-pictures // per_chunk)
    rows = chunks * per_chunk
    pixels = np.lib.format.open_memmap(
        directory / "pictures.npy", "w+", np.uint8, (rows, SIDE, SIDE, 3)
    )
    specs = np.empty((rows, len(Spec._fields)), np.int8)
    # Not forked: torch has threads by now, and a fork would copy their locks.
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for number, drawn, told in pool.imap_unordered(_draw_chunk, range(chunks)):
            place = slice(number * per_chunk, (number + 1) * per_chunk)
            pixels[place], specs[place] = drawn, told
    pixels.flush()
    # Last: that it is there says that the pictures are complete.
    np.save(directory / "specs.npy", specs)


def _draw_chunk(number: int) -> tuple[int, NDArray[np.uint8], NDArray[np.int8]]:
    rng = Random(f"training {number}")
    specs = [spec for _ in range(_CHUNK) for spec in family(rng, FAMILY)]
    # Drawn without smoothing, in half of the time: a reduction to 64 pixels forgives it.
    pixels = [
        as_seen(draw(spec, rng, rng.choice(_SIDES), fineness=1), rng.choice(_QUALITIES))
        for spec in specs
    ]
    return number, np.stack(pixels), np.array(specs, np.int8)
