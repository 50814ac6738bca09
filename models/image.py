"""From a picture to the tensor a graph expects.

Embeddings notice the resampler: with one that does not average when it shrinks, the mean
difference per pixel is fifty times that of Pillow's, and the vectors are of another picture.  So
all resizing is Pillow's, which is what these models were trained behind.

Shorter side to *size*, the other to the whole number below its share, the middle cut out: that is
torchvision's `Resize` and `CenterCrop`, which CLIP was trained behind, and their halves are rounded
to the even number here as there.  (The readers of other programs round them down, which moves one
picture in thirty by one pixel.)  A strip that would be very long is never built: there only the box
of the original that ends up in the middle is resized, which is the same but for Pillow's rounding
between its two passes.

A thumbnail's sides are rounded, so its middle is not quite the photo's.  Whoever knows how large
the original was says so, and the square is cut where the original's would have been: that halves
the distance to the tensor of the original, and takes the worst of them away.

Two things save work before the first pixel: `thumbnail_for` names the smallest thumbnail that
still has the pixels the graph wants, and `open_thumbnail` lets libjpeg skip the frequencies that
would be averaged away.

Unknown here: orientation and colour profiles.  Thumbnails are upright sRGB already.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray
from PIL import Image

from models.errors import PictureBroken, ThumbnailBroken
from models.pack import Channels, Colour, Layout, Resample

#: Upright, 8 bits a channel: a Pillow image of any mode, or RGB uint8 [height, width, 3].
Picture = Image.Image | NDArray[np.uint8]

Size = tuple[int, int]  #: width and height in pixels, upright


class Frame(Protocol):
    """How a graph wants its pictures, as every section of a pack says it."""

    @property
    def size(self) -> int: ...
    @property
    def resize(self) -> Literal["shortest", "squash"]: ...
    @property
    def resample(self) -> Resample: ...
    @property
    def mean(self) -> Channels: ...
    @property
    def std(self) -> Channels: ...
    @property
    def colour(self) -> Colour: ...
    @property
    def layout(self) -> Layout: ...


#: Long sides of the thumbnails that every photo has.  They never enlarge.
SMALL: Final = 256
LARGE: Final = 1024

#: Up to this ratio of sides the whole picture is resized and then cut, exactly as the reference;
#: beyond it that would be mostly for nothing.
LONGEST_STRIP = 64

#: libjpeg's scaled decoding keeps the cosine to a full decode above 0.999 while it leaves twice
#: the pixels the graph wants; at less than that the mean difference per pixel grows five-fold.
DRAFT_MARGIN = 2


def thumbnail_for(size: int, width: int, height: int) -> Literal[256, 1024]:
    """The thumbnail a graph of *size* x *size* pixels should read.

    *width* and *height* are the upright original's.  The smallest whose shorter side is at least
    *size*, else the large one.

    Raises:
        PictureBroken: the original has no pixels.
    """
    if width < 1 or height < 1:
        raise PictureBroken(f"a photo of {width} x {height} pixels has no thumbnail")
    shorter, longer = sorted((width, height))
    shown = shorter if longer <= SMALL else shorter * SMALL // longer
    return SMALL if shown >= size else LARGE


def open_thumbnail(path: Path, size: int) -> Image.Image:
    """Read the thumbnail at *path* for a graph of *size* x *size* pixels, as a loaded RGB image.

    A JPEG with pixels to spare is decoded at a half, a quarter or an eighth of its size.

    Raises:
        ThumbnailBroken: it is missing, torn, or neither JPEG nor WebP.
    """
    try:
        with Image.open(path, formats=("JPEG", "WEBP")) as image:
            image.draft("RGB", (DRAFT_MARGIN * size, DRAFT_MARGIN * size))
            image.load()
            return _rgb(image)
    except Exception as error:  # Pillow's decoders raise far more than OSError on torn bytes
        raise ThumbnailBroken(path, str(error) or type(error).__name__) from error


def fit(picture: Picture, graph: Frame, upright: Size | None = None) -> Image.Image:
    """*picture* as RGB of *graph*'s size: shorter side to it and centre crop, or squashed.

    *upright* is the width and height of the original that *picture* is a thumbnail of; where it
    has other proportions (the preview in a raw file, a torn photo), it is left aside.

    Raises:
        PictureBroken: it has no pixels, or is an array of another shape or dtype.
    """
    image = _rgb(picture)
    if min(image.size) < 1 or min(upright or image.size) < 1:
        raise PictureBroken(f"a picture of {image.width} x {image.height} pixels")
    size = graph.size
    resample = Image.Resampling[graph.resample.upper()]
    if graph.resize == "squash":
        return image.resize((size, size), resample)
    width, height = upright if upright and _shrunk(image.size, upright) else image.size
    shorter = min(width, height)
    wide, high = (size * width // shorter, size * height // shorter)
    left, top = (round((wide - size) / 2), round((high - size) / 2))
    if max(wide, high) <= LONGEST_STRIP * size:
        whole = image.resize((wide, high), resample)
        return whole.crop((left, top, left + size, top + size))
    box = (
        left * image.width / wide,
        top * image.height / high,
        min((left + size) * image.width / wide, image.width),
        min((top + size) * image.height / high, image.height),
    )
    return image.resize((size, size), resample, box)


def prepare(
    pictures: Sequence[Picture],
    graph: Frame,
    dtype: DTypeLike = np.float32,
    originals: Sequence[Size] | None = None,
) -> NDArray[Any]:
    """*pictures* as one tensor [n, 3, size, size], or [n, size, size, 3] where *graph* says NHWC.

    The values are (x / 255 - mean) / std in float32 or float16; with *dtype* uint8 they are the
    bare pixels, for graphs that do this arithmetic themselves.  *originals* are the sizes of what
    the pictures are thumbnails of, as in `fit`.

    Raises:
        PictureBroken: as `fit`.
    """
    size = graph.size
    planar = graph.layout == "NCHW"
    tensor = np.empty(
        (len(pictures), 3, size, size) if planar else (len(pictures), size, size, 3),
        np.uint8 if dtype == np.uint8 else np.float32,
    )
    std = np.array(graph.std, np.float64)
    scale = (1 / (255 * std)).astype(np.float32)
    bias = (-np.array(graph.mean, np.float64) / std).astype(np.float32)
    if planar:
        scale, bias = scale[:, None, None], bias[:, None, None]
    sizes: Sequence[Size | None] = originals or [None] * len(pictures)
    for row, picture, upright in zip(tensor, pictures, sizes, strict=True):
        pixels: NDArray[np.uint8] = np.asarray(fit(picture, graph, upright))
        if graph.colour == "BGR":
            pixels = pixels[:, :, ::-1]
        if planar:
            pixels = pixels.transpose(2, 0, 1)
        if tensor.dtype == np.uint8:
            row[...] = pixels
        else:  # straight into the tensor: a fifth of the time of any way with a copy
            np.multiply(pixels, scale, out=row, dtype=np.float32)
            np.add(row, bias, out=row)
    return tensor.astype(dtype, copy=False)


def _shrunk(size: Size, upright: Size) -> bool:
    """Are these the sides of *upright* at one scale, each off by a pixel at most?"""
    return abs(size[0] * upright[1] - size[1] * upright[0]) <= 1.5 * max(upright)


def _rgb(picture: Picture) -> Image.Image:
    if isinstance(picture, Image.Image):
        return picture if picture.mode == "RGB" else picture.convert("RGB")
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise PictureBroken(
            f"expected uint8 [height, width, 3], found {picture.dtype} {list(picture.shape)}"
        )
    return Image.fromarray(picture)
