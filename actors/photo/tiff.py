"""The directories of a TIFF: of an EXIF block, of a TIFF file, and of most RAW files.

Pure, and total: any bytes give directories, at worst empty ones.  An entry that points
outside the bytes is left out, the others stand; that is what makes half-broken files useful.

Written here rather than taken from Pillow or exifread because facts need the raw pairs of a
rational (0/0 is how cameras say "unknown", and NaN after the division), because one damaged
entry must not cost the others, and because RAW files differ from TIFF in the two magic bytes
that both libraries insist on.  It knows no tag's meaning, follows no chain of directories and
reads only the few tags in `WANTED`.
"""

import struct
from collections.abc import Mapping
from typing import NamedTuple

#: bytes for text and opaque values, numbers for the rest; a rational is a pair
Value = bytes | tuple[int, ...] | tuple[tuple[int, int], ...]
Tags = Mapping[int, Value]

EXIF_POINTER, GPS_POINTER = 0x8769, 0x8825

WANTED = frozenset(
    {
        0x00FE,  # NewSubfileType
        0x0106,  # PhotometricInterpretation
        0x010F,  # Make
        0x0110,  # Model
        0x0112,  # Orientation
        0x0132,  # DateTime
        0x014A,  # SubIFDs
        0x02BC,  # XMP
        0x83BB,  # IPTC
        EXIF_POINTER,
        GPS_POINTER,
        0x882A,  # TimeZoneOffset
        0x9003,  # DateTimeOriginal
        0x9004,  # DateTimeDigitized
        *range(0x9010, 0x9013),  # OffsetTime, -Original, -Digitized
        *range(0x9290, 0x9293),  # SubSecTime, -Original, -Digitized
        0xC612,  # DNGVersion
        *range(1, 7),  # GPS: latitude, longitude, altitude, each with its reference
    }
)

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 13: 4}
_NUMBERS = {3: "H", 4: "I", 5: "I", 8: "h", 9: "i", 10: "i", 13: "I"}
_RATIONALS = (5, 10)

#: longest list of numbers that any wanted tag has; GPS has three
_MOST_NUMBERS = 64


class Directories(NamedTuple):
    """The main directory and the two that it points to."""

    main: Tags
    exif: Tags
    gps: Tags


NOTHING = Directories({}, {}, {})


def read_directories(block: bytes) -> Directories:
    """Directories of *block*: TIFF bytes, with or without the prefix "Exif" and two NULs."""
    while block.startswith(b"Exif\0\0"):  # some programs wrote it twice
        block = block[6:]
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None or len(block) < 8:
        return NOTHING
    main = _read(block, struct.unpack_from(order + "I", block, 4)[0], order)
    return Directories(
        main,
        _read(block, _pointer(main, EXIF_POINTER), order),
        _read(block, _pointer(main, GPS_POINTER), order),
    )


def _pointer(tags: Tags, tag: int) -> int:
    value = tags.get(tag)
    return value[0] if value and isinstance(value[0], int) else 0


def _read(block: bytes, offset: int, order: str) -> Tags:
    """The wanted tags of the directory at *offset*; the first of a repeated tag counts."""
    tags: dict[int, Value] = {}
    if not 0 < offset <= len(block) - 2:
        return tags
    (count,) = struct.unpack_from(order + "H", block, offset)
    entries = block[offset + 2 : offset + 2 + 12 * count]
    for tag, kind, length, inline in struct.iter_unpack(
        order + "HHI4s", entries[: len(entries) // 12 * 12]
    ):
        if tag not in WANTED or tag in tags or kind not in _SIZES:
            continue
        size = _SIZES[kind] * length
        if size <= 4:
            raw = inline[:size]
        else:
            (start,) = struct.unpack(order + "I", inline)
            raw = block[start : start + size]
        if kind not in _NUMBERS:
            tags[tag] = raw  # text may be cut short at the end of the block and still be read
            continue
        if len(raw) < size or length > _MOST_NUMBERS:
            continue
        numbers = struct.unpack(
            f"{order}{size // struct.calcsize(_NUMBERS[kind])}{_NUMBERS[kind]}", raw
        )
        if kind in _RATIONALS:
            tags[tag] = tuple(zip(numbers[::2], numbers[1::2], strict=True))
        else:
            tags[tag] = numbers
    return tags
