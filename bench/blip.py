"""BLIP-base with random weights, as the exporter here writes it: no download, no torch.

Two graphs: a ViT-B/16 over 384 pixels, which ends in the keys and values that each of the twelve
layers of the decoder asks of it, and that decoder, with a past and the words' table stored once.
224 million parameters, 401 and 494 MB, as `python -m models.export blip`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto

from bench.towers import Graph, save
from models.configs import CLIP_MEAN, CLIP_STD
from models.pack import Caption, CaptionGraph, Manifest, Pack, Precision, pack_of

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
UNKNOWN = "0" * 64
#: BERT's id of what ends a caption; ours of what it begins with.
STOP, BEGIN = 102, 30522


@dataclass(frozen=True)
class Sizes:
    """Of both halves; a head is 64 wide."""

    image: int = 384
    patch: int = 16
    vision_width: int = 768
    vision_layers: int = 12
    width: int = 768
    layers: int = 12
    vocabulary: int = 30524
    context: int = 512

    @property
    def tokens(self) -> int:
        return 1 + (self.image // self.patch) ** 2


BASE = Sizes()


def encoder(sizes: Sizes = BASE, seed: int = 4) -> Any:
    """Pictures [n, 3, s, s] → `cross.{i}.key`, `cross.{i}.value`, [n, heads, tokens, 64] each."""
    graph = Graph(seed)
    wide, side = sizes.vision_width, sizes.image // sizes.patch
    filters = graph.weight(wide, 3, sizes.patch, sizes.patch, scale=(3 * sizes.patch**2) ** -0.5)
    patches = graph("Conv", "pixel_values", filters, strides=[sizes.patch] * 2)
    flat = graph("Reshape", patches, graph.ids(0, wide, side * side))
    tokens = graph("Transpose", flat, perm=[0, 2, 1])
    count = graph("Gather", graph("Shape", "pixel_values"), graph.ids(0))
    shape = graph("Concat", count, graph.ids(1, wide), axis=0)
    first = graph("Expand", graph.weight(1, 1, wide, scale=0.1), shape)
    tokens = graph("Concat", first, tokens, axis=1)
    x = graph("Add", tokens, graph.weight(1, sizes.tokens, wide, scale=0.1))
    for _ in range(sizes.vision_layers):
        inner = graph.norm(x, wide)
        q, k, v = (graph.heads(graph.linear(inner, wide, wide), wide // 64) for _ in range(3))
        x = graph("Add", x, graph.linear(graph.attend(q, k, v, wide), wide, wide))
        x = graph("Add", x, _mix(graph, graph.norm(x, wide), wide))
    seen = graph.norm(x, wide)
    heads = sizes.width // 64
    return graph.finish_all(
        [
            graph.heads(graph.linear(seen, wide, sizes.width), heads)
            for _ in range(2 * sizes.layers)
        ],
        [("pixel_values", FLOAT, ("n", 3, sizes.image, sizes.image))],
        [(name, FLOAT, ("n", heads, sizes.tokens, 64)) for name in _names("cross", sizes)],
    )


def decoder(sizes: Sizes = BASE, seed: int = 5) -> Any:
    """Some ids more → logits [n, vocabulary] of what follows, and what it knows now."""
    graph = Graph(seed)
    wide, heads = sizes.width, sizes.width // 64
    table = graph.weight(sizes.vocabulary, wide, scale=0.02)
    new = graph("Shape", "input_ids", start=1, end=2)
    past = graph("Shape", "past.0.key", start=2, end=3)
    zero, one = graph.constant(np.int64(0)), graph.constant(np.int64(1))
    step = graph("Range", zero, graph("Squeeze", new), one)
    places = graph(
        "Gather", graph.weight(sizes.context, wide, scale=0.06), graph("Add", step, "past_len")
    )
    x = graph.norm(graph("Add", graph("Gather", table, "input_ids"), places), wide)
    total = graph("Squeeze", graph("Add", past, new))
    here = graph("Unsqueeze", graph("Add", step, past), graph.ids(1))
    ahead = graph("Greater", graph("Range", zero, total, one), here)
    either = graph.constant(np.float32(-1e4)), graph.constant(np.float32(0))
    mask = graph("Where", ahead, *either)
    present: list[str] = []
    for layer in range(sizes.layers):
        q = graph.heads(graph.linear(x, wide, wide), heads)
        k, v = (
            graph(
                "Concat",
                f"past.{layer}.{half}",
                graph.heads(graph.linear(x, wide, wide), heads),
                axis=2,
            )
            for half in ("key", "value")
        )
        present += [k, v]
        own = graph.linear(graph.attend(q, k, v, wide, mask), wide, wide)
        x = graph.norm(graph("Add", x, own), wide)
        q = graph.heads(graph.linear(x, wide, wide), heads)
        seen = graph.attend(q, f"cross.{layer}.key", f"cross.{layer}.value", wide)
        x = graph.norm(graph("Add", x, graph.linear(seen, wide, wide)), wide)
        x = graph.norm(graph("Add", x, _mix(graph, x, wide)), wide)
    last = graph("Gather", x, graph.constant(np.int64(-1)), axis=1)
    last = graph.norm(_gelu(graph, graph.linear(last, wide, wide)), wide)
    bias = graph.weight(sizes.vocabulary, scale=0.02)
    logits = graph("Gemm", last, table, bias, transB=1)
    return graph.finish_all(
        [logits, *present],
        [
            ("input_ids", INT64, ("n", "new")),
            ("past_len", INT64, ()),
            *((name, FLOAT, ("n", heads, "past", 64)) for name in _names("past", sizes)),
            *((name, FLOAT, ("n", heads, sizes.tokens, 64)) for name in _names("cross", sizes)),
        ],
        [
            ("logits", FLOAT, ("n", sizes.vocabulary)),
            *((name, FLOAT, ("n", heads, "total", 64)) for name in _names("present", sizes)),
        ],
    )


def _names(what: str, sizes: Sizes) -> Iterator[str]:
    for layer in range(sizes.layers):
        yield from (f"{what}.{layer}.key", f"{what}.{layer}.value")


def _mix(graph: Graph, x: str, wide: int) -> str:
    return graph.linear(_gelu(graph, graph.linear(x, wide, 4 * wide)), 4 * wide, wide)


def _gelu(graph: Graph, x: str) -> str:
    """X / 2 · (1 + erf(x / √2)), as exporters write it: runtimes know it by that."""
    half = graph("Erf", graph("Div", x, graph.constant(np.float32(2**0.5))))
    whole = graph("Mul", x, graph("Add", half, graph.constant(np.float32(1))))
    return graph("Mul", whole, graph.constant(np.float32(0.5)))


def write_blip(folder: Path, sizes: Sizes = BASE) -> None:
    """Both graphs in float32, and a vocabulary of no words, into *folder*."""
    save(encoder(sizes), folder / "encoder.fp32.onnx")
    save(decoder(sizes), folder / "decoder.fp32.onnx")
    first = ["[PAD]", *(f"[unused{n}]" for n in range(99)), "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [*first, *(f"w{n}" for n in range(len(first), sizes.vocabulary - 2))]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")


def blip_pack(
    folder: Path,
    precision: Precision,
    *,
    tokens: int,
    buckets: tuple[int, ...],
    sizes: Sizes = BASE,
) -> Pack:
    """The graphs `*.<precision>.onnx` in *folder* as a pack whose captions have *tokens* ids."""
    caption = Caption(
        kind="blip",
        space="random",
        precision=precision,
        graphs={
            name: CaptionGraph(f"{name}.{precision}.onnx", UNKNOWN)
            for name in ("encoder", "decoder")
        },
        buckets=buckets,
        size=sizes.image,
        resize="squash",
        resample="bicubic",
        mean=CLIP_MEAN,
        std=CLIP_STD,
        colour="RGB",
        preprocess="1",
        tokenizer="vocab.txt",
        tokenizer_sha256=UNKNOWN,
        vocabulary="wordpiece",
        begin=(sizes.vocabulary - 2,),
        stop=STOP,
        pad=0,
        longest=tokens,
        shortest=tokens - 1,
    )
    return pack_of(Manifest("random", "1", "none", "for a bench", caption=caption), folder)
