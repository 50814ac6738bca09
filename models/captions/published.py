"""What published folders of captioners say about themselves, each in its own words.

    blip        encoder.onnx, decoder.onnx     ours: nobody else publishes it in graphs
    vit-gpt2    encoder_model.onnx, decoder_model_merged.onnx     (Xenova's and others)
    florence2   vision_encoder.onnx, embed_tokens.onnx, and the two of ViT-GPT2

All of them here or in onnx/, with transformers' configs beside: config.json says which model it is,
preprocessor_config.json how pixels become its input, generation_config.json how it is meant to
write.  Nothing is loaded here.

Florence's ids are not believed but looked up in its vocabulary: fine-tunes of it are published with
the ids of other models in their configs.  Nor is its length, which there is that of any model.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec

from models.configs import SUFFIXES, Eyes, processor, told_in
from models.errors import PackBroken
from models.pack import CAPTION_GRAPHS, Precision
from models.tokenizer import id_of

Kind = Literal["blip", "vit-gpt2", "florence2"]

#: Names of the graphs, in the order of `CAPTION_GRAPHS`.  Florence has those of ViT-GPT2 as well.
NAMES: dict[Kind, tuple[str, ...]] = {
    "florence2": ("vision_encoder", "embed_tokens", "encoder_model", "decoder_model_merged"),
    "vit-gpt2": ("encoder_model", "decoder_model_merged"),
    "blip": ("encoder", "decoder"),
}

#: How config.json calls them.
MODEL_TYPES: dict[Kind, str] = {
    "florence2": "florence2",
    "vit-gpt2": "vision-encoder-decoder",
    "blip": "blip",
}

#: What Florence is asked: its shortest kind of caption.
TASK = "<CAPTION>"

#: Ids of a caption at most, where the folder does not tell.
LONGEST = 20
#: How Florence's authors have it write, and room for its sentences.
FLORENCE_LONGEST, FLORENCE_BEAMS, FLORENCE_NO_REPEAT = 64, 3, 3


class Telling(msgspec.Struct, frozen=True):
    """A captioner in its folder's own words; fields as in `models.pack.Caption`."""

    kind: Kind
    graphs: dict[str, str]  #: file of each, below the folder
    eyes: Eyes
    tokenizer: str
    vocabulary: Literal["tokenizers", "wordpiece"]
    begin: tuple[int, ...]
    stop: int
    pad: int
    longest: int
    shortest: int = 0
    beams: int = 1
    no_repeat: int = 0
    prompt: str = ""


class _Ids(msgspec.Struct, frozen=True):
    """What transformers writes, in either of its configs, about writing."""

    decoder_start_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    sep_token_id: int | None = None
    pad_token_id: int | None = None
    max_length: int | None = None
    max_new_tokens: int | None = None
    min_length: int | None = None
    num_beams: int | None = None
    no_repeat_ngram_size: int | None = None


class _Config(_Ids, frozen=True):
    model_type: str = ""
    text_config: _Ids = _Ids()
    decoder: _Ids = _Ids()


def find_telling(source: Path, precision: Precision | None = None) -> Telling | None:
    """The captioner in *source*; None where there is none.

    *precision* chooses among its files; by default the most exact there are.

    Raises:
        PackBroken: some of its files are missing, or a config is, or says what is not understood.
    """
    for folder in (source / "onnx", source):
        for kind, names in NAMES.items():
            # By the names that no other kind has: half a captioner is told as one.
            if any(folder.glob(f"{names[0]}*.onnx")) and any(folder.glob(f"{names[-1]}*.onnx")):
                return _read(source, folder, kind, precision)
    return None


def _read(source: Path, folder: Path, kind: Kind, precision: Precision | None) -> Telling:
    files = _files(folder, kind, precision)
    graphs = dict(
        zip(
            CAPTION_GRAPHS[kind],
            (str((folder / name).relative_to(source)) for name in files),
            strict=True,
        )
    )
    path = source / "config.json"
    config = told_in(path, _Config)
    if config.model_type != MODEL_TYPES[kind]:
        raise PackBroken(
            path,
            f"expected a {MODEL_TYPES[kind]} beside {files[0]}, found {config.model_type!r}"
            " (model_type)",
        )
    beside = source / "generation_config.json"
    generation = told_in(beside, _Ids) if beside.exists() else _Ids()
    tokenizer = "tokenizer.json"
    if kind == "blip" and not (source / tokenizer).exists():
        tokenizer = "vocab.txt"
    if not (source / tokenizer).is_file():
        raise PackBroken(source / tokenizer, "expected the vocabulary of its model: it is missing")
    begin, stop, pad = _ids(source, kind, config, generation)
    longest, beams, no_repeat = LONGEST, 1, 0
    if kind == "florence2":
        longest, beams, no_repeat = FLORENCE_LONGEST, FLORENCE_BEAMS, FLORENCE_NO_REPEAT
    elif generation.max_length:
        longest = max(1, generation.max_length - len(begin))
    longest = generation.max_new_tokens or longest
    return Telling(
        kind,
        graphs,
        processor(source / "preprocessor_config.json", files[0], squares=True),
        tokenizer,
        "wordpiece" if tokenizer == "vocab.txt" else "tokenizers",
        begin,
        stop,
        pad,
        longest,
        # theirs counts what a caption begins with
        shortest=min(max(0, (generation.min_length or 0) - len(begin)), longest - 1),
        beams=generation.num_beams or beams,
        no_repeat=no_repeat
        if generation.no_repeat_ngram_size is None
        else generation.no_repeat_ngram_size,
        prompt=TASK if kind == "florence2" else "",
    )


def _files(folder: Path, kind: Kind, precision: Precision | None) -> tuple[str, ...]:
    """The graphs of *precision* in *folder*."""
    suffixes = [
        suffix
        for each in ([precision] if precision else list(SUFFIXES))
        for suffix in SUFFIXES.get(each, ())
    ]
    for suffix in suffixes:
        files = tuple(f"{name}{suffix}.onnx" for name in NAMES[kind])
        there = [(folder / file).is_file() for file in files]
        if any(there):
            if not all(there):
                missing = files[there.index(False)]
                raise PackBroken(
                    folder / missing, f"expected one of the graphs of a {kind}: it is missing"
                )
            return files
    wanted = " or ".join(
        ", ".join(f"{name}{suffix}.onnx" for name in NAMES[kind]) for suffix in suffixes
    )
    raise PackBroken(folder, f"expected {wanted or f'graphs in {precision}'}")


def _ids(
    source: Path, kind: Kind, config: _Config, generation: _Ids
) -> tuple[tuple[int, ...], int, int]:
    """What a caption begins with, what ends it, what fills up."""
    if kind == "florence2":
        vocabulary = source / "tokenizer.json"
        stop = id_of(vocabulary, "</s>")
        # BART begins with the end, and its first word is always the beginning.
        return (stop, id_of(vocabulary, "<s>")), stop, id_of(vocabulary, "<pad>")
    if kind == "blip":
        # The separator ends a caption; what the config calls its end is another model's.
        told = config.text_config
        return (
            (30522 if told.bos_token_id is None else told.bos_token_id,),
            102 if told.sep_token_id is None else told.sep_token_id,
            told.pad_token_id or 0,
        )
    places = (generation, config, config.decoder)
    begin = _first(each.decoder_start_token_id for each in places)
    if begin is None:
        begin = _first(each.bos_token_id for each in places)
    stop_ = _first(
        each.eos_token_id[0] if isinstance(each.eos_token_id, list) else each.eos_token_id
        for each in places
    )
    if begin is None or stop_ is None:
        raise PackBroken(
            source / "config.json", "expected `decoder_start_token_id` and `eos_token_id`"
        )
    pad = _first(each.pad_token_id for each in places)
    return (begin,), stop_, stop_ if pad is None else pad


def _first(values: Iterable[int | None]) -> int | None:
    return next((value for value in values if value is not None), None)
