"""How the detector learns where faces are.

A cell answers for a face whose middle it lies near, if its grid is one for faces of that size; the
sizes of neighbouring grids overlap.  `obj` learns which cells those are, by a loss that soon leaves
the easy ones alone (Lin 2017); `cls` learns at those cells how well their box fits, so that the
score, the root of the product, ranks boxes by both.  Boxes learn by GIoU (Rezatofighi 2019),
landmarks by their distance in units of the face.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.sketch.course import run_course
from models.sketch.faces.dataset import SIDE
from models.sketch.faces.network import STRIDES, Detector

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

CHECKPOINT: Final = "detector.pt"
_BATCH: Final = 32
_PEAK_RATE: Final = 3e-3
_TURNED: Final = 0.15  #: share of pictures that stand on their heads
_HELD_BACK: Final = 384  #: pictures that only measure
#: Which faces a grid answers for: root of the area of the box, pixels.
_SIZES: Final = ((0.0, 44.0), (30.0, 100.0), (64.0, 1e9))
_MIRRORED: Final = [1, 0, 2, 4, 3]  #: landmarks of a mirrored face, in their order


def train_detector(directory: Path, minutes: float) -> None:
    """Train with the scenes in `directory`, where the checkpoint is kept too."""
    scenes = np.load(directory / "scenes.npy", mmap_mode="r")
    told = torch.from_numpy(np.load(directory / "told.npy"))
    chance = np.random.default_rng()
    detector = Detector().to(memory_format=torch.channels_last)
    print(f"detector: {sum(p.numel() for p in detector.parameters()):,} parameters", flush=True)

    def step() -> tuple[Tensor, dict[str, float]]:
        rows = np.sort(chance.integers(_HELD_BACK, len(told), _BATCH))
        pixels, faces = _augmented(chance, scenes[rows], told[torch.from_numpy(rows)].clone())
        losses = detector_losses(detector(pixels), faces)
        return losses.total, {name: float(loss.detach()) for name, loss in losses._asdict().items()}

    def evaluate() -> str:
        with torch.no_grad():
            parts = [
                detector_losses(detector(_as_tensor(scenes[i : i + 64])), told[i : i + 64])
                for i in range(0, _HELD_BACK, 64)
            ]
        means = (sum(float(part[i]) for part in parts) / len(parts) for i in range(4))
        return "held back: " + " ".join(f"{mean:.4f}" for mean in means)

    run_course(
        detector,
        step,
        evaluate,
        checkpoint=directory / CHECKPOINT,
        minutes=minutes,
        peak_rate=_PEAK_RATE,
    )


class Losses(NamedTuple):
    obj: Tensor
    fit: Tensor
    box: Tensor
    marks: Tensor

    @property
    def total(self) -> Tensor:
        return self.obj + self.fit + 2 * self.box + 4 * self.marks


def detector_losses(outputs: list[Tensor], faces: Tensor) -> Losses:
    """Losses of the grids' outputs, [n, cells, 16] each, against faces [n, 5, 15]."""
    cells = _cells()
    mine, weight = _assigned(cells, faces)
    out = torch.cat(outputs, 1)
    taken = mine >= 0
    # Focal: an answer that is nearly right hardly counts.
    truth = taken.float()
    logits = out[..., 1]
    wrong = (torch.sigmoid(logits) - truth).abs()
    each = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    number = taken.sum().clamp(min=1)
    obj = (each * wrong**2 * weight).sum() / number * 2
    picture, cell = taken.nonzero(as_tuple=True)
    face = faces[picture, mine[picture, cell]]
    found = out[picture, cell]
    stride, corner = cells[cell, 2:], cells[cell, :2] / cells[cell, 2:] - 0.5
    centre = (corner + found[:, 2:4]) * stride
    half = found[:, 4:6].clamp(max=8).exp() * stride / 2
    overlap, giou = _overlaps(torch.cat([centre - half, centre + half], 1), face[:, :4])
    fit = functional.binary_cross_entropy_with_logits(
        found[:, 0], overlap.detach(), reduction="sum"
    )
    size = (face[:, 2:4] - face[:, :2]).prod(1).clamp(min=1).sqrt()[:, None]
    marks = (corner.repeat(1, 5) + found[:, 6:]) * stride
    apart = functional.smooth_l1_loss(
        (marks - face[:, 4:14]) / size, torch.zeros(len(face), 10), beta=0.05, reduction="sum"
    )
    return Losses(obj, fit / number, (1 - giou).sum() / number, apart / number / 2)


def _cells() -> Tensor:
    """Middle (x, y) and stride of every cell, in the order of the outputs."""
    rows = []
    for stride in STRIDES:
        places = (torch.arange(SIDE // stride) + 0.5) * stride
        y, x = torch.meshgrid(places, places, indexing="ij")
        rows.append(torch.stack([x.flatten(), y.flatten(), torch.full((y.numel(),), stride)], 1))
    return torch.cat(rows)


def _assigned(cells: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """For every cell the face it answers for, -1 for none; and whether its `obj` counts."""
    middle, wide = (faces[..., :2] + faces[..., 2:4]) / 2, faces[..., 2:4] - faces[..., :2]
    size = wide.prod(-1).clamp(min=0).sqrt()
    apart = (cells[None, :, None, :2] - middle[:, None]).abs()  # [n, cells, faces, 2]
    stride = cells[None, :, None, 2:]
    near = (apart < torch.maximum(0.2 * wide[:, None], 0.7 * stride)).all(-1)
    limits = torch.tensor(_SIZES)[torch.log2(cells[:, 2] / STRIDES[0]).round().long()]
    fits = (size[:, None] >= limits[None, :, None, 0]) & (size[:, None] < limits[None, :, None, 1])
    counts = (faces[..., 14] > 0)[:, None]
    # Where two faces claim a cell the smaller has it: it has fewer others.
    claims = torch.where(near & fits & counts, -size[:, None], torch.tensor(-torch.inf))
    best, mine = claims.max(-1)
    mine = torch.where(best > -torch.inf, mine, -1)
    within = (apart * 2 < wide[:, None]).all(-1) & (size[:, None] > 0) & ~counts
    return mine, (~within.any(-1) | (mine >= 0)).float()


def _overlaps(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and GIoU of boxes, row by row."""
    low, high = torch.maximum(one[:, :2], other[:, :2]), torch.minimum(one[:, 2:], other[:, 2:])
    shared = (high - low).clamp(min=0).prod(1)
    both = (one[:, 2:] - one[:, :2]).prod(1) + (other[:, 2:] - other[:, :2]).prod(1) - shared
    hull = (torch.maximum(one[:, 2:], other[:, 2:]) - torch.minimum(one[:, :2], other[:, :2])).prod(
        1
    )
    overlap = shared / both.clamp(min=1e-6)
    return overlap, overlap - (hull - both) / hull.clamp(min=1e-6)


def _as_tensor(scenes: NDArray[np.uint8]) -> Tensor:
    """RGB [n, 320, 320, 3] as BGR float32 [n, 3, 320, 320], channels last in memory."""
    blue_first = np.ascontiguousarray(scenes[..., ::-1])
    return torch.from_numpy(blue_first).permute(0, 3, 1, 2).float()


def _augmented(
    chance: np.random.Generator, scenes: NDArray[np.uint8], faces: Tensor
) -> tuple[Tensor, Tensor]:
    """Half of the pictures mirrored, a quarter at half size somewhere on black, all tinted.

    Some stand on their heads, and then there is nobody in them: the program looks again at the
    turned picture where a face is doubtful, and believes whichever look is surer.
    """
    pixels = _as_tensor(scenes)
    n = len(pixels)
    for i in np.flatnonzero(chance.random(n) < 0.5).tolist():
        pixels[i] = pixels[i].flip(-1)
        box, marks = faces[i, :, :4].clone(), faces[i, :, 4:14].reshape(-1, 5, 2)[:, _MIRRORED]
        faces[i, :, 0], faces[i, :, 2] = SIDE - box[:, 2], SIDE - box[:, 0]
        marks[..., 0] = SIDE - marks[..., 0]
        faces[i, :, 4:14] = marks.reshape(-1, 10)
    for i in np.flatnonzero(chance.random(n) < 0.25).tolist():
        small = functional.avg_pool2d(pixels[i][None], 2)[0]
        x, y = chance.integers(0, SIDE // 2 + 1, 2).tolist()
        pixels[i] = 0
        pixels[i, :, y : y + SIDE // 2, x : x + SIDE // 2] = small
        there = (faces[i, :, 3:4] > faces[i, :, 1:2]).float()  # rows without a face stay zero
        faces[i, :, :14] = (faces[i, :, :14] / 2 + torch.tensor([x, y] * 7)) * there
    for i in np.flatnonzero(chance.random(n) < _TURNED).tolist():
        pixels[i] = pixels[i].flip((1, 2))
        faces[i] = 0
    gain = torch.from_numpy(chance.uniform(0.8, 1.2, (n, 3, 1, 1)).astype(np.float32))
    return (pixels * gain).clamp(max=255), faces
