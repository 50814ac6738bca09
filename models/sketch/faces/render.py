"""Sets of drawn pictures with people, and a line for each picture that says where and who.

Identities come back: a set of n pictures has a cast of about n / 3, so that each of them is met
several times and pairs can be asked for.  The same number and seed give the same files, byte for
byte on the same Pillow.
"""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from random import Random
from typing import TYPE_CHECKING, Final

from models.sketch.faces.person import person_of
from models.sketch.faces.scene import MOST_FACES, Scene, draw_scene

if TYPE_CHECKING:
    from pathlib import Path

FACES: Final = "faces.jsonl"
#: Width and height in pixels; every other picture has the first.
_SIZES: Final = ((640, 480), (480, 640), (800, 600), (512, 512), (960, 540), (320, 240))
_COUNTS: Final = (1, 3, 3, 2, 1, 1)  #: shares of pictures with none, one … five faces
_QUALITY: Final = 92
#: Below this many pictures, starting processes takes longer than drawing.
_WORTH_PROCESSES: Final = 200


def cast_of(number: int, seed: int) -> range:
    """The identities that a set of `number` pictures is drawn with; no other seed has them."""
    start = seed * 1_000_000
    return range(start, start + max(MOST_FACES, number // 3))


def render_scene(number: int, seed: int, cast: range) -> Scene:
    """Picture `number` of the set `seed`."""
    rng = Random(f"people {seed} {number}")
    size = _SIZES[0] if number % 2 == 0 else rng.choice(_SIZES)
    count = rng.choices(range(MOST_FACES + 1), _COUNTS)[0]
    people = [(identity, person_of(identity)) for identity in rng.sample(cast, count)]
    return draw_scene(rng, size, people)


def render_faces(number: int, seed: int, directory: Path) -> None:
    """Write pictures 00000.jpg … and faces.jsonl into `directory`, which is made if need be.

    A line of faces.jsonl is {"file": …, "faces": [{"box": [left, top, right, bottom],
    "landmarks": five times [x, y], "identity": a number}]}, in pixels, in the order of the files.
    Landmarks are the eye on the left of the picture, the other, the nose, the corners of the mouth.

    Raises:
        OSError: the directory cannot be made or written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    arguments = (range(number), repeat(seed), repeat(cast_of(number, seed)), repeat(directory))
    if number < _WORTH_PROCESSES:
        lines = list(map(_render_file, *arguments))
    else:
        # Not forked: whoever calls this may have threads, and a fork would copy their locks.
        with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
            lines = list(pool.map(_render_file, *arguments, chunksize=16))
    (directory / FACES).write_text("".join(lines), encoding="utf-8")


def _render_file(number: int, seed: int, cast: range, directory: Path) -> str:
    scene = render_scene(number, seed, cast)
    file = f"{number:05}.jpg"
    scene.picture.save(directory / file, "JPEG", quality=_QUALITY)
    faces = [
        {
            "box": [round(edge, 2) for edge in face.box],
            "landmarks": [[round(x, 2), round(y, 2)] for x, y in face.landmarks],
            "identity": face.identity,
        }
        for face in scene.faces
    ]
    return json.dumps({"file": file, "faces": faces}) + "\n"
