"""From a picture to the tensor a graph expects.

Embeddings notice the resampler: with one that does not average when it shrinks, the mean
difference per pixel is fifty times that of Pillow's, and the vectors are of another picture.  So
all resizing is Pillow's, which is what these models were trained behind.

Resizing and cropping are one call here.  Resizing the shorter side to *size* and cutting the
middle out is the same as resizing only the box of the original that ends up in the middle, and
that never builds the long strip a panorama would become.  (The same to a level or two of 255:
Pillow rounds between its two passes and chooses their order by the sizes.)

Two things save work before the first pixel: `thumbnail_for` names the smallest thumbnail that
still has the pixels the graph wants, and `open_thumbnail` lets libjpeg skip the frequencies that
would be averaged away.

Unknown here: orientation and colour profiles.  Thumbnails are upright sRGB already.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray
from PIL import Image

from models.errors import PictureBroken, ThumbnailBroken
from models.pack import ImageGraph

#: Upright, 8 bits a channel: a Pillow image of any mode, or RGB uint8 [height, width, 3].
Picture = Image.Image | NDArray[np.uint8]

#: Long sides of the thumbnails that every photo has.  They never enlarge.
SMALL: Final = 256
LARGE: Final = 1024

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


def fit(picture: Picture, graph: ImageGraph) -> Image.Image:
    """*picture* as RGB of *graph*'s size: shorter side to it and centre crop, or squashed.

    Raises:
        PictureBroken: it has no pixels, or is an array of another shape or dtype.
    """
    image = _rgb(picture)
    width, height = image.size
    if width < 1 or height < 1:
        raise PictureBroken(f"a picture of {width} x {height} pixels")
    size = graph.size
    resample = Image.Resampling[graph.resample.upper()]
    if graph.resize == "squash":
        return image.resize((size, size), resample)
    # What the shorter-side rule would make of the picture, and its middle, in whole pixels.
    shorter = min(width, height)
    wide, high = (size * width // shorter, size * height // shorter)
    left, top = (round((wide - size) / 2), round((high - size) / 2))
    box = (
        left * width / wide,
        top * height / high,
        min((left + size) * width / wide, width),
        min((top + size) * height / high, height),
    )
    return image.resize((size, size), resample, box)


def prepare(
    pictures: Sequence[Picture], graph: ImageGraph, dtype: DTypeLike = np.float32
) -> NDArray[Any]:
    """*pictures* as one tensor [n, 3, size, size], or [n, size, size, 3] where *graph* says NHWC.

    The values are (x / 255 - mean) / std in float32 or float16; with *dtype* uint8 they are the
    bare pixels, for graphs that do this arithmetic themselves.

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
    for row, picture in zip(tensor, pictures, strict=True):
        pixels: NDArray[np.uint8] = np.asarray(fit(picture, graph))
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


def _rgb(picture: Picture) -> Image.Image:
    if isinstance(picture, Image.Image):
        return picture if picture.mode == "RGB" else picture.convert("RGB")
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise PictureBroken(
            f"expected uint8 [height, width, 3], found {picture.dtype} {list(picture.shape)}"
        )
    return Image.fromarray(picture)
