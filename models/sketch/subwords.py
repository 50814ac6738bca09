"""The text tower's vocabulary: byte-level BPE learned from the grammar's own captions.

The grammar knows some 250 words, and with merges to spare each of them becomes one token. A word
it never says falls into letters, and nothing falls out: bytes cover every script.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Final

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from models.sketch.captions import canonical, paraphrase, partial
from models.sketch.spec import random_spec

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTEXT: Final = 32  #: ids a row; the longest caption has 22 words
PAD: Final = 0
_CAPTIONS: Final = 60_000


def learn_subwords() -> Tokenizer:
    """The tokenizer; the same on every call."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.Lowercase(),
            # People end a search with a full stop or quote it; no caption holds such marks.
            normalizers.Replace(Regex(r"[^\p{L}\p{N}]+"), " "),
            normalizers.Strip(),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    trainer = trainers.BpeTrainer(
        vocab_size=4096,
        min_frequency=2,
        special_tokens=["<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_captions(), trainer)
    return tokenizer


def _captions() -> Iterator[str]:
    rng = Random("subwords")
    for _ in range(_CAPTIONS // 3):
        spec = random_spec(rng)
        yield canonical(spec)
        yield paraphrase(rng, spec).text
        yield partial(rng, spec).text
