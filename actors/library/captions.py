"""Captions: what a model says of a picture, and how a question finds the words.

Captions lie in a table of their own, one a content and space, and their words in a full-text index
beside it that follows every change by itself (migration 0004).  The index stems English words
(Porter 1980), folds accents, and keeps captions of every space: which one serves is asked of the
row, so that going back to a model costs nothing.

A question finds the captions that hold *all* its words, wherever they stand; what stands between
double quotes has to be there as it stands.  Words that say nothing, and the "photo of" with which
people begin, do not count.  Captions that hold a part of the words are left to the vectors: they
know what is like a dog, and a list of everything with "black" in it does not.

Rejected: prefixes, which find a "carpet" for a car; a ranking of captions with some of the words,
which buried the right picture under every picture of a common word.

It does not know other languages' word forms: there a word finds only itself.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from sqlalchemy import bindparam, delete, text

from actors.library.schema import captions
from actors.library.storable import cleaned
from actors.library.transaction import Transaction

#: in characters; a caption is a sentence, and what a broken model writes may have no end
LONGEST: Final = 2000

_EMPTY = """
    a an the this that these those some any and or but of in on at by to from with for into onto
    is are was were be been being am it its there here as
    show me find my photo photos picture pictures image images
"""
#: not looked for, unless a question has no others
EMPTY_WORDS: Final = frozenset(_EMPTY.split())

_INSERT = captions.insert()
_DELETE = delete(captions).where(
    captions.c.content == bindparam("of"), captions.c.space == bindparam("in_space")
)
_PART = re.compile(r'"([^"]*)"?|([^\s"]+)')
_INDEX_ANEW = text("INSERT INTO caption_words(caption_words) VALUES ('rebuild')")
#: The index marks what was deleted and lets go of it when it merges: this makes it one piece.
_COMPACT = text("INSERT INTO caption_words(caption_words) VALUES ('optimize')")


class Told(NamedTuple):
    text: str
    score: float  #: mean log-probability of its tokens


async def commit(tx: Transaction, told: Mapping[tuple[int, int], Told]) -> None:
    """Write the caption of each (content, space), in place of the one it may have there.

    It may, where the vector that goes with it was lost and `check` had the photo looked at again.
    """
    await drop(tx, told)
    await tx.write(
        _INSERT,
        [
            {
                "content": content,
                "space": space,
                "text": " ".join(cleaned(each.text).split())[:LONGEST],
                "score": each.score,
            }
            for (content, space), each in told.items()
        ],
    )


async def drop(tx: Transaction, of: Iterable[tuple[int, int]]) -> None:
    """Forget the caption of each (content, space)."""
    await tx.write(_DELETE, [{"of": content, "in_space": space} for content, space in of])


async def index_anew(tx: Transaction) -> None:
    """Make the index of the words from the captions."""
    if tx.connection.dialect.name == "sqlite":
        await tx.connection.execute(_INDEX_ANEW)


async def compact(tx: Transaction) -> None:
    """Leave nothing of deleted captions in the index; some seconds in a library of a million."""
    if tx.connection.dialect.name == "sqlite":
        await tx.connection.execute(_COMPACT)


def words(question: str) -> str:
    """*question* as the full-text index takes it; "" where no word is in it."""
    parts = [phrase or word for phrase, word in _PART.findall(question)]
    parts = [each.strip() for each in parts if re.search(r"\w", each)]
    telling = [each for each in parts if each.lower().strip("?!.,;:") not in EMPTY_WORDS]
    # In quotes, whatever the index would take for an operator is a word.
    return " ".join('"{}"'.format(each.replace("\0", " ")) for each in telling or parts)
