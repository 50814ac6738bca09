"""A person as one picture shows them: an RGBA layer, and where the face is in it.

`head` bends everything to the pose; here is what a person's columns look like, from behind to the
front: body, hair behind, ears, skin, beard, eyes, nose, mouth, hair in front, glasses, hat.
"""

from __future__ import annotations

import math
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from models.sketch.faces.head import Head, Shape, Turn, oval
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
    pass

_JAWS: Final = (1.55, 1.8, 2.05, 2.5, 3.1)  #: exponents of the superellipse below the eyes
#: How hair lies in front: where it ends at the temples, how far it stands out from the head, and
#: the hairline from right to left.
_HAIRLINES: Final[dict[str, tuple[float, float, tuple[Point, ...]]]] = {
    "short": (-0.3, 1.07, ((0.45, -0.6), (0, -0.66), (-0.45, -0.6))),
    "flat top": (-0.25, 1.05, ((0.46, -0.55), (0, -0.56), (-0.46, -0.55))),
    "parted": (-0.2, 1.1, ((0.5, -0.35), (0.1, -0.6), (-0.25, -0.72), (-0.5, -0.5))),
    "bob": (0, 1.14, ((0.55, -0.25), (0.2, -0.62), (0, -0.68), (-0.2, -0.62), (-0.55, -0.25))),
    "long": (0.05, 1.12, ((0.6, -0.1), (0.3, -0.6), (0, -0.75), (-0.3, -0.6), (-0.6, -0.1))),
    "curls": (
        -0.25, 1.1, ((0.5, -0.5), (0.25, -0.46), (0, -0.52), (-0.25, -0.46), (-0.5, -0.5)),
    ),
    "bun": (-0.25, 1.06, ((0.42, -0.58), (0, -0.74), (-0.42, -0.58))),
    "mohawk": (-0.8, 1.02, ((0.2, -0.62), (0, -0.58), (-0.2, -0.62))),
    "fringe": (-0.15, 1.1, ((0.55, -0.38), (0.2, -0.34), (-0.2, -0.34), (-0.55, -0.38))),
    "receding": (
        -0.1, 1.06, ((0.6, -0.35), (0.45, -0.72), (0, -0.86), (-0.45, -0.72), (-0.6, -0.35)),
    ),
}  # fmt: skip
_MOLES: Final = ((0.33, 0.42), (-0.36, 0.34), (0.45, 0.12), (-0.12, 0.72))
#: A square rim, from its upper left corner clockwise, a point in the middle of each side.
_SQUARE: Final = ((-1, -1), (0, -1), (1, -1), (1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0))
_WHITE: Final = (250, 250, 248)
_DARK: Final = (22, 18, 20)


class Sitting(NamedTuple):
    """What is chance in one picture of a person."""

    turn: Turn
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
        turn=Turn(_bell(rng, 0.24, 0.6), _bell(rng, 0.1, 0.25), _bell(rng, 0.16, 0.5)),
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
        self._shape = Shape(
            half_width=0.68 + 0.045 * person.width,
            half_height=0.93 + 0.05 * person.length,
            jaw=_JAWS[person.jaw],
        )
        self._head = Head(self._shape, sitting.turn, radius, fineness)
        self._skin = tuned(SKINS[person.skin], sitting.skin_shift)
        self._hair = HAIR_COLOURS[person.hair_colour]
        self._eye = (0.25 + 0.03 * person.eye_gap, -0.15 + 0.055 * person.eye_height)
        self._mouth_y = 0.46 + 0.05 * person.mouth_height
        self._mouth_half = 0.17 + 0.045 * person.mouth_width + 0.035 * sitting.smile

    # ── the portrait ────────────────────────────────────────────────────────────────────────

    def draw(self) -> Portrait:
        person = self._person
        if self._sitting.body:
            self._body()
        self._back_hair()
        self._ears()
        self._head.fill(self._head.outline(), self._skin, flat=True)
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
        return self._finished()

    def _body(self) -> None:
        neck = 0.36 + 0.03 * self._person.width
        self._head.fill(
            [(-neck, 0.4), (neck, 0.4), (neck, 1.35), (-neck, 1.35)],
            tuned(self._skin, -22),
            flat=True,
        )
        shoulders = [(-0.42, 1.18), (0.42, 1.18), (1.3, 1.45), (1.6, 2.2), (1.7, 3.4)]
        self._head.fill(
            [*shoulders, (-1.7, 3.4), (-1.6, 2.2), (-1.3, 1.45)], self._sitting.cloth, flat=True
        )

    def _ears(self) -> None:
        size = 0.13 + 0.035 * self._person.ears
        for side in (-1, 1):
            # The ear on the side that the nose turns to hides behind the cheek.
            shown = 1 - 2.2 * max(0.0, side * math.sin(self._sitting.turn.yaw))
            x = side * self._shape.half_width * (0.99 - (1 - shown) * 0.1)
            self._head.disc((x, 0.02), (size * 0.62, size), tuned(self._skin, -10))
            if self._person.earrings and shown > 0.3:
                gold = ((236, 196, 70), (225, 230, 240))[self._person.earrings - 1]
                self._head.disc((x + side * 0.03, 0.08 + size), (0.055, 0.06), gold)

    def _skin_marks(self) -> None:
        person = self._person
        if person.blush:
            flush = _mixed(self._skin, (235, 90, 90), 0.3)
            for side in (-1, 1):
                self._head.oval((side * 0.42, 0.25), (0.15, 0.1), flush)
        if person.freckles:
            spots = Random(person.freckles)
            dark = _mixed(self._skin, (120, 60, 30), 0.5)
            for _ in range(11 * person.freckles):
                place = (spots.uniform(-0.45, 0.45), spots.uniform(0.03, 0.32))
                self._head.oval(place, (0.02, 0.02), dark)
        if person.mole:
            self._head.oval(_MOLES[person.mole - 1], (0.038, 0.038), (62, 36, 28))

    def _beard(self) -> None:
        kind = BEARDS[self._person.beard]
        if kind in ("none", "moustache"):
            return
        colour = _mixed(self._skin, self._hair, 0.4) if kind == "stubble" else tuned(self._hair, -6)
        if kind == "goatee":
            self._head.oval((0, 0.76), (0.2, 0.2), colour)
            return
        jaw = sorted((p for p in self._head.outline() if p[1] > 0.12), key=lambda p: -p[0])
        if kind == "sides":
            for side in (-1, 1):
                edge = sorted((p for p in jaw if p[0] * side > 0.3), key=lambda p: p[1])
                self._head.fill([*edge, (side * 0.32, 0.66), (side * 0.5, 0.1)], colour)
            return
        self._head.fill([*jaw, (-0.44, 0.3), (0, 0.27), (0.44, 0.3)], colour)

    def _moustache(self) -> None:
        y = self._mouth_y
        points = [(0, y - 0.14), (0.3, y - 0.02), (0.27, y + 0.03), (0, y - 0.05)]
        self._head.fill([*points, (-0.27, y + 0.03), (-0.3, y - 0.02)], tuned(self._hair, -6))

    def _draw_eye(self, side: int) -> None:
        person, sitting = self._person, self._sitting
        x, y = self._eye
        wide = 0.095 + 0.018 * person.eye_size
        aspect = (0.9, 0.66, 0.48, 0.62)[person.eye_shape]
        tilt = side * (0, -0.16, 0.05, 0.28)[person.eye_shape]
        high = wide * aspect * sitting.lids
        centre = (side * x, y)
        self._head.oval(centre, (wide + 0.022, high + 0.026), tuned(self._skin, -62), tilt)
        self._head.oval(centre, (wide, high), _WHITE, tilt)
        pupil = (centre[0] + sitting.gaze * wide * 0.32, y)
        iris = min(wide * 0.62, high * 1.02)
        self._head.oval(pupil, (wide * 0.58, iris), IRISES[person.iris])
        self._head.oval(pupil, (wide * 0.28, iris * 0.52), _DARK)

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
        self._head.stroke(points, colour, width)

    def _nose(self) -> None:
        size = 0.8 + 0.22 * self._person.nose_size
        kind = NOSES[self._person.nose]
        shade = tuned(self._skin, -42)
        x, y = self._nose_tip()
        wing = 0.085 * size
        if kind == "line":
            self._head.stroke([(0.02, y - 0.2), (wing, y), (-wing * 0.5, y + 0.02)], shade, 0.028)
        elif kind == "wedge":
            self._head.fill([(x, y - 0.26 * size), (wing * 1.2, y), (-wing * 1.2, y)], shade)
        elif kind == "button":
            self._head.oval((x, y - 0.03), (wing, wing * 0.85), shade)
            self._head.oval((x, y - 0.05), (wing * 0.7, wing * 0.55), tuned(self._skin, 8))
        elif kind == "wide":
            self._head.oval((x, y), (wing * 1.6, wing * 0.6), shade)
            for side in (-1, 1):
                self._head.oval((side * wing * 0.8, y + 0.015), (0.035, 0.025), tuned(shade, -45))
        else:
            self._head.stroke([(-0.035, y - 0.34), (-0.05, y - 0.03)], shade, 0.026)
            self._head.stroke([(-0.09 * size, y), (0.0, y + 0.03), (0.09 * size, y)], shade, 0.034)

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
        self._head.fill([*upper, *reversed(lower)], lips)
        if opened > 0.02:
            inner = [*bow(middle), *reversed(bow(middle + opened))]
            self._head.fill(inner, (70, 20, 26))
            if sitting.smile > 0:
                self._head.fill([*bow(middle), *reversed(bow(middle + opened * 0.45))], _WHITE)
        else:
            self._head.stroke(bow(middle), tuned(lips, -60), 0.022)

    # ── hair and what is worn ───────────────────────────────────────────────────────────────

    def _back_hair(self) -> None:
        kind = HAIR[self._person.hair]
        wide, dark = self._shape.half_width, tuned(self._hair, -14)
        if kind in ("bob", "long"):
            low = 0.72 if kind == "bob" else 1.55
            crown = self._head.crown(0.0, 1.17)
            edge = wide * (1.24 if kind == "bob" else 1.2)
            self._head.fill(
                [*crown, (edge, 0.1), (edge, low), (-edge, low), (-edge, 0.1)], dark, flat=True
            )
        elif kind == "curls":
            curls = [p for p in self._head.outline(1.06, steps=26) if p[1] < 0.35]
            for x, y in curls:
                size = self._rng.uniform(0.2, 0.27)
                self._head.disc((x, y), (size, size), dark)
        elif kind == "bun":
            self._head.disc((0, -self._shape.half_height - 0.22), (0.32, 0.3), dark)
        elif kind == "mohawk":
            top = -self._shape.half_height
            crest = [(-0.2, top + 0.3), (-0.16, top - 0.42), (0.16, top - 0.42), (0.2, top + 0.3)]
            self._head.fill(crest, dark, flat=True)

    def _front_hair(self) -> None:
        kind = HAIR[self._person.hair]
        if kind == "bald":
            return
        top = -self._shape.half_height
        ends, grown, hairline = _HAIRLINES[kind]
        self._head.fill([*self._head.crown(ends, grown), *hairline], self._hair)
        if kind == "flat top":
            half = self._shape.half_width * 0.86
            block = [(-half, -0.5), (-half, top - 0.18), (half, top - 0.18), (half, -0.5)]
            self._head.fill(block, self._hair, flat=True)
        elif kind == "bob":
            for side in (-1, 1):
                x = side * self._shape.half_width
                lock = [(x * 0.86, -0.4), (x * 1.22, -0.4), (x * 1.24, 0.7), (x * 0.9, 0.6)]
                self._head.fill(lock, self._hair, flat=True)

    def _glasses(self) -> None:
        person = self._person
        kind = GLASSES[person.glasses]
        colour = FRAME_COLOURS[person.glasses_colour]
        x, y = self._eye
        half = min(0.19, x - 0.03)
        for side in (-1, 1):
            centre = (side * x, y + 0.01)
            rim = oval(centre, (half, half * 0.95))
            if kind in ("square", "half"):
                low = half * (0.72 if kind == "square" else 0.6)
                rim = [(centre[0] + a * half, centre[1] + b * low) for a, b in _SQUARE]
            if kind == "dark":
                self._head.fill(rim, _mixed(colour, (16, 16, 18), 0.8))
            path = rim[:4] if kind == "half" else [*rim, rim[0]]
            self._head.stroke(path, colour, 0.045)
            hinge, ear = (side * (x + half), y), (side * self._shape.half_width, y - 0.05)
            self._head.stroke([hinge, ear], colour, 0.035)
        self._head.stroke([(-(x - half), y), (0, y - 0.035), (x - half, y)], colour, 0.04)

    def _hat(self) -> None:
        kind = HATS[self._person.hat]
        if kind == "none":
            return
        colour = CLOTH_COLOURS[self._person.hat_colour]
        dark = tuned(colour, -45)
        top, wide = -self._shape.half_height, self._shape.half_width
        if kind == "band":
            crown = self._head.crown(-0.52, 1.1)
            self._head.fill([crown[0], (-0.4, -0.72), (0, -0.8), (0.4, -0.72), crown[-1],
                        (0.4, -0.53), (0, -0.6), (-0.4, -0.53)], colour)  # fmt: skip
            return
        self._head.fill(
            [*self._head.crown(-0.5, 1.16), (0.4, -0.56), (0, -0.6), (-0.4, -0.56)], colour
        )
        if kind == "cap":
            brow, rim = [(-0.62, -0.55), (0, -0.66), (0.62, -0.55)], [(0.5, -0.4), (0, -0.36)]
            self._head.fill([*brow, *rim, (-0.5, -0.4)], dark)
        elif kind == "beanie":
            edge = wide * 1.1
            band = [(-edge, -0.72), (edge, -0.72), (edge, -0.47), (-edge, -0.47)]
            self._head.fill(band, dark, flat=True)
            self._head.disc((0, top - 0.2), (0.17, 0.17), dark)
        else:
            crown = [(-wide * 0.85, -0.6), (-wide * 0.75, top - 0.38), (wide * 0.75, top - 0.38),
                     (wide * 0.85, -0.6)]  # fmt: skip
            self._head.fill(crown, colour, flat=True)
            self._head.disc((0, -0.6), (wide * 1.85, 0.13), dark)

    # ── what is known of it ─────────────────────────────────────────────────────────────────

    def _finished(self) -> Portrait:
        silhouette = self._head.silhouette()
        mask = Image.new("L", self._head.size)
        ImageDraw.Draw(mask).polygon(silhouette, fill=255)
        across, down = [x for x, _ in silhouette], [y for _, y in silhouette]
        x, y = self._eye
        marks = ((-x, y), (x, y), self._nose_tip(), self._mouth_corner(-1), self._mouth_corner(1))
        return Portrait(
            layer=self._lit(self._head.layer()),
            head=mask,
            box=(min(across), min(down), max(across), max(down)),
            landmarks=tuple(self._head.place(mark) for mark in marks),
        )

    def _lit(self, layer: Image.Image) -> Image.Image:
        """Under a light from one side."""
        sitting = self._sitting
        pixels = np.asarray(layer, np.float32).copy()
        high, wide = pixels.shape[:2]
        across = np.linspace(-0.5, 0.5, wide, dtype=np.float32) * math.cos(sitting.light_from)
        down = np.linspace(-0.5, 0.5, high, dtype=np.float32) * math.sin(sitting.light_from)
        gain = sitting.gain + 2 * sitting.light * (across[None] + down[:, None])
        pixels[..., :3] *= gain[..., None]
        return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8), "RGBA")


def _mixed(one: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue
