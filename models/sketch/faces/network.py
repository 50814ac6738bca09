"""The two networks of drawn faces.

`Detector`: strided convolutions to grids of cells 8, 16 and 32 pixels wide, the coarser added to
the finer, and one anchor-free head a grid with YuNet's outputs (Wu, Peng and Yu 2023), so that it
is read as YuNet is: `cls` and `obj` are probabilities, `bbox` an offset and the logarithm of a size
in cells, `kps` offsets in cells.

`Recogniser`: residual convolutions, then one matrix over all places of the last grid instead of a
mean over them, because aligned faces have every part in its own place.

Both take raw pixels, 0 … 255: scaling is their first layer.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.sketch.faces.person import CLASSES

STRIDES: Final = (8, 16, 32)
#: Outputs of a head: what, how many columns.
PARTS: Final = (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10))
DIMENSIONS: Final = 512
_HEAD: Final = 32  #: channels of the detector's heads
_LAST: Final = 24  #: channels before the recogniser's matrix


def _convolution(before: int, after: int, stride: int = 1, width: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, width, stride, width // 2, bias=False), nn.BatchNorm2d(after)
    )


class Residual(nn.Module):  # type: ignore[misc, unused-ignore]
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _convolution(channels, channels)
        self.second = _convolution(channels, channels)
        nn.init.zeros_(self.second[1].weight)  # starts as the identity

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x + self.second(functional.relu(self.first(x))))


def _down(before: int, after: int, residuals: int) -> nn.Sequential:
    blocks = [Residual(after) for _ in range(residuals)]
    return nn.Sequential(_convolution(before, after, 2), nn.ReLU(), *blocks)


class Detector(nn.Module):  # type: ignore[misc, unused-ignore]
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(_convolution(3, 16, 4, 5), nn.ReLU())
        self.grids = nn.ModuleList([_down(16, 32, 1), _down(32, 48, 1), _down(48, 72, 1)])
        self.laterals = nn.ModuleList(nn.Conv2d(wide, _HEAD, 1) for wide in (32, 48, 72))
        self.mixers = nn.ModuleList(
            nn.Sequential(_convolution(_HEAD, _HEAD), nn.ReLU()) for _ in STRIDES
        )
        self.heads = nn.ModuleList(
            nn.Conv2d(_HEAD, sum(columns for _, columns in PARTS), 1) for _ in STRIDES
        )
        for head in self.heads:
            nn.init.normal_(head.weight, std=0.01)
            nn.init.zeros_(head.bias)
            # Nearly every cell is empty: to start from there saves the first hundred steps.
            nn.init.constant_(head.bias[1:2], -4.0)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Pixels [n, 3, h, w], blue first, to [n, cells, 16] a grid, columns as in `PARTS`.

        The first two columns are logits.
        """
        x = self.stem(pixels / 64 - 2)
        features = []
        for grid in self.grids:
            x = grid(x)
            features.append(x)
        above: Tensor | None = None
        outputs: list[Tensor] = []
        for level in reversed(range(len(STRIDES))):
            x = self.laterals[level](features[level])
            if above is not None:
                x = x + functional.interpolate(above, scale_factor=2.0, mode="nearest")
            above = self.mixers[level](x)
            outputs.append(self.heads[level](above).flatten(2).transpose(1, 2))
        return outputs[::-1]


class DetectorGraph(nn.Module):  # type: ignore[misc, unused-ignore]
    """The detector with its twelve outputs apart, as exported."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        split = [grid.split([n for _, n in PARTS], 2) for grid in self.detector(pixels)]
        return tuple(
            torch.sigmoid(grid[part]) if part < 2 else grid[part]
            for part in range(len(PARTS))
            for grid in split
        )


class Recogniser(nn.Module):  # type: ignore[misc, unused-ignore]
    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.Sequential(
            _convolution(3, 24, 2), nn.ReLU(), _down(24, 48, 1), _down(48, 96, 1), _down(96, 144, 1)
        )
        self.last = nn.Sequential(nn.Conv2d(144, _LAST, 1, bias=False), nn.BatchNorm2d(_LAST))
        self.project = nn.Linear(_LAST * 7 * 7, DIMENSIONS, bias=False)
        self.norm = nn.BatchNorm1d(DIMENSIONS)

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels [n, 3, 112, 112], red first, to vectors of any length, [n, 512]."""
        x = self.last(self.stages(pixels / 64 - 2))
        vectors: Tensor = self.norm(self.project(x.flatten(1)))
        return vectors


class RecogniserGraph(nn.Module):  # type: ignore[misc, unused-ignore]
    """The recogniser ending in an L2 norm, as exported."""

    def __init__(self, recogniser: Recogniser) -> None:
        super().__init__()
        self.recogniser = recogniser

    def forward(self, pixels: Tensor) -> Tensor:
        return functional.normalize(self.recogniser(pixels), dim=1)


class Traits(nn.Module):  # type: ignore[misc, unused-ignore]
    """What training asks a vector besides: every column of its `Person`."""

    def __init__(self) -> None:
        super().__init__()
        self.told = nn.Linear(DIMENSIONS, sum(CLASSES))

    def loss(self, vectors: Tensor, persons: Tensor) -> Tensor:
        """Mean cross-entropy of the columns; unit vectors [n, 512], persons int64 [n, columns]."""
        # The entries of a unit vector are small; a linear layer likes them about one.
        columns = self.told(vectors * 12).split(CLASSES, dim=1)
        losses = [functional.cross_entropy(c, persons[:, i]) for i, c in enumerate(columns)]
        return torch.stack(losses).mean()
