"""A head that can turn: where its parts lie in a picture, and the strokes that draw them.

The head is an ellipsoid of half height one around the origin, y down.  Everything is outlines on
its front: a point gets the depth of the ellipsoid below it, the head turns and nods, the far cheek
falls behind, and box and landmarks go the same way as what is drawn.  Hair and hats lie in the
plane of the silhouette (`flat`).  Rejected: turning a finished flat portrait, which keeps the
features centred and gives a network no reason to care where a nose points.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

from PIL import Image, ImageDraw

from models.sketch.pen import Colour, Point

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: What the layer reaches around the middle of the head, in half heights: left and right, up, down.
_ASIDE: Final = 1.95
_UP: Final = 1.75
_DOWN: Final = 2.3
_DEPTH: Final = 0.62  #: of the ellipsoid, in half heights
_UPPER: Final = 2.15  #: exponent of the superellipse above the eyes


class Shape(NamedTuple):
    """The silhouette: a superellipse, its exponent another one below the eyes."""

    half_width: float
    half_height: float
    jaw: float  #: exponent below: 1.5 is pointed, 2 round, 3 square


class Turn(NamedTuple):
    """Angles in radians."""

    yaw: float = 0.0  #: positive turns the nose to the right of the picture
    pitch: float = 0.0  #: positive lifts it
    roll: float = 0.0  #: positive turns clockwise


class Head:
    """An RGBA layer with a head of about 2 × *radius* pixels in height in its middle."""

    def __init__(self, shape: Shape, turn: Turn, radius: float, fineness: int) -> None:
        self.shape = shape
        self._fineness = fineness
        self.size = (math.ceil(2 * _ASIDE * radius), math.ceil((_UP + _DOWN) * radius))
        self._scale = radius * fineness
        wide, high = self.size
        self._image = Image.new("RGBA", (wide * fineness, high * fineness))
        self._draw = ImageDraw.Draw(self._image)
        self._turn = [f(angle) for angle in turn for f in (math.cos, math.sin)]

    def _placed(self, point: Point, *, flat: bool = False) -> Point:
        """A point of the front (or of the silhouette's plane) in pixels of the fine canvas."""
        x, y = point
        cos_yaw, sin_yaw, cos_pitch, sin_pitch, cos_roll, sin_roll = self._turn
        inside = 1 - (x / self.shape.half_width) ** 2 - (y / self.shape.half_height) ** 2
        depth = 0.0 if flat or inside <= 0 else _DEPTH * math.sqrt(inside)
        x, depth = x * cos_yaw + depth * sin_yaw, depth * cos_yaw - x * sin_yaw
        y = y * cos_pitch - (depth if not flat else 0.0) * sin_pitch
        x, y = x * cos_roll - y * sin_roll, x * sin_roll + y * cos_roll
        return (x + _ASIDE) * self._scale, (y + _UP) * self._scale

    def outline(self, grown: float = 1.0, steps: int = 72) -> list[Point]:
        """The silhouette, from its right-hand side clockwise."""
        points = []
        jaw = self.shape.jaw
        for i in range(steps):
            angle = math.tau * i / steps
            c, s = math.cos(angle), math.sin(angle)
            power = 2 / (jaw if s > 0 else _UPPER)
            x = math.copysign(abs(c) ** power, c) * self.shape.half_width
            y = math.copysign(abs(s) ** power, s) * self.shape.half_height
            points.append((x * grown, y * grown))
        return points

    def crown(self, below: float, grown: float) -> list[Point]:
        """The part of the grown silhouette above `below`, from left to right."""
        part = [point for point in self.outline(grown) if point[1] <= below]
        return sorted(part)

    def fill(self, points: Iterable[Point], colour: Colour, *, flat: bool = False) -> None:
        self._draw.polygon([self._placed(point, flat=flat) for point in points], (*colour, 255))

    def oval(self, centre: Point, radii: Point, colour: Colour, tilt: float = 0.0) -> None:
        self.fill(oval(centre, radii, tilt), colour)

    def disc(self, centre: Point, radii: Point, colour: Colour) -> None:
        self.fill(oval(centre, radii), colour, flat=True)

    def stroke(self, points: Sequence[Point], colour: Colour, width: float) -> None:
        pixels = max(1, round(width * self._scale))
        placed = [self._placed(point) for point in points]
        self._draw.line(placed, (*colour, 255), pixels, joint="curve")

    # ── what is known of it ─────────────────────────────────────────────────────────────────

    def layer(self) -> Image.Image:
        """What was drawn, RGBA, in its final size."""
        return self._image.reduce(self._fineness) if self._fineness > 1 else self._image

    def place(self, point: Point, *, flat: bool = False) -> Point:
        """Where a point of the head lies in the layer, pixels."""
        x, y = self._placed(point, flat=flat)
        return x / self._fineness, y / self._fineness

    def silhouette(self) -> list[Point]:
        """The outline of the head without hair, hat, ears and body, in pixels of the layer."""
        return [self.place(point, flat=True) for point in self.outline()]


def oval(centre: Point, radii: Point, tilt: float = 0.0, steps: int = 28) -> list[Point]:
    c, s = math.cos(tilt), math.sin(tilt)
    points = []
    for i in range(steps):
        angle = math.tau * i / steps
        x, y = radii[0] * math.cos(angle), radii[1] * math.sin(angle)
        points.append((centre[0] + x * c - y * s, centre[1] + x * s + y * c))
    return points
