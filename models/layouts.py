"""What published folders of models say about themselves, each layout in its own words.

    immich     visual/, textual/     open_clip's words: preprocess_cfg.json, text_cfg
               detection/, recognition/     faces, which say nothing at all
    bare       one graph or two of any name, and nothing else: faces
    optimum    vision_model.onnx, text_model.onnx, here or in onnx/ (Xenova's and others)
               transformers' words: preprocessor_config.json, config.json
    captions   the graphs of a captioner, here or in onnx/: `captions.published`

`read_layout` gives a `Folder`: which graphs there are and how pictures and words become their
input, as far as the configs tell.  Nothing is loaded here.  What only the graphs know (names,
dtypes, width) is `importing`'s to find out.

Rejected: the merged `model.onnx` of the second layout.  It wants a text beside each picture and
runs both towers for either.
"""

from pathlib import Path
from typing import Any, Literal

import msgspec

from models.captions.published import Telling, find_telling
from models.configs import (
    CLIP_MEAN,
    CLIP_STD,
    FILTERS,
    SUFFIXES,
    Eyes,
    one_of,
    processor,
    side_of,
    told_in,
)
from models.errors import PackBroken
from models.pack import Channels, Precision


class Words(msgspec.Struct, frozen=True):
    """A text graph, and how words become its input."""

    file: str
    tokenizer: str  #: a tokenizer.json, below the folder
    context: int
    pad: str  #: the token that fills up
    canonical: bool
    causal: bool | None  #: None: not told


class Folder(msgspec.Struct, frozen=True):
    """One folder in its own words."""

    layout: Literal["immich", "optimum", "captions", "bare"]
    eyes: Eyes | None = None
    words: Words | None = None
    detection: str = ""  #: graph that finds faces, "" for none
    recognition: str = ""
    telling: Telling | None = None
    bare: tuple[str, ...] = ()  #: graphs of which the folder does not tell what they do


def read_layout(source: Path, precision: Precision | None = None) -> Folder:
    """What *source* is and says.

    *precision* chooses among the files of the second layout; by default the most exact there is.

    Raises:
        PackBroken: it is no layout, half of a pair is missing, or a config is missing, no
            JSON, or says something that is not understood here.
    """
    if not source.is_dir():
        raise PackBroken(source, "expected a folder of models: there is none")
    graphs = ("visual", "textual", "detection", "recognition")
    if any((source / each / "model.onnx").exists() for each in graphs):
        return _read_immich(source)
    for folder in (source / "onnx", source):
        if any(folder.glob("vision_model*.onnx")) or any(folder.glob("text_model*.onnx")):
            return _read_optimum(source, folder, precision)
    if telling := find_telling(source, precision):
        return Folder("captions", telling=telling)
    if any(source.glob("**/model.onnx")):
        raise PackBroken(
            source, "expected vision_model.onnx and text_model.onnx, found one merged model.onnx"
        )
    bare = sorted(path.name for path in source.glob("*.onnx"))
    if 0 < len(bare) <= 2:
        return Folder("bare", bare=tuple(bare))
    raise PackBroken(
        source,
        "expected a pack.toml, visual/ and textual/, detection/ or recognition/ with a model.onnx,"
        " onnx/ with vision_model.onnx and text_model.onnx, a captioner's encoder and decoder, or"
        " one or two .onnx of faces; found " + (f"{len(bare)} .onnx" if bare else "none of them"),
    )


# ── immich ──────────────────────────────────────────────────────────────────────────────────


class _TextCfg(msgspec.Struct, frozen=True):
    context_length: int = 77
    no_causal_mask: bool = False
    hf_model_name: str | None = None
    tokenizer_kwargs: dict[str, Any] = {}


class _OpenClip(msgspec.Struct, frozen=True):
    text_cfg: _TextCfg = _TextCfg()


class _Preprocess(msgspec.Struct, frozen=True):
    size: int | tuple[int, int]
    mean: Channels = CLIP_MEAN
    std: Channels = CLIP_STD
    interpolation: str = "bicubic"
    resize_mode: str = "shortest"
    mode: str = "RGB"


class _TokenizerConfig(msgspec.Struct, frozen=True):
    pad_token: Any = None


def _read_immich(source: Path) -> Folder:
    def graph(name: str) -> str:
        return f"{name}/model.onnx" if (source / name / "model.onnx").exists() else ""

    detection, recognition = graph("detection"), graph("recognition")
    if not graph("visual") and not graph("textual"):
        return Folder("immich", detection=detection, recognition=recognition)
    _need_both(source, ("visual/model.onnx", "textual/model.onnx"))
    path = source / "visual" / "preprocess_cfg.json"
    told = told_in(path, _Preprocess)
    eyes = Eyes(
        "visual/model.onnx",
        side_of(path, told.size),
        one_of(path, told.resize_mode, {"shortest": "shortest", "squash": "squash"}),
        one_of(path, told.interpolation, {each: each for each in FILTERS.values()}),
        told.mean,
        told.std,
        one_of(path, told.mode, {"RGB": "RGB", "BGR": "BGR"}),
    )
    text = told_in(source / "config.json", _OpenClip).text_cfg
    words = Words(
        "textual/model.onnx",
        _tokenizer(source / "textual", source),
        text.context_length,
        _pad(source / "textual" / "tokenizer_config.json"),
        canonical=text.tokenizer_kwargs.get("clean") == "canonicalize",
        causal=False if text.no_causal_mask or text.hf_model_name else None,
    )
    return Folder("immich", eyes, words, detection, recognition)


# ── optimum ─────────────────────────────────────────────────────────────────────────────────


class _Part(msgspec.Struct, frozen=True):
    max_position_embeddings: int | None = None


class _Transformers(msgspec.Struct, frozen=True):
    model_type: str = "clip"
    text_config: _Part = _Part()


def _read_optimum(source: Path, folder: Path, precision: Precision | None) -> Folder:
    vision, text = _pair(source, folder, precision)
    eyes = processor(source / "preprocessor_config.json", vision)
    config = told_in(source / "config.json", _Transformers)
    siglip = config.model_type.startswith("siglip")
    words = Words(
        text,
        _tokenizer(source, source),
        config.text_config.max_position_embeddings or (64 if siglip else 77),
        _pad(source / "tokenizer_config.json"),
        canonical=siglip,
        causal=False if siglip else None,
    )
    return Folder("optimum", eyes, words)


def _pair(source: Path, folder: Path, precision: Precision | None) -> tuple[str, str]:
    """The two graphs of *precision*, below *source*."""
    wanted = [precision] if precision else list(SUFFIXES)
    names = [
        (f"vision_model{suffix}.onnx", f"text_model{suffix}.onnx")
        for each in wanted
        for suffix in SUFFIXES.get(each, ())
    ]
    for pair in names:
        if any((folder / name).exists() for name in pair):
            _need_both(folder, pair)
            vision, text = (str((folder / name).relative_to(source)) for name in pair)
            return vision, text
    raise PackBroken(folder, f"expected {' or '.join(' and '.join(pair) for pair in names)}")


# ── what both share ─────────────────────────────────────────────────────────────────────────


def _need_both(folder: Path, names: tuple[str, str]) -> None:
    for name in names:
        if not (folder / name).is_file():
            raise PackBroken(folder / name, "expected the other half of its pair: it is missing")


def _tokenizer(folder: Path, source: Path) -> str:
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise PackBroken(path, "expected the vocabulary of its model: it is missing")
    return str(path.relative_to(source))


def _pad(path: Path) -> str:
    """The token that fills up, told as a text or as a table with its content."""
    token = told_in(path, _TokenizerConfig).pad_token
    if isinstance(token, dict):
        token = token.get("content")
    if not isinstance(token, str):
        raise PackBroken(path, f"expected a `pad_token`, found {token!r}")
    return token
