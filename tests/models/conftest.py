"""Packs small enough to write by hand: one matrix for pictures, one table for words."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

SIZE, CONTEXT, DIMENSIONS = 8, 6, 4
WORDS = ["[pad]", "[start]", "[end]", "[unknown]", "photo", "red", "dog"]


def save(path: Path, nodes, inputs, outputs, weights) -> Path:
    """Write the graph of *nodes*; inputs and outputs are (name, element type, shape)."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(*each) for each in inputs],
        [helper.make_tensor_value_info(*each) for each in outputs],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def image_graph(
    path: Path,
    *,
    dtype: int = TensorProto.FLOAT,
    shape: tuple[Any, ...] = ("n", 3, SIZE, SIZE),
    output: tuple[Any, ...] = ("n", DIMENSIONS),
    columns: int = DIMENSIONS,
    last: str = "Identity",
) -> Path:
    """Pixels times one fixed matrix.

    A fixed batch is traced into the reshape as well, as exporters do.  *last* is one more
    operator: "Sqrt" gives NaN below zero, "LpNormalization" vectors of length one.
    """
    rows = shape[0] if isinstance(shape[0], int) else 0  # 0 copies the dimension
    features = int(np.prod(shape[1:]))
    matrix = np.random.default_rng(7).standard_normal((features, columns)).astype(np.float32)
    return save(
        path,
        [
            helper.make_node("Cast", ["pixels"], ["wide"], to=TensorProto.FLOAT),
            helper.make_node("Reshape", ["wide", "flat_shape"], ["flat"]),
            helper.make_node("MatMul", ["flat", "matrix"], ["product"]),
            helper.make_node(last, ["product"], ["embedding"]),
        ],
        [("pixels", dtype, shape)],
        [("embedding", TensorProto.FLOAT, output)],
        {"flat_shape": np.array([rows, features], np.int64), "matrix": matrix},
    )


def text_graph(
    path: Path,
    *,
    dtype: int = TensorProto.INT64,
    shape: tuple[Any, ...] = ("n", CONTEXT),
    scale: float = 1.0,
) -> Path:
    """The mean of one fixed vector a word."""
    table = np.random.default_rng(8).standard_normal((len(WORDS), DIMENSIONS)).astype(np.float32)
    return save(
        path,
        [
            helper.make_node("Gather", ["table", "ids"], ["each"]),
            helper.make_node("ReduceMean", ["each"], ["embedding"], axes=[1], keepdims=0),
        ],
        [("ids", dtype, shape)],
        [("embedding", TensorProto.FLOAT, (shape[0], DIMENSIONS))],
        {"table": table * np.float32(scale)},
    )


def tokenizer_json(path: Path) -> Path:
    tokenizer = Tokenizer(
        WordLevel({word: number for number, word in enumerate(WORDS)}, "[unknown]")
    )
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[start] $A [end]", special_tokens=[("[start]", 1), ("[end]", 2)]
    )
    tokenizer.save(str(path))
    return path


def write_pack(
    directory: Path,
    *,
    image: dict[str, Any] | None = None,
    text: dict[str, Any] | None = None,
    more: dict[str, Any] | None = None,
    omit: tuple[str, ...] = (),
) -> Path:
    """A whole pack in *directory*.

    *image* and *text* go to the graphs, *more* overwrites keys of the toml by their dotted path.
    """
    directory.mkdir(parents=True, exist_ok=True)
    image_graph(directory / "image.onnx", **(image or {}))
    text_graph(directory / "text.onnx", **(text or {}))
    tokenizer_json(directory / "tokenizer.json")
    sha256 = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.iterdir()
    }
    keys: dict[str, Any] = {
        "name": "tiny",
        "revision": "1",
        "licence": "Apache-2.0",
        "summary": "for tests",
        "embed.dimensions": DIMENSIONS,
        "embed.space": "tiny-1",
        "embed.image.file": "image.onnx",
        "embed.image.sha256": sha256["image.onnx"],
        "embed.image.precision": "fp32",
        "embed.image.memory_mib": 1,
        "embed.image.buckets": [1, 4],
        "embed.image.size": SIZE,
        "embed.image.resize": "shortest",
        "embed.image.resample": "bicubic",
        "embed.image.mean": [0.5, 0.5, 0.5],
        "embed.image.std": [0.5, 0.5, 0.5],
        "embed.image.colour": "RGB",
        "embed.image.layout": "NCHW",
        "embed.image.preprocess": "1",
        "embed.image.input": "pixels",
        "embed.image.output": "embedding",
        "embed.image.normalised": False,
        "embed.text.file": "text.onnx",
        "embed.text.sha256": sha256["text.onnx"],
        "embed.text.tokenizer": "tokenizer.json",
        "embed.text.tokenizer_sha256": sha256["tokenizer.json"],
        "embed.text.kind": "tokenizers",
        "embed.text.context": CONTEXT,
        "embed.text.pad": 0,
        "embed.text.input": "ids",
        "embed.text.output": "embedding",
        "embed.text.normalised": False,
    } | (more or {})
    lines = [
        f"{key} = {json.dumps(value)}"  # JSON's scalars and lists are TOML's
        for key, value in keys.items()
        if not key.startswith(omit or ("\0",))
    ]
    (directory / "pack.toml").write_text("\n".join(lines) + "\n", "utf-8")
    return directory


@pytest.fixture
def graphs() -> SimpleNamespace:
    """The writers of single graphs: `save`, `image`, `text`, `tokenizer`."""
    return SimpleNamespace(save=save, image=image_graph, text=text_graph, tokenizer=tokenizer_json)


@pytest.fixture
def pack_at(tmp_path) -> Callable[..., Path]:
    """Writes a pack and returns its folder; arguments as `write_pack`."""
    return lambda **changes: write_pack(tmp_path / "packs" / "tiny", **changes)
