"""From a spec to a picture.

The same spec drawn twice gives two pictures: places, sizes within their class, leanings, shades,
pattern pitches, weather and light are all chance. What the spec says is never left to chance: small
and large radii do not overlap, shapes neither touch nor leave the paper, and a relation holds by a
clear gap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from models.sketch.landscapes import begin_landscape
from models.sketch.pen import PAPER, Mark, Pen, Point, jittered
from models.sketch.shapes import draw_shape, draw_texture
from models.sketch.spec import INSIDE, LEFT, SMALL, Kind, Spec
from models.sketch.things import draw_thing
from models.sketch.vocabulary import COLOUR_NAMES, COLOURS, NOUNS, SCENES, TEXTURES

if TYPE_CHECKING:
    from random import Random

    from PIL import Image

# Radii in paper units.
_SMALL: Final = (10.5, 13.5)
_LARGE: Final = (22.5, 26.5)
_MEDIUM: Final = (14.0, 18.0)
_MARGIN: Final = 3


def draw(spec: Spec, rng: Random, side: int, fineness: int = 2) -> Image.Image:
    """The picture of `draw_marked`."""
    return draw_marked(spec, rng, side, fineness)[0]


def draw_marked(
    spec: Spec, rng: Random, side: int, fineness: int = 2
) -> tuple[Image.Image, list[Mark]]:
    """Draw a spec as an RGB picture of `side` x `side` pixels, and say what stands where in it.

    `fineness` is the number of pixels per side drawn for each one kept; 1 saves time where the
    picture is to be reduced anyway.
    """
    if spec.kind == Kind.LANDSCAPE:
        pen = begin_landscape(rng, SCENES[spec.scene - 1], side, fineness)
        if spec.count:
            _put_things(pen, rng, spec)
        return pen.finish(rng), pen.marks
    ground = jittered(rng, COLOURS[COLOUR_NAMES[spec.ground - 1]], 12)
    pen = Pen(side, fineness, ground)
    draw_texture(pen, rng, TEXTURES[spec.texture - 1], ground)
    if spec.kind == Kind.GROUP:
        _put_group(pen, rng, spec)
    elif spec.kind == Kind.PAIR:
        _put_pair(pen, rng, spec)
    elif spec.relation == INSIDE:
        _put_inside(pen, rng, spec)
    else:
        _put_beside(pen, rng, spec)
    return pen.finish(rng), pen.marks


def _put(  # noqa: PLR0917 - in the order a hand would need them
    pen: Pen, rng: Random, noun: int, colour: int, centre: Point, radius: float
) -> None:
    hue = jittered(rng, COLOURS[COLOUR_NAMES[colour - 1]])
    draw_shape(pen, rng, NOUNS[noun - 1], centre, radius, hue)
    pen.marks.append(Mark(noun, colour, *centre))


def _radius(rng: Random, size: int) -> float:
    return rng.uniform(*(_SMALL if size == SMALL else _LARGE))


def _scattered(rng: Random, radii: list[float]) -> list[Point]:
    """Places where circles of these radii neither touch each other nor leave the paper.

    Throws darts, and starts over where the last ones find no room; the distance asked for shrinks
    with every failure, down to touching circles, which five medium shapes always find.
    """
    spacing = 1.2
    while True:
        placed: list[tuple[float, float, float]] = []
        for radius in radii:
            for _ in range(20):
                reach = radius + _MARGIN
                x, y = rng.uniform(reach, PAPER - reach), rng.uniform(reach, PAPER - reach)
                if all(
                    (x - a) ** 2 + (y - b) ** 2 > ((radius + other) * spacing) ** 2
                    for a, b, other in placed
                ):
                    placed.append((x, y, radius))
                    break
            else:
                break
        else:
            return [(x, y) for x, y, _ in placed]
        spacing = max(1.0, spacing - 0.004)


def _put_group(pen: Pen, rng: Random, spec: Spec) -> None:
    radii = [_radius(rng, spec.size) for _ in range(spec.count)]
    if spec.size != SMALL and spec.count >= 3:
        # Darts seldom find room for three large shapes; a loose grid does.
        cells = [(32.0, 32.0), (96.0, 32.0), (32.0, 96.0), (96.0, 96.0)]
        rng.shuffle(cells)
        places = [(x + rng.uniform(-3, 3), y + rng.uniform(-3, 3)) for x, y in cells[: spec.count]]
    else:
        places = _scattered(rng, radii)
    for place, radius in zip(places, radii, strict=True):
        _put(pen, rng, spec.noun, spec.colour, place, radius)


def _put_pair(pen: Pen, rng: Random, spec: Spec) -> None:
    halves = [(spec.noun, spec.colour)] * spec.count + [(spec.noun2, spec.colour2)] * spec.count2
    radii = [rng.uniform(*_MEDIUM) for _ in halves]
    for (noun, colour), place, radius in zip(halves, _scattered(rng, radii), radii, strict=True):
        _put(pen, rng, noun, colour, place, radius)


def _put_inside(pen: Pen, rng: Random, spec: Spec) -> None:
    outer = rng.uniform(42, 52)
    # A diamond is taller than its radius.
    reach = min(outer * (1.15 if NOUNS[spec.noun2 - 1] == "diamond" else 1) + _MARGIN, PAPER / 2)
    x, y = rng.uniform(reach, PAPER - reach), rng.uniform(reach, PAPER - reach)
    _put(pen, rng, spec.noun2, spec.colour2, (x, y), outer)
    name = NOUNS[spec.noun2 - 1]
    # The widest place of a triangle is low, that of a heart high.
    y += {"triangle": 0.22, "heart": -0.1}.get(name, 0.0) * outer
    inner = outer * (0.36 if name in ("circle", "square") else 0.29) * rng.uniform(0.93, 1.08)
    _put(pen, rng, spec.noun, spec.colour, (x, y), inner)


def _put_beside(pen: Pen, rng: Random, spec: Spec) -> None:
    """Two shapes left and right of, or above and below, each other.

    `along` runs in the direction of the relation, `across` at right angles to it. The step across
    stays below the half of what separates them along, so that only one relation can be meant.
    """
    first, second = _radius(rng, spec.size), _radius(rng, spec.size2)
    gap = rng.uniform(5, 14)
    slack = max(0.0, PAPER - 2 * _MARGIN - 2 * (first + second) - gap)
    along = _MARGIN + first + rng.uniform(0, slack)
    beyond = along + first + gap + second
    widest = max(first, second)
    middle = rng.uniform(widest + 2 * _MARGIN, PAPER - widest - 2 * _MARGIN)
    step = min(12.0, (beyond - along) / 4)
    places = []
    for place, radius in ((along, first), (beyond, second)):
        across = middle + rng.uniform(-step, step)
        across = min(max(across, radius + _MARGIN), PAPER - radius - _MARGIN)
        places.append((place, across) if spec.relation == LEFT else (across, place))
    _put(pen, rng, spec.noun, spec.colour, places[0], first)
    _put(pen, rng, spec.noun2, spec.colour2, places[1], second)


def _put_things(pen: Pen, rng: Random, spec: Spec) -> None:
    name = NOUNS[spec.noun - 1]
    # Half heights, and where they stand across the paper, by how many there are.
    smallest, largest = {1: (16.0, 20.0), 2: (14.5, 17.0), 3: (13.0, 14.5)}[spec.count]
    if spec.count == 1:
        places = [rng.uniform(26, PAPER - 26)]
    else:
        step = PAPER / spec.count
        sway = {2: 9.0, 3: 4.0}[spec.count]
        places = [(i + 0.5) * step + rng.uniform(-sway, sway) for i in range(spec.count)]
    for x in places:
        # Balloons fly; everything else stands on the ground.
        low, high = (0.22, 0.42) if name == "balloon" else (0.62, 0.8)
        size = rng.uniform(smallest, largest)
        hue = jittered(rng, COLOURS[COLOUR_NAMES[spec.colour - 1]], 8)
        y = rng.uniform(low, high) * PAPER
        draw_thing(pen, name, (x, y), size, hue)
        pen.marks.append(Mark(spec.noun, spec.colour, x, y))
