"""sketch: are drawn faces found, and told apart?

Renders pictures with people that no training met, and asks the built-in model for their faces.

    face_ap50   average precision of the boxes at an overlap of one half
    face_auc    chance that two faces of one person are more alike than those of two persons
"""

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.system import ROOT, environment
from models.faces.alignment import align
from models.faces.detector import FaceDetector
from models.faces.recogniser import FaceRecogniser
from models.pack import BUILT_IN, load_pack
from models.sketch.faces.measure import FoundFace, ToldFace, measure_faces


def render(n: int, seed: int, out: Path) -> list[tuple[str, list[ToldFace]]]:
    """(file, faces in it) of *n* pictures drawn into *out*."""
    drawing = [sys.executable, "-m", "models.sketch", "faces"]
    subprocess.run(
        [*drawing, "--n", str(n), "--seed", str(seed), "--out", str(out)],
        check=True,
        cwd=ROOT,
        env=environment(),
    )
    lines = (out / "faces.jsonl").read_text(encoding="utf-8").splitlines()
    return [
        (told["file"], [ToldFace(tuple(face["box"]), face["identity"]) for face in told["faces"]])
        for told in map(json.loads, lines)
    ]


class Bare:
    """The models alone, without the system around them."""

    def __init__(self) -> None:
        pack = load_pack(BUILT_IN / "sketch")
        self._detector, self._recogniser = FaceDetector.open(pack), FaceRecogniser.open(pack)

    def faces(self, path: Path) -> list[FoundFace]:
        with Image.open(path) as opened:
            picture = np.asarray(opened.convert("RGB"))
        found = self._detector.detect(picture)
        if not found:
            return []
        crops = np.stack([align(picture, face, self._recogniser.size) for face in found])
        return [
            FoundFace((face.left, face.top, face.right, face.bottom), face.score, vector)
            for face, vector in zip(found, self._recogniser.embed(crops), strict=True)
        ]


def main(*, n: int = 200, seed: int | None = None) -> dict[str, Any]:
    """Both figures over *n* pictures."""
    seed = random.SystemRandom().randrange(2**31) if seed is None else seed
    with tempfile.TemporaryDirectory(prefix="obscura-sketch-") as scratch:
        photos = Path(scratch)
        pairs = render(n, seed, photos)
        models = Bare()
        found = [models.faces(photos / file) for file, _ in pairs]
    figures = measure_faces(found, [told for _, told in pairs])._asdict()
    return {key: round(value, 4) for key, value in figures.items()} | {"n": n, "seed": seed}
