"""What published folders of models say about themselves, each layout in its own words.

    immich     visual/, textual/     open_clip's words: preprocess_cfg.json, text_cfg
               detection/, recognition/     faces, which say nothing at all
    bare       one graph or two of any name, and nothing else: faces
    optimum    vision_model.onnx, text_model.onnx, here or in onnx/ (Xenova's and others)
               transformers' words: preprocessor_config.json, config.json

`read_layout` gives a `Folder`: which graphs there are and how pictures and words become their
input, as far as the configs tell.  Nothing is loaded here.  What only the graphs know (names,
dtypes, width) is `importing`'s to find out.

Rejected: the merged `model.onnx` of the second layout.  It wants a text beside each picture and
runs both towers for either.
"""

from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from models.errors import PackBroken
from models.pack import Channels, Colour, Precision, Resample

#: CLIP's own, which configs leave out when they agree with them.
CLIP_MEAN: Channels = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD: Channels = (0.26862954, 0.26130258, 0.27577711)

#: What the exporters of the second layout append to a file's name.
SUFFIXES: dict[Precision, tuple[str, ...]] = {
    "fp32": ("",),
    "fp16": ("_fp16",),
    "int8": ("_int8", "_quantized"),
}

#: Pillow's numbers of its filters, which transformers writes into its configs.
FILTERS: dict[int, Resample] = {
    0: "nearest",
    1: "lanczos",
    2: "bilinear",
    3: "bicubic",
    4: "box",
    5: "hamming",
}

Told = TypeVar("Told")


class Eyes(msgspec.Struct, frozen=True):
    """An image graph, and how pixels become its input."""

    file: str  #: below the folder
    size: int
    resize: Literal["shortest", "squash"]
    resample: Resample
    mean: Channels
    std: Channels
    colour: Colour = "RGB"


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

    layout: Literal["immich", "optimum", "bare"]
    eyes: Eyes | None = None
    words: Words | None = None
    detection: str = ""  #: graph that finds faces, "" for none
    recognition: str = ""
    bare: tuple[str, ...] = ()  #: graphs of which the folder does not tell what they do


def read_layout(source: Path, precision: Precision | None = None) -> Folder:
    """What *source* is and says.

    *precision* chooses among the files of the second layout; by default the most exact there is.

    Raises:
        PackBroken: it is neither layout, half of a pair is missing, or a config is missing, no
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
        " onnx/ with vision_model.onnx and text_model.onnx, or one or two .onnx of faces; found "
        + (f"{len(bare)} .onnx" if bare else "none of them"),
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
    told = _told(path, _Preprocess)
    eyes = Eyes(
        "visual/model.onnx",
        _side(path, told.size),
        _one_of(path, told.resize_mode, {"shortest": "shortest", "squash": "squash"}),
        _one_of(path, told.interpolation, {each: each for each in FILTERS.values()}),
        told.mean,
        told.std,
        _one_of(path, told.mode, {"RGB": "RGB", "BGR": "BGR"}),
    )
    text = _told(source / "config.json", _OpenClip).text_cfg
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


class _Processor(msgspec.Struct, frozen=True):
    size: Any
    crop_size: Any = None
    resample: int = 3
    do_center_crop: bool = False
    do_normalize: bool = True
    do_rescale: bool = True
    rescale_factor: float = 1 / 255
    image_mean: Channels = CLIP_MEAN
    image_std: Channels = CLIP_STD


def _read_optimum(source: Path, folder: Path, precision: Precision | None) -> Folder:
    vision, text = _pair(source, folder, precision)
    path = source / "preprocessor_config.json"
    told = _told(path, _Processor)
    if not told.do_rescale or abs(told.rescale_factor - 1 / 255) > 1e-6:
        raise PackBroken(path, "expected pixels divided by 255 (do_rescale, rescale_factor)")
    resize: Literal["shortest", "squash"] = "squash"
    side = told.size
    if isinstance(side, int) or (isinstance(side, dict) and "shortest_edge" in side):
        resize = "shortest"
        shortest = side if isinstance(side, int) else side["shortest_edge"]
        side = told.crop_size or shortest
        if not told.do_center_crop or _side(path, side) != shortest:
            raise PackBroken(
                path, f"expected a centre crop of {shortest}, found {told.crop_size} (crop_size)"
            )
    eyes = Eyes(
        vision,
        _side(path, side),
        resize,
        _one_of(path, told.resample, FILTERS),
        told.image_mean if told.do_normalize else (0.0, 0.0, 0.0),
        told.image_std if told.do_normalize else (1.0, 1.0, 1.0),
    )
    config = _told(source / "config.json", _Transformers)
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


def _told(path: Path, kind: type[Told]) -> Told:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise PackBroken(path, f"expected the config of its model: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PackBroken(path, f"expected the config of its model: {error}") from error


def _need_both(folder: Path, names: tuple[str, str]) -> None:
    for name in names:
        if not (folder / name).is_file():
            raise PackBroken(folder / name, "expected the other half of its pair: it is missing")


def _side(path: Path, size: Any) -> int:
    """The side of a square, told as a number, a pair or a table."""
    sides = size if isinstance(size, list | tuple) else [size]
    if isinstance(size, dict):
        sides = [size.get("height"), size.get("width")]
    first = sides[0] if sides else None
    if not isinstance(first, int) or first < 1 or any(each != first for each in sides):
        raise PackBroken(path, f"expected the size of a square, found {size!r}")
    return first


def _one_of(path: Path, value: Any, known: dict[Any, Told]) -> Told:
    if value not in known:
        raise PackBroken(path, f"expected one of {', '.join(map(str, known))}; found {value!r}")
    return known[value]


def _tokenizer(folder: Path, source: Path) -> str:
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise PackBroken(path, "expected the vocabulary of its model: it is missing")
    return str(path.relative_to(source))


def _pad(path: Path) -> str:
    """The token that fills up, told as a text or as a table with its content."""
    token = _told(path, _TokenizerConfig).pad_token
    if isinstance(token, dict):
        token = token.get("content")
    if not isinstance(token, str):
        raise PackBroken(path, f"expected a `pad_token`, found {token!r}")
    return token
