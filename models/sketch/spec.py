"""What a drawing shows, as thirteen small integers.

Four kinds of drawings: a *group* of equal shapes, two shapes in a *relation*, a *pair* of groups,
and a *landscape* with or without things in it. A spec is fully stated: two pictures with equal
specs are told the same way, two with different specs never are. The caption side uses the same
type with `UNSAID` where words leave something open, which makes "does this caption fit this
picture" a comparison of columns (`fits`).

Flat integers rather than a class per kind: training compares and classifies specs by the hundred,
as arrays.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from models.sketch.vocabulary import (
    COLOUR_NAMES,
    HOLLOWS,
    MOST,
    MOST_THINGS,
    NOUNS,
    RELATIONS,
    SCENES,
    SHAPES,
    SIZES,
    TEXTURES,
    THING_COLOURS,
    THINGS,
)

if TYPE_CHECKING:
    from random import Random

    from numpy.typing import NDArray

UNSAID: Final = -1


class Kind(IntEnum):
    GROUP = 0
    RELATION = 1
    PAIR = 2
    LANDSCAPE = 3


class Spec(NamedTuple):
    """One drawing. Words are positions in the vocabulary counted from 1; 0 is "has none"."""

    kind: int
    count: int = 0  # type: ignore[assignment]  # hides tuple.count, which nobody asks a spec for
    size: int = 0
    colour: int = 0
    noun: int = 0
    count2: int = 0
    size2: int = 0
    colour2: int = 0
    noun2: int = 0
    relation: int = 0
    ground: int = 0
    texture: int = 0
    scene: int = 0


#: Number of classes per column, "has none" included.
CLASSES: Final = (
    len(Kind),
    MOST + 1,
    len(SIZES) + 1,
    len(COLOUR_NAMES) + 1,
    len(NOUNS) + 1,
    MOST + 1,
    len(SIZES) + 1,
    len(COLOUR_NAMES) + 1,
    len(SHAPES) + 1,
    len(RELATIONS) + 1,
    len(COLOUR_NAMES) + 1,
    len(TEXTURES) + 1,
    len(SCENES) + 1,
)

SMALL: Final = 1 + SIZES.index("small")
LARGE: Final = 1 + SIZES.index("large")
LEFT: Final = 1 + RELATIONS.index("left of")
ABOVE: Final = 1 + RELATIONS.index("above")
INSIDE: Final = 1 + RELATIONS.index("inside")
HOLLOW_NUMBERS: Final = tuple(1 + SHAPES.index(name) for name in HOLLOWS)
THING_NUMBERS: Final = tuple(1 + NOUNS.index(name) for name in THINGS)
THING_COLOUR_NUMBERS: Final = tuple(1 + COLOUR_NAMES.index(name) for name in THING_COLOURS)
#: Shapes are never gray: it is kept for grounds, where nothing else competes with it.
SHAPE_COLOUR_NUMBERS: Final = tuple(1 + i for i, c in enumerate(COLOUR_NAMES) if c != "gray")
SHAPE_NUMBERS: Final = tuple(range(1, len(SHAPES) + 1))

#: Shares of the kinds, in the order of `Kind`.
_SHARES: Final = (0.25, 0.32, 0.13, 0.30)
#: A pair shows at least three shapes, so that "a circle and a star" (two shapes, no relation told)
#: is never also true of a relation; and at most five, which still have room.
_PAIR_TOTAL: Final = range(3, 6)


def is_drawable(spec: Spec) -> bool:
    """Whether shapes stand out from their ground and the two halves can be told apart."""
    if spec.kind == Kind.LANDSCAPE:
        return True
    if spec.ground in (spec.colour, spec.colour2):
        return False
    if spec.kind == Kind.GROUP:
        return True
    if (spec.colour, spec.noun) == (spec.colour2, spec.noun2):
        return False
    if spec.kind == Kind.PAIR:
        return spec.count + spec.count2 in _PAIR_TOTAL
    if spec.relation != INSIDE:
        return True
    return (
        spec.colour != spec.colour2
        and spec.noun2 in HOLLOW_NUMBERS
        and (spec.size, spec.size2) == (SMALL, LARGE)
    )


def _ordered(spec: Spec) -> Spec:
    """The same pair told in its canonical order: a pair has no first half by itself."""
    first = (spec.colour, spec.noun, spec.count)
    second = (spec.colour2, spec.noun2, spec.count2)
    if spec.kind != Kind.PAIR or first <= second:
        return spec
    return swapped(spec, "count", "colour", "noun")


def swapped(spec: Spec, *names: str) -> Spec:
    """The spec with the named columns of its two halves exchanged."""
    changes = {name: getattr(spec, name + "2") for name in names}
    changes |= {name + "2": getattr(spec, name) for name in names}
    return spec._replace(**changes)


def random_spec(rng: Random, kind: Kind | None = None) -> Spec:
    while True:
        spec = _ordered(_random_candidate(rng, kind))
        if is_drawable(spec):
            return spec


def _random_candidate(rng: Random, kind: Kind | None) -> Spec:
    if kind is None:
        kind = rng.choices(list(Kind), _SHARES)[0]
    if kind is Kind.LANDSCAPE:
        spec = Spec(kind, scene=rng.randint(1, len(SCENES)))
        return spec if rng.random() < 0.1 else _with_things(rng, spec)
    spec = Spec(
        kind,
        count=1,
        colour=rng.choice(SHAPE_COLOUR_NUMBERS),
        noun=rng.choice(SHAPE_NUMBERS),
        ground=rng.randint(1, len(COLOUR_NAMES)),
        texture=rng.choices(range(1, len(TEXTURES) + 1), (0.4, 0.2, 0.2, 0.2))[0],
    )
    if kind is Kind.GROUP:
        return spec._replace(count=rng.randint(1, MOST), size=rng.choice((SMALL, LARGE)))
    spec = spec._replace(
        count2=1, colour2=rng.choice(SHAPE_COLOUR_NUMBERS), noun2=rng.choice(SHAPE_NUMBERS)
    )
    if kind is Kind.PAIR:
        return spec._replace(count=rng.randint(1, MOST), count2=rng.randint(1, MOST))
    relation = rng.choice((LEFT, ABOVE, INSIDE))
    if relation == INSIDE:
        return spec._replace(
            relation=INSIDE, size=SMALL, size2=LARGE, noun2=rng.choice(HOLLOW_NUMBERS)
        )
    return spec._replace(
        relation=relation, size=rng.choice((SMALL, LARGE)), size2=rng.choice((SMALL, LARGE))
    )


def _with_things(rng: Random, spec: Spec) -> Spec:
    return spec._replace(
        count=rng.choices(range(1, MOST_THINGS + 1), (0.5, 0.25, 0.25))[0],
        colour=rng.choice(THING_COLOUR_NUMBERS),
        noun=rng.choice(THING_NUMBERS),
    )


#: What `variation` may change, per kind; repeated where a change teaches more.
_CHANGES: Final[dict[int, tuple[str, ...]]] = {
    Kind.GROUP: (
        "count", "count", "size", "colour", "colour", "noun", "noun", "ground", "texture",
    ),
    Kind.RELATION: (
        "swap colours", "swap colours", "swap nouns", "swap all", "swap all", "relation",
        "colour", "noun", "noun", "colour2", "noun2", "noun2", "ground", "texture", "size", "size2",
    ),
    Kind.PAIR: (
        "swap colours", "swap nouns", "swap counts", "count", "count2", "colour", "noun", "colour2",
        "noun2", "ground", "texture",
    ),
    Kind.LANDSCAPE: ("scene", "scene", "count", "colour", "colour", "noun", "noun"),
}  # fmt: skip
_SWAPS: Final = {
    "swap colours": ("colour",),
    "swap nouns": ("noun",),
    "swap counts": ("count",),
    "swap all": ("size", "colour", "noun"),
}


def variation(rng: Random, spec: Spec) -> Spec:
    """A drawing that differs from `spec` in one attribute, or in two halves exchanged."""
    while True:
        other = _ordered(_varied(rng, spec))
        if other != spec and is_drawable(other):
            return other


def _varied(rng: Random, spec: Spec) -> Spec:
    change = rng.choice(_CHANGES[spec.kind])
    landscape = spec.kind == Kind.LANDSCAPE
    if change in _SWAPS:
        return swapped(spec, *_SWAPS[change])
    if landscape and spec.count == 0 and change != "scene":
        return _with_things(rng, spec)
    if change in ("count", "count2"):
        value = rng.randint(1, MOST_THINGS if landscape else MOST)
    elif change in ("colour", "colour2"):
        value = rng.choice(THING_COLOUR_NUMBERS if landscape else SHAPE_COLOUR_NUMBERS)
    elif change in ("noun", "noun2"):
        value = rng.choice(THING_NUMBERS if landscape else SHAPE_NUMBERS)
    elif change in ("size", "size2"):
        value = rng.choice((SMALL, LARGE))
    elif change == "relation":
        value = rng.choice((LEFT, ABOVE))
        if spec.relation == INSIDE:
            return spec
    else:
        value = rng.randint(
            1, {"ground": len(COLOUR_NAMES), "texture": len(TEXTURES), "scene": len(SCENES)}[change]
        )
    return spec._replace(**{change: value})


def family(rng: Random, size: int) -> list[Spec]:
    """A random drawing and `size - 1` different ones close to it."""
    first = random_spec(rng)
    members = [first]
    tries = 0
    while len(members) < size:
        # The first one may have too few neighbours of its own: then neighbours of neighbours do.
        other = variation(rng, first if tries < 8 else rng.choice(members))
        tries += 1
        if other not in members:
            members.append(other)
    return members


def fits(said: NDArray[np.int64], drawn: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which captions are true of which pictures.

    Args:
        said: captions as specs, [n, 13], with `UNSAID` where nothing is said.
        drawn: pictures as specs, [m, 13].

    Returns:
        [n, m] booleans. A caption that leaves the kind open speaks of one half of a picture, so it
        may be true of either.
    """
    open_kind = said[:, None, 0] == UNSAID
    turned = drawn[:, [0, 5, 6, 7, 8, 1, 2, 3, 4, 9, 10, 11, 12]]

    def agrees(columns: NDArray[np.int64]) -> NDArray[np.bool_]:
        told = said[:, None, :]
        agreement: NDArray[np.bool_] = ((told == UNSAID) | (told == columns[None])).all(-1)
        return agreement

    either: NDArray[np.bool_] = agrees(drawn) | (open_kind & agrees(turned))
    return either
