"""Raw photos: the picture the camera made of them, else one made here.

The embedded preview comes first: it is what the photographer saw on the camera, it costs a
tenth of developing, and it is there also where LibRaw cannot unpack the sensor.  Developing at
half size is the fallback, and for previews smaller than the picture we want.

The preview's orientation is told by three witnesses in this order: its shape (portrait from a
landscape sensor is turned already), its own EXIF, and LibRaw's flip.  The shape comes first
because LibRaw gives previews without EXIF one that repeats the flip, turned already or not.
"""

import io
import struct
from typing import Any, Final

from PIL import Image

from actors.photo import exif, pixels
from actors.photo.errors import BadPhoto
from actors.photo.limits import Limits
from actors.photo.metadata import Blocks, understand
from actors.photo.raster import Picture, check_memory, check_pixels, read_picture
from actors.photo.tiff import NOTHING, Directories, read_directories

#: LibRaw's flip as EXIF orientation
_ORIENTATIONS: Final = {0: 1, 3: 3, 5: 8, 6: 6}

#: sensor 2, colours before and after interpolation 8 + 3; X-Trans ignores the half size
_BYTES_PER_PIXEL: Final = 14

_CR3_LOOKED_AT: Final = 1024 * 1024


def read_raw(data: bytes, *, side: int, limits: Limits, with_pixels: bool = True) -> Picture:
    """The picture in the raw file *data*; arguments and errors as `raster.read_picture`."""
    import rawpy  # noqa: PLC0415 - LibRaw and NumPy take 60 ms, and many libraries have no raw

    try:
        with rawpy.imread(io.BytesIO(data)) as raw:
            return _read(raw, data, side=side, limits=limits, with_pixels=with_pixels)
    except (BadPhoto, MemoryError):
        raise
    except rawpy.LibRawUnsufficientMemoryError as error:
        raise MemoryError from error
    except rawpy.LibRawFileUnsupportedError as error:
        if data[:4] in (b"II*\0", b"MM\0*"):
            # A TIFF that only its name or a stray tag makes a raw file.
            try:
                return read_picture("tiff", data, side=side, limits=limits, with_pixels=with_pixels)
            except BadPhoto:
                raise BadPhoto(
                    "damaged: neither the raw nor the TIFF decoder can read it"
                ) from error
        raise BadPhoto("unsupported: no camera that this raw decoder knows wrote it") from error
    except rawpy.LibRawTooBigError as error:
        raise BadPhoto("too large: the raw decoder refuses this raw photo") from error
    except Exception as error:
        raise BadPhoto(
            "damaged: the raw photo is cut short or broken, and has no preview"
        ) from error


def _read(raw: Any, data: bytes, *, side: int, limits: Limits, with_pixels: bool) -> Picture:
    sizes = raw.sizes
    flip = _ORIENTATIONS.get(sizes.flip, 1)
    size = (sizes.iwidth or sizes.width, sizes.iheight or sizes.height)
    check_pixels(size, limits)
    directories = _find_directories(data)
    said = understand(Blocks(directories))
    shown = _show_preview(raw, size, flip, side=side, limits=limits, with_pixels=with_pixels)
    image, damaged = None, False
    if shown is not None:
        # Fujifilm and Sigma tell in the preview what we cannot find in the file.
        said = said.or_else(shown.said)
        image, damaged = shown.image, shown.damaged
    if with_pixels:
        enough = image is not None and max(image.size) >= min(side, max(size) // 2)
        if damaged or not enough:
            developed = _develop(raw, size, side, limits, instead=image)
            image, damaged = developed, damaged and developed is image
    width, height = pixels.upright_size(size, flip)
    orientation = exif.read_orientation(directories)
    stored = orientation if orientation != 1 else flip
    return Picture(width, height, stored, said, image, damaged)


def _show_preview(
    raw: Any, size: tuple[int, int], flip: int, *, side: int, limits: Limits, with_pixels: bool
) -> Picture | None:
    """The preview, upright; None where there is none or it is broken."""
    preview = _find_preview(raw)
    if preview is None:
        return None
    if isinstance(preview, Image.Image):
        turn = _still_to_turn(preview.size, size, flip)
        image = pixels.turn(pixels.to_srgb(preview, side), turn)
        return Picture(*image.size, 1, understand(Blocks()), image)
    try:
        shown = read_picture("jpeg", preview, side=side, limits=limits, with_pixels=False)
        if not with_pixels:
            return shown
        stored = pixels.upright_size((shown.width, shown.height), shown.orientation)
        told = shown.orientation if shown.orientation != 1 else flip
        turn = _still_to_turn(stored, size, told)
        return read_picture("jpeg", preview, side=side, limits=limits, turn=turn)
    except BadPhoto:
        return None


def _find_preview(raw: Any) -> bytes | Image.Image | None:
    """The largest preview, JPEG bytes or pixels; None where there is none we can read."""
    import rawpy  # noqa: PLC0415 - loaded already

    try:
        thumb = raw.extract_thumb()
    except rawpy.LibRawError:
        return None
    if thumb.format == rawpy.ThumbFormat.JPEG:
        return bytes(thumb.data)
    if thumb.format == rawpy.ThumbFormat.BITMAP:
        return Image.fromarray(thumb.data)
    return None


def _still_to_turn(preview: tuple[int, int], sensor: tuple[int, int], told: int) -> int:
    """The orientation to apply to a preview of this stored size."""
    turned_already = told >= 5 and (preview[0] > preview[1]) != (sensor[0] > sensor[1])
    return 1 if turned_already else told


def _develop(
    raw: Any, size: tuple[int, int], side: int, limits: Limits, *, instead: Image.Image | None
) -> Image.Image:
    """The sensor developed at half size; *instead*, where that fails and it is given."""
    try:
        check_memory(size[0] * size[1] * _BYTES_PER_PIXEL, limits)
        developed = raw.postprocess(half_size=True, use_camera_wb=True, output_bps=8)
    except Exception:
        if instead is None:
            raise
        return instead
    return pixels.to_srgb(Image.fromarray(developed), side)


def _find_directories(data: bytes) -> Directories:
    if data[4:12] == b"ftypcrx ":
        return _cr3_directories(data[:_CR3_LOOKED_AT])
    if data[:2] in (b"II", b"MM"):
        # Olympus and Panasonic changed TIFF's magic bytes and nothing else.
        return read_directories(data)
    return NOTHING


def _cr3_directories(head: bytes) -> Directories:
    """Canon's CR3 is an MP4 with one TIFF per directory, in the boxes CMT1, CMT2 and CMT4."""

    def box(name: bytes) -> bytes:
        at = head.find(name)
        if at < 4:
            return b""
        (length,) = struct.unpack_from(">I", head, at - 4)
        return head[at + 4 : at - 4 + length]

    main, details, gps = (read_directories(box(name)).main for name in (b"CMT1", b"CMT2", b"CMT4"))
    return Directories(main, details, gps)
