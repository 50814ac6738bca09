"""Pictures and metadata blocks made on the spot; nothing here is anybody's photo."""

import io
import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from PIL import Image

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, SRATIONAL = 1, 2, 3, 4, 5, 7, 10
_CODES = {SHORT: "H", LONG: "I", RATIONAL: "II", SRATIONAL: "ii"}
_SIZES = {BYTE: 1, ASCII: 1, UNDEFINED: 1, SHORT: 2, LONG: 4, RATIONAL: 8, SRATIONAL: 8}

Entries = Mapping[int, tuple[int, Any]]
NO_ENTRIES: Entries = MappingProxyType({})
NO_POINTERS: Mapping[int, int] = MappingProxyType({})


def pack_directories(
    order: str, chain: list[Entries], pointers: Mapping[int, int] = NO_POINTERS
) -> bytes:
    """A TIFF whose first directory points to the others by the tags in *pointers*.

    A value is bytes, or a list of numbers; of pairs for rationals.  `("blob", bytes)` as a
    LONG stands for the offset at which these bytes are put.
    """
    header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    places, at = [], 8
    for number, entries in enumerate(chain):
        places.append(at)
        at += 2 + 12 * (len(entries) + (len(pointers) if number == 0 else 0)) + 4
    directories, heap = b"", b""
    for number, entries in enumerate(chain):
        filled = dict(entries)
        if number == 0:
            filled |= {tag: (LONG, [places[which]]) for tag, which in pointers.items()}
        directories += struct.pack(order + "H", len(filled))
        for tag, (kind, value) in sorted(filled.items()):
            if isinstance(value, tuple):  # a blob
                heap += b"\0" * (len(heap) % 2)
                raw = struct.pack(order + "I", at + len(heap))
                heap += value[1]
            elif isinstance(value, bytes):
                raw = value
            else:
                flat = [number for item in value for number in np.atleast_1d(item).tolist()]
                raw = struct.pack(order + _CODES[kind] * len(value), *flat)
            count = len(raw) // _SIZES[kind]
            if len(raw) > 4:
                heap += b"\0" * (len(heap) % 2)
                field = struct.pack(order + "I", at + len(heap))
                heap += raw
            else:
                field = raw.ljust(4, b"\0")
            directories += struct.pack(order + "HHI", tag, kind, count) + field
        directories += struct.pack(order + "I", 0)
    return header + directories + heap


@pytest.fixture(scope="session")
def exif_block() -> Callable[..., bytes]:
    """EXIF of main, exif and gps entries, as it stands in a JPEG."""

    def make(
        main: Entries = NO_ENTRIES,
        exif: Entries = NO_ENTRIES,
        gps: Entries = NO_ENTRIES,
        order: str = "<",
    ) -> bytes:
        block = pack_directories(order, [main, exif, gps], {0x8769: 1, 0x8825: 2})
        return b"Exif\0\0" + block

    return make


@pytest.fixture(scope="session")
def scene() -> Callable[..., Image.Image]:
    """A picture that looks different from every side: smooth colours and a dark corner."""

    def make(width: int = 400, height: int = 300) -> Image.Image:
        across = np.linspace(0, 255, width)[None, :].repeat(height, 0)
        down = np.linspace(0, 255, height)[:, None].repeat(width, 1)
        picture = np.stack([across, down, 255 - across / 2 - down / 2], axis=2)
        picture[: height // 3, : width // 3] = (20, 30, 40)
        return Image.fromarray(picture.astype(np.uint8))

    return make


@pytest.fixture(scope="session")
def encoded() -> Callable[..., bytes]:
    """*image* as bytes of a format."""

    def make(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
        out = io.BytesIO()
        image.save(out, kind, **options)
        return out.getvalue()

    return make


@pytest.fixture(scope="session")
def dng(encoded: Callable[..., bytes]) -> Callable[..., bytes]:
    """A raw photo: a small sensor behind a JPEG preview, or behind none.

    The sensor shows *sensor*, by brightness only; the preview whatever it is given.
    """

    def make(
        sensor: Image.Image, preview: Image.Image | None, *, orientation: int = 1, cut: bool = False
    ) -> bytes:
        values = np.asarray(sensor.convert("L")).astype("<u2") * 200
        mosaic = values.tobytes()
        facts: dict[int, tuple[int, Any]] = {
            0x010F: (ASCII, b"Obscura\0"),
            0x0110: (ASCII, b"Test Camera\0"),
            0x0112: (SHORT, [orientation]),
            0x0132: (ASCII, b"2020:02:02 20:20:20\0"),
            0xC612: (BYTE, bytes([1, 4, 0, 0])),
            0xC614: (ASCII, b"Obscura Test Camera\0"),
            0xC621: (
                SRATIONAL,
                [(1, 1), (0, 1), (0, 1), (0, 1), (1, 1), (0, 1), (0, 1), (0, 1), (1, 1)],
            ),
            0xC628: (RATIONAL, [(1, 1), (1, 1), (1, 1)]),
            0xC65A: (SHORT, [21]),
        }
        raw: dict[int, tuple[int, Any]] = {
            0x00FE: (LONG, [0]),
            0x0100: (LONG, [sensor.width]),
            0x0101: (LONG, [sensor.height]),
            0x0102: (SHORT, [16]),
            0x0103: (SHORT, [1]),
            0x0106: (SHORT, [32803]),
            0x0111: (LONG, ("blob", mosaic[: len(mosaic) // 3] if cut else mosaic)),
            0x0115: (SHORT, [1]),
            0x0116: (LONG, [sensor.height]),
            0x0117: (LONG, [len(mosaic)]),
            0x828D: (SHORT, [2, 2]),
            0x828E: (BYTE, bytes([0, 1, 1, 2])),
            0xC61D: (LONG, [51000]),
        }
        if preview is None:
            return pack_directories("<", [raw | facts])
        jpeg = encoded(preview, "JPEG", quality=92)
        shown: dict[int, tuple[int, Any]] = {
            0x00FE: (LONG, [1]),
            0x0100: (LONG, [preview.width]),
            0x0101: (LONG, [preview.height]),
            0x0102: (SHORT, [8, 8, 8]),
            0x0103: (SHORT, [7]),
            0x0106: (SHORT, [6]),
            0x0111: (LONG, ("blob", jpeg)),
            0x0115: (SHORT, [3]),
            0x0116: (LONG, [preview.height]),
            0x0117: (LONG, [len(jpeg)]),
        }
        return pack_directories("<", [shown | facts, raw], {0x014A: 1})

    return make
