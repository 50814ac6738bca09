"""Training: from nothing to two towers that find drawings, in about an hour on two cores.

What carries it: batches of whole families, so that every step holds the hardest negatives there
are; an attribute loss beside the contrastive one, which saves about half of the time; captions that
tell only part, with pairs that fit by chance left out of the loss.

The learning rate follows the clock, not a number of steps: the run ends when it was told to,
whatever the machine does beside it.
"""

from __future__ import annotations

import math
import time
from random import Random
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.sketch.captions import Caption, canonical, paraphrase, partial
from models.sketch.dataset import FAMILY, draw_dataset
from models.sketch.network import Sketch
from models.sketch.recall import Recall, measure_recall
from models.sketch.reduction import SIDE, as_seen
from models.sketch.render import choose_specs, render_picture
from models.sketch.spec import Spec, fits
from models.sketch.subwords import CONTEXT, PAD, learn_subwords

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from tokenizers import Tokenizer

CHECKPOINT: Final = "checkpoint.pt"
_PICTURES: Final = 160_000
_BATCH: Final = 128
_PEAK_RATE: Final = 1.5e-3
_WARM_UP: Final = 200  #: steps
_DECAY: Final = 0.05
_ATTRIBUTE_WEIGHT: Final = 0.15
_PARTIAL_SHARE: Final = 0.2
_STRANGE_SHARE: Final = 0.04  #: captions with a word that means nothing here
_SHIFT: Final = 3  #: pixels
_EVALUATION_SEED: Final = 500_000
_EVALUATION_SIZE: Final = 500
_EVALUATE_EVERY: Final = 300.0  #: seconds
_PRINT_EVERY: Final = 100  #: steps


def train(
    directory: Path,
    *,
    minutes: float,
    threads: int = 2,
    peak_rate: float = _PEAK_RATE,
    resume: Path | None = None,
) -> Path:
    """Train in `directory`, which keeps the pictures and the last checkpoint.

    `resume` starts from a checkpoint's weights with a fresh optimiser and schedule. Returns the
    path of the last checkpoint.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    started = time.monotonic()
    draw_dataset(directory, _PICTURES, threads)
    tokenizer = learn_subwords()
    pixels = np.load(directory / "pictures.npy", mmap_mode="r")
    specs = np.load(directory / "specs.npy").astype(np.int64)
    print(f"{len(specs)} pictures after {time.monotonic() - started:.0f} s", flush=True)

    model = Sketch(tokenizer.get_vocab_size())
    if resume:
        model.load_state_dict(torch.load(resume)["weights"])
    for name, tower in (("image", model.image), ("text", model.text)):
        print(f"{name} tower: {sum(p.numel() for p in tower.parameters()):,} parameters")
    evaluation = Evaluation(tokenizer)
    optimiser = _optimiser(model)
    batches = _batches(pixels, specs, tokenizer)
    checkpoint = directory / CHECKPOINT

    clock = 0.0  # seconds of training; evaluations do not count
    due = _EVALUATE_EVERY
    step = 0
    right: list[float] = []
    model.train()
    while clock < minutes * 60:
        begun = time.monotonic()
        for group in optimiser.param_groups:
            group["lr"] = peak_rate * _rate(step, clock / (minutes * 60))
        share = _step(model, optimiser, next(batches))
        right.append(share)
        step += 1
        clock += time.monotonic() - begun
        if step % _PRINT_EVERY == 0:
            recent = sum(right[-_PRINT_EVERY:]) / _PRINT_EVERY
            print(
                f"{clock / 60:5.1f} min  step {step}  right in batch {recent:.3f}  "
                f"{_BATCH * step / clock:.0f} pictures/s",
                flush=True,
            )
        if clock >= due:
            due += _EVALUATE_EVERY
            print(f"{clock / 60:5.1f} min  {evaluation.measure(model)}", flush=True)
            torch.save({"weights": model.state_dict(), "minutes": clock / 60}, checkpoint)
    print(f"final after {step} steps, {step * _BATCH} pictures: {evaluation.measure(model)}")
    torch.save({"weights": model.state_dict(), "minutes": clock / 60}, checkpoint)
    return checkpoint


def _rate(step: int, done: float) -> float:
    """Linear warm-up, then half a cosine down to one hundredth."""
    return min(1.0, (step + 1) / _WARM_UP) * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)


def _optimiser(model: Sketch) -> torch.optim.Optimizer:
    matrices: list[Tensor] = []
    others: list[Tensor] = []
    for name, parameter in model.named_parameters():
        plain = parameter.ndim < 2 or name.endswith(("places", "queries"))
        (others if plain else matrices).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": _DECAY},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=_PEAK_RATE,
        betas=(0.9, 0.98),
    )


Batch = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def _step(model: Sketch, optimiser: torch.optim.Optimizer, batch: Batch) -> float:
    """One step; returns the share of captions that found their picture in the batch."""
    pixels, ids, drawn, said, also_true = batch
    pictures = functional.normalize(model.image(pixels), dim=1)
    captions = functional.normalize(model.text(ids), dim=1)
    attributes = model.attribute_loss(pictures, drawn) + model.attribute_loss(captions, said)
    loss = model.contrastive_loss(pictures, captions, also_true) + _ATTRIBUTE_WEIGHT * attributes
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    with torch.no_grad():
        scores = (captions @ pictures.T).masked_fill(also_true, -1)
        right = scores.argmax(1) == torch.arange(len(scores))
        return float(right.float().mean())


def _batches(
    pixels: NDArray[np.uint8], specs: NDArray[np.int64], tokenizer: Tokenizer
) -> Iterator[Batch]:
    """Batches of whole families for ever, each with new captions."""
    chance = np.random.default_rng()
    rng = Random()
    families = np.arange(len(specs)).reshape(-1, FAMILY)
    while True:
        order = chance.permutation(len(families))
        for start in range(0, len(order) - _BATCH // FAMILY + 1, _BATCH // FAMILY):
            rows = families[order[start : start + _BATCH // FAMILY]].ravel()
            drawn = specs[rows]
            captions = [_caption(rng, Spec(*columns)) for columns in drawn.tolist()]
            said = np.array([caption.said for caption in captions], np.int64)
            also_true = fits(said, drawn)
            np.fill_diagonal(also_true, val=False)
            yield (
                augmented(chance, pixels[rows], shifts(chance, len(rows))),
                _ids(tokenizer, [caption.text for caption in captions]),
                torch.from_numpy(drawn),
                torch.from_numpy(said),
                torch.from_numpy(also_true),
            )


def _caption(rng: Random, spec: Spec) -> Caption:
    caption = partial(rng, spec) if rng.random() < _PARTIAL_SHARE else paraphrase(rng, spec)
    if rng.random() >= _STRANGE_SHARE:
        return caption
    words = caption.text.split()
    strange = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(3, 9)))
    words.insert(rng.choice((0, len(words))), strange)
    return caption._replace(text=" ".join(words))


def shifts(chance: np.random.Generator, number: int) -> NDArray[np.int64]:
    """By how many pixels to move pictures down and to the right, [n, 2]."""
    return chance.integers(-_SHIFT, _SHIFT + 1, (number, 2))


def augmented(
    chance: np.random.Generator, pixels: NDArray[np.uint8], moves: NDArray[np.int64]
) -> Tensor:
    """Pictures moved by *moves*, in a little more or less light."""
    n = len(pixels)
    edge = (_SHIFT, _SHIFT)
    wide = np.pad(pixels, ((0, 0), edge, edge, (0, 0)), mode="edge")
    corners = _SHIFT - moves
    shifted = np.stack(
        [wide[i, y : y + SIDE, x : x + SIDE] for i, (y, x) in enumerate(corners.tolist())]
    )
    gain = chance.uniform(0.88, 1.12, (n, 1, 1, 1)).astype(np.float32)
    offset = chance.uniform(-0.08, 0.08, (n, 1, 1, 1)).astype(np.float32)
    return as_tensor(shifted) * torch.from_numpy(gain) + torch.from_numpy(offset)


def as_tensor(pixels: NDArray[np.uint8]) -> Tensor:
    """Pixels uint8 [n, 64, 64, 3] as float32 [n, 3, 64, 64] in -1 … 1, channels last in memory."""
    return (torch.from_numpy(pixels).float() / 127.5 - 1).permute(0, 3, 1, 2)


def _ids(tokenizer: Tokenizer, texts: Sequence[str]) -> Tensor:
    """Ids [n, t], padded to the longest."""
    rows = [encoding.ids[:CONTEXT] for encoding in tokenizer.encode_batch(list(texts))]
    ids = torch.full((len(rows), max(map(len, rows))), PAD)
    for row, encoded in zip(ids, rows, strict=True):
        row[: len(encoded)] = torch.tensor(encoded)
    return ids


class Evaluation:
    """A rendered set that training never sees, measured as a user would search it."""

    def __init__(
        self, tokenizer: Tokenizer, number: int = _EVALUATION_SIZE, seed: int = _EVALUATION_SEED
    ) -> None:
        specs = choose_specs(number, seed)
        self.captions = [canonical(spec) for spec in specs]
        self.pixels = np.stack(
            [as_seen(render_picture(spec, seed, i)) for i, spec in enumerate(specs)]
        )
        self.ids = _ids(tokenizer, self.captions)

    def measure(self, model: Sketch) -> Recall:
        model.eval()
        with torch.no_grad():
            pictures = torch.cat([model.image(part) for part in as_tensor(self.pixels).split(100)])
            captions = model.text(self.ids)
        model.train()
        return measure_recall(
            self.captions,
            functional.normalize(captions, dim=1).numpy(),
            functional.normalize(pictures, dim=1).numpy(),
        )
