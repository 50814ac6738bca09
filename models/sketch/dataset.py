"""Training pictures: families of four near neighbours, drawn once and kept in a folder.

The members of a family differ in one attribute or in two halves exchanged, so a batch of whole
families is full of the hardest negatives there are.

Drawn at 128 pixels and reduced once, a picture looks nearly as it would after its thumbnail, at a
quarter of the time; so most are made that way, some with a JPEG in between, and one in ten takes
the program's whole way.

Chance comes from streams named for training.  Those of `render` have other names, so no seed of a
user ever draws a picture that the network has seen.
"""

from __future__ import annotations

import multiprocessing
from random import Random
from typing import TYPE_CHECKING, Final

import numpy as np

from models.sketch.drawing import draw_marked
from models.sketch.reduction import SIDE, THUMBNAIL, as_seen, reduced
from models.sketch.spec import Spec, family

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from models.sketch.pen import Mark

FAMILY: Final = 4
MOST_MARKS: Final = 5
_CHUNK: Final = 128  #: families drawn by one process at a time


def draw_dataset(directory: Path, pictures: int, processes: int) -> None:
    """Put at least `pictures` pictures into `directory`, unless some are there already.

    Writes pictures.npy, uint8 [n, 64, 64, 3], specs.npy, int8 [n, 13], and marks.npy, float32
    [n, 5, 4], where what is not there is zero; rows 4i to 4i + 3 are one family.
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
    marks = np.empty((rows, MOST_MARKS, 4), np.float32)
    # Not forked: torch has threads by now, and a fork would copy their locks.
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for number, drawn, told, noted in pool.imap_unordered(_draw_chunk, range(chunks)):
            place = slice(number * per_chunk, (number + 1) * per_chunk)
            pixels[place], specs[place], marks[place] = drawn, told, noted
    pixels.flush()
    np.save(directory / "marks.npy", marks)
    # Last: that it is there says that the pictures are complete.
    np.save(directory / "specs.npy", specs)


def _draw_chunk(
    number: int,
) -> tuple[int, NDArray[np.uint8], NDArray[np.int8], NDArray[np.float32]]:
    rng = Random(f"training {number}")
    specs = [spec for _ in range(_CHUNK) for spec in family(rng, FAMILY)]
    pictures = [_training_picture(rng, spec) for spec in specs]
    pixels = np.stack([picture for picture, _ in pictures])
    marks = np.zeros((len(specs), MOST_MARKS, 4), np.float32)
    for row, (_, noted) in zip(marks, pictures, strict=True):
        row[: len(noted)] = np.array(noted, np.float32).reshape(-1, 4)
    return number, pixels, np.array(specs, np.int8), marks


def _training_picture(rng: Random, spec: Spec) -> tuple[NDArray[np.uint8], list[Mark]]:
    # Without smoothing, in half of the time: a reduction to 64 pixels forgives it.
    way = rng.random()
    if way < 0.1:
        picture, marks = draw_marked(spec, rng, THUMBNAIL, fineness=1)
        return as_seen(picture), marks
    picture, marks = draw_marked(spec, rng, 2 * SIDE, fineness=1)
    pixels = as_seen(picture, rng.randint(60, 95)) if way < 0.3 else reduced(picture)
    return pixels, marks
