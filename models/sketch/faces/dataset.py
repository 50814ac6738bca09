"""What the detector and the recogniser learn from: drawn once and kept in a folder.

Scenes come to the detector in three ways, as the program will bring them: drawn at about its own
resolution, which is cheap; drawn larger and reduced; and as a part cut out of a larger one, because
large photos are searched in tiles, whose borders cut faces.

Crops come to the recogniser as they come from detected landmarks: the portrait is drawn at the size
that chance gives it, degraded there, and aligned by landmarks that are a little wrong.

Chance comes from streams named for training; those of `render` have other names, so that neither
scene nor person of a user's seed was ever met.
"""

from __future__ import annotations

import math
import multiprocessing
from io import BytesIO
from random import Random
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image, ImageFilter

from models.faces.alignment import align
from models.faces.face import Face
from models.sketch.drawing import draw
from models.sketch.faces.person import Person, person_of
from models.sketch.faces.portrait import draw_portrait, random_sitting
from models.sketch.faces.scene import MOST_FACES, Scene, draw_scene
from models.sketch.pen import jittered
from models.sketch.spec import random_spec
from models.sketch.vocabulary import COLOURS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

STREAM: Final = "training person"
SIDE: Final = 320  #: pixels of the detector's square
CROP: Final = 112  #: pixels of an aligned face
PER_PERSON: Final = 8  #: crops of one identity
#: Columns of a told face: box (4), landmarks (10), whether it counts (1) or is to be ignored (0).
COLUMNS: Final = 15
_CHUNK: Final = 128


def draw_scenes(directory: Path, number: int, processes: int) -> None:
    """Put at least `number` scenes into `directory`, unless some are there already.

    Writes scenes.npy, uint8 RGB [n, 320, 320, 3], and told.npy, float32 [n, 5, 15].
    """
    _draw(directory, number, processes, "scenes", "told", _draw_scene_chunk)


def draw_crops(directory: Path, people: int, processes: int) -> None:
    """Put eight crops of each of at least `people` persons into `directory`, unless there already.

    Writes crops.npy, uint8 RGB [n, 112, 112, 3], and persons.npy, uint8 [n, columns of `Person`];
    rows 8i to 8i + 7 show the same person.
    """
    _draw(directory, people * PER_PERSON, processes, "crops", "persons", _draw_crop_chunk)


def _draw(  # noqa: PLR0917 - where, how much, by whom, what
    directory: Path,
    number: int,
    processes: int,
    pixels: str,
    labels: str,
    draw_chunk: Callable[[int], tuple[int, NDArray[np.uint8], NDArray[np.generic]]],
) -> None:
    if (directory / f"{labels}.npy").exists():
        return
    chunks = -(-number // _CHUNK)
    drawn: np.memmap | None = None
    told: list[NDArray[np.generic]] = [np.empty(0)] * chunks
    # Not forked: torch has threads by now, and a fork would copy their locks.
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for chunk, part, labelled in pool.imap_unordered(draw_chunk, range(chunks)):
            if drawn is None:
                drawn = np.lib.format.open_memmap(
                    directory / f"{pixels}.npy", "w+", np.uint8, (chunks * _CHUNK, *part.shape[1:])
                )
            drawn[chunk * _CHUNK : (chunk + 1) * _CHUNK] = part
            told[chunk] = labelled
    if drawn is not None:
        drawn.flush()
    # Last: that it is there says that the pictures are complete.
    np.save(directory / f"{labels}.npy", np.concatenate(told))


# ── scenes ──────────────────────────────────────────────────────────────────────────────────


def _draw_scene_chunk(number: int) -> tuple[int, NDArray[np.uint8], NDArray[np.float32]]:
    rng = Random(f"training scenes {number}")
    pairs = [training_scene(rng) for _ in range(_CHUNK)]
    return number, np.stack([one for one, _ in pairs]), np.stack([told for _, told in pairs])


def training_scene(rng: Random) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A square for the detector, uint8 [320, 320, 3], and the faces in it, float32 [5, 15]."""
    count = rng.choices(range(MOST_FACES + 1), (1, 3, 3, 2, 2, 2))[0]
    people = [(0, person_of(rng.getrandbits(48), STREAM)) for _ in range(count)]
    way = rng.random()
    ratio = rng.choice((0.5625, 0.75, 0.75, 1.0))
    if way < 0.55:
        long = SIDE if rng.random() < 0.7 else rng.randint(SIDE // 2, SIDE)
        scene = draw_scene(rng, _size(rng, long, ratio), people)
        return _letterboxed(scene, 1.0, (0, 0))
    scene = draw_scene(rng, _size(rng, rng.choice((480, 640, 800)), ratio), people)
    if way < 0.75:
        return _letterboxed(scene, SIDE / max(scene.picture.size), (0, 0))
    shown = rng.uniform(0.45, 0.7) * max(scene.picture.size)
    corner = [round(rng.uniform(0, max(0.0, extent - shown))) for extent in scene.picture.size]
    return _letterboxed(scene, SIDE / shown, (corner[0], corner[1]))


def _size(rng: Random, long: int, ratio: float) -> tuple[int, int]:
    short = round(long * ratio)
    return (long, short) if rng.random() < 0.6 else (short, long)


def _letterboxed(
    scene: Scene, scale: float, corner: tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """What of a scene lies right of and below `corner`, scaled, in the upper left of the square."""
    wide, high = scene.picture.size
    reach = SIDE / scale
    part = scene.picture.crop(
        (*corner, min(wide, corner[0] + round(reach)), min(high, corner[1] + round(reach)))
    )
    if scale != 1:
        size = min(SIDE, round(part.width * scale)), min(SIDE, round(part.height * scale))
        part = part.resize(size, Image.Resampling.BILINEAR)
    square = np.zeros((SIDE, SIDE, 3), np.uint8)
    square[: part.height, : part.width] = np.asarray(part)
    told = np.zeros((MOST_FACES, COLUMNS), np.float32)
    limits = np.array([part.width, part.height] * 2, np.float32)
    offset = np.array(corner, np.float32)
    for row, face in zip(told, scene.faces, strict=False):
        box = (np.array(face.box, np.float32) - np.tile(offset, 2)) * scale
        row[:4] = np.clip(box, 0, limits)
        marks = (np.array(face.landmarks, np.float32) - offset) * scale
        row[4:14] = marks.ravel()
        inside = ((marks > 0) & (marks < limits[:2])).all(1)
        whole = float(np.prod(box[2:] - box[:2]))
        left = float(np.prod(np.maximum(0, row[2:4] - row[:2])))
        # Of a face that a tile cuts off, another tile sees more: it is neither right nor wrong.
        row[14] = float(inside.sum() >= 4 and left > 0.6 * whole)
    return square, told


# ── crops ───────────────────────────────────────────────────────────────────────────────────


def _draw_crop_chunk(number: int) -> tuple[int, NDArray[np.uint8], NDArray[np.uint8]]:
    rng = Random(f"training crops {number}")
    grounds = [draw(random_spec(rng), rng, 256, fineness=1) for _ in range(12)]
    people = [
        person_of(number * _CHUNK // PER_PERSON + i, STREAM) for i in range(_CHUNK // PER_PERSON)
    ]
    rows = [person for person in people for _ in range(PER_PERSON)]
    crops = [training_crop(rng, person, rng.choice(grounds)) for person in rows]
    return number, np.stack(crops), np.array(rows, np.uint8)


def training_crop(rng: Random, person: Person, ground: Image.Image) -> NDArray[np.uint8]:
    """One aligned face as a detector would hand it on: uint8 [112, 112, 3]."""
    radius = math.exp(rng.uniform(math.log(14), math.log(110)))
    portrait = draw_portrait(person, random_sitting(rng), radius)
    left, top = rng.randint(0, 120), rng.randint(0, 120)
    picture = ground.crop((left, top, left + 136, top + 136)).resize(portrait.layer.size)
    picture.paste(portrait.layer, (0, 0), portrait.layer)
    marks = np.array(portrait.landmarks)
    if rng.random() < 0.12:
        _obstruct(rng, picture, portrait.box)
    if rng.random() < 0.3:
        picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.0)))
    noise = np.random.default_rng(rng.getrandbits(32)).standard_normal(
        (picture.height, picture.width, 1), np.float32
    )
    pixels = np.asarray(picture, np.float32) * rng.uniform(0.8, 1.15)
    pixels += noise * max(0.0, rng.uniform(-3, 7))
    file = BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(
        file, "JPEG", quality=rng.randint(75, 95)
    )
    # Landmarks are found to a few hundredths of a face's height, and better in large ones.
    wrong = rng.uniform(0.005, 0.05) * radius + 0.3
    marks += np.array([[rng.gauss(0, wrong), rng.gauss(0, wrong)] for _ in marks])
    with Image.open(file) as seen:
        face = Face(*portrait.box, 1.0, tuple((x, y) for x, y in marks.tolist()))
        return align(np.asarray(seen), face, CROP)


def _obstruct(rng: Random, picture: Image.Image, box: tuple[float, float, float, float]) -> None:
    left, top, right, bottom = box
    size = (bottom - top) * rng.uniform(0.15, 0.3)
    angle = rng.uniform(0, math.tau)
    x = (left + right) / 2 + math.cos(angle) * (right - left) * 0.5
    y = (top + bottom) / 2 + math.sin(angle) * (bottom - top) * 0.5
    patch = (round(x - size), round(y - size), round(x + size), round(y + size))
    picture.paste(jittered(rng, rng.choice(list(COLOURS.values()))), patch)
