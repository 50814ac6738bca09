"""A pen over Pillow that draws in units of the picture, not in pixels.

The paper is 128 units wide and high whatever its size in pixels, so that one drawing routine serves
every size. Pillow draws without anti-aliasing: paper is therefore laid out larger (`fineness`
pixels per final pixel) and reduced at the end.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from random import Random

PAPER: Final = 128  #: units per side

Colour = tuple[int, int, int]
Point = tuple[float, float]


def jittered(rng: Random, colour: Colour, spread: float = 14) -> Colour:
    """A colour near `colour`: all channels shifted by up to `spread`, each by half of it again."""
    shift = rng.uniform(-spread, spread)
    return tuned(colour, *(shift + rng.uniform(-spread, spread) / 2 for _ in range(3)))


def tuned(colour: Colour, *shifts: float) -> Colour:
    """The colour shifted by one number for all channels, or by one per channel; clipped."""
    red, green, blue = shifts if len(shifts) == 3 else shifts * 3
    r, g, b = colour
    return _channel(r + red), _channel(g + green), _channel(b + blue)


def _channel(value: float) -> int:
    return int(min(255, max(0, value)))


def luma(colour: Colour) -> float:
    return 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2]


class Mark(NamedTuple):
    """A shape or thing that was drawn, for those who learn where it is."""

    noun: int  #: as in a spec
    colour: int
    x: float  #: of its middle, in units
    y: float


class Pen:
    def __init__(self, side: int, fineness: int, ground: Colour | Sequence[Colour]) -> None:
        """Start a square picture of `side` pixels, its ground one colour or a fall of colours."""
        self._fineness = fineness
        canvas = side * fineness
        self._scale = canvas / PAPER
        if isinstance(ground[0], int):
            self._image = Image.new("RGB", (canvas, canvas), ground)  # type: ignore[arg-type]
        else:
            column = np.array(ground, np.uint8)[:, None, :]
            fall = Image.fromarray(column).resize((1, canvas), Image.Resampling.BICUBIC)
            self._image = fall.resize((canvas, canvas), Image.Resampling.NEAREST)
        self._draw = ImageDraw.Draw(self._image)
        self.marks: list[Mark] = []  #: what whoever draws has noted

    def polygon(
        self, points: Iterable[Point], fill: Colour, edge: Colour | None = None, width: float = 1
    ) -> None:
        k = self._scale
        scaled = [(x * k, y * k) for x, y in points]
        pixels = max(1, round(width * k)) if edge else 1
        self._draw.polygon(scaled, fill=fill, outline=edge, width=pixels)

    def ellipse(
        self,
        centre: Point,
        radii: float | Point,
        fill: Colour | None,
        edge: Colour | None = None,
        width: float = 1,
    ) -> None:
        k = self._scale
        across, down = radii if isinstance(radii, tuple) else (radii, radii)
        x, y = centre
        box = ((x - across) * k, (y - down) * k, (x + across) * k, (y + down) * k)
        self._draw.ellipse(box, fill=fill, outline=edge, width=max(1, round(width * k)))

    def box(
        self, low: Point, high: Point, fill: Colour, edge: Colour | None = None, width: float = 1
    ) -> None:
        k = self._scale
        corners = (low[0] * k, low[1] * k, high[0] * k, high[1] * k)
        pixels = max(1, round(width * k)) if edge else 1
        self._draw.rectangle(corners, fill=fill, outline=edge, width=pixels)

    def line(self, points: Iterable[Point], fill: Colour, width: float) -> None:
        k = self._scale
        scaled = [(x * k, y * k) for x, y in points]
        self._draw.line(scaled, fill=fill, width=max(1, round(width * k)))

    def finish(self, rng: Random) -> Image.Image:
        """The picture in its final size, under a light that is never quite even."""
        image = self._image
        if self._fineness > 1:
            image = image.reduce(self._fineness)
        strength = rng.uniform(1, 8)
        coarse = np.array([rng.gauss(0, strength) for _ in range(36)], np.float32).reshape(6, 6)
        light = Image.fromarray(coarse).resize(image.size, Image.Resampling.BICUBIC)
        lit = np.asarray(image, np.int16) + np.asarray(light).astype(np.int16)[..., None]
        return Image.fromarray(np.clip(lit, 0, 255).astype(np.uint8))


def turned(outline: Sequence[Point], centre: Point, radius: float, angle: float = 0) -> list[Point]:
    """A unit outline scaled to `radius`, turned by `angle` radians and put at `centre`."""
    c, s = math.cos(angle) * radius, math.sin(angle) * radius
    return [(x * c - y * s + centre[0], x * s + y * c + centre[1]) for x, y in outline]
