"""The eight landscapes. Each function lays the ground, then the far things, then the near ones.

No landscape shows anything of `THINGS`: a beach may have a palm, never a boat.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from models.sketch.pen import PAPER, Colour, Pen, Point, jittered, tuned

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

_WHITE: Final = (247, 249, 252)


class _View:
    """One landscape being drawn: its pen, its chance, its horizon."""

    def __init__(self, rng: Random, side: int, fineness: int) -> None:
        self.rng = rng
        self._side, self._fineness = side, fineness
        self.horizon = rng.uniform(0.42, 0.6) * PAPER
        self.pen: Pen

    def sky(self, *stops: Colour, spread: float = 12) -> None:
        colours = [jittered(self.rng, stop, spread) for stop in stops]
        self.pen = Pen(self._side, self._fineness, colours)

    def near(self, colour: Colour, spread: float = 14) -> Colour:
        return jittered(self.rng, colour, spread)

    def anywhere(self, top: float, bottom: float, margin: float = 0) -> Point:
        return self.rng.uniform(margin, PAPER - margin), self.rng.uniform(top, bottom)

    def land(self, top: float, unevenness: float, colour: Colour) -> None:
        """Everything below a wavering line."""
        steps = 9
        crest = [
            (PAPER * i / (steps - 1), top + self.rng.uniform(-unevenness, unevenness))
            for i in range(steps)
        ]
        self.pen.polygon([(0, PAPER), *crest, (PAPER, PAPER)], colour)

    def clouds(self, colour: Colour, lowest: float) -> None:
        for _ in range(self.rng.randint(0, 3)):
            x, y = self.anywhere(5, lowest)
            for puff in range(3):
                width = self.rng.uniform(6, 12)
                self.pen.ellipse((x + puff * 8, y), (width, width * 0.42), colour)

    def sun(self, share: float, colour: Colour, size: tuple[float, float] = (6, 10)) -> None:
        """A sun high in the sky, in this share of pictures."""
        if self.rng.random() < share:
            place = self.anywhere(9, self.horizon * 0.5, 11)
            self.pen.ellipse(place, self.rng.uniform(*size), colour)

    def fir(self, foot: Point, height: float, colour: Colour, tip: Colour) -> None:
        x, y = foot
        low, high = height * 0.28, height * 0.18
        self.pen.polygon([(x - low, y), (x + low, y), (x, y - height)], colour)
        crown = y - height * 0.48
        self.pen.polygon([(x - high, crown), (x + high, crown), (x, y - height * 1.03)], tip)


def _beach(view: _View) -> None:
    rng, horizon = view.rng, view.horizon
    view.sky((80, 160, 235), (175, 220, 250))
    view.clouds(_WHITE, horizon * 0.7)
    view.sun(0.6, (255, 240, 130))
    shore = horizon + rng.uniform(14, 26)
    view.pen.box((0, horizon), (PAPER, PAPER), view.near((32, 120, 186)))
    for _ in range(5):
        x, y = view.anywhere(horizon + 2, shore - 2)
        view.pen.line([(x, y), (x + rng.uniform(10, 30), y)], (122, 190, 226), 1)
    view.land(shore, 4, view.near((235, 211, 150)))
    if rng.random() < 0.35:
        foot = (rng.choice((rng.uniform(5, 20), rng.uniform(108, 123))), shore + 12)
        top = (foot[0] + rng.uniform(-5, 5), horizon - rng.uniform(10, 24))
        view.pen.line([foot, top], (112, 76, 42), 3)
        for leaf in range(6):
            angle = leaf * math.pi / 3 + 0.3
            tip = (top[0] + math.cos(angle) * 14, top[1] + math.sin(angle) * 9)
            view.pen.line([top, tip], (32, 122, 52), 2.4)


def _sunset(view: _View) -> None:
    rng, horizon = view.rng, view.horizon
    high, middle, low = rng.choice(
        (
            ((60, 40, 112), (236, 90, 70), (255, 180, 72)),
            ((122, 40, 82), (240, 102, 42), (255, 200, 92)),
            ((42, 50, 112), (202, 90, 112), (255, 152, 62)),
        )
    )
    view.sky(high, middle, low, low)
    view.clouds(view.near((152, 62, 82)), horizon * 0.7)
    size = rng.uniform(10, 17)
    disc = (rng.uniform(20, 108), horizon - rng.uniform(-3, size * 0.8))
    view.pen.ellipse(disc, size, view.near((255, 236, 150)))
    sea = view.near(rng.choice(((72, 36, 72), (92, 46, 52), (42, 26, 46))))
    view.pen.box((0, horizon), (PAPER, PAPER), sea)
    for _ in range(8):
        y, half = rng.uniform(horizon + 2, PAPER), rng.uniform(4, 14)
        view.pen.line([(disc[0] - half, y), (disc[0] + half, y)], (250, 160, 82), 1.5)


def _forest(view: _View) -> None:
    rng, horizon = view.rng, view.horizon
    view.sky((170, 210, 190), (112, 160, 112), (62, 100, 52))
    view.pen.box((0, horizon + 18), (PAPER, PAPER), view.near((62, 86, 42)))
    for row in range(rng.randint(13, 18)):
        depth = row / 16  # far trees first, near trees larger and lower
        foot = (rng.uniform(-5, PAPER + 5), horizon + 6 + depth * 30 + rng.uniform(-3, 3))
        height = rng.uniform(34, 58) * (0.7 + depth / 2)
        leaf = view.near(rng.choice(((20, 90, 40), (36, 110, 50), (26, 76, 46), (50, 105, 36))))
        view.pen.box((foot[0] - 2, foot[1] - 8), (foot[0] + 2, foot[1]), (82, 56, 32))
        if rng.random() < 0.75:
            view.fir((foot[0], foot[1] - 5), height, leaf, tuned(leaf, 9))
        else:
            view.pen.ellipse((foot[0], foot[1] - height / 2), (height * 0.28, height * 0.4), leaf)


def _mountains(view: _View) -> None:
    rng, horizon = view.rng, view.horizon
    view.sky((110, 165, 226), (202, 220, 236))
    view.clouds((240, 244, 250), horizon * 0.4)
    for depth, rock in enumerate(((106, 111, 126), (82, 86, 96))):
        for _ in range(rng.randint(2, 3)):
            x, height = rng.uniform(0, PAPER), rng.uniform(45, 74) * (1 - depth / 4)
            half, foot = height * rng.uniform(0.7, 1), horizon + 16 + depth * 8
            peak, colour = (x, foot - height), view.near(rock)
            view.pen.polygon([(x - half, foot), peak, (x + half, foot)], colour)
            shadow = [peak, (x + half, foot), (x + half * 0.2, foot)]
            view.pen.polygon(shadow, tuned(colour, -18))
            brim, dip = foot - height * 0.72, foot - height * 0.63
            cap = [
                (x - half * 0.28, brim), peak, (x + half * 0.28, brim),
                (x + half * 0.11, dip), (x, foot - height * 0.71), (x - half * 0.12, dip),
            ]  # fmt: skip
            view.pen.polygon(cap, _WHITE)
    meadow = rng.choice(((86, 120, 76), (96, 105, 82), (72, 100, 82)))
    view.pen.box((0, horizon + 20), (PAPER, PAPER), view.near(meadow))


def _city(view: _View) -> None:
    rng, horizon = view.rng, view.horizon
    view.sky((9, 11, 31), (31, 36, 76), spread=7)
    for _ in range(16):
        view.pen.ellipse(view.anywhere(0, horizon), 0.5, (222, 222, 240))
    view.sun(0.5, (240, 240, 216), (5, 8))
    foot, x = horizon + 26, -4.0
    while x < PAPER:
        width, height = rng.uniform(12, 24), rng.uniform(25, 66)
        wall = view.near(rng.choice(((36, 39, 56), (49, 46, 63), (29, 33, 46))), 7)
        view.pen.box((x, foot - height), (x + width, foot), wall)
        for floor in range(int((height - 6) // 5)):
            for window in range(int((width - 4) // 5)):
                if rng.random() < 0.55:
                    corner = (x + 3 + window * 5, foot - height + 4 + floor * 5)
                    view.pen.box(corner, (corner[0] + 2, corner[1] + 2.4), (255, 226, 122))
        x += width + rng.uniform(0, 3)
    street = view.near((41, 41, 49), 7)
    view.pen.box((0, foot), (PAPER, PAPER), street)
    for _ in range(7):
        x, y = view.anywhere(foot + 5, PAPER - 4)
        view.pen.line([(x, y), (x + rng.uniform(6, 14), y)], (202, 180, 92), 1)


def _snow(view: _View) -> None:
    rng, horizon = view.rng, view.horizon
    view.sky((171, 191, 216), (216, 226, 236))
    view.land(horizon, 6, view.near((228, 234, 243), 7))
    view.land(horizon + 18, 5, view.near((243, 246, 251), 5))
    for _ in range(rng.randint(2, 6)):
        foot = view.anywhere(horizon, horizon + 14)
        view.fir(foot, rng.uniform(18, 32), view.near((62, 91, 86)), _WHITE)
    for _ in range(rng.randint(25, 50)):
        view.pen.ellipse(view.anywhere(0, PAPER), 1.2, (255, 255, 255))


def _field(view: _View) -> None:
    rng, horizon = view.rng, view.horizon
    view.sky((100, 170, 240), (202, 228, 250))
    view.clouds(_WHITE, horizon * 0.7)
    view.sun(0.5, (255, 240, 132))
    view.land(horizon, 5, view.near((102, 180, 72)))
    view.land(horizon + 22, 5, view.near((82, 160, 56)))
    for _ in range(rng.randint(12, 36)):
        x, y = view.anywhere(horizon + 14, PAPER)
        view.pen.line([(x, y), (x + rng.uniform(-2, 2), y - 5)], (60, 130, 46), 0.8)
    if rng.random() < 0.5:
        for _ in range(12):
            flower = rng.choice(((250, 240, 122), (250, 250, 250), (240, 150, 191)))
            view.pen.ellipse(view.anywhere(horizon + 16, PAPER), 1.4, flower)


def _desert(view: _View) -> None:
    rng, horizon = view.rng, view.horizon
    view.sky((120, 180, 230), (245, 226, 180))
    view.sun(0.7, (255, 246, 191), (7, 11))
    for row, sand in enumerate(((226, 181, 111), (211, 161, 91), (196, 146, 81))):
        phase, waves, height = rng.uniform(0, 6), rng.uniform(1, 2.2), rng.uniform(5, 10)
        top = horizon + row * 18
        crest = [
            (PAPER * i / 24, top + height * math.sin(phase + waves * i / 4)) for i in range(25)
        ]
        view.pen.polygon([(0, PAPER), *crest, (PAPER, PAPER)], view.near(sand, 10))
    for _ in range(rng.randint(0, 2)):
        x, y = view.anywhere(horizon + 18, PAPER - 10, 9)
        green = view.near((52, 111, 62), 8)
        view.pen.box((x - 2, y - 16), (x + 2, y), green)
        view.pen.box((x - 7, y - 10), (x - 2, y - 7), green)
        view.pen.box((x - 7, y - 14), (x - 5, y - 8), green)


_DRAWN: Final[dict[str, Callable[[_View], None]]] = {
    "beach": _beach,
    "sunset": _sunset,
    "forest": _forest,
    "mountains": _mountains,
    "city": _city,
    "snow": _snow,
    "field": _field,
    "desert": _desert,
}


def begin_landscape(rng: Random, name: str, side: int, fineness: int) -> Pen:
    """A pen over a finished landscape, ready for things to be put in."""
    view = _View(rng, side, fineness)
    _DRAWN[name](view)
    return view.pen
