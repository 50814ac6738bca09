"""The two towers of the sketch model, and what they learn with.

Image tower: three strided convolutions bring 64 x 64 pixels down to an 8 x 8 grid, a small
transformer reads it together with four query tokens, and the queries become the vector. Text tower:
a transformer over subwords with two query tokens. Attention after convolutions matters: a relation
between two shapes lies in no one place of the picture.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.sketch.reduction import SIDE
from models.sketch.spec import CLASSES
from models.sketch.subwords import CONTEXT, PAD

DIMENSIONS: Final = 512  #: of the shared space
WIDTH: Final = 128  #: of both transformers
HEADS: Final = 4
_LAYERS: Final = 3
_CHANNELS: Final = (16, 48, WIDTH)
_RESIDUALS: Final = (0, 1, 1)
IMAGE_QUERIES: Final = 4
_TEXT_QUERIES: Final = 2
#: Log of the first inverse temperature, 1/0.07 as in CLIP.
_LOG_SCALE: Final = 2.66
_MOST_SCALE: Final = 100.0
#: The entries of a unit vector of 512 dimensions are small; linear layers like them about one.
_HEAD_SCALE: Final = 12.0
HIDDEN: Final = -1e4  #: attention to padding; finite, because float16 must hold it


class Layer(nn.Module):  # type: ignore[misc, unused-ignore]
    """One pre-norm transformer layer."""

    def __init__(self) -> None:
        super().__init__()
        self.before_attention = nn.LayerNorm(WIDTH)
        self.before_mlp = nn.LayerNorm(WIDTH)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.widen = nn.Linear(WIDTH, 2 * WIDTH)
        self.narrow = nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """Tokens [n, t, width] to the same; `bias` [n, 1, 1, t] is added to the attention."""
        n, t, width = x.shape
        qkv = self.qkv(self.before_attention(x)).reshape(n, t, 3, HEADS, width // HEADS)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        x = x + self.out(mixed.transpose(1, 2).reshape(n, t, width))
        return x + self.narrow(functional.gelu(self.widen(self.before_mlp(x))))


def _convolution(before: int, after: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after))


class Residual(nn.Module):  # type: ignore[misc, unused-ignore]
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _convolution(channels, channels)
        self.second = _convolution(channels, channels)
        nn.init.zeros_(self.second[1].weight)  # starts as the identity

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x + self.second(functional.relu(self.first(x))))


def learned(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape) * 0.02)


class ImageTower(nn.Module):  # type: ignore[misc, unused-ignore]
    def __init__(self) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        before = 3
        for channels, residuals in zip(_CHANNELS, _RESIDUALS, strict=True):
            stages += [_convolution(before, channels, 2), nn.ReLU()]
            stages += [Residual(channels) for _ in range(residuals)]
            before = channels
        self.stem = nn.Sequential(*stages).to(memory_format=torch.channels_last)
        self.places = learned((SIDE // 2 ** len(_CHANNELS)) ** 2, WIDTH)
        self.queries = learned(IMAGE_QUERIES, WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(_LAYERS))
        self.norm = nn.LayerNorm(WIDTH)
        self.project = nn.Linear(IMAGE_QUERIES * WIDTH, DIMENSIONS)

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels in -1 … 1, [n, 3, 64, 64], to vectors of any length, [n, 512]."""
        x = self.stem(pixels).flatten(2).transpose(1, 2) + self.places
        x = torch.cat([self.queries.expand(x.shape[0], -1, -1), x], 1)
        for layer in self.layers:
            x = layer(x)
        projected: Tensor = self.project(self.norm(x[:, :IMAGE_QUERIES]).flatten(1))
        return projected


class TextTower(nn.Module):  # type: ignore[misc, unused-ignore]
    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, WIDTH)
        nn.init.normal_(self.tokens.weight, std=0.05)
        self.places = learned(CONTEXT, WIDTH)
        self.queries = learned(_TEXT_QUERIES, WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(_LAYERS))
        self.norm = nn.LayerNorm(WIDTH)
        self.project = nn.Linear(_TEXT_QUERIES * WIDTH, DIMENSIONS)

    def forward(self, ids: Tensor) -> Tensor:
        """Ids [n, t] with t up to the context, padded, to vectors of any length, [n, 512]."""
        x = self.tokens(ids) + self.places[: ids.shape[1]]
        x = torch.cat([self.queries.expand(x.shape[0], -1, -1), x], 1)
        hidden = functional.pad((ids == PAD).to(x.dtype) * HIDDEN, (_TEXT_QUERIES, 0))
        for layer in self.layers:
            x = layer(x, hidden[:, None, None, :])
        projected: Tensor = self.project(self.norm(x[:, :_TEXT_QUERIES]).flatten(1))
        return projected


class Sketch(nn.Module):  # type: ignore[misc, unused-ignore]
    """Both towers, the temperature, and the attribute heads that only training uses."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.image = ImageTower()
        self.text = TextTower(vocabulary)
        self.log_scale = nn.Parameter(torch.tensor(_LOG_SCALE))
        self.attributes = nn.Linear(DIMENSIONS, sum(CLASSES))

    def contrastive_loss(self, pictures: Tensor, captions: Tensor, also_true: Tensor) -> Tensor:
        """InfoNCE in both directions.

        Args:
            pictures: unit vectors [n, 512].
            captions: unit vectors [n, 512], row i of both belonging together.
            also_true: [n, n] booleans, where caption i is true of picture j as well; such pairs
                count neither as right nor as wrong.
        """
        scale = self.log_scale.exp().clamp(max=_MOST_SCALE)
        scores = (captions @ pictures.T * scale).masked_fill(also_true, -1e4)
        right = torch.arange(len(scores))
        loss = functional.cross_entropy(scores, right) + functional.cross_entropy(scores.T, right)
        return loss / 2

    def attribute_loss(self, vectors: Tensor, specs: Tensor) -> Tensor:
        """Cross-entropy of every spec column told from a unit vector; unsaid ones do not count."""
        told = self.attributes(vectors * _HEAD_SCALE).split(CLASSES, dim=1)
        losses = [
            functional.cross_entropy(column, specs[:, i], ignore_index=-1, reduction="sum")
            for i, column in enumerate(told)
        ]
        return torch.stack(losses).sum() / len(specs)
