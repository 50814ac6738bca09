"""What stands in landscapes. Each is known by its outline; its colour is on the largest part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from models.sketch.pen import Colour, Pen, Point, luma, tuned, turned

if TYPE_CHECKING:
    from collections.abc import Callable

_WOOD: Final = (92, 64, 38)
_GLASS: Final = (190, 220, 236)
_TYRE: Final = (24, 24, 26)


class _Stand:
    """A pen whose origin is the middle of a thing and whose unit is its half height."""

    def __init__(self, pen: Pen, centre: Point, size: float, hue: Colour) -> None:
        self._pen, self._centre, self._size = pen, centre, size
        self.hue = hue
        bright = luma(hue) > 60
        #: Dark things get a light edge: black on a night sky must still be seen.
        self.edge: Colour = (25, 25, 25) if bright else (226, 226, 226)
        self.shade = tuned(hue, -45 if bright else 50)

    def polygon(self, points: list[Point], fill: Colour, *, edged: bool = True) -> None:
        place = turned(points, self._centre, self._size)
        self._pen.polygon(place, fill, self.edge if edged else None, 0.7)

    def box(self, low: Point, high: Point, fill: Colour, *, edged: bool = False) -> None:
        (left, top), (right, bottom) = low, high
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        self.polygon(corners, fill, edged=edged)

    def ellipse(self, centre: Point, radii: Point, fill: Colour, edge: Colour | None) -> None:
        (place,) = turned([centre], self._centre, self._size)
        across, down = radii[0] * self._size, radii[1] * self._size
        self._pen.ellipse(place, (across, down), fill, edge, 0.7)

    def line(self, points: list[Point], fill: Colour, width: float) -> None:
        self._pen.line(turned(points, self._centre, self._size), fill, width)


def _house(stand: _Stand) -> None:
    stand.box((-0.8, -0.25), (0.8, 0.95), stand.hue, edged=True)
    stand.polygon([(-1.05, -0.25), (0, -1.1), (1.05, -0.25)], stand.shade)
    stand.box((-0.2, 0.3), (0.2, 0.95), _WOOD)
    stand.box((0.36, 0.02), (0.64, 0.34), (236, 226, 150))


def _car(stand: _Stand) -> None:
    stand.polygon([(-0.65, 0), (-0.4, -0.52), (0.4, -0.52), (0.72, 0)], stand.hue)
    stand.box((-1.15, -0.02), (1.15, 0.5), stand.hue, edged=True)
    stand.polygon([(-0.46, -0.04), (-0.3, -0.4), (0.3, -0.4), (0.5, -0.04)], _GLASS, edged=False)
    for x in (-0.62, 0.62):
        stand.ellipse((x, 0.53), (0.29, 0.29), _TYRE, (200, 200, 200))


def _boat(stand: _Stand) -> None:
    stand.polygon([(-1.1, 0.45), (1.1, 0.45), (0.7, 0.97), (-0.7, 0.97)], stand.shade)
    stand.line([(0, 0.45), (0, -1.2)], _WOOD, 1.6)
    stand.polygon([(0.08, -1.15), (0.96, 0.3), (0.08, 0.3)], stand.hue)
    stand.polygon([(-0.08, -0.88), (-0.72, 0.3), (-0.08, 0.3)], stand.hue)


def _balloon(stand: _Stand) -> None:
    for side in (-1, 1):
        stand.line([(side * 0.36, 0.5), (side * 0.18, 1.05)], (60, 50, 42), 0.8)
    stand.ellipse((0, -0.2), (0.82, 0.86), stand.hue, stand.edge)
    stand.ellipse((0, -0.2), (0.3, 0.86), stand.shade, None)
    stand.box((-0.22, 1.0), (0.22, 1.32), (140, 96, 52))


def _tent(stand: _Stand) -> None:
    stand.polygon([(-1.15, 0.9), (0, -0.8), (1.15, 0.9)], stand.hue)
    stand.polygon([(-0.3, 0.9), (0, -0.1), (0.3, 0.9)], (42, 36, 32), edged=False)


def _umbrella(stand: _Stand) -> None:
    stand.line([(0, -0.6), (0, 1.1)], _WOOD, 1.6)
    half = [(1.0, 0.0), (0.98, -0.2), (0.92, -0.38), (0.83, -0.56), (0.71, -0.71), (0.56, -0.83)]
    half += [(0.38, -0.92), (0.2, -0.98)]
    dome = [*half, (0.0, -1.0), *((-x, y) for x, y in reversed(half))]
    stand.polygon([(x * 1.1, y * 0.95) for x, y in dome], stand.hue)
    stand.polygon([(x * 0.4, y * 0.95) for x, y in dome], stand.shade, edged=False)


def _flag(stand: _Stand) -> None:
    stand.line([(-0.6, -1.2), (-0.6, 1.2)], stand.edge, 2.2)
    cloth = [(-0.55, -1.15), (0.1, -1.0), (0.92, -1.15), (0.92, -0.15), (0.1, 0), (-0.55, -0.15)]
    stand.polygon(cloth, stand.hue)


def _person(stand: _Stand) -> None:
    for side in (-1, 1):
        low, high = sorted((side * 0.06, side * 0.3))
        stand.box((low, 0.28), (high, 1.1), (52, 52, 76))
        stand.line([(side * 0.36, -0.5), (side * 0.56, 0.12)], stand.hue, 2.0)
    stand.polygon([(-0.44, -0.6), (0.44, -0.6), (0.35, 0.32), (-0.35, 0.32)], stand.hue)
    stand.ellipse((0, -0.88), (0.26, 0.27), (236, 190, 150), (40, 30, 25))


_DRAWN: Final[dict[str, Callable[[_Stand], None]]] = {
    "house": _house,
    "car": _car,
    "boat": _boat,
    "balloon": _balloon,
    "tent": _tent,
    "umbrella": _umbrella,
    "flag": _flag,
    "person": _person,
}


def draw_thing(pen: Pen, name: str, centre: Point, size: float, hue: Colour) -> None:
    """One thing of half height `size` at `centre`."""
    _DRAWN[name](_Stand(pen, centre, size, hue))
