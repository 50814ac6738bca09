"""The words in which published folders describe a model, and what they mean here.

Their configs are JSON, by open_clip or by transformers.  What several layouts read is here: filters
by number, sides of squares, the way from pixels to a tensor.  What is missing or not understood is
refused with the name of its file.
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


def processor(path: Path, file: str, *, squares: bool = False) -> Eyes:
    """How pixels become the input of the graph *file*, by the preprocessor_config.json at *path*.

    *squares*: a size that is one number is the side of a square, as ViT's processors mean it, and
    not the shorter side, as CLIP's do.

    Raises:
        PackBroken: it is missing, or says what is not understood here.
    """
    told = told_in(path, _Processor)
    if not told.do_rescale or abs(told.rescale_factor - 1 / 255) > 1e-6:
        raise PackBroken(path, "expected pixels divided by 255 (do_rescale, rescale_factor)")
    resize: Literal["shortest", "squash"] = "squash"
    side = told.size
    if (isinstance(side, int) and not squares) or (
        isinstance(side, dict) and "shortest_edge" in side
    ):
        resize = "shortest"
        shortest = side if isinstance(side, int) else side["shortest_edge"]
        side = told.crop_size or shortest
        if not told.do_center_crop or side_of(path, side) != shortest:
            raise PackBroken(
                path, f"expected a centre crop of {shortest}, found {told.crop_size} (crop_size)"
            )
    return Eyes(
        file,
        side_of(path, side),
        resize,
        one_of(path, told.resample, FILTERS),
        told.image_mean if told.do_normalize else (0.0, 0.0, 0.0),
        told.image_std if told.do_normalize else (1.0, 1.0, 1.0),
    )


def told_in(path: Path, kind: type[Told]) -> Told:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise PackBroken(path, f"expected the config of its model: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PackBroken(path, f"expected the config of its model: {error}") from error


def side_of(path: Path, size: Any) -> int:
    """The side of a square, told as a number, a pair or a table."""
    sides = size if isinstance(size, list | tuple) else [size]
    if isinstance(size, dict):
        sides = [size.get("height"), size.get("width")]
    first = sides[0] if sides else None
    if not isinstance(first, int) or first < 1 or any(each != first for each in sides):
        raise PackBroken(path, f"expected the size of a square, found {size!r}")
    return first


def one_of(path: Path, value: Any, known: dict[Any, Told]) -> Told:
    if value not in known:
        raise PackBroken(path, f"expected one of {', '.join(map(str, known))}; found {value!r}")
    return known[value]
