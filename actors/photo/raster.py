"""Opening a picture from memory: its size, what it says, and its small upright version.

One decoder per container, called by name: `Image.open` would try its fifty plugins, also those
for fonts and weather maps, on bytes that nobody vouches for.  Native libraries are loaded when
the first file needs them.

Orientation is applied exactly once, and who applies it differs:

| container | applied by |
|---|---|
| JPEG, PNG, WebP | us, from EXIF |
| AVIF | us; Pillow translates the container's rotation (irot, imir) into EXIF |
| HEIF | libheif, from irot; the EXIF value is kept as `original_orientation` and not applied |
| TIFF | Pillow, while loading |
| PSD | nobody: Photoshop stores what it shows |
| raw | us, on the preview (see `sensor`) |

Orientation in XMP alone is ignored, as viewers do.

Pillow keeps its limits and its leniency in module globals, hence `pillow_alone`.
"""

import ctypes
import importlib
import io
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from PIL import Image, ImageFile

from actors.photo import exif, pixels
from actors.photo.containers import declared_pixels
from actors.photo.errors import BadPhoto
from actors.photo.limits import MIB, Limits
from actors.photo.metadata import Blocks, Said, understand
from actors.photo.tiff import NOTHING, read_directories

# What Pillow logs about a file comes back as our one line about that file.
logging.getLogger("PIL").setLevel(logging.CRITICAL)

LABELS: Final = {
    "avif": "AVIF",
    "bmp": "BMP",
    "gif": "GIF",
    "heif": "HEIF",
    "jp2": "JPEG 2000",
    "jpeg": "JPEG",
    "png": "PNG",
    "pnm": "PNM",
    "psd": "Photoshop document",
    "raw": "raw photo",
    "tiff": "TIFF",
    "webp": "WebP",
}

_DECODERS: Final = {
    "avif": ("PIL.AvifImagePlugin", "AvifImageFile"),
    "bmp": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "gif": ("PIL.GifImagePlugin", "GifImageFile"),
    "heif": ("pi_heif.as_plugin", "HeifImageFile"),
    "jp2": ("PIL.Jpeg2KImagePlugin", "Jpeg2KImageFile"),
    # Not the factory that looks for further pictures in the file (MPO): the first is the photo.
    "jpeg": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "png": ("PIL.PngImagePlugin", "PngImageFile"),
    "pnm": ("PIL.PpmImagePlugin", "PpmImageFile"),
    "psd": ("PIL.PsdImagePlugin", "PsdImageFile"),
    "tiff": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "webp": ("PIL.WebPImagePlugin", "WebPImageFile"),
}

#: bytes per pixel at the peak of a decode: Pillow's four, and the decoder's own buffers
_BYTES_PER_PIXEL: Final = {"heif": 10, "avif": 10, "webp": 12, "jp2": 20, "jpeg": 4}
_BYTES_PER_PIXEL_BY_MODE: Final = {"1": 2, "L": 2, "P": 5}
_BYTES_PER_PIXEL_ELSEWHERE: Final = 8

#: rows arrive from top to bottom, so what is missing at the end leaves a picture
_DECODED_BY_ROWS: Final = frozenset({"bmp", "gif", "jpeg", "png"})

#: formats whose blocks may stand behind the pixels
BLOCKS_AFTER_PIXELS: Final = frozenset({"png"})

_PSD_IPTC, _PSD_EXIF, _PSD_XMP = 1028, 1058, 1060
_TIFF_XMP, _TIFF_IPTC = 0x02BC, 0x83BB


class Picture(NamedTuple):
    """One opened picture."""

    width: int  #: upright
    height: int
    orientation: int  #: as stored, 1..8
    said: Said
    image: Image.Image | None  #: upright, RGB, sRGB; None where no pixels were asked for
    damaged: bool = False  #: a part is missing


_ONE_AT_A_TIME = threading.Lock()


@contextmanager
def pillow_alone(limits: Limits) -> Iterator[None]:
    """Pillow for one thread at a time, silent, and with our limit of pixels.

    Its warnings, its bomb limit and its leniency towards truncated files are globals of the
    process; processes, not threads, are how decoding scales here.
    """
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = limits.pixels // 2  # it warns above this and refuses above twice
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


@contextmanager
def _leniency() -> Iterator[None]:
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False


def read_picture(
    container: str,
    data: bytes,
    *,
    side: int,
    least: int | None = None,
    limits: Limits,
    with_pixels: bool = True,
    turn: int | None = None,
) -> Picture:
    """The picture in *data*, within `pillow_alone`.

    A file cut short is decoded a second time, leniently: the upper half of a photo is worth
    finding.  Such a picture is marked as damaged.

    Args:
        container: any of `LABELS` but "raw".
        data: the whole file.
        side: the long side of the picture that is returned.
        least: one that will do where the file gives it for less work; *side* unless given.
        limits: what it may cost.
        with_pixels: whether the picture is wanted, or only what the file says about it.
        turn: the orientation to apply, where the caller knows better than the file.

    Raises:
        BadPhoto: it cannot be decoded, or not within the limits.
    """
    read = partial(_read, container, data, side=side, least=least or side, limits=limits, turn=turn)
    try:
        return read(with_pixels=with_pixels)
    except (BadPhoto, MemoryError):
        raise
    except Exception as error:
        reason = explain(container, error)
        if container not in _DECODED_BY_ROWS:
            raise BadPhoto(reason) from error
        # Its frames would keep the pixels of the first try alive during the second.
        strict = error.with_traceback(None)
    try:
        with _leniency():
            return read(damaged=True)
    except (BadPhoto, MemoryError):
        raise
    except _TooLittleLeft as little:
        raise BadPhoto(f"{reason}; {little} of the picture is left") from strict
    except Exception:
        raise BadPhoto(reason) from strict


class _TooLittleLeft(Exception):
    """What there is of a damaged picture, in words."""


def _read(
    container: str,
    data: bytes,
    *,
    side: int,
    least: int,
    limits: Limits,
    with_pixels: bool = True,
    turn: int | None = None,
    damaged: bool = False,
) -> Picture:
    image = _open(container, data, limits)
    size = image.size
    if with_pixels:
        image.draft("RGB", pixels.fitting_size(size, least))
        _check_memory(container, image, limits)
        image.load()
        if container != "jpeg":
            size = image.size  # HEIF and TIFF know it only now
    blocks = _find_blocks(container, image, data)
    orientation = exif.read_orientation(blocks.directories)
    applied = orientation if turn is None else turn
    if container == "heif":
        original = image.info.get("original_orientation")
        orientation, applied = original if original in range(1, 9) else 1, 1
    elif container in ("tiff", "psd"):
        applied = 1
    width, height = pixels.upright_size(size, applied)
    small = None
    if with_pixels:
        small = pixels.to_srgb(image, side)
        # before turning: rows are missing where the file's bottom is
        if damaged and (share := pixels.drawn_share(small)) < limits.share:
            raise _TooLittleLeft(f"{share:.0%}" if share >= 0.01 else "nothing")
        small = pixels.turn(small, applied)
    return Picture(width, height, orientation, understand(blocks), small, damaged)


@cache
def _silence_libtiff() -> None:
    """Keep libtiff's complaints off stderr, where they would bury the last words of a crash.

    Pillow offers no way to its two handlers, but its wheels carry the library in a known place;
    elsewhere the complaints stay.
    """
    for library in Path(Image.__file__).parents[1].glob("pillow.libs/libtiff*"):
        libtiff = ctypes.CDLL(str(library))
        for handler in (libtiff.TIFFSetWarningHandler, libtiff.TIFFSetErrorHandler):
            handler.restype = ctypes.c_void_p
            handler(None)


@cache
def _restrain_libheif() -> None:
    """One thread a decode, because processes scale; and only the picture, not its companions."""
    options: Any = importlib.import_module("pi_heif.options")
    options.DECODE_THREADS = 1
    options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False


def _check_item_names(data: bytes) -> None:
    """Refuse a HEIF whose list of items has names that are no text.

    pi-heif 1.4 puts the NULL it gets for such a name into a dictionary and takes the process
    down; of 3400 files broken at random that was the only crash.
    """
    at = data.find(b"iinf", 0, 64 * 1024)
    if at < 4:
        return
    items = data[at : at - 4 + int.from_bytes(data[at - 4 : at], "big")]
    for entry in items.split(b"infe")[1:]:
        # version, flags, id, protection; then type, name, content type; then the next length
        version = entry[:1]
        names = entry[10 if version == b"\3" else 8 : -4 if entry[-4:-3] == b"\0" else None]
        try:
            names.decode()
        except UnicodeDecodeError as error:
            raise BadPhoto("damaged: the HEIF's list of its parts is broken") from error


@cache
def _restrain_libavif() -> None:
    plugin: Any = importlib.import_module("PIL.AvifImagePlugin")
    plugin.DEFAULT_MAX_THREADS = 1


def _open(container: str, data: bytes, limits: Limits) -> Any:
    """The decoder's image, not loaded yet, of at most the permitted pixels."""
    module, name = _DECODERS[container]
    if container == "tiff":
        _silence_libtiff()
    elif container == "heif":
        _restrain_libheif()
        _check_item_names(data)
    elif container == "avif":
        _restrain_libavif()
    if container == "webp":
        # Its decoder takes memory for the whole canvas while opening.
        check_memory((declared_pixels(container, data) or 0) * _BYTES_PER_PIXEL["webp"], limits)
    image = getattr(importlib.import_module(module), name)(io.BytesIO(data))
    check_pixels(image.size, limits)
    return image


def check_pixels(size: tuple[int, int], limits: Limits) -> None:
    """Refuse what declares more than we decode, before anything is allocated."""
    if size[0] * size[1] > limits.pixels:
        raise BadPhoto(
            f"too large: declares {size[0]} x {size[1]} pixels, and the limit is"
            f" {limits.pixels / 1e6:.0f} megapixels"
        )


def _check_memory(container: str, image: Any, limits: Limits) -> None:
    """Refuse what would take more memory than a decode may; *image* is drafted already."""
    width, height = image.size
    each = _BYTES_PER_PIXEL.get(container) or _BYTES_PER_PIXEL_BY_MODE.get(
        image.mode, _BYTES_PER_PIXEL_ELSEWHERE
    )
    needed = width * height * each
    if container == "jpeg" and image.info.get("progressive"):
        # All coefficients of all scans are held, 16 bits each, whatever scale is asked for.
        _, _, right, bottom = image.tile[0].extents
        scale = image.decoderconfig[0] if image.decoderconfig else 1
        most = max(v * h for _, v, h, _ in image.layer) or 1
        samples = sum(v * h for _, v, h, _ in image.layer) / most
        needed += int(2 * samples * right * bottom * scale * scale)
    check_memory(needed, limits)


def check_memory(needed: int, limits: Limits) -> None:
    """Refuse a decode that takes *needed* bytes."""
    if needed > limits.memory:
        raise BadPhoto(
            f"too large: decoding would take {needed / MIB:,.0f} MiB of memory, and the limit"
            f" is {limits.memory / MIB:,.0f} MiB"
        )


def explain(container: str, error: Exception) -> str:
    """One line for the user from what a decoder raised."""
    label = LABELS[container]
    said = str(error).lower()
    if isinstance(error, Image.DecompressionBombError):
        return f"too large: this {label} declares more pixels than can be decoded"
    if isinstance(error, EOFError) or "truncated" in said or "end of file" in said:
        return f"cut short: the {label} ends before its picture does"
    if isinstance(error, (KeyError, NotImplementedError)) or any(
        words in said
        for words in (
            "cannot handle",
            "unsupported",
            "not supported",
            "not yet",
            "unknown compression",
        )
    ):
        return f"unsupported: there is no decoder for this kind of {label}"
    return f"damaged: the {label} cannot be decoded"


def _find_blocks(container: str, image: Any, data: bytes) -> Blocks:
    info = image.info
    if container == "tiff":
        directories = read_directories(data)
        return Blocks(
            directories,
            xmp=_as_bytes(directories.main.get(_TIFF_XMP)),
            iptc=_as_bytes(directories.main.get(_TIFF_IPTC)),
        )
    if container == "psd":
        resources = {number: value for number, _, value in reversed(image.resources)}
        return Blocks(
            read_directories(_as_bytes(resources.get(_PSD_EXIF))),
            xmp=_as_bytes(resources.get(_PSD_XMP)),
            iptc=_as_bytes(resources.get(_PSD_IPTC)),
        )
    block = _as_bytes(info.get("exif"))
    directories = read_directories(block) if block else NOTHING
    if container == "png":
        return _png_blocks(info, directories if block else None)
    resources = info.get("photoshop") or {}
    return Blocks(
        directories,
        xmp=_as_bytes(info.get("xmp")),
        iptc=_as_bytes(resources.get(_PSD_IPTC)),
        date=_casio_date(image.applist) if container == "jpeg" else "",
    )


def _png_blocks(info: dict[str, Any], directories: Any) -> Blocks:
    if directories is None:
        # Before eXIf there was this: hexadecimal text behind three lines of heading.
        text = str(info.get("Raw profile type exif") or info.get("Raw profile type APP1") or "")
        try:
            directories = read_directories(bytes.fromhex("".join(text.split("\n")[3:])))
        except ValueError:
            directories = NOTHING
    return Blocks(
        directories,
        xmp=_as_bytes(info.get("xmp")) or str(info.get("XML:com.adobe.xmp") or "").encode(),
        date=str(info.get("Creation Time") or ""),
    )


def _casio_date(segments: list[tuple[str, bytes]]) -> str:
    """Casio's QV cameras of 1997 had no EXIF but a segment of their own: text at 77, 20 bytes."""
    for _, segment in segments:
        if segment.startswith(b"QVCI\0"):
            return segment[0x4D : 0x4D + 20].partition(b"\0")[0].decode("ascii", "replace")
    return ""


def _as_bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""
