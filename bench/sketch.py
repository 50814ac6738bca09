"""sketch: are drawn faces found, and told apart, through the whole running system?

Renders pictures with people that no training met, indexes them with `--once`, and reads from the
catalog which faces were found.

    face_ap50   average precision of the boxes at an overlap of one half
    face_auc    chance that two faces of one person are more alike than those of two persons
"""

import contextlib
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from actors.library.faces import vector_of
from bench.system import ROOT, environment, index_once
from models.sketch.faces.measure import FoundFace, ToldFace, measure_faces

#: of a vector of the built-in model's faces
DIMENSIONS = 512


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


def found(data: Path) -> dict[str, list[FoundFace]]:
    """Name of a file → its faces as the catalog has them, boxes in parts of the picture."""
    query = """
        SELECT files.name, faces.*, vectors.vector
        FROM faces JOIN files ON files.content = faces.content
        JOIN vectors ON vectors.content = faces.content AND vectors.space = faces.space
    """
    faces: dict[str, list[FoundFace]] = {}
    with contextlib.closing(sqlite3.connect(data / "catalog.sqlite")) as database:
        database.row_factory = sqlite3.Row
        for row in database.execute(query):
            joint = vector_of(row["vector"], row["number"], DIMENSIONS)
            vector = None if joint is None else np.frombuffer(joint, "<f4")
            box = (row["left"], row["top"], row["right"], row["bottom"])
            face = FoundFace(box, row["score"], vector)
            faces.setdefault(os.fsdecode(row["name"]), []).append(face)
    return faces


def in_pixels(face: FoundFace, size: tuple[int, int]) -> FoundFace:
    (left, top, right, bottom), (width, height) = face.box, size
    return face._replace(box=(left * width, top * height, right * width, bottom * height))


def main(*, n: int = 200, seed: int | None = None) -> dict[str, Any]:
    """Both figures over *n* pictures."""
    seed = random.SystemRandom().randrange(2**31) if seed is None else seed
    with tempfile.TemporaryDirectory(prefix="obscura-sketch-") as scratch:
        photos, data = Path(scratch, "photos"), Path(scratch, "data")
        pairs = render(n, seed, photos)
        summary = index_once(photos, data)
        by_name = found(data)
        seen = []
        for file, _ in pairs:
            with Image.open(photos / file) as picture:
                size = picture.size
            seen.append([in_pixels(face, size) for face in by_name.get(file, ())])
    figures = measure_faces(seen, [told for _, told in pairs])._asdict()
    return {
        **{key: round(value, 4) for key, value in figures.items()},
        "n": n,
        "seed": seed,
        "photos_per_s": round(n / (summary["seconds"] - summary["ready_seconds"]), 1),
    }
