"""Pictures with people in them: a drawing as the ground, faces on it, what stands in front.

The grounds are those of `models.sketch.drawing`, whose circles, suns and plain-headed persons a
detector has to leave alone; discs with spots in the colours of skin are added for the same reason.
What the picture shows is known exactly.  A face counts, and is told, only if its five landmarks lie
in the picture and at least 65 of a hundred pixels of its head are seen; nobody else is drawn.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from models.sketch.drawing import draw
from models.sketch.faces.person import SKINS, Person
from models.sketch.faces.portrait import Portrait, draw_portrait, random_sitting
from models.sketch.pen import Point, jittered, turned
from models.sketch.shapes import OUTLINES
from models.sketch.spec import random_spec
from models.sketch.vocabulary import COLOURS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from numpy.typing import NDArray

MOST_FACES: Final = 5
#: Share of a head that must be seen.
LEAST_SEEN: Final = 0.65
#: Half heights of heads in units of the picture's shorter side.
_SMALLEST: Final = 0.045
_LARGEST: Final = 0.36
_TRIES: Final = 30


class ShownFace(NamedTuple):
    """A face of a scene, in pixels of the picture."""

    box: tuple[float, float, float, float]  #: left, top, right, bottom, within the picture
    landmarks: tuple[Point, ...]  #: eye on the left, eye on the right, nose, mouth left and right
    identity: int
    seen: float  #: share of the head that nothing hides and no border cuts off


class Scene(NamedTuple):
    picture: Image.Image  #: RGB
    faces: tuple[ShownFace, ...]  #: far ones first


def draw_scene(
    rng: Random, size: tuple[int, int], people: Sequence[tuple[int, Person]], fineness: int = 2
) -> Scene:
    """Draw *people*, pairs of identity and person, into a picture of *size* (width, height).

    Somebody for whom chance finds no place is left out.
    """
    width, height = size
    side = max(size)
    ground = draw(random_spec(rng), rng, side, fineness=max(1, fineness - 1))
    left, top = (side - width) // 2, (side - height) // 2
    stage = _Stage(rng, ground.crop((left, top, left + width, top + height)), fineness)
    for _ in range(rng.choice((0, 0, 1, 2))):
        stage.put_decoy()
    if people:
        # A crowd has smaller heads, or there would be no room for it.
        largest = _LARGEST / math.sqrt(0.4 + 0.6 * len(people))
        radii = sorted(_spread(rng, _SMALLEST, largest) * min(size) for _ in people)
        for (identity, person), radius in zip(people, radii, strict=True):
            stage.put_person(identity, person, radius)
    if stage.faces and rng.random() < 0.3:
        stage.put_obstacle()
    return Scene(_developed(rng, stage.picture), stage.faces)


def _spread(rng: Random, low: float, high: float) -> float:
    """As many between 1 and 2 as between 2 and 4."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


class _Stage:
    """A picture being put together, and which pixel belongs to whose head."""

    def __init__(self, rng: Random, picture: Image.Image, fineness: int) -> None:
        self._rng, self._fineness = rng, fineness
        self.picture = picture
        width, height = picture.size
        #: 0 where no head is seen, else its position in `_shown` counted from 1.
        self._owner = np.zeros((height, width), np.uint8)
        self._shown: list[tuple[ShownFace, int]] = []  #: faces, and the pixels of their whole heads

    @property
    def faces(self) -> tuple[ShownFace, ...]:
        counts = np.bincount(self._owner.ravel(), minlength=len(self._shown) + 1)
        return tuple(
            face._replace(seen=float(counts[number] / pixels))
            for number, (face, pixels) in enumerate(self._shown, start=1)
        )

    def put_person(self, identity: int, person: Person, radius: float) -> None:
        rng = self._rng
        portrait = draw_portrait(person, random_sitting(rng), radius, self._fineness)
        width, height = self.picture.size
        left, top, right, bottom = portrait.box
        for _ in range(_TRIES):
            # Now and then the border cuts a head.
            x = round(rng.uniform(-0.2 * radius - left, width + 0.2 * radius - right))
            y = round(rng.uniform(-0.2 * radius - top, height + 0.2 * radius - bottom))
            if self._admits(portrait, x, y):
                break
        else:
            return
        mask = _over(self._owner.shape, portrait.head, x, y)
        self.picture.paste(portrait.layer, (x, y), portrait.layer)
        self._cover(_over(self._owner.shape, portrait.layer.getchannel("A"), x, y))
        self._owner[mask] = len(self._shown) + 1
        box = (
            max(0.0, left + x), max(0.0, top + y),
            min(float(width), right + x), min(float(height), bottom + y),
        )  # fmt: skip
        marks = tuple((a + x, b + y) for a, b in portrait.landmarks)
        pixels = int((np.asarray(portrait.head) > 127).sum())
        self._shown.append((ShownFace(box, marks, identity, 1.0), pixels))

    def _admits(self, portrait: Portrait, x: int, y: int) -> bool:
        height, width = self._owner.shape
        if not all(
            2 <= a + x <= width - 2 and 2 <= b + y <= height - 2 for a, b in portrait.landmarks
        ):
            return False
        alpha = _over(self._owner.shape, portrait.layer.getchannel("A"), x, y)
        own = _over(self._owner.shape, portrait.head, x, y).sum()
        whole = (np.asarray(portrait.head) > 127).sum()
        return bool(own >= LEAST_SEEN * whole) and self._leaves_enough(alpha)

    def _leaves_enough(self, covered: NDArray[np.bool_]) -> bool:
        """Whether all heads so far stay visible, eyes to mouth, behind what covers these pixels."""
        rest = np.bincount(self._owner[~covered], minlength=len(self._shown) + 1)
        for number, (face, pixels) in enumerate(self._shown, start=1):
            hidden = sum(bool(covered[int(y), int(x)]) for x, y in face.landmarks)
            if rest[number] < LEAST_SEEN * pixels or hidden > 1:
                return False
        return True

    def _cover(self, covered: NDArray[np.bool_]) -> None:
        self._owner[covered] = 0

    def put_decoy(self) -> None:
        """A disc the colour of skin, with spots where no face has them, or with none."""
        rng = self._rng
        width, height = self.picture.size
        radius = _spread(rng, _SMALLEST, _LARGEST / 2) * min(width, height)
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        draw = ImageDraw.Draw(self.picture)
        draw.ellipse(
            (x - radius, y - radius * 1.2, x + radius, y + radius * 1.2),
            fill=jittered(rng, rng.choice(SKINS)),
        )
        for _ in range(rng.randint(0, 4)):
            spot = radius * rng.uniform(0.08, 0.3)
            a, b = x + rng.uniform(-0.6, 0.6) * radius, y + rng.uniform(-0.8, 0.8) * radius
            colour = jittered(rng, rng.choice(list(COLOURS.values())))
            draw.ellipse((a - spot, b - spot, a + spot, b + spot), fill=colour)

    def put_obstacle(self) -> None:
        """A shape in front of somebody, if chance finds one that leaves the face known."""
        rng = self._rng
        (face, _pixels) = rng.choice(self._shown)
        left, top, right, bottom = face.box
        for _ in range(_TRIES):
            radius = (bottom - top) * rng.uniform(0.15, 0.4)
            angle = rng.uniform(0, math.tau)
            centre = (
                (left + right) / 2 + math.cos(angle) * (right - left) * 0.6,
                (top + bottom) / 2 + math.sin(angle) * (bottom - top) * 0.6,
            )
            outline = turned(OUTLINES[rng.choice(list(OUTLINES))], centre, radius, angle)
            mask = Image.new("L", self.picture.size)
            ImageDraw.Draw(mask).polygon(outline, fill=255)
            covered = np.asarray(mask) > 127
            if self._leaves_enough(covered):
                colour = jittered(rng, rng.choice(list(COLOURS.values())))
                self.picture.paste(colour, (0, 0), mask)
                self._cover(covered)
                return


def _over(shape: tuple[int, int], part: Image.Image, x: int, y: int) -> NDArray[np.bool_]:
    """Where *part*, an "L" picture put at x, y, covers a picture of this shape."""
    height, width = shape
    whole = Image.new("L", (width, height))
    whole.paste(part, (x, y))
    return np.asarray(whole) > 127


def _developed(rng: Random, picture: Image.Image) -> Image.Image:
    """The picture as a camera of some quality would have it: exposure, blur, grain."""
    if rng.random() < 0.3:
        picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.0)))
    gain = rng.uniform(0.8, 1.15)
    grain = max(0.0, rng.uniform(-3, 7))
    noise = np.random.default_rng(rng.getrandbits(32)).standard_normal(
        (picture.height, picture.width, 1), np.float32
    )
    pixels = np.asarray(picture, np.float32) * gain + noise * grain
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
