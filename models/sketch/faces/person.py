"""Who somebody is, as small integers: what stays the same from one portrait to the next.

Pose, expression, light, clothes and whatever stands in front are chance of one picture
(`portrait`, `scene`); a person is a row of classes, so that a network can be asked for each of
them, and two people who are equal in all are the same.
"""

from __future__ import annotations

from random import Random
from typing import Final, NamedTuple

from models.sketch.pen import Colour


class Person(NamedTuple):
    """One identity: each column a class counted from 0."""

    skin: int
    width: int
    length: int
    jaw: int
    ears: int
    hair: int
    hair_colour: int
    eye_gap: int
    eye_size: int
    eye_shape: int
    eye_height: int
    iris: int
    brow: int
    brow_tilt: int
    nose: int
    nose_size: int
    mouth_width: int
    mouth_height: int
    lips: int
    lip_colour: int
    glasses: int
    glasses_colour: int
    beard: int
    freckles: int
    mole: int
    blush: int
    hat: int
    hat_colour: int
    earrings: int


SKINS: Final[tuple[Colour, ...]] = (
    (255, 226, 205), (246, 208, 178), (236, 190, 150), (224, 172, 128), (205, 150, 105),
    (180, 124, 82), (150, 98, 62), (118, 76, 48), (92, 58, 38), (240, 200, 190),
)  # fmt: skip
HAIR_COLOURS: Final[tuple[Colour, ...]] = (
    (28, 24, 24), (62, 40, 26), (104, 66, 36), (150, 100, 52), (206, 164, 90), (236, 212, 150),
    (168, 62, 30), (150, 150, 154), (226, 226, 228), (70, 90, 160), (190, 70, 130),
)  # fmt: skip
IRISES: Final[tuple[Colour, ...]] = (
    (60, 36, 20),
    (112, 70, 34),
    (70, 110, 60),
    (60, 120, 190),
    (120, 130, 140),
    (30, 30, 34),
)
LIP_COLOURS: Final[tuple[Colour, ...]] = (
    (196, 92, 88),
    (170, 60, 70),
    (214, 40, 60),
    (140, 70, 66),
    (226, 130, 130),
)
CLOTH_COLOURS: Final[tuple[Colour, ...]] = (
    (40, 44, 60), (200, 50, 50), (50, 100, 190), (60, 140, 80), (230, 190, 60), (240, 240, 240),
    (130, 70, 150), (230, 120, 50),
)  # fmt: skip
FRAME_COLOURS: Final[tuple[Colour, ...]] = (
    (24, 24, 26),
    (120, 70, 36),
    (190, 40, 50),
    (210, 180, 90),
    (50, 80, 150),
)
HAIR: Final = (
    "bald", "short", "flat top", "parted", "bob", "long", "curls", "bun", "mohawk", "fringe",
    "receding",
)  # fmt: skip
GLASSES: Final = ("none", "round", "square", "half", "dark")
BEARDS: Final = ("none", "stubble", "moustache", "goatee", "full", "sides")
HATS: Final = ("none", "cap", "beanie", "brim", "band")
NOSES: Final = ("line", "wedge", "button", "wide", "long")

#: How often each class occurs, in relative numbers; as many as there are classes.
_SHARES: Final[dict[str, tuple[int, ...]]] = {
    "skin": (1,) * len(SKINS),
    "width": (1,) * 5,
    "length": (1,) * 4,
    "jaw": (1,) * 5,
    "ears": (1,) * 3,
    "hair": (1,) * len(HAIR),
    "hair_colour": (3, 3, 3, 2, 2, 2, 2, 2, 2, 1, 1),
    "eye_gap": (1,) * 5,
    "eye_size": (1,) * 4,
    "eye_shape": (1,) * 4,
    "eye_height": (1,) * 3,
    "iris": (1,) * len(IRISES),
    "brow": (1,) * 4,
    "brow_tilt": (1,) * 3,
    "nose": (1,) * len(NOSES),
    "nose_size": (1,) * 3,
    "mouth_width": (1,) * 4,
    "mouth_height": (1,) * 3,
    "lips": (1,) * 3,
    "lip_colour": (1,) * len(LIP_COLOURS),
    "glasses": (6, 1, 1, 1, 1),
    "glasses_colour": (1,) * len(FRAME_COLOURS),
    "beard": (7, 1, 1, 1, 1, 1),
    "freckles": (5, 1, 1),
    "mole": (5, 1, 1, 1, 1),
    "blush": (3, 1),
    "hat": (8, 1, 1, 1, 1),
    "hat_colour": (1,) * len(CLOTH_COLOURS),
    "earrings": (4, 1, 1),
}
#: Number of classes per column.
CLASSES: Final = tuple(map(len, _SHARES.values()))


def person_of(identity: int, stream: str = "person") -> Person:
    """The person a number stands for.

    Training draws from a stream of another name, so no number of a user is anybody it has met.
    """
    rng = Random(f"{stream} {identity}")
    return Person(**{name: rng.choices(range(len(s)), s)[0] for name, s in _SHARES.items()})
