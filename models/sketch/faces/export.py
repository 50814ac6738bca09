"""From checkpoints to the [faces] sections of the pack: two more graphs beside those of the towers.

As those, they compute in float32 and store their matrices in float16.  The detector's first layer
takes raw pixels, blue first, and its twelve outputs have YuNet's names.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import nn

from models.faces.detector import FaceDetector
from models.faces.recogniser import FaceRecogniser
from models.pack import (
    MANIFEST,
    DetectGraph,
    Faces,
    Manifest,
    RecogniseGraph,
    load_pack,
    to_toml,
    verify,
)
from models.sketch.export import HEADER, write_graph
from models.sketch.faces.dataset import CROP, SIDE
from models.sketch.faces.network import (
    DIMENSIONS,
    PARTS,
    STRIDES,
    Detector,
    DetectorGraph,
    Recogniser,
    RecogniserGraph,
    Traits,
)
from models.sketch.faces.train_detector import CHECKPOINT as DETECTOR
from models.sketch.faces.train_recogniser import CHECKPOINT as RECOGNISER
from models.sketch.faces.train_recogniser import as_tensor

if TYPE_CHECKING:
    from pathlib import Path

    from models.pack import Pack

OUTPUTS: Final = tuple(f"{part}_{stride}" for part, _ in PARTS for stride in STRIDES)
_RAW: Final = (0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)  # mean and std of pixels as they are
_LEAST_COSINE: Final = 0.9999
#: On unseen scenes 95 of 100 faces scored above it are there, and 99 of 100 are found.
#: At 0.6 it is 96 to 97, and a few more are missed.
_THRESHOLD: Final = 0.55


def export_faces(work: Path, directory: Path) -> None:
    """Add the networks in `work` to the pack in `directory`, read them back and compare.

    Raises:
        PackBroken: there is no pack in `directory`.
        ValueError: the graphs do not compute what the checkpoints do.
    """
    pack = load_pack(directory)
    detector, recogniser = Detector(), Recogniser()
    detector.load_state_dict(torch.load(work / DETECTOR)["weights"])
    nn.ModuleDict({"recogniser": recogniser, "traits": Traits()}).load_state_dict(
        torch.load(work / RECOGNISER)["weights"]
    )
    write_graph(
        DetectorGraph(detector).eval(),
        torch.zeros(1, 3, SIDE, SIDE),
        "input",
        {},
        directory / "face-detect.onnx",
        outputs=OUTPUTS,
    )
    write_graph(
        RecogniserGraph(recogniser).eval(),
        torch.zeros(2, 3, CROP, CROP),
        "pixels",
        {0: "n"},
        directory / "face-embed.onnx",
    )
    fields = {name: getattr(pack, name) for name in Manifest.__struct_fields__}
    manifest = Manifest(**fields | {"faces": _sections(directory)})
    (directory / MANIFEST).write_text(HEADER + to_toml(manifest), encoding="utf-8")
    _check(load_pack(directory), recogniser.eval(), work)


def _sections(directory: Path) -> Faces:
    mean, std = _RAW
    return Faces(
        detect=DetectGraph(
            file="face-detect.onnx",
            sha256=_sha256(directory / "face-detect.onnx"),
            kind="yunet",
            precision="fp16-weights",
            size=SIDE,
            mean=mean,
            std=std,
            colour="BGR",
            input="input",
            outputs=OUTPUTS,
            memory_mib=30,
            threshold=_THRESHOLD,
            sure=_THRESHOLD,  # nobody drawn stands on their head: not looked for twice
        ),
        recognise=RecogniseGraph(
            file="face-embed.onnx",
            sha256=_sha256(directory / "face-embed.onnx"),
            precision="fp16-weights",
            buckets=(1, 4, 16, 32),
            size=CROP,
            mean=mean,
            std=std,
            colour="RGB",
            layout="NCHW",
            input="pixels",
            output="embedding",
            dimensions=DIMENSIONS,
            space="sketch-face-1",
            memory_mib=60,
        ),
    )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _check(pack: Pack, recogniser: Recogniser, work: Path) -> None:
    """Load the graphs as the program does and compare the recogniser with the checkpoint."""
    verify(pack)
    FaceDetector.open(pack)
    crops = np.load(work / "crops.npy", mmap_mode="r")[:100]
    with torch.no_grad():
        theirs = RecogniserGraph(recogniser)(as_tensor(crops)).numpy()
    cosine = float((FaceRecogniser.open(pack).embed(crops) * theirs).sum(1).min())
    print(f"smallest cosine to torch: {cosine:.6f}")
    if cosine < _LEAST_COSINE:
        raise ValueError(f"{pack.directory} differs from the checkpoint: smallest cosine {cosine}")
    for path in sorted(pack.directory.iterdir()):
        print(f"{path.name}: {path.stat().st_size:,} bytes")
