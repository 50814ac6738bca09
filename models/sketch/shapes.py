"""The ten plain shapes, and the grounds they lie on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from models.sketch.pen import PAPER, Colour, Pen, Point, luma, tuned, turned

if TYPE_CHECKING:
    from random import Random


def _star() -> list[Point]:
    tips = []
    for i in range(10):
        reach, angle = (0.45, 1.1)[i % 2 == 0], math.pi * i / 5
        tips.append((reach * math.sin(angle), -reach * math.cos(angle)))
    return tips


def _heart() -> list[Point]:
    # The common parametric heart: x = 16 sin³t, y = 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t.
    points = []
    for i in range(48):
        t = math.tau * i / 48
        height = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        points.append((16 * math.sin(t) ** 3 / 16.5, -height / 16.5 - 0.08))
    return points


def _crescent() -> list[Point]:
    # Half a circle back along a flatter half ellipse.
    angles = [math.pi * (0.5 + i / 24) for i in range(25)]
    outer = [(math.cos(a) * 1.02 + 0.25, math.sin(a) * 1.02) for a in angles]
    inner = [(math.cos(a) * 0.52 + 0.25, math.sin(a) * 1.02) for a in reversed(angles)]
    return outer + inner


#: Outlines within about one unit of their middle; y grows downwards.
OUTLINES: Final[dict[str, list[Point]]] = {
    "square": [(-0.83, -0.83), (0.83, -0.83), (0.83, 0.83), (-0.83, 0.83)],
    "triangle": [(0, -1), (0.96, 0.75), (-0.96, 0.75)],
    "star": _star(),
    "heart": _heart(),
    "cross": [
        (-0.33, -1), (0.33, -1), (0.33, -0.33), (1, -0.33), (1, 0.33), (0.33, 0.33),
        (0.33, 1), (-0.33, 1), (-0.33, 0.33), (-1, 0.33), (-1, -0.33), (-0.33, -0.33),
    ],
    "crescent": _crescent(),
    "diamond": [(0, -1.15), (0.78, 0), (0, 1.15), (-0.78, 0)],
    "arrow": [
        (-1.05, -0.27), (0.1, -0.27), (0.1, -0.82), (1.1, 0), (0.1, 0.82), (0.1, 0.27),
        (-1.05, 0.27),
    ],
}  # fmt: skip


def draw_shape(  # noqa: PLR0917 - in the order a hand would need them
    pen: Pen, rng: Random, name: str, centre: Point, radius: float, hue: Colour
) -> None:
    """One shape, leaning a little; arrows point to any of four sides.

    A lean stays below 0.2 rad: a square must never pass for a diamond.
    """
    if name == "circle":
        pen.ellipse(centre, radius * 0.95, hue)
    elif name == "ring":
        pen.ellipse(centre, radius, None, hue, width=max(2, radius * 0.36))
    else:
        angle = rng.uniform(-0.2, 0.2)
        if name == "arrow":
            angle += rng.randrange(4) * math.pi / 2
        pen.polygon(turned(OUTLINES[name], centre, radius, angle), hue)


def draw_texture(pen: Pen, rng: Random, name: str, ground: Colour) -> None:
    """Cover the paper with a second shade of the ground, darker or lighter."""
    if name == "plain":
        return
    contrast = rng.uniform(38, 60)
    light = luma(ground)
    brighter = light < 90 or (light < 150 and rng.random() < 0.5)
    shade = tuned(ground, contrast if brighter else -contrast)
    middle = (PAPER / 2 + rng.uniform(-9, 9), PAPER / 2 + rng.uniform(-9, 9))
    # Far enough from the middle to reach the corners at every angle.
    reach = range(-8, 9)
    if name == "striped":
        pitch = rng.uniform(13, 22)
        angle = rng.randrange(4) * math.pi / 4 + rng.uniform(-0.1, 0.1)
        band = [(-8.0, -0.25), (8.0, -0.25), (8.0, 0.25), (-8.0, 0.25)]
        for row in reach:
            pen.polygon(turned([(x, y + row) for x, y in band], middle, pitch, angle), shade)
    elif name == "dotted":
        pitch = rng.uniform(13, 20)
        angle = rng.uniform(-0.1, 0.1)
        places = [(column + row % 2 / 2, float(row)) for row in reach for column in reach]
        for place in turned(places, middle, pitch, angle):
            pen.ellipse(place, pitch * 0.29, shade)
    else:
        # One tile of the board is half a repeat.
        pitch = rng.uniform(11, 18)
        angle = rng.uniform(-0.1, 0.1)
        for row in reach:
            for column in reach:
                if (row + column) % 2:
                    tile = [
                        (column - 0.5, row - 0.5),
                        (column + 0.5, row - 0.5),
                        (column + 0.5, row + 0.5),
                        (column - 0.5, row + 0.5),
                    ]
                    pen.polygon(turned(tile, middle, pitch, angle), shade)
