"""The words of the canonical captions, one id each.

The grammar is closed, so its vocabulary is listed and not learned: every word that `canonical` can
say, in the order of the alphabet behind three ids that are no words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from models.sketch.captions import canonical
from models.sketch.spec import Kind, Spec
from models.sketch.vocabulary import (
    COLOUR_NAMES,
    MOST,
    NOUNS,
    RELATIONS,
    SCENES,
    SHAPES,
    SIZES,
    TEXTURES,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

PAD: Final = 0
BEGIN: Final = 1
STOP: Final = 2
_MARKS: Final = ("<pad>", "<begin>", "<stop>")
#: Ids of a caption at most, the one that ends it included; the longest has 15 words.
LONGEST: Final = 24


def _every_word() -> list[str]:
    """All words of all canonical captions, by captions that hold each word of each list."""
    shape = Spec(Kind.GROUP, count=1, colour=1, noun=1, ground=1, texture=1)
    two = shape._replace(kind=Kind.RELATION, count2=1, colour2=1, noun2=1, relation=1)
    scene = Spec(Kind.LANDSCAPE, count=1, colour=1, noun=1, scene=1)
    specs = [
        two,
        two._replace(kind=Kind.PAIR),
        scene._replace(count=0, colour=0, noun=0),
        *(scene._replace(scene=1 + i) for i in range(len(SCENES))),
        *(shape._replace(colour=1 + i, ground=1 + i) for i in range(len(COLOUR_NAMES))),
        *(shape._replace(texture=1 + i) for i in range(len(TEXTURES))),
        *(shape._replace(count=1 + i) for i in range(MOST)),
        *(shape._replace(size=1 + i) for i in range(len(SIZES))),
        *(two._replace(relation=1 + i) for i in range(len(RELATIONS))),
    ]
    for i in range(len(NOUNS)):
        where = shape if i < len(SHAPES) else scene
        specs += [where._replace(noun=1 + i, count=count) for count in (1, 2)]
    return sorted({word for spec in specs for word in canonical(spec).split()})


WORDS: Final = (*_MARKS, *_every_word())


def tokenizer() -> Tokenizer:
    """Words to ids and back; marks are special, so that decoding leaves them out."""
    known = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}))
    known.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    known.add_special_tokens([AddedToken(mark, special=True) for mark in _MARKS])
    return known


_IDS: Final = {word: i for i, word in enumerate(WORDS)}


def ids_of(caption: str) -> list[int]:
    """The ids to be written for a canonical caption, the last of them the one that ends it."""
    return [*(_IDS[word] for word in caption.split()), STOP]


def text_of(ids: Sequence[int]) -> str:
    """The words of ids up to the one that ends them."""
    written = list(ids)
    if STOP in written:
        written = written[: written.index(STOP)]
    return " ".join(WORDS[i] for i in written if i >= len(_MARKS))
