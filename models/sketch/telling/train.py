"""Training of the teller: from the image tower of a search checkpoint, or from nothing.

A batch is whole families (`models.sketch.dataset`), so it holds what is easiest to mistake: one
word more or less, two colours exchanged.  Each picture asks for its one canonical caption, word
for word, and for the columns of its spec.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import Tensor

from models.sketch.captions import canonical
from models.sketch.course import run_course
from models.sketch.dataset import FAMILY, draw_dataset
from models.sketch.reduction import as_seen
from models.sketch.render import choose_specs, render_picture
from models.sketch.spec import Spec
from models.sketch.telling.measure import measure_captions
from models.sketch.telling.middles import middles
from models.sketch.telling.network import Teller
from models.sketch.telling.words import PAD, ids_of, text_of
from models.sketch.train import as_tensor, augmented, shifts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

CHECKPOINT: Final = "teller.pt"
_PICTURES: Final = 160_000
_BATCH: Final = 64
_PEAK_RATE: Final = 1e-3
_COLUMNS_WEIGHT: Final = 0.1
_PLACES_WEIGHT: Final = 0.1
_EVALUATION_SEED: Final = 500_000
_EVALUATION_SIZE: Final = 300


def train_captions(
    directory: Path, *, minutes: float, threads: int = 2, start: Path | None = None
) -> None:
    """Train in `directory`, which keeps the pictures and the checkpoint.

    `minutes` are those of training, earlier runs in the same folder included: with more of them
    it goes on.  `start` is a checkpoint of `train`, whose image tower the eyes begin as.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    started = time.monotonic()
    draw_dataset(directory, _PICTURES, threads)
    print(f"pictures drawn after {time.monotonic() - started:.0f} s", flush=True)
    teller = Teller()
    if start:
        teller.eyes.learn_from(torch.load(start)["weights"])
    batches = _batches(
        np.load(directory / "pictures.npy", mmap_mode="r"),
        np.load(directory / "specs.npy").astype(np.int64),
        np.load(directory / "marks.npy"),
    )
    evaluation = Evaluation()

    def step() -> tuple[Tensor, dict[str, float]]:
        words, columns, places = teller.losses(*next(batches))
        return words + _COLUMNS_WEIGHT * columns + _PLACES_WEIGHT * places, {
            "word loss": words.item(),
            "column loss": columns.item(),
            "place loss": places.item(),
        }

    run_course(
        teller,
        step,
        lambda: str(measure_captions(evaluation.tell(teller), evaluation.captions)),
        checkpoint=directory / CHECKPOINT,
        minutes=minutes,
        peak_rate=_PEAK_RATE,
    )


def _batches(
    pixels: NDArray[np.uint8], specs: NDArray[np.int64], marks: NDArray[np.float32]
) -> Iterator[tuple[Tensor, ...]]:
    """Batches of whole families for ever, as `Teller.losses` takes them."""
    chance = np.random.default_rng()
    ids = _padded([ids_of(canonical(Spec(*columns))) for columns in specs.tolist()])
    families = np.arange(len(specs)).reshape(-1, FAMILY)
    while True:
        order = chance.permutation(len(families))
        for start in range(0, len(order) - _BATCH // FAMILY + 1, _BATCH // FAMILY):
            rows = families[order[start : start + _BATCH // FAMILY]].ravel()
            moves = shifts(chance, len(rows))
            yield (
                augmented(chance, pixels[rows], moves),
                torch.from_numpy(ids[rows].astype(np.int64)),
                torch.from_numpy(specs[rows]),
                *map(torch.from_numpy, middles(marks[rows], moves)),
            )


def _padded(rows: Sequence[Sequence[int]]) -> NDArray[np.uint8]:
    longest = max(map(len, rows))
    return np.array([[*row, *[PAD] * (longest - len(row))] for row in rows], np.uint8)


class Evaluation:
    """Drawings that training never sees, seen as the program sees them."""

    def __init__(self, number: int = _EVALUATION_SIZE, seed: int = _EVALUATION_SEED) -> None:
        specs = choose_specs(number, seed)
        self.captions = [canonical(spec) for spec in specs]
        self.pixels = np.stack(
            [as_seen(render_picture(spec, seed, i)) for i, spec in enumerate(specs)]
        )

    def tell(self, teller: Teller) -> list[str]:
        """Greedy captions of a teller that is not in training."""
        parts = as_tensor(self.pixels).split(100)
        return [text_of(ids) for part in parts for ids in teller.tell(part)]
