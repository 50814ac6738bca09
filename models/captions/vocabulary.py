"""Ids to words, all at once or while they are being written.

Two kinds of vocabulary, both run by the tokenizers library: BERT's WordPiece, as a `vocab.txt` or
inside a `tokenizer.json`, and GPT-2's bytes.  WordPiece has lost where spaces were; they are put
back as transformers does it: none before a full stop or around an apostrophe.

Text so far is not a prefix of the text as soon as one thinks it is: half of a letter's bytes, or
an apostrophe whose right side is not known.  `Growing` holds these back, so that whoever shows it
never takes back a letter.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from models.errors import ModelBroken
from models.pack import Caption, Pack
from models.tokenizer import load_library

#: Where WordPiece's spaces are not wanted, in the order in which it is looked for them.
TIGHT = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")

#: BERT's own, then what BLIP's authors added behind them.
BERT_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
BLIP_SPECIAL = ("[DEC]", "[ENC]")


class Vocabulary:
    """The words of one captioner.  Made by `from_pack`."""

    def __init__(self, inner: Any, silent: frozenset[int] = frozenset()) -> None:
        self._inner = inner
        self._silent = silent

    @classmethod
    def from_pack(cls, pack: Pack) -> Self:
        """The vocabulary of *pack*'s captioner.

        Raises:
            PackBroken: the pack has no [caption] section.
            ModelBroken: the vocabulary is missing or not of the promised kind.
        """
        caption: Caption = pack.require_caption()
        load = wordpiece if caption.vocabulary == "wordpiece" else library
        return cls(load(pack.path(caption.tokenizer)), frozenset({caption.stop, caption.pad}))

    def text(self, ids: Sequence[int]) -> str:
        """*ids* in words, on one line, without special tokens."""
        wanted = [each for each in ids if each not in self._silent]
        text = " ".join(str(self._inner.decode(wanted, skip_special_tokens=True)).split())
        for loose in TIGHT:
            text = text.replace(loose, loose.strip())
        return text

    def ids(self, text: str) -> list[int]:
        """The ids of *text*, with what the vocabulary puts around it."""
        return list(self._inner.encode(text).ids)


class Growing:
    """One caption while it is written; what it says never shrinks."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self.text = ""

    def grow(self, ids: Sequence[int]) -> bool:
        """Does *text* say more, now that *ids* stand there?"""
        text = self._vocabulary.text(ids).rstrip("\N{REPLACEMENT CHARACTER}").rstrip()
        text = text.removesuffix(" '")
        if len(text) <= len(self.text) or not text.startswith(self.text):
            return False
        self.text = text
        return True


def library(path: Path) -> Any:
    """A `tokenizer.json`, for `Vocabulary`.

    Raises:
        ModelBroken: it is missing, or the library refuses it.
    """
    from tokenizers import decoders  # noqa: PLC0415 - not needed by whoever only names the types

    inner = load_library(path)
    if isinstance(inner.decoder, decoders.WordPiece):
        inner.decoder = decoders.WordPiece(
            cleanup=False
        )  # it tidies token by token: we do the line
    return inner


def wordpiece(path: Path) -> Any:
    """BERT's `vocab.txt`, one token a line, and BLIP's two behind it if it has them not.

    Raises:
        ModelBroken: it is missing, no text, or has no [UNK].
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers  # noqa: PLC0415

    try:
        tokens = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelBroken(path, f"expected BERT's vocabulary, a token a line: {error}") from error
    words = {token: number for number, token in enumerate(tokens)}
    if "[UNK]" not in words or len(words) != len(tokens):
        raise ModelBroken(path, "expected BERT's vocabulary: a token a line, [UNK] among them")
    inner = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))  # noqa: S106 - no password
    inner.normalizer = normalizers.BertNormalizer(lowercase=True)
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.decoder = decoders.WordPiece(cleanup=False)
    inner.add_special_tokens([*(each for each in BERT_SPECIAL if each in words), *BLIP_SPECIAL])
    return inner
