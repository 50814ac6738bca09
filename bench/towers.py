"""CLIP with random weights, in the layouts it is published in: no download, no torch.

The architecture is CLIP's, node by node as exporters write it: a pre-norm ViT over patches with a
class token, a causal text transformer read at its end token, a projection each.  `B32` has the
sizes of ViT-B/32 (88 million and 63 million parameters); tests take smaller ones.

One seed gives one model, whatever the layout: only the names, the dtypes, the batch and the last
norm differ, as they do between the published exports.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.configs import CLIP_MEAN, CLIP_STD
from models.export.vocabulary import write_tokenizer

OPSET = 17


@dataclass(frozen=True)
class Sizes:
    """Of both towers; a head is 64 wide, as everywhere in CLIP."""

    image: int = 224
    patch: int = 32
    vision_width: int = 768
    vision_layers: int = 12
    text_width: int = 512
    text_layers: int = 12
    vocabulary: int = 49408
    context: int = 77
    dimensions: int = 512


B32 = Sizes()
#: Everything that B/32 has, in a fiftieth of a second a picture.
TINY = Sizes(vision_width=128, vision_layers=2, text_width=64, text_layers=2, dimensions=32)


class Graph:
    """An ONNX graph while it is written, and the random numbers it is filled with."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._count = 0

    def weight(self, *shape: int, scale: float = 0.0) -> str:
        """A matrix of random numbers, by default of the scale that keeps what it maps."""
        scale = scale or shape[0] ** -0.5
        values = self._random.standard_normal(shape, np.float32)
        values *= np.float32(scale)
        return self.constant(values)

    def constant(self, values: Any) -> str:
        name = self._name("weight")
        self._weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def ids(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def __call__(self, op: str, *inputs: str, **attributes: Any) -> str:
        name = self._name(op)
        self._nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def linear(self, x: str, wide: int, out: int) -> str:
        product = self("MatMul", x, self.weight(wide, out))
        return self("Add", product, self.weight(out, scale=0.02))

    def norm(self, x: str, wide: int) -> str:
        ones = self.constant(np.ones(wide, np.float32))
        return self("LayerNormalization", x, ones, self.weight(wide, scale=0.02), axis=-1)

    def layers(self, x: str, wide: int, count: int, mask: str | None = None) -> str:
        """*count* pre-norm transformer layers on [n, tokens, wide]."""
        heads = wide // 64
        for _ in range(count):
            inner = self.norm(x, wide)
            q, k, v = (self.heads(self.linear(inner, wide, wide), heads) for _ in range(3))
            x = self("Add", x, self.linear(self.attend(q, k, v, wide, mask), wide, wide))
            hidden = self.linear(self.norm(x, wide), wide, 4 * wide)
            gate = self("Sigmoid", self("Mul", hidden, self.constant(np.float32(1.702))))
            quick = self("Mul", hidden, gate)
            x = self("Add", x, self.linear(quick, 4 * wide, wide))
        return x

    def heads(self, x: str, heads: int) -> str:
        """[n, tokens, 64 heads] → [n, heads, tokens, 64]."""
        split = self("Reshape", x, self.ids(0, 0, heads, 64))
        return self("Transpose", split, perm=[0, 2, 1, 3])

    def attend(self, q: str, k: str, v: str, wide: int, mask: str | None = None) -> str:
        turned = self("Transpose", k, perm=[0, 1, 3, 2])
        scores = self("Mul", self("MatMul", q, turned), self.constant(np.float32(64**-0.5)))
        scores = self("Add", scores, mask) if mask else scores
        mixed = self("MatMul", self("Softmax", scores, axis=-1), v)
        joined = self("Transpose", mixed, perm=[0, 2, 1, 3])
        return self("Reshape", joined, self.ids(0, 0, wide))

    def _name(self, what: str) -> str:
        self._count += 1
        return f"{what}.{self._count}"

    def finish(self, vector: str, feed: tuple[Any, ...], result: tuple[Any, ...]) -> Any:
        """The model; *feed* and *result* are (name, element type, shape)."""
        return self.finish_all([vector], [feed], [result])

    def finish_all(
        self,
        values: Sequence[str],
        feeds: Sequence[tuple[Any, ...]],
        results: Sequence[tuple[Any, ...]],
    ) -> Any:
        """As `finish`, with several of each."""
        for value, result in zip(values, results, strict=True):
            self._nodes.append(helper.make_node("Identity", [value], [result[0]]))
        graph = helper.make_graph(
            self._nodes,
            "tower",
            [helper.make_tensor_value_info(*feed) for feed in feeds],
            [helper.make_tensor_value_info(*result) for result in results],
            self._weights,
        )
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8
        )


def image_tower(
    sizes: Sizes,
    *,
    seed: int = 1,
    feed: str = "image",
    output: str = "embedding",
    batch: int | str = "n",
    dtype: int = TensorProto.FLOAT,
    normalised: bool = True,
) -> Any:
    """Pictures [batch, 3, s, s] → vectors."""
    graph = Graph(seed)
    wide, side = sizes.vision_width, sizes.image // sizes.patch
    pixels = graph("Cast", feed, to=TensorProto.FLOAT)
    patches = graph(
        "Conv",
        pixels,
        graph.weight(wide, 3, sizes.patch, sizes.patch, scale=(3 * sizes.patch**2) ** -0.5),
        strides=[sizes.patch] * 2,
    )
    rows = batch if isinstance(batch, int) else 0  # exporters trace a fixed batch into shapes
    flat = graph("Reshape", patches, graph.ids(rows, wide, side * side))
    tokens = graph("Transpose", flat, perm=[0, 2, 1])
    count = graph("Gather", graph("Shape", pixels), graph.ids(0))
    shape = graph("Concat", count, graph.ids(1, wide), axis=0)
    first = graph("Expand", graph.weight(1, 1, wide), shape)
    tokens = graph("Concat", first, tokens, axis=1)
    placed = graph("Add", tokens, graph.weight(1, side * side + 1, wide, scale=0.1))
    mixed = graph.layers(graph.norm(placed, wide), wide, sizes.vision_layers)
    read = graph("Gather", mixed, graph.constant(np.int64(0)), axis=1)
    vector = graph("MatMul", graph.norm(read, wide), graph.weight(wide, sizes.dimensions))
    vector = graph("LpNormalization", vector, axis=1, p=2) if normalised else vector
    return graph.finish(
        vector,
        (feed, dtype, (batch, 3, sizes.image, sizes.image)),
        (output, TensorProto.FLOAT, (batch, sizes.dimensions)),
    )


def text_tower(
    sizes: Sizes,
    *,
    seed: int = 2,
    feed: str = "text",
    output: str = "embedding",
    batch: int | str = "n",
    dtype: int = TensorProto.INT32,
    normalised: bool = True,
    causal: bool = True,
) -> Any:
    """Ids [batch, context] → vectors, read at the first end token."""
    graph = Graph(seed)
    wide = sizes.text_width
    ids = graph("Cast", feed, to=TensorProto.INT64)
    tokens = graph("Gather", graph.weight(sizes.vocabulary, wide, scale=0.1), ids)
    placed = graph("Add", tokens, graph.weight(1, sizes.context, wide, scale=0.02))
    ahead = np.triu(np.full((sizes.context, sizes.context), -1e9, np.float32), 1)
    mask = graph.constant(ahead if causal else 0 * ahead)
    mixed = graph.norm(graph.layers(placed, wide, sizes.text_layers, mask), wide)
    end = graph("ArgMax", ids, axis=1, keepdims=1)
    either = graph.constant(np.array([0, 1], np.float32))
    at = graph("OneHot", end, graph.ids(sizes.context), either)
    read = graph("Squeeze", graph("MatMul", at, mixed), graph.ids(1))
    vector = graph("MatMul", read, graph.weight(wide, sizes.dimensions))
    vector = graph("LpNormalization", vector, axis=1, p=2) if normalised else vector
    return graph.finish(
        vector,
        (feed, dtype, (batch, sizes.context)),
        (output, TensorProto.FLOAT, (batch, sizes.dimensions)),
    )


def save(model: Any, path: Path, *, external: bool = False) -> None:
    """Write *model*, its weights into one file beside it if *external*.  Changes it if so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save_model(
        model,
        path,
        save_as_external_data=external,
        all_tensors_to_one_file=True,
        location=f"{path.name}.data",
        size_threshold=1024,
    )


def write_immich(
    folder: Path, vocabulary: Path, sizes: Sizes = B32, *, batch: int | str = 1
) -> Path:
    """As immich's exporter leaves it: int32 ids, a batch of one, normalised."""
    save(image_tower(sizes, batch=batch), folder / "visual" / "model.onnx")
    save(text_tower(sizes, batch=batch), folder / "textual" / "model.onnx")
    _json(folder / "config.json")(
        embed_dim=sizes.dimensions,
        vision_cfg={"image_size": sizes.image, "patch_size": sizes.patch},
        text_cfg={"context_length": sizes.context, "vocab_size": sizes.vocabulary},
    )
    _json(folder / "visual" / "preprocess_cfg.json")(
        size=[sizes.image, sizes.image],
        mode="RGB",
        mean=CLIP_MEAN,
        std=CLIP_STD,
        interpolation="bicubic",
        resize_mode="shortest",
        fill_color=0,
    )
    _json(folder / "textual" / "tokenizer_config.json")(
        pad_token="<|endoftext|>", model_max_length=sizes.context
    )
    write_tokenizer(vocabulary, folder / "textual" / "tokenizer.json")
    return folder


def write_optimum(
    folder: Path, vocabulary: Path, sizes: Sizes = B32, *, external: bool = True
) -> Path:
    """As Xenova's repositories: int64 ids, any batch, not normalised, weights beside."""
    eyes = image_tower(sizes, feed="pixel_values", output="image_embeds", normalised=False)
    words = text_tower(
        sizes,
        feed="input_ids",
        output="text_embeds",
        normalised=False,
        dtype=TensorProto.INT64,
    )
    save(eyes, folder / "onnx" / "vision_model.onnx", external=external)
    save(words, folder / "onnx" / "text_model.onnx", external=external)
    _json(folder / "config.json")(
        model_type="clip",
        projection_dim=sizes.dimensions,
        text_config={"max_position_embeddings": sizes.context},
    )
    _json(folder / "preprocessor_config.json")(
        size={"shortest_edge": sizes.image},
        crop_size={"height": sizes.image, "width": sizes.image},
        do_center_crop=True,
        do_normalize=True,
        do_rescale=True,
        rescale_factor=1 / 255,
        resample=3,
        image_mean=CLIP_MEAN,
        image_std=CLIP_STD,
    )
    _json(folder / "tokenizer_config.json")(pad_token={"content": "<|endoftext|>"})
    write_tokenizer(vocabulary, folder / "tokenizer.json")
    return folder


def _json(path: Path) -> Callable[..., None]:
    def write(**values: Any) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values), encoding="utf-8")

    return write
