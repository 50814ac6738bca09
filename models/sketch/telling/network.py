"""A network that looks at a drawing and writes its canonical caption, in the layout of BLIP.

The eyes are a copy of the image tower: its stem, its places, its layers.  Instead of four queries
for one vector they have one for each column of a spec; what the queries know and what the grid
still shows is given to the writer as keys and values, once a picture.  The writer is a transformer
over words that attends to what it wrote, then to that.

Two more questions, asked only while training, are what makes it fast: every query is asked for its
column, and every place of the grid for what has its middle there.  Words say late and indirectly
what was seen wrongly, a column says it at once, and a place says where.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.sketch.network import HEADS, HIDDEN, WIDTH, ImageTower, learned
from models.sketch.spec import CLASSES
from models.sketch.telling.words import BEGIN, LONGEST, PAD, STOP, WORDS
from models.sketch.vocabulary import COLOUR_NAMES, NOUNS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LAYERS: Final = 2  #: of the writer
_HEAD: Final = WIDTH // HEADS

#: Keys and values of one layer, each [n, heads, t, width / heads].
Memory = tuple[Tensor, Tensor]


def _split(x: Tensor) -> Tensor:
    return x.reshape(x.shape[0], x.shape[1], HEADS, _HEAD).transpose(1, 2)


def _joined(x: Tensor) -> Tensor:
    return x.transpose(1, 2).reshape(x.shape[0], -1, WIDTH)


class Eyes(nn.Module):  # type: ignore[misc, unused-ignore]
    """Pixels to tokens: one for each column of a spec, then one for each place of the grid."""

    def __init__(self) -> None:
        super().__init__()
        tower = ImageTower()
        self.stem = tower.stem
        self.places = tower.places
        self.layers = tower.layers
        self.queries = learned(len(CLASSES), WIDTH)
        self.norm = nn.LayerNorm(WIDTH)

    def learn_from(self, weights: Mapping[str, Tensor]) -> None:
        """Begin as the image tower among the weights of a `Sketch`."""
        own = ("queries", "norm.")
        copied = {
            name: weights[f"image.{name}"] for name in self.state_dict() if not name.startswith(own)
        }
        self.load_state_dict(copied, strict=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels in -1 … 1, [n, 3, 64, 64], to tokens [n, 13 + 64, width]."""
        x = self.stem(pixels).flatten(2).transpose(1, 2) + self.places
        x = torch.cat([self.queries.expand(x.shape[0], -1, -1), x], 1)
        for layer in self.layers:
            x = layer(x)
        tokens: Tensor = self.norm(x)
        return tokens


class WriterLayer(nn.Module):  # type: ignore[misc, unused-ignore]
    """One pre-norm layer: what was written, what was seen, then each word for itself."""

    def __init__(self) -> None:
        super().__init__()
        self.before_own = nn.LayerNorm(WIDTH)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.own_out = nn.Linear(WIDTH, WIDTH)
        self.before_seen = nn.LayerNorm(WIDTH)
        self.query = nn.Linear(WIDTH, WIDTH)
        self.seen_out = nn.Linear(WIDTH, WIDTH)
        self.before_mlp = nn.LayerNorm(WIDTH)
        self.widen = nn.Linear(WIDTH, 2 * WIDTH)
        self.narrow = nn.Linear(2 * WIDTH, WIDTH)

    def forward(
        self, x: Tensor, past: Memory | None, seen: Memory, bias: Tensor
    ) -> tuple[Tensor, Memory]:
        """Words [n, s, width] after those of *past*; returns them and the past that includes them.

        *bias* [s, p + s] is added to the attention among words.
        """
        q, k, v = (_split(part) for part in self.qkv(self.before_own(x)).chunk(3, dim=2))
        if past is not None:
            k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        own = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        x = x + self.own_out(_joined(own))
        q = _split(self.query(self.before_seen(x)))
        x = x + self.seen_out(_joined(functional.scaled_dot_product_attention(q, *seen)))
        return x + self.narrow(functional.gelu(self.widen(self.before_mlp(x)))), (k, v)


class Writer(nn.Module):  # type: ignore[misc, unused-ignore]
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(len(WORDS), WIDTH)
        nn.init.normal_(self.words.weight, std=0.05)
        self.places = learned(LONGEST, WIDTH)
        self.layers = nn.ModuleList(WriterLayer() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH)
        self.next = nn.Linear(WIDTH, len(WORDS))

    def forward(
        self,
        ids: Tensor,
        past_len: Tensor | int,
        past: Sequence[Memory] | None,
        seen: Sequence[Memory],
    ) -> tuple[Tensor, list[Memory]]:
        """Ids [n, s] at the places from *past_len* on, to logits [n, s, words] and the new past."""
        order = torch.arange(ids.shape[1], device=ids.device) + past_len
        before = torch.arange(ids.shape[1] + (0 if past is None else past[0][0].shape[2]))
        bias = (before[None, :] > order[:, None]).to(torch.float32) * HIDDEN
        x = self.words(ids) + self.places[order]
        present: list[Memory] = []
        for i, layer in enumerate(self.layers):
            x, memory = layer(x, None if past is None else past[i], seen[i], bias)
            present.append(memory)
        return self.next(self.norm(x)), present


class Teller(nn.Module):  # type: ignore[misc, unused-ignore]
    """Eyes and writer, what lies between them, and the heads that only training uses."""

    def __init__(self) -> None:
        super().__init__()
        self.eyes = Eyes()
        self.shown = nn.ModuleList(nn.Linear(WIDTH, 2 * WIDTH) for _ in range(LAYERS))
        self.writer = Writer()
        self.columns = nn.ModuleList(nn.Linear(WIDTH, classes) for classes in CLASSES)
        self.nouns = nn.Linear(WIDTH, 1 + len(NOUNS))
        self.colours = nn.Linear(WIDTH, 1 + len(COLOUR_NAMES))

    def show(self, tokens: Tensor) -> list[Memory]:
        """What the writer's layers see of tokens [n, t, width]: their keys and values."""
        pairs = [show(tokens).chunk(2, dim=2) for show in self.shown]
        return [(_split(key), _split(value)) for key, value in pairs]

    def losses(
        self, pixels: Tensor, ids: Tensor, specs: Tensor, nouns: Tensor, colours: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Cross-entropies: of a word; of a picture's columns; of all places of its grid.

        Args:
            pixels: as `Eyes.forward`.
            ids: captions with the ending id, padded, [n, t].
            specs: [n, 13].
            nouns: what has its middle at each place of the grid, 0 for nothing, [n, 64].
            colours: … and the colours of that.
        """
        tokens = self.eyes(pixels)
        given = functional.pad(ids[:, :-1], (1, 0), value=BEGIN)
        logits, _ = self.writer(given, 0, None, self.show(tokens))
        words = functional.cross_entropy(logits.flatten(0, 1), ids.flatten(), ignore_index=PAD)
        columns = [
            functional.cross_entropy(head(tokens[:, i]), specs[:, i])
            for i, head in enumerate(self.columns)
        ]
        grid = tokens[:, len(CLASSES) :].flatten(0, 1)
        places = [
            functional.cross_entropy(head(grid), right.flatten(), reduction="sum") / len(pixels)
            for head, right in ((self.nouns, nouns), (self.colours, colours))
        ]
        return words, torch.stack(columns).sum(), torch.stack(places).sum()

    @torch.no_grad()  # type: ignore[untyped-decorator, unused-ignore]
    def tell(self, pixels: Tensor) -> list[list[int]]:
        """Greedy captions as ids, the ending one left out."""
        seen = self.show(self.eyes(pixels))
        ids = torch.full((len(pixels), 1), BEGIN)
        past = None
        written: list[Tensor] = []
        for step in range(LONGEST):
            logits, past = self.writer(ids, step, past, seen)
            ids = logits[:, -1].argmax(1, keepdim=True)
            written.append(ids)
            if all((torch.cat(written, 1) == STOP).any(1)):
                break
        rows = torch.cat(written, 1).tolist()
        return [row[: row.index(STOP)] if STOP in row else row for row in rows]
