"""sketch: are drawn faces found and told apart, and drawings described, by the running system?

Renders pictures with people and drawings that no training met, indexes them with `--once`, and
reads from the catalog which faces were found and what was said.

    face_ap50   average precision of the boxes at an overlap of one half
    face_auc    chance that two faces of one person are more alike than those of two persons
    caption_exact  share of drawings whose caption is the canonical one, word for word
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
from bench.recall import render as draw
from bench.system import ROOT, environment, index_once
from models.sketch.faces.measure import FoundFace, ToldFace, measure_faces
from models.sketch.telling.measure import measure_captions

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


def said(data: Path, root: Path) -> dict[str, str]:
    """Name of a file in *root* → its caption as the catalog has it."""
    query = """
        SELECT files.name, captions.text FROM captions JOIN files USING (content)
        JOIN directories ON directories.id = files.directory
        JOIN roots ON roots.id = directories.root WHERE roots.path = ?
    """
    with contextlib.closing(sqlite3.connect(data / "catalog.sqlite")) as database:
        rows = database.execute(query, [os.fsencode(root)]).fetchall()
    return {os.fsdecode(name): text for name, text in rows}


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
    """The figures over *n* pictures with people and as many drawings."""
    seed = random.SystemRandom().randrange(2**31) if seed is None else seed
    with tempfile.TemporaryDirectory(prefix="obscura-sketch-") as scratch:
        people, drawings, data = (Path(scratch, each) for each in ("people", "drawings", "data"))
        pairs = render(n, seed, people)
        captions = draw(n, seed, drawings)
        faces = index_once(people, data)
        by_name = found(data)
        words = index_once([people, drawings], data)
        told = said(data, drawings)
        seen = []
        for file, _ in pairs:
            with Image.open(people / file) as picture:
                size = picture.size
            seen.append([in_pixels(face, size) for face in by_name.get(file, ())])
    figures = measure_faces(seen, [expected for _, expected in pairs])._asdict()
    of_captions = measure_captions(
        [told.get(file, "") for file, _ in captions], [expected for _, expected in captions]
    )
    return {
        **{key: round(value, 4) for key, value in figures.items()},
        "caption_exact": round(of_captions.caption_exact, 4),
        "captions_wrong": of_captions.wrong,
        "n": n,
        "seed": seed,
        "photos_per_s": round(n / (faces["seconds"] - faces["ready_seconds"]), 1),
        "drawings_per_s": round(n / (words["seconds"] - words["ready_seconds"]), 1),
    }
