"""A person as one picture shows them: an RGBA layer, and where the face is in it.

The head is an ellipsoid of half height one around the origin, y down.  Everything is outlines on
its front: a point gets the depth of the ellipsoid below it, the head turns and nods, the far cheek
falls behind, and box and landmarks go the same way as what is drawn.  Hair and hats lie in the
plane of the silhouette.  Rejected: turning a finished flat portrait, which keeps the features
centred and gives a network no reason to care where a nose points.
"""

from __future__ import annotations

import math
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from models.sketch.faces.person import (
    BEARDS,
    CLOTH_COLOURS,
    FRAME_COLOURS,
    GLASSES,
    HAIR,
    HAIR_COLOURS,
    HATS,
    IRISES,
    LIP_COLOURS,
    NOSES,
    SKINS,
    Person,
)
from models.sketch.pen import Colour, Point, jittered, tuned

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

#: What the layer reaches around the middle of the head, in half heights: left and right, up, down.
_ASIDE: Final = 1.95
_UP: Final = 1.75
_DOWN: Final = 2.3
_DEPTH: Final = 0.62  #: of the ellipsoid, in half heights
_JAWS: Final = (1.55, 1.8, 2.05, 2.5, 3.1)  #: exponents of the superellipse below the eyes
_WHITE: Final = (250, 250, 248)
_DARK: Final = (22, 18, 20)


class Sitting(NamedTuple):
    """What is chance in one picture of a person."""

    yaw: float  #: radians; positive turns the nose to the right of the picture
    pitch: float  #: radians; positive lifts it
    roll: float  #: radians; positive turns clockwise
    smile: float  #: -1 … 1
    mouth_open: float  #: 0 … 1
    lids: float  #: how open the eyes are, 0.3 … 1
    brows: float  #: how far the brows are lifted, -1 … 1
    gaze: float  #: -1 … 1
    light: float  #: gain at the lit side minus gain at the other
    light_from: float  #: radians
    gain: float
    body: bool
    cloth: Colour
    skin_shift: float
    chance: int  #: seeds curls and the like


def random_sitting(rng: Random) -> Sitting:
    """A sitting for a snapshot: mostly frontal, now and then turned by up to half a right angle."""
    return Sitting(
        yaw=_bell(rng, 0.24, 0.6),
        pitch=_bell(rng, 0.1, 0.25),
        roll=_bell(rng, 0.16, 0.5),
        smile=rng.uniform(-0.7, 1.0),
        mouth_open=max(0.0, rng.uniform(-1.2, 1.0)),
        lids=rng.uniform(0.45, 1.0),
        brows=rng.uniform(-1, 1),
        gaze=rng.uniform(-1, 1),
        light=rng.uniform(0, 0.5),
        light_from=rng.uniform(0, math.tau),
        gain=rng.uniform(0.72, 1.15),
        body=rng.random() < 0.85,
        cloth=jittered(rng, rng.choice(CLOTH_COLOURS), 25),
        skin_shift=rng.uniform(-7, 7),
        chance=rng.getrandbits(32),
    )


def _bell(rng: Random, spread: float, most: float) -> float:
    return min(most, max(-most, rng.gauss(0, spread)))


class Portrait(NamedTuple):
    """A drawn person.  All places are pixels of the layer, x before y."""

    layer: Image.Image  #: RGBA
    head: Image.Image  #: "L", the silhouette of the head without hair, hat, ears and body
    box: tuple[float, float, float, float]  #: left, top, right, bottom of that silhouette
    landmarks: tuple[Point, ...]  #: eye on the left, eye on the right, nose, mouth left and right


def draw_portrait(person: Person, sitting: Sitting, radius: float, fineness: int = 2) -> Portrait:
    """Draw *person* with a head of about 2 × *radius* pixels in height."""
    return _Artist(person, sitting, radius, fineness).draw()


class _Artist:
    def __init__(self, person: Person, sitting: Sitting, radius: float, fineness: int) -> None:
        self._person, self._sitting = person, sitting
        self._rng = Random(sitting.chance)
        self._fineness = fineness
        self._size = (math.ceil(2 * _ASIDE * radius), math.ceil((_UP + _DOWN) * radius))
        self._scale = radius * fineness
        wide, high = self._size
        self._image = Image.new("RGBA", (wide * fineness, high * fineness))
        self._draw = ImageDraw.Draw(self._image)
        self._half_width = 0.68 + 0.045 * person.width
        self._half_height = 0.93 + 0.05 * person.length
        self._skin = tuned(SKINS[person.skin], sitting.skin_shift)
        self._hair = HAIR_COLOURS[person.hair_colour]
        self._eye = (0.25 + 0.03 * person.eye_gap, -0.15 + 0.055 * person.eye_height)
        self._mouth_y = 0.46 + 0.05 * person.mouth_height
        self._mouth_half = 0.17 + 0.045 * person.mouth_width + 0.035 * sitting.smile
        self._turn = [f(angle) for angle in sitting[:3] for f in (math.cos, math.sin)]

    # ── geometry ────────────────────────────────────────────────────────────────────────────

    def _placed(self, point: Point, *, flat: bool = False) -> Point:
        """A point of the front (or of the silhouette's plane) in pixels of the fine canvas."""
        x, y = point
        cos_yaw, sin_yaw, cos_pitch, sin_pitch, cos_roll, sin_roll = self._turn
        inside = 1 - (x / self._half_width) ** 2 - (y / self._half_height) ** 2
        depth = 0.0 if flat or inside <= 0 else _DEPTH * math.sqrt(inside)
        x, depth = x * cos_yaw + depth * sin_yaw, depth * cos_yaw - x * sin_yaw
        y = y * cos_pitch - (depth if not flat else 0.0) * sin_pitch
        x, y = x * cos_roll - y * sin_roll, x * sin_roll + y * cos_roll
        return (x + _ASIDE) * self._scale, (y + _UP) * self._scale

    def _outline(self, grown: float = 1.0, steps: int = 72) -> list[Point]:
        """The silhouette, from its right-hand side clockwise."""
        points = []
        jaw = _JAWS[self._person.jaw]
        for i in range(steps):
            angle = math.tau * i / steps
            c, s = math.cos(angle), math.sin(angle)
            power = 2 / (jaw if s > 0 else 2.15)
            x = math.copysign(abs(c) ** power, c) * self._half_width
            y = math.copysign(abs(s) ** power, s) * self._half_height
            points.append((x * grown, y * grown))
        return points

    def _crown(self, below: float, grown: float) -> list[Point]:
        """The part of the grown silhouette above `below`, from left to right."""
        part = [point for point in self._outline(grown) if point[1] <= below]
        return sorted(part)

    # ── strokes ─────────────────────────────────────────────────────────────────────────────

    def _fill(self, points: Iterable[Point], colour: Colour, *, flat: bool = False) -> None:
        self._draw.polygon([self._placed(point, flat=flat) for point in points], (*colour, 255))

    def _oval(self, centre: Point, radii: Point, colour: Colour, tilt: float = 0.0) -> None:
        self._fill(_oval(centre, radii, tilt), colour)

    def _disc(self, centre: Point, radii: Point, colour: Colour) -> None:
        self._fill(_oval(centre, radii), colour, flat=True)

    def _stroke(self, points: Sequence[Point], colour: Colour, width: float) -> None:
        pixels = max(1, round(width * self._scale))
        placed = [self._placed(point) for point in points]
        self._draw.line(placed, (*colour, 255), pixels, joint="curve")

    # ── the portrait ────────────────────────────────────────────────────────────────────────

    def draw(self) -> Portrait:
        person = self._person
        if self._sitting.body:
            self._body()
        self._back_hair()
        self._ears()
        self._fill(self._outline(), self._skin, flat=True)
        self._skin_marks()
        self._beard()
        for side in (-1, 1):
            self._draw_eye(side)
            self._brow(side)
        self._nose()
        self._mouth()
        if BEARDS[person.beard] == "moustache":
            self._moustache()
        self._front_hair()
        if person.glasses:
            self._glasses()
        self._hat()
        layer = self._image.reduce(self._fineness) if self._fineness > 1 else self._image
        return Portrait(self._lit(layer), self._head(), self._box(), self._landmarks())

    def _body(self) -> None:
        neck = 0.36 + 0.03 * self._person.width
        self._fill(
            [(-neck, 0.4), (neck, 0.4), (neck, 1.35), (-neck, 1.35)],
            tuned(self._skin, -22),
            flat=True,
        )
        shoulders = [(-0.42, 1.18), (0.42, 1.18), (1.3, 1.45), (1.6, 2.2), (1.7, 3.4)]
        self._fill([*shoulders, (-1.7, 3.4), (-1.6, 2.2), (-1.3, 1.45)], self._sitting.cloth, flat=True)

    def _ears(self) -> None:
        size = 0.13 + 0.035 * self._person.ears
        for side in (-1, 1):
            # The ear on the side that the nose turns to hides behind the cheek.
            shown = 1 - 2.2 * max(0.0, side * self._turn[1])
            x = side * self._half_width * (0.99 - (1 - shown) * 0.1)
            self._disc((x, 0.02), (size * 0.62, size), tuned(self._skin, -10))
            if self._person.earrings and shown > 0.3:
                gold = ((236, 196, 70), (225, 230, 240))[self._person.earrings - 1]
                self._disc((x + side * 0.03, 0.08 + size), (0.055, 0.06), gold)

    def _skin_marks(self) -> None:
        person = self._person
        if person.blush:
            flush = _mixed(self._skin, (235, 90, 90), 0.3)
            for side in (-1, 1):
                self._oval((side * 0.42, 0.25), (0.15, 0.1), flush)
        if person.freckles:
            spots = Random(person.freckles)
            dark = _mixed(self._skin, (120, 60, 30), 0.5)
            for _ in range(11 * person.freckles):
                place = (spots.uniform(-0.45, 0.45), spots.uniform(0.03, 0.32))
                self._oval(place, (0.02, 0.02), dark)
        if person.mole:
            place = ((0.33, 0.42), (-0.36, 0.34), (0.45, 0.12), (-0.12, 0.72))[person.mole - 1]
            self._oval(place, (0.038, 0.038), (62, 36, 28))

    def _beard(self) -> None:
        kind = BEARDS[self._person.beard]
        if kind in ("none", "moustache"):
            return
        colour = _mixed(self._skin, self._hair, 0.4) if kind == "stubble" else tuned(self._hair, -6)
        if kind == "goatee":
            self._oval((0, 0.76), (0.2, 0.2), colour)
            return
        jaw = sorted((p for p in self._outline() if p[1] > 0.12), key=lambda p: -p[0])
        if kind == "sides":
            for side in (-1, 1):
                edge = sorted((p for p in jaw if p[0] * side > 0.3), key=lambda p: p[1])
                self._fill([*edge, (side * 0.32, 0.66), (side * 0.5, 0.1)], colour)
            return
        self._fill([*jaw, (-0.44, 0.3), (0, 0.27), (0.44, 0.3)], colour)

    def _moustache(self) -> None:
        y = self._mouth_y
        points = [(0, y - 0.14), (0.3, y - 0.02), (0.27, y + 0.03), (0, y - 0.05)]
        self._fill([*points, (-0.27, y + 0.03), (-0.3, y - 0.02)], tuned(self._hair, -6))

    def _draw_eye(self, side: int) -> None:
        person, sitting = self._person, self._sitting
        x, y = self._eye
        wide = 0.095 + 0.018 * person.eye_size
        aspect = (0.9, 0.66, 0.48, 0.62)[person.eye_shape]
        tilt = side * (0, -0.16, 0.05, 0.28)[person.eye_shape]
        high = wide * aspect * sitting.lids
        centre = (side * x, y)
        self._oval(centre, (wide + 0.022, high + 0.026), tuned(self._skin, -62), tilt)
        self._oval(centre, (wide, high), _WHITE, tilt)
        pupil = (centre[0] + sitting.gaze * wide * 0.32, y)
        iris = min(wide * 0.62, high * 1.02)
        self._oval(pupil, (wide * 0.58, iris), IRISES[person.iris])
        self._oval(pupil, (wide * 0.28, iris * 0.52), _DARK)

    def _brow(self, side: int) -> None:
        person = self._person
        x, y = self._eye
        lift = 0.2 + 0.03 * self._sitting.brows
        tilt = (-0.05, 0.0, 0.06)[person.brow_tilt]
        width = (0.022, 0.04, 0.062, 0.09)[person.brow]
        colour = _mixed(self._hair, _DARK, 0.35)
        points = [
            (side * (x - 0.13), y - lift + tilt),
            (side * (x + 0.02), y - lift - 0.035),
            (side * (x + 0.15), y - lift + 0.02 - tilt),
        ]
        self._stroke(points, colour, width)

    def _nose(self) -> None:
        size = 0.8 + 0.22 * self._person.nose_size
        kind = NOSES[self._person.nose]
        shade = tuned(self._skin, -42)
        x, y = self._nose_tip()
        wing = 0.085 * size
        if kind == "line":
            self._stroke([(0.02, y - 0.2), (wing, y), (-wing * 0.5, y + 0.02)], shade, 0.028)
        elif kind == "wedge":
            self._fill([(x, y - 0.26 * size), (wing * 1.2, y), (-wing * 1.2, y)], shade)
        elif kind == "button":
            self._oval((x, y - 0.03), (wing, wing * 0.85), shade)
            self._oval((x, y - 0.05), (wing * 0.7, wing * 0.55), tuned(self._skin, 8))
        elif kind == "wide":
            self._oval((x, y), (wing * 1.6, wing * 0.6), shade)
            for side in (-1, 1):
                self._oval((side * wing * 0.8, y + 0.015), (0.035, 0.025), tuned(shade, -45))
        else:
            self._stroke([(-0.035, y - 0.34), (-0.05, y - 0.03)], shade, 0.026)
            self._stroke([(-0.09 * size, y), (0.0, y + 0.03), (0.09 * size, y)], shade, 0.034)

    def _nose_tip(self) -> Point:
        return 0.0, 0.16 + 0.02 * self._person.nose_size

    def _mouth_corner(self, side: int) -> Point:
        return side * self._mouth_half, self._mouth_y - 0.05 * self._sitting.smile

    def _mouth(self) -> None:
        person, sitting = self._person, self._sitting
        lips = _mixed(self._skin, LIP_COLOURS[person.lip_colour], 0.8)
        thick = (0.022, 0.045, 0.075)[person.lips]
        left, right = self._mouth_corner(-1), self._mouth_corner(1)
        middle = self._mouth_y + 0.05 * sitting.smile
        opened = 0.16 * sitting.mouth_open
        steps = [i / 10 for i in range(11)]

        def bow(dip: float) -> list[Point]:
            across = right[0] - left[0]
            return [
                (left[0] + across * t, left[1] + (dip - left[1]) * 4 * t * (1 - t)) for t in steps
            ]

        upper, lower = bow(middle - thick), bow(middle + opened + thick)
        self._fill([*upper, *reversed(lower)], lips)
        if opened > 0.02:
            inner = [*bow(middle), *reversed(bow(middle + opened))]
            self._fill(inner, (70, 20, 26))
            if sitting.smile > 0:
                self._fill([*bow(middle), *reversed(bow(middle + opened * 0.45))], _WHITE)
        else:
            self._stroke(bow(middle), tuned(lips, -60), 0.022)

    # ── hair and what is worn ───────────────────────────────────────────────────────────────

    def _back_hair(self) -> None:
        kind = HAIR[self._person.hair]
        wide, dark = self._half_width, tuned(self._hair, -14)
        if kind in ("bob", "long"):
            low = 0.72 if kind == "bob" else 1.55
            crown = self._crown(0.0, 1.17)
            edge = wide * (1.24 if kind == "bob" else 1.2)
            self._fill([*crown, (edge, 0.1), (edge, low), (-edge, low), (-edge, 0.1)], dark, flat=True)
        elif kind == "curls":
            curls = [p for p in self._outline(1.06, steps=26) if p[1] < 0.35]
            for x, y in curls:
                size = self._rng.uniform(0.2, 0.27)
                self._disc((x, y), (size, size), dark)
        elif kind == "bun":
            self._disc((0, -self._half_height - 0.22), (0.32, 0.3), dark)
        elif kind == "mohawk":
            top = -self._half_height
            crest = [(-0.2, top + 0.3), (-0.16, top - 0.42), (0.16, top - 0.42), (0.2, top + 0.3)]
            self._fill(crest, dark, flat=True)

    def _front_hair(self) -> None:
        kind = HAIR[self._person.hair]
        if kind == "bald":
            return
        top = -self._half_height
        lines: dict[str, tuple[float, float, list[Point]]] = {
            # name: where it ends at the temples, how far it stands out, the hairline right to left
            "short": (-0.3, 1.07, [(0.45, -0.6), (0, -0.66), (-0.45, -0.6)]),
            "flat top": (-0.25, 1.05, [(0.46, -0.55), (0, -0.56), (-0.46, -0.55)]),
            "parted": (-0.2, 1.1, [(0.5, -0.35), (0.1, -0.6), (-0.25, -0.72), (-0.5, -0.5)]),
            "bob": (0.0, 1.14, [(0.55, -0.25), (0.2, -0.62), (0, -0.68), (-0.2, -0.62), (-0.55, -0.25)]),
            "long": (0.05, 1.12, [(0.6, -0.1), (0.3, -0.6), (0, -0.75), (-0.3, -0.6), (-0.6, -0.1)]),
            "curls": (-0.25, 1.1, [(0.5, -0.5), (0.25, -0.46), (0, -0.52), (-0.25, -0.46), (-0.5, -0.5)]),
            "bun": (-0.25, 1.06, [(0.42, -0.58), (0, -0.74), (-0.42, -0.58)]),
            "mohawk": (-0.8, 1.02, [(0.2, -0.62), (0, -0.58), (-0.2, -0.62)]),
            "fringe": (-0.15, 1.1, [(0.55, -0.38), (0.2, -0.34), (-0.2, -0.34), (-0.55, -0.38)]),
            "receding": (-0.1, 1.06, [(0.6, -0.35), (0.45, -0.72), (0, -0.86), (-0.45, -0.72), (-0.6, -0.35)]),
        }
        ends, grown, hairline = lines[kind]
        self._fill([*self._crown(ends, grown), *hairline], self._hair)
        if kind == "flat top":
            half = self._half_width * 0.86
            block = [(-half, -0.5), (-half, top - 0.18), (half, top - 0.18), (half, -0.5)]
            self._fill(block, self._hair, flat=True)
        elif kind == "bob":
            for side in (-1, 1):
                x = side * self._half_width
                lock = [(x * 0.86, -0.4), (x * 1.22, -0.4), (x * 1.24, 0.7), (x * 0.9, 0.6)]
                self._fill(lock, self._hair, flat=True)

    def _glasses(self) -> None:
        person = self._person
        kind = GLASSES[person.glasses]
        colour = FRAME_COLOURS[person.glasses_colour]
        x, y = self._eye
        half = min(0.19, x - 0.03)
        for side in (-1, 1):
            centre = (side * x, y + 0.01)
            rim = _oval(centre, (half, half * 0.95))
            if kind in ("square", "half"):
                low = half * (0.72 if kind == "square" else 0.6)
                rim = [
                    (centre[0] + a * half, centre[1] + b * low)
                    for a, b in ((-1, -1), (0, -1), (1, -1), (1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0))
                ]
            if kind == "dark":
                self._fill(rim, _mixed(colour, (16, 16, 18), 0.8))
            path = rim[:4] if kind == "half" else [*rim, rim[0]]
            self._stroke(path, colour, 0.045)
            self._stroke([(side * (x + half), y), (side * self._half_width, y - 0.05)], colour, 0.035)
        self._stroke([(-(x - half), y), (0, y - 0.035), (x - half, y)], colour, 0.04)

    def _hat(self) -> None:
        kind = HATS[self._person.hat]
        if kind == "none":
            return
        colour = CLOTH_COLOURS[self._person.hat_colour]
        dark = tuned(colour, -45)
        top, wide = -self._half_height, self._half_width
        if kind == "band":
            crown = self._crown(-0.52, 1.1)
            self._fill([crown[0], (-0.4, -0.72), (0, -0.8), (0.4, -0.72), crown[-1],
                        (0.4, -0.53), (0, -0.6), (-0.4, -0.53)], colour)  # fmt: skip
            return
        self._fill([*self._crown(-0.5, 1.16), (0.4, -0.56), (0, -0.6), (-0.4, -0.56)], colour)
        if kind == "cap":
            visor = [(-0.62, -0.55), (0, -0.66), (0.62, -0.55), (0.5, -0.4), (0, -0.36), (-0.5, -0.4)]
            self._fill(visor, dark)
        elif kind == "beanie":
            band = [(-wide * 1.1, -0.72), (wide * 1.1, -0.72), (wide * 1.1, -0.47), (-wide * 1.1, -0.47)]
            self._fill(band, dark, flat=True)
            self._disc((0, top - 0.2), (0.17, 0.17), dark)
        else:
            crown = [(-wide * 0.85, -0.6), (-wide * 0.75, top - 0.38), (wide * 0.75, top - 0.38),
                     (wide * 0.85, -0.6)]  # fmt: skip
            self._fill(crown, colour, flat=True)
            self._disc((0, -0.6), (wide * 1.85, 0.13), dark)

    # ── what is known of it ─────────────────────────────────────────────────────────────────

    def _lit(self, layer: Image.Image) -> Image.Image:
        """Under a light from one side."""
        sitting = self._sitting
        pixels = np.asarray(layer, np.float32)
        high, wide = pixels.shape[:2]
        across = np.linspace(-0.5, 0.5, wide, dtype=np.float32) * math.cos(sitting.light_from)
        down = np.linspace(-0.5, 0.5, high, dtype=np.float32) * math.sin(sitting.light_from)
        gain = sitting.gain + 2 * sitting.light * (across[None] + down[:, None])
        lit = pixels.copy()
        lit[..., :3] = np.clip(pixels[..., :3] * gain[..., None], 0, 255)
        return Image.fromarray(lit.astype(np.uint8), "RGBA")

    def _unit(self, point: Point) -> Point:
        return point[0] / self._fineness, point[1] / self._fineness

    def _silhouette(self) -> list[Point]:
        return [self._unit(self._placed(point, flat=True)) for point in self._outline()]

    def _head(self) -> Image.Image:
        head = Image.new("L", self._size)
        ImageDraw.Draw(head).polygon(self._silhouette(), fill=255)
        return head

    def _box(self) -> tuple[float, float, float, float]:
        outline: NDArray[np.float64] = np.array(self._silhouette())
        (left, top), (right, bottom) = outline.min(0), outline.max(0)
        return float(left), float(top), float(right), float(bottom)

    def _landmarks(self) -> tuple[Point, ...]:
        x, y = self._eye
        points = [(-x, y), (x, y), self._nose_tip(), self._mouth_corner(-1), self._mouth_corner(1)]
        return tuple(self._unit(self._placed(point)) for point in points)


def _oval(centre: Point, radii: Point, tilt: float = 0.0, steps: int = 28) -> list[Point]:
    c, s = math.cos(tilt), math.sin(tilt)
    points = []
    for i in range(steps):
        angle = math.tau * i / steps
        x, y = radii[0] * math.cos(angle), radii[1] * math.sin(angle)
        points.append((centre[0] + x * c - y * s, centre[1] + x * s + y * c))
    return points


def _mixed(one: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue
