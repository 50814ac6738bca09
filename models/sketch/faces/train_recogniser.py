"""How the recogniser learns who is who.

A batch is many people, four crops of each.  Every crop has to find its own three among all the
others, with a margin (multi-positive InfoNCE: Khosla 2020, with the margin of Wang 2018), and to
tell every column of its `Person`.  The second loss is what a closed world gives for nothing: it
says at once what makes people different, where the first only says that they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.sketch.course import run_course
from models.sketch.faces.dataset import CROP, PER_PERSON
from models.sketch.faces.measure import verification_auc
from models.sketch.faces.network import Recogniser, Traits

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

CHECKPOINT: Final = "recogniser.pt"
_PEOPLE: Final = 48  #: in a batch
_EACH: Final = 4  #: crops of each
_PEAK_RATE: Final = 2e-3
_HELD_BACK: Final = 200  #: people that only measure
_SCALE: Final = 20.0
_MARGIN: Final = 0.15
_TRAITS_WEIGHT: Final = 1.0
# How far alignment goes wrong by the landmarks of the detector, standard deviations.
_TURN: Final = 0.06  #: radians
_GROW: Final = 0.06  #: of a logarithm
_SHIFT: Final = 2.5  #: pixels
_FAR: Final = 0.2  #: share of crops that show a small face, enlarged
_HIDDEN: Final = 0.15  #: … and of those with something before the face


def train_recogniser(directory: Path, minutes: float) -> None:
    """Train with the crops in `directory`, where the checkpoint is kept too."""
    crops = np.load(directory / "crops.npy", mmap_mode="r")
    persons = torch.from_numpy(np.load(directory / "persons.npy").astype(np.int64))
    chance = np.random.default_rng()
    recogniser = Recogniser().to(memory_format=torch.channels_last)
    traits = Traits()
    print(f"recogniser: {sum(p.numel() for p in recogniser.parameters()):,} parameters", flush=True)

    def step() -> tuple[Tensor, dict[str, float]]:
        people = chance.choice(len(persons) // PER_PERSON - _HELD_BACK, _PEOPLE, replace=False)
        picks = np.stack([chance.permutation(PER_PERSON)[:_EACH] for _ in people])
        rows = ((people[:, None] + _HELD_BACK) * PER_PERSON + picks).ravel()
        pixels = _augmented(chance, crops[rows])
        # Half the time of float32 where the processor has bfloat16, and no worse.
        with torch.autocast("cpu", torch.bfloat16):
            vectors = recogniser(pixels)
        vectors = functional.normalize(vectors.float(), dim=1)
        told = traits.loss(vectors, persons[torch.from_numpy(rows)])
        found = likeness_loss(vectors, torch.arange(_PEOPLE).repeat_interleave(_EACH))
        loss = found + _TRAITS_WEIGHT * told
        return loss, {"found": float(found.detach()), "traits": float(told.detach())}

    def evaluate() -> str:
        number = _HELD_BACK * PER_PERSON
        with torch.no_grad():
            parts = [recogniser(as_tensor(crops[i : i + 100])) for i in range(0, number, 100)]
        vectors = functional.normalize(torch.cat(parts), dim=1).numpy()
        auc = verification_auc(vectors, np.arange(number) // PER_PERSON)
        return f"held back: AUC {auc:.5f}"

    run_course(
        nn.ModuleDict({"recogniser": recogniser, "traits": traits}),
        step,
        evaluate,
        checkpoint=directory / CHECKPOINT,
        minutes=minutes,
        peak_rate=_PEAK_RATE,
    )


def likeness_loss(vectors: Tensor, owners: Tensor) -> Tensor:
    """How hard it is for unit vectors [n, d] to find those of the same owner [n] among all."""
    same = owners[:, None] == owners[None]
    itself = torch.eye(len(owners), dtype=torch.bool)
    scores = _SCALE * (vectors @ vectors.T - _MARGIN * same.float())
    others = scores.masked_fill(same, -torch.inf).logsumexp(1, keepdim=True)
    # Each of its own alone against all of the others.
    each = functional.softplus(others - scores)
    return each[same & ~itself].mean()


def as_tensor(crops: NDArray[np.uint8]) -> Tensor:
    """RGB [n, 112, 112, 3] as float32 [n, 3, 112, 112], channels last in memory."""
    return torch.from_numpy(np.ascontiguousarray(crops)).permute(0, 3, 1, 2).float()


def _augmented(chance: np.random.Generator, crops: NDArray[np.uint8]) -> Tensor:
    """Crops as other landmarks would have aligned them, some hidden in part, some from far away."""
    n = len(crops)
    turn, grow = chance.normal(0, _TURN, n), np.exp(chance.normal(0, _GROW, n))
    c, s = np.cos(turn) * grow, np.sin(turn) * grow
    x, y = chance.normal(0, 2 * _SHIFT / CROP, (2, n))  # the grid goes from -1 to 1
    ways = np.stack([np.stack([c, -s, x], 1), np.stack([s, c, y], 1)], 1).astype(np.float32)
    grid = functional.affine_grid(torch.from_numpy(ways), [n, 3, CROP, CROP], align_corners=False)
    moved = functional.grid_sample(as_tensor(crops), grid, align_corners=False)
    for i in np.flatnonzero(chance.random(n) < _FAR).tolist():
        low = functional.avg_pool2d(moved[i : i + 1], int(chance.integers(2, 6)))
        moved[i : i + 1] = functional.interpolate(low, CROP, mode="bilinear")
    for i in np.flatnonzero(chance.random(n) < _HIDDEN).tolist():
        # From one of the four sides: what stands before a face seldom stands in its middle.
        deep, axis = int(chance.integers(10, 50)), int(chance.integers(1, 3))
        colour = torch.from_numpy(chance.uniform(0, 255, (3, 1, 1)).astype(np.float32))
        moved[i].narrow(axis, int(chance.choice((0, CROP - deep))), deep).copy_(colour)
    gain = chance.uniform(0.85, 1.15, (n, 1, 1, 1)) * chance.uniform(0.95, 1.05, (n, 3, 1, 1))
    tinted = moved * torch.from_numpy(gain.astype(np.float32))
    return tinted.clamp(max=255).contiguous(memory_format=torch.channels_last)
