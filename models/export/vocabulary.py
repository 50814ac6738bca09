"""OpenAI's merges as the `tokenizer.json` that published folders bring."""

import gzip
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE

from models.errors import ModelBroken
from models.tokenizer import CLIP_MERGES, END, START, clip_vocabulary

#: CLIP's own cut into words.
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def write_tokenizer(merges_gz: Path, path: Path) -> None:
    """Write *merges_gz*, as OpenAI published it, to *path* as a tokenizer.json.

    Raises:
        ModelBroken: it is missing, no gzip, or has too few merges.
    """
    try:
        with gzip.open(merges_gz, "rt", encoding="utf-8") as lines:
            merges = [line.rstrip("\n") for line in lines][1 : CLIP_MERGES + 1]
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise ModelBroken(merges_gz, f"expected CLIP's merges in gzip: {error}") from error
    if len(merges) < CLIP_MERGES:
        raise ModelBroken(
            merges_gz, f"expected {CLIP_MERGES} merges after a title, found {len(merges)}"
        )
    vocabulary = clip_vocabulary(merges)
    tokenizer = Tokenizer(
        BPE(
            vocabulary,
            [(first, second) for first, _, second in (merge.partition(" ") for merge in merges)],
            end_of_word_suffix="</w>",
            continuing_subword_prefix="",
            unk_token=END,
        )
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(
        (END, vocabulary[END]), (START, vocabulary[START]), add_prefix_space=False
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(path))
