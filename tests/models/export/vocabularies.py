"""Vocabularies of any size, whose words nobody knows."""

import itertools
from pathlib import Path
from string import ascii_lowercase

from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

BERT = ["[PAD]", *(f"[unused{n}]" for n in range(99)), "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def wordpiece_vocabulary(folder: Path, size: int) -> Path:
    """A `vocab.txt` of *size* tokens, every fifth a piece that goes on."""
    words = map("".join, itertools.product(ascii_lowercase, repeat=4))
    pieces = (f"##{word}" if n % 5 == 4 else word for n, word in enumerate(words))
    path = folder / "vocab.txt"
    tokens = [*BERT, *itertools.islice(pieces, size - len(BERT))]
    path.write_text("\n".join(tokens) + "\n", "utf-8")
    return path


def bytes_vocabulary(folder: Path, size: int) -> Path:
    """A `tokenizer.json` of *size* tokens of bytes, the last of which ends a text."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet(), key=lambda c: (not c.isascii(), c))
    vocabulary = {
        token: n
        for n, token in enumerate(["Ġ", *(each for each in alphabet if each != "Ġ")][: size - 1])
    }
    merges: list[tuple[str, str]] = []
    grown = ["Ġ"]
    while len(vocabulary) < size - 1:
        longer = []
        for head, letter in itertools.product(grown, ascii_lowercase):
            if len(vocabulary) < size - 1:
                vocabulary[head + letter] = len(vocabulary)
                merges.append((head, letter))
                longer.append(head + letter)
        grown = longer
    inner = Tokenizer(BPE(vocabulary, merges))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens(["<|endoftext|>"])
    path = folder / "tokenizer.json"
    inner.save(str(path))
    return path
