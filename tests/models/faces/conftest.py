"""Faces written into graphs, real detectors, and photos."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageOps

from models.faces.detector import FaceDetector
from models.faces.recogniser import FaceRecogniser
from models.importing import import_pack
from tests.models.faces.graphs import constants, detect_pack, recognise_pack, save


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


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
