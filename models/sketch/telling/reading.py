"""From a canonical caption back to its spec.

The grammar says everything in a fixed order, so reading is one pass over the words.  Whatever
`canonical` would not have said is no caption: `read_back` then says None, because it tells its
answer again and compares.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from models.sketch.captions import canonical
from models.sketch.spec import Kind, Spec
from models.sketch.vocabulary import (
    COLOUR_NAMES,
    NOUN_WORDS,
    NOUNS,
    NUMBERS,
    PLACES,
    RELATION_WORDS,
    RELATIONS,
    SCENES,
    SIZE_WORDS,
    SIZES,
    TEXTURE_WORDS,
    TEXTURES,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_COUNTS: Final = {words[0]: count for count, words in NUMBERS.items()} | {"a": 1, "an": 1}
_SIZES: Final = {SIZE_WORDS[name][0]: 1 + i for i, name in enumerate(SIZES)}
_COLOURS: Final = {name: 1 + i for i, name in enumerate(COLOUR_NAMES)}
_NOUNS: Final = {form: 1 + i for i, name in enumerate(NOUNS) for form in NOUN_WORDS[name][0]}
_TEXTURES: Final = {TEXTURE_WORDS[name][0]: 1 + i for i, name in enumerate(TEXTURES)}
_RELATIONS: Final = {RELATION_WORDS[name][0][0]: 1 + i for i, name in enumerate(RELATIONS)}
_PLACES: Final = {PLACES[name][0]: 1 + i for i, name in enumerate(SCENES)}


def read_back(caption: str) -> Spec | None:
    """The spec of a canonical caption; None for any other text."""
    spec = _landscape(caption) or _shapes(caption)
    try:
        return spec if spec is not None and canonical(spec) == caption else None
    except LookupError:  # words that no spec has together, as no drawing shows
        return None


def _landscape(caption: str) -> Spec | None:
    for place, scene in _PLACES.items():
        things = caption.removesuffix(f" {place}")
        if things != caption:
            return Spec(Kind.LANDSCAPE, scene=scene, **_things(things))
    return None


def _shapes(caption: str) -> Spec:
    told, _, ground = caption.partition(" on a ")
    words = ground.split()
    background = {"texture": _one_of(_TEXTURES, words), "ground": _one_of(_COLOURS, words)}
    spec = Spec(Kind.GROUP, **background, **_things(told))
    for word, relation, kind in (
        *((f" {word} ", number, Kind.RELATION) for word, number in _RELATIONS.items()),
        (" and ", 0, Kind.PAIR),
    ):
        first, found, second = told.partition(word)
        if found:
            other = {f"{name}2": value for name, value in _things(second).items()}
            return spec._replace(kind=kind, relation=relation, **_things(first), **other)
    return spec


def _things(text: str) -> dict[str, int]:
    words = text.split()
    if not _one_of(_NOUNS, words):  # an empty scene
        return {}
    return {
        "count": _one_of(_COUNTS, words),
        "size": _one_of(_SIZES, words),
        "colour": _one_of(_COLOURS, words),
        "noun": _one_of(_NOUNS, words),
    }


def _one_of(known: Mapping[str, int], words: list[str]) -> int:
    return next((known[word] for word in words if word in known), 0)
