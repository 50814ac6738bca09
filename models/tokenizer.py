"""Words to the integers a text graph expects.

Two kinds.  "tokenizers" packs bring a `tokenizer.json`, which the tokenizers library runs as it
stands.  "clip-bpe" packs bring the merges that OpenAI published with CLIP, and `ClipWords` is the
byte-level BPE they were made for (Sennrich 2016 over GPT-2's byte alphabet, with an end-of-word
mark and lower-cased text): the same ids as the reference for every text it sees, among them
special tokens spelt out in the text, which become the real ones there as here.

The reference first repairs its text with ftfy.  What of that matters for a search line is done
here in one table and a normalisation: ligatures, full-width forms, curled quotes, control
characters.  Rejected: undoing mojibake, which no one types.  Also rejected: CLIP's BPE on top of
the tokenizers library, whose special tokens and end-of-word mark differ from the reference where
punctuation touches them, and which takes no less time to load.

Towers of the SigLIP kind were trained on *canonical* text, lower-case and without punctuation.  A
pack says so, and it is done before either kind.

Published folders bring CLIP's vocabulary as a `tokenizer.json`.  `clip_merges` recognises it, token
by token, and gives it back in OpenAI's form, so that such a pack has the reference's ids as well.

A row holds *context* ids; a longer text loses its end but keeps the ids that close it, because
CLIP reads its answer off the end token.
"""

import contextlib
import functools
import gzip
import html
import re
import string
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.errors import ModelBroken
from models.pack import Pack

#: Merges in the published file that belong to the vocabulary: 49152, less 256 bytes, twice (plain
#: and at the end of a word), less the two special tokens which come on top of them.
CLIP_MERGES = 49152 - 256 - 2

START, END = "<|startoftext|>", "<|endoftext|>"


class Tokenizer:
    """Texts to rows of ids.  Made by `from_pack` or `clip`.

    *ids* gives all ids of a text, special ones included; *closing* is how many of them stand at
    the end of every text.
    """

    def __init__(
        self,
        ids: Callable[[str], list[int]],
        *,
        closing: int,
        context: int,
        pad: int,
        canonical: bool = False,
    ) -> None:
        self._ids = ids
        self._closing = closing
        self._canonical = canonical
        self.context = context
        self.pad = pad

    @classmethod
    def from_pack(cls, pack: Pack) -> Self:
        """The tokenizer of *pack*'s text graph.

        Raises:
            PackBroken: the pack has no [embed] section.
            ModelBroken: the vocabulary is missing or not of the promised kind.
        """
        text = pack.require_embed().text
        make = cls.clip if text.kind == "clip-bpe" else cls.library
        return make(
            pack.path(text.tokenizer), context=text.context, pad=text.pad, canonical=text.canonical
        )

    @classmethod
    def clip(
        cls, vocab_path: Path, *, context: int = 77, pad: int = 0, canonical: bool = False
    ) -> Self:
        """CLIP's tokenizer, from its `bpe_simple_vocab_16e6.txt.gz`.

        Raises:
            ModelBroken: the file is missing, no gzip, or has too few merges.
        """
        ids = ClipWords(vocab_path, context).ids
        return cls(ids, closing=1, context=context, pad=pad, canonical=canonical)

    @classmethod
    def library(cls, path: Path, *, context: int, pad: int, canonical: bool = False) -> Self:
        """A `tokenizer.json`.  Its own truncation and padding are switched off.

        Raises:
            ModelBroken: the file is missing or the library refuses it.
        """
        inner = load_library(path)
        special = inner.encode("a").special_tokens_mask
        closing = next((i for i, flag in enumerate(reversed(special)) if not flag), len(special))

        def ids(text: str) -> list[int]:
            return list(inner.encode(_well_formed(text)).ids)

        return cls(ids, closing=closing, context=context, pad=pad, canonical=canonical)

    def encode(self, text: str) -> list[int]:
        """The ids of *text*, start and end included, at most *context* of them, not padded."""
        ids = self._ids(canonical(text) if self._canonical else text)
        if len(ids) <= self.context:
            return ids
        return ids[: self.context - self._closing] + ids[len(ids) - self._closing :]

    def batch(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """One row a text, padded: int64 [n, context]."""
        rows = np.full((len(texts), self.context), self.pad, np.int64)
        for row, text in zip(rows, texts, strict=True):
            ids = self.encode(text)
            row[: len(ids)] = ids
        return rows


class ClipWords:
    """Byte-level BPE with an end-of-word mark, as CLIP was trained with."""

    def __init__(self, vocab_path: Path, context: int) -> None:
        try:
            with gzip.open(vocab_path, "rt", encoding="utf-8") as lines:
                merges = [line.rstrip("\n") for line in islice(lines, 1, CLIP_MERGES + 1)]
        except (OSError, EOFError, UnicodeDecodeError) as error:
            raise ModelBroken(vocab_path, f"expected CLIP's merges in gzip: {error}") from error
        if len(merges) < CLIP_MERGES:
            raise ModelBroken(
                vocab_path, f"expected {CLIP_MERGES} merges after a title, found {len(merges)}"
            )
        self._alphabet = _byte_alphabet()
        self._id = clip_vocabulary(merges)
        self._rank = {merge: rank for rank, merge in enumerate(merges)}
        self._room = context * max(map(len, self._id))

    def ids(self, text: str) -> list[int]:
        """The ids of *text* between start and end, however many."""
        # No token is longer than the longest one: what lies beyond this cannot reach the row, and
        # merging takes time that grows with the square of a word.
        cleaned = clean(text)[: self._room]
        tokens = [token for word in words(cleaned) for token in self._merge(word)]
        return [self._id[token] for token in (START, *tokens, END)]

    def _merge(self, word: str) -> list[str]:
        """Merge the bytes of *word*, always the pair that comes first in the file."""
        if word in {START, END}:
            return [word]
        parts = [self._alphabet[byte] for byte in word.encode()]
        parts[-1] += "</w>"
        unknown = len(self._rank)
        while len(parts) > 1:
            ranks = [self._rank.get(f"{a} {b}", unknown) for a, b in pairwise(parts)]
            best = min(ranks)
            if best == unknown:
                break
            merged: list[str] = []
            position = 0
            while position < len(parts):
                hit = position < len(ranks) and ranks[position] == best
                merged.append("".join(parts[position : position + 1 + hit]))
                position += 1 + hit
            parts = merged
        return parts


def id_of(tokenizer_json: Path, token: str) -> int:
    """The id of *token*.

    Raises:
        ModelBroken: the file is missing or refused, or has no such token.
    """
    found: int | None = load_library(tokenizer_json).token_to_id(token)
    if found is None:
        raise ModelBroken(tokenizer_json, f"expected a token {token!r}: there is none")
    return found


def load_library(path: Path) -> Any:
    """The tokenizers library's own object of a `tokenizer.json`, which pads and cuts nothing.

    Raises:
        ModelBroken: the file is missing or the library refuses it.
    """
    from tokenizers import Tokenizer as Inner  # noqa: PLC0415 - CLIP packs start without it

    try:
        inner = Inner.from_file(str(path))
        inner.no_truncation()
        inner.no_padding()
        inner.encode("a")
    except Exception as error:
        raise ModelBroken(path, f"expected a tokenizer.json: {error}") from error
    return inner


def clip_merges(tokenizer_json: Path) -> bytes | None:
    """The merges in *tokenizer_json* as OpenAI published them, if its vocabulary is CLIP's.

    None for any other vocabulary, down to one token that differs.

    Raises:
        ModelBroken: the file is missing or no tokenizer.json.
    """
    try:
        told = msgspec.json.decode(tokenizer_json.read_bytes(), type=_TokenizerJson)
    except OSError as error:
        raise ModelBroken(tokenizer_json, f"expected a tokenizer.json: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ModelBroken(tokenizer_json, f"expected a tokenizer.json: {error}") from error
    pairs = told.model.merges
    if told.model.type != "BPE" or not isinstance(pairs, list) or len(pairs) != CLIP_MERGES:
        return None
    merges = [each if isinstance(each, str) else " ".join(each) for each in pairs]
    if told.model.vocab != clip_vocabulary(merges):
        return None
    text = "\n".join(["CLIP's merges", *merges, ""])
    return gzip.compress(text.encode(), mtime=0)


class _Model(msgspec.Struct, frozen=True):
    type: str | None = None
    vocab: Any = None
    merges: Any = None


class _TokenizerJson(msgspec.Struct, frozen=True):
    model: _Model


def clip_vocabulary(merges: Sequence[str]) -> dict[str, int]:
    """Each token of CLIP with its id, in the order that counts them."""
    letters = list(_byte_alphabet().values())
    vocabulary = [*letters, *(letter + "</w>" for letter in letters)]
    vocabulary += [merge.replace(" ", "") for merge in merges]
    return {token: number for number, token in enumerate([*vocabulary, START, END])}


def canonical(text: str) -> str:
    """*text* as SigLIP was trained on it: repaired, lower-case, without ASCII punctuation."""
    plain = clean(text).replace("_", " ").translate(_NO_PUNCTUATION)
    return " ".join(plain.split())


_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def clean(text: str) -> str:
    """Repair, unescape HTML, collapse white space, lower-case."""
    text = _COLOURS.sub("", _well_formed(text))
    text = unicodedata.normalize("NFC", text.translate(_repairs()))
    text = html.unescape(html.unescape(text))  # twice, as the reference: &amp;lt; is common
    return " ".join(text.split()).lower()


#: What a terminal would take for a colour, pasted along.
_COLOURS = re.compile("\x1b\\[[0-9;]*[a-zA-Z]")

#: Taken whole wherever a word may begin.
WHOLE = re.compile(
    "|".join([re.escape(START), re.escape(END), "'(?:s|t|re|ve|m|ll|d)"]), re.IGNORECASE
)


def words(text: str) -> Iterator[str]:
    """Cut at white space, and between letters, single digits and everything else."""
    start = 0
    while start < len(text):
        kind = _kind(text[start])
        end = start + 1
        if whole := WHOLE.match(text, start):
            end = whole.end()
        elif kind != "N":
            while end < len(text) and _kind(text[end]) == kind:
                end += 1
        if kind != " ":
            yield text[start:end]
        start = end


def _kind(character: str) -> str:
    if character.isspace():
        return " "
    category = unicodedata.category(character)[0]
    return category if category in "LN" else "."


def _well_formed(text: str) -> str:
    """Lone surrogates, as in names that are not UTF-8, become U+FFFD: they have no bytes."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@functools.cache
def _repairs() -> dict[int, str | None]:
    """The part of ftfy that a typed line needs, as a table for `str.translate`."""
    table: dict[int, str | None] = dict.fromkeys(
        [
            *range(9),
            0x0B,
            *range(0x0E, 0x20),
            0x7F,
            *range(0x206A, 0x2070),
            0xFEFF,
            *range(0xFFF9, 0xFFFD),
        ]
    )
    ligatures = [*range(0xFB00, 0xFB07), 0x132, 0x133, 0x149, *range(0x1C4, 0x1CD)]
    ligatures += range(0x1F1, 0x1F4)
    for code in (0x3000, *range(0xFF01, 0xFFF0), *ligatures):
        plain = unicodedata.normalize("NFKC", chr(code))
        if plain != chr(code):
            table[code] = plain
    table |= dict.fromkeys([0x02BC, *range(0x2018, 0x201C)], "'")
    table |= dict.fromkeys(range(0x201C, 0x2020), '"')
    table |= {0x149: "'n", 0xFB05: "ſt"}
    for byte in range(0x80, 0xA0):  # control characters that were Windows' punctuation
        with contextlib.suppress(UnicodeDecodeError):  # five of them never were
            table[byte] = bytes([byte]).decode("cp1252").translate(table)
    return table


def _byte_alphabet() -> dict[int, str]:
    """GPT-2's letter for each byte, in the order that numbers them.

    Bytes that print stand for themselves and come first, the others follow as U+0100 and up.
    """
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(plain)]
    alphabet = {byte: chr(byte) for byte in plain}
    return alphabet | {byte: chr(256 + position) for position, byte in enumerate(others)}
