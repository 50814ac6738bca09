"""The grammar: from a spec to English.

`canonical` tells everything in the first word of each list, so equal captions mean equal specs.
`paraphrase` tells everything in varied words; `partial` first forgets something (`_hushed`), then
tells the rest, as people search. What is said and how it is said are kept apart: `_tell` turns any
spec, holes included, into words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from models.sketch.spec import UNSAID, Kind, Spec
from models.sketch.vocabulary import (
    COLOUR_NAMES,
    COLOUR_WORDS,
    NOUN_WORDS,
    NOUNS,
    NUMBERS,
    OPENINGS,
    PLACES,
    RELATION_WORDS,
    RELATIONS,
    SCENES,
    SIZE_WORDS,
    SIZES,
    TEXTURE_WORDS,
    TEXTURES,
    VIEWS,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random


class Caption(NamedTuple):
    text: str
    #: What the text says, `UNSAID` where it says nothing.
    said: Spec


def canonical(spec: Spec) -> str:
    """The one full description of a drawing; no two specs share it."""
    return _tell(None, spec)


def paraphrase(rng: Random, spec: Spec) -> Caption:
    return Caption(rng.choice(OPENINGS) + _tell(rng, spec), spec)


def partial(rng: Random, spec: Spec) -> Caption:
    said = _hushed(rng, spec)
    return Caption(rng.choice(OPENINGS) + _tell(rng, said), said)


def one_word_apart(first: str, second: str) -> bool:
    """Whether two captions are twins: equal but for exactly one word."""
    a, b = first.split(), second.split()
    return len(a) == len(b) and sum(x != y for x, y in zip(a, b, strict=True)) == 1


# Columns to forget, per kind. For one-group drawings every one of these leaves something that a
# pair or a relation could show as well, so the kind is left open with it.
_GROUP_GAPS: Final = (
    ("ground", "texture"),
    ("texture",),
    ("size",),
    ("size", "texture"),
    ("size", "ground", "texture"),
    ("count", "size", "texture"),
    ("count", "size", "ground", "texture"),
    ("colour", "size", "ground", "texture"),
    ("colour", "size", "count", "ground", "texture"),
    ("colour", "size"),
    ("count", "size", "colour", "noun"),
    ("count", "size", "colour", "noun", "texture"),
    ("count", "size", "colour", "noun", "ground"),
)
_TWO_GAPS: Final = (
    ("ground", "texture"),
    ("texture",),
    ("size", "size2"),
    ("size", "size2", "texture"),
    ("size", "size2", "ground", "texture"),
    ("size", "size2", "colour", "colour2", "ground", "texture"),
)
_LANDSCAPE_GAPS: Final = (
    ("count", "colour", "noun"),
    ("scene",),
    ("colour",),
    ("colour", "scene"),
    ("count", "scene"),
    ("count",),
    ("count", "colour"),
    ("count", "colour", "scene"),
)
_SECOND_HALF: Final = ("count2", "size2", "colour2", "noun2", "relation")


def _without(spec: Spec, names: Sequence[str]) -> Spec:
    return spec._replace(**dict.fromkeys(names, UNSAID))


def _hushed(rng: Random, spec: Spec) -> Spec:
    if spec.kind == Kind.LANDSCAPE:
        return _without(spec, rng.choice(_LANDSCAPE_GAPS) if spec.count else _LANDSCAPE_GAPS[0])
    if spec.kind != Kind.GROUP:
        if rng.random() < 0.6:
            return _without(spec, rng.choice(_TWO_GAPS))
        # One half only: told as a group of its own.
        if rng.random() < 0.5:
            spec = spec._replace(
                count=spec.count2, size=spec.size2, colour=spec.colour2, noun=spec.noun2
            )
    return _without(spec, ("kind", "scene", *_SECOND_HALF, *rng.choice(_GROUP_GAPS)))


def _pick(rng: Random | None, options: Sequence[str]) -> str:
    return options[0] if rng is None else rng.choice(options)


def _tell(rng: Random | None, said: Spec) -> str:
    """Words for what is said; `rng` None asks for the canonical ones."""
    if said.kind == Kind.LANDSCAPE:
        return _tell_landscape(rng, said)
    ground = _ground(rng, said)
    if said.noun == UNSAID:
        return ground.removeprefix("on ").removeprefix("against ").removeprefix("over ")
    if said.kind in (Kind.GROUP, UNSAID):
        text = _things(rng, said.count, said.size, said.colour, said.noun)
    elif said.kind == Kind.PAIR:
        halves = [
            _things(rng, said.count, said.size, said.colour, said.noun),
            _things(rng, said.count2, said.size2, said.colour2, said.noun2),
        ]
        if rng is not None and rng.random() < 0.5:
            halves.reverse()
        text = " and ".join(halves)
    else:
        text = _tell_relation(rng, said)
    return f"{text} {ground}".strip()


def _tell_landscape(rng: Random | None, said: Spec) -> str:
    scene = SCENES[said.scene - 1] if said.scene != UNSAID else None
    if said.noun == UNSAID:
        assert scene is not None
        return _pick(rng, VIEWS[scene])
    if said.noun == 0:
        assert scene is not None
        # "A beach" is also true of a beach with a boat on it; this is not.
        return f"{_pick(rng, ('an empty scene', 'nothing', 'an empty view'))} " + _pick(
            rng, PLACES[scene]
        )
    things = _things(rng, said.count, 0, said.colour, said.noun)
    if scene is None:
        return things
    if rng is not None and rng.random() < 0.25:
        return f"{_pick(rng, VIEWS[scene])} with {things}"
    return f"{things} {_pick(rng, PLACES[scene])}"


def _tell_relation(rng: Random | None, said: Spec) -> str:
    # "One circle left of one square" would be stiff, and "a" is exact here: there are two shapes.
    first = _things(rng, said.count, said.size, said.colour, said.noun, one="a")
    second = _things(rng, said.count2, said.size2, said.colour2, said.noun2, one="a")
    forward, backward = RELATION_WORDS[RELATIONS[said.relation - 1]]
    if rng is None or rng.random() < 0.55:
        return f"{first} {_pick(rng, forward)} {second}"
    word = rng.choice(backward)
    if word.startswith("with "):
        return f"{second} with {first} inside"
    return f"{second} {word} {first}"


def _things(
    rng: Random | None, count: int, size: int, colour: int, noun: int, *, one: str = "one"
) -> str:
    """One noun with what is known of it, e.g. "two small red circles"."""
    name = NOUNS[noun - 1]
    forms = NOUN_WORDS[name][0] if rng is None else rng.choice(NOUN_WORDS[name])
    if count == UNSAID:
        assert rng is not None
        number, form = rng.choice((("", forms[0]), ("", forms[0]), ("", forms[1])))
    elif count == 1 and rng is None:
        number, form = one, forms[0]
    else:
        number, form = _pick(rng, NUMBERS[count]), forms[count > 1]
    words = [form]
    if colour > 0:
        colour_name = COLOUR_NAMES[colour - 1]
        hue = _pick(rng, COLOUR_WORDS.get(colour_name, (colour_name,)))
        if name == "person" and (rng is None or rng.random() < 0.7):
            words = [form, "in", hue]
        else:
            words = [hue, form]
    if size > 0:
        words.insert(0, _pick(rng, SIZE_WORDS[SIZES[size - 1]]))
    if number == "a" and words[0][0] in "aeiou":
        number = "an"
    return " ".join([number, *words]).strip()


def _ground(rng: Random | None, said: Spec) -> str:
    if said.ground == UNSAID and said.texture == UNSAID:
        return ""
    words = []
    if said.texture != UNSAID:
        words.append(_pick(rng, TEXTURE_WORDS[TEXTURES[said.texture - 1]]))
    if said.ground != UNSAID:
        name = COLOUR_NAMES[said.ground - 1]
        words.append(_pick(rng, COLOUR_WORDS.get(name, (name,))))
    ground = " ".join(words)
    forms = [
        f"on a {ground} background",
        f"against a {ground} background",
        f"on {ground}",
        f"with a {ground} background",
        f"over a {ground} backdrop",
    ]
    return _pick(rng, forms).replace(" a orange", " an orange")
