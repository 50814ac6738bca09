"""Writers of small face graphs and of packs around them."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.graphfile import read_graph
from models.pack import DetectGraph, Faces, Manifest, RecogniseGraph, pack_of

BARE = (1 / 255, 1 / 255, 1 / 255)


def save(path: Path, nodes, inputs, outputs, weights, *, kind=TensorProto.FLOAT) -> Path:
    graph = helper.make_graph(
        nodes,
        "faces",
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in inputs],
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in outputs],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path


def constants(path: Path, outputs: dict[str, np.ndarray], shape=(1, 3, 640, 640)) -> Path:
    """A graph that sees the same whatever it is shown."""
    weights = {f"_{name}": array.astype(np.float32) for name, array in outputs.items()}
    return save(
        path,
        [helper.make_node("Identity", [f"_{name}"], [name]) for name in outputs],
        [("input.1", shape)],
        [(name, array.shape) for name, array in outputs.items()],
        weights,
    )


def detect_pack(path: Path, outputs, *, kind="scrfd", size=640, **changes):
    """A pack of the detector at *path* alone."""
    half = (0.5, 0.5, 0.5)
    graph = DetectGraph(
        file=path.name,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        kind=kind,
        precision="fp32",
        size=size,
        mean=half,
        std=(128 / 255,) * 3,
        colour="RGB",
        input="input.1",
        outputs=tuple(outputs),
        **changes,
    )
    return pack_of(Manifest("faces", "1", "MIT", "", faces=Faces(graph)), path.parent)


def recognise_pack(path: Path, **changes):
    """A pack of the recogniser at *path* alone."""
    told: dict[str, Any] = {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "precision": read_graph(path).precision,
        "buckets": (1, 4),
        "size": 8,
        "mean": (0.0, 0.0, 0.0),
        "std": BARE,
        "colour": "RGB",
        "layout": "NCHW",
        "input": "data",
        "output": "vector",
        "dimensions": 4,
        "space": "tiny",
    } | changes
    graph = RecogniseGraph(**told)
    return pack_of(Manifest("faces", "1", "MIT", "", faces=Faces(recognise=graph)), path.parent)


def padded(path: Path, size: int) -> bytes:
    """The graph at *path* with enough said about it to have *size* bytes."""
    model = onnx.load(path)
    while (left := size - len(model.SerializeToString())) > 0:
        model.doc_string += "." * max(1, left - 8)  # the length of the text takes some itself
    return bytes(model.SerializeToString())
