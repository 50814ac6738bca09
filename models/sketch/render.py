"""Sets of drawn pictures with captions: something to search where no photos are at hand.

Half of the captions have a twin, another caption of the set that differs in exactly one word: to
tell twins apart, a model must have looked at everything. The other half is chance. Each caption is
true of its own picture and of no other of the set, even where one picture shows all that another
does and more: "two small stars on green" is kept from a set with "two stars and a heart on green".

The same number and seed give the same files, byte for byte on the same Pillow.
"""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from random import Random
from typing import TYPE_CHECKING, Final

from models.sketch.captions import canonical, one_word_apart
from models.sketch.drawing import draw
from models.sketch.spec import Kind, Spec, random_spec, variation

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

SIDE: Final = 256
MOST_PICTURES: Final = 20_000
CAPTIONS: Final = "captions.jsonl"
_QUALITY: Final = 92
#: Below this many pictures, starting processes takes longer than drawing.
_WORTH_PROCESSES: Final = 400
_TWIN_TRIES: Final = 60


class _Choice:
    """Drawings of which no caption is true of another's picture."""

    def __init__(self) -> None:
        self.specs: dict[Spec, None] = {}
        self._groups: set[tuple[int, ...]] = set()  # what whole pictures show
        self._halves: set[tuple[int, ...]] = set()  # what halves of pictures show

    def admits(self, spec: Spec) -> bool:
        if spec in self.specs:
            return False
        first, second = _halves(spec)
        if spec.kind == Kind.GROUP:
            return first not in self._halves
        return spec.kind == Kind.LANDSCAPE or self._groups.isdisjoint((first, second))

    def add(self, spec: Spec) -> None:
        self.specs[spec] = None
        if spec.kind == Kind.GROUP:
            self._groups.add(_halves(spec)[0])
        elif spec.kind != Kind.LANDSCAPE:
            self._halves.update(_halves(spec))


def _halves(spec: Spec) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What a picture shows, apart from sizes, which pairs do not tell."""
    ground = (spec.ground, spec.texture)
    first = (spec.count, spec.colour, spec.noun, *ground)
    return first, (spec.count2, spec.colour2, spec.noun2, *ground)


def choose_specs(number: int, seed: int) -> list[Spec]:
    """`number` different drawings, at least half of them twins (where there are two at all)."""
    rng = Random(f"specs {seed}")
    choice = _Choice()
    twins = 0
    while (chosen := len(choice.specs)) < number:
        first = random_spec(rng)
        if not choice.admits(first):
            continue
        # A loner comes when half will be twins even if the set ends at the next one.
        if number - chosen == 1 or 2 * twins >= chosen + 2:
            choice.add(first)
        elif second := _twin(rng, first, choice):
            choice.add(first)
            choice.add(second)
            twins += 2
    return list(choice.specs)


def _twin(rng: Random, spec: Spec, choice: _Choice) -> Spec | None:
    """A drawing not taken yet whose caption differs in one word; None where chance finds none."""
    caption = canonical(spec)
    for _ in range(_TWIN_TRIES):
        other = variation(rng, spec)
        if choice.admits(other) and one_word_apart(caption, canonical(other)):
            return other
    return None


def render_picture(spec: Spec, seed: int, number: int) -> Image.Image:
    """Picture `number` of the set `seed`: RGB, 256 x 256."""
    return draw(spec, Random(f"picture {seed} {number}"), SIDE)


def render(number: int, seed: int, directory: Path) -> None:
    """Write pictures 00000.jpg … and captions.jsonl into `directory`, which is made if need be.

    A line of captions.jsonl is {"file": …, "caption": …}, in the order of the files.

    Raises:
        OSError: the directory cannot be made or written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    specs = choose_specs(number, seed)
    files = [f"{position:05}.jpg" for position in range(number)]
    arguments = (specs, repeat(seed), range(number), [directory / file for file in files])
    if number < _WORTH_PROCESSES:
        list(map(_render_file, *arguments))
    else:
        # Not forked: whoever calls this may have threads, and a fork would copy their locks.
        with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
            list(pool.map(_render_file, *arguments, chunksize=32))
    lines = [
        json.dumps({"file": file, "caption": canonical(spec)}) + "\n"
        for file, spec in zip(files, specs, strict=True)
    ]
    (directory / CAPTIONS).write_text("".join(lines), encoding="utf-8")


def _render_file(spec: Spec, seed: int, number: int, path: Path) -> None:
    render_picture(spec, seed, number).save(path, "JPEG", quality=_QUALITY)
