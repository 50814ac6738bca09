"""Detectors whose faces are known, because they are written into the graph."""

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, ImageOps

from models.faces.detector import FaceDetector
from models.faces.recogniser import FaceRecogniser
from models.graphfile import read_graph
from models.importing import import_pack
from models.pack import DetectGraph, Faces, Manifest, RecogniseGraph, pack_of

BARE = (1 / 255, 1 / 255, 1 / 255)


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


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


@pytest.fixture
def made() -> SimpleNamespace:
    """The writers: `constants`, `save`, `detect_pack`, `recognise_pack`."""
    return SimpleNamespace(
        constants=constants, save=save, detect_pack=detect_pack, recognise_pack=recognise_pack
    )


@pytest.fixture(scope="session")
def photos(corpus) -> SimpleNamespace:
    """Reads a photo of corpus/faces by a part of its path."""

    def one(name: str) -> np.ndarray:
        return read(next(path for path in everything if name in str(path)))

    everything = [path for path in sorted((corpus / "faces").rglob("*.*")) if path.is_file()]
    return SimpleNamespace(
        one=one,
        read=read,
        ordinary=[path for path in everything if "lfw_aligned" not in path.parts],
        aligned=[path for path in everything if "lfw_aligned" in path.parts],
    )


@pytest.fixture(scope="session")
def real(corpus, tmp_path_factory):
    """Packs of real models, imported from bare folders: YuNet and MobileFace, Ultra-Light."""
    home = tmp_path_factory.mktemp("faces")

    def pack(name: str, *graphs: str):
        folder = home / name
        folder.mkdir()
        for graph in graphs:
            path = next((corpus / "onnx").rglob(graph))
            (folder / path.name).write_bytes(path.read_bytes())
        return import_pack(folder, home / "packs", licence="MIT")

    both = pack("both", "yunet_s_640_640.onnx", "mobileface_v2_112_256d.onnx")
    return SimpleNamespace(
        both=both,
        ultralight=pack("ultralight", "version-RFB-320.onnx"),
        dynamic=pack("dynamic", "yunet_n_dynamic.onnx"),
        detector=FaceDetector.open(both),
        recogniser=FaceRecogniser.open(both),
    )
