"""What a file is, told from its first bytes.

Pure and total.  Answers three questions without decoding anything: which container this is
(`sniff`), what it is when it is no picture (`name_other`), and whether touching it is risky
(`risky`).  Names of containers are the words of `Facts.format`; "raw" stands for all raw
formats, because most of them are TIFF inside and only a decoder tells them apart.
"""

import re
import struct
from typing import Final

from actors.photo.formats import PHOTO_SUFFIXES, RAW_SUFFIXES, VIDEO_SUFFIXES, suffix_of
from actors.photo.tiff import read_directories

#: how much of a file has to be seen: metadata of 64 KB stand before the size in a JPEG
HEAD_BYTES: Final = 128 * 1024

#: above this many pixels a decode may hurt the machine, not only the process
RISKY_PIXELS: Final = 50_000_000

#: decoders with a history of memory errors, or with the appetite of a whole sensor
_RISKY: Final = frozenset({"raw", "heif", "avif", "jp2", "tiff", "psd"})

_PHOTOMETRIC, _SUBFILE, _SUBIFDS, _DNG_VERSION = 0x0106, 0x00FE, 0x014A, 0xC612
_COLOUR_FILTER_ARRAY, _LINEAR_RAW = 32803, 34892

_MAGIC: Final = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"8BPS\0\x01", "psd"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "jp2"),
    (b"\xff\x4f\xff\x51", "jp2"),
    (b"FUJIFILMCCD-RAW", "raw"),
    (b"FOVb", "raw"),
    (b"\0MRM", "raw"),
    (b"II\x1a\0\0\0HEAPCCDR", "raw"),
    (b"IIRO", "raw"),  # Olympus
    (b"IIRS", "raw"),
    (b"MMOR", "raw"),
    (b"IIU\0", "raw"),  # Panasonic, Leica
    (b"IIII", "raw"),  # Phase One, Leaf
    (b"MMMM", "raw"),
    (b"II\x2b\0", "tiff"),
    (b"MM\0\x2b", "tiff"),
)

#: ISO base media brands; what is not listed and not a known still is a video
_BRANDS: Final = {
    **dict.fromkeys((b"avif", b"avis"), "avif"),
    **dict.fromkeys(
        (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"),
        "heif",
    ),
    b"crx ": "raw",
}

_OTHER: Final = (
    (b"\xff\x0a", "a JPEG XL picture, for which there is no decoder"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL picture, for which there is no decoder"),
    (b"8BPS\0\x02", "a large Photoshop document (PSB), for which there is no decoder"),
    (b"\0\0\x01\0", "an icon"),
    (b"\0\0\x02\0", "a mouse pointer"),
    (b"\x1a\x45\xdf\xa3", "a video"),
    (b"FLV\x01", "a video"),
    (b"\0\0\x01\xba", "a video"),
    (b"\0\0\x01\xb3", "a video"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a video"),
    (b"OggS", "a sound or video"),
    (b"ID3", "a sound"),
    (b"fLaC", "a sound"),
    (b"%PDF-", "a PDF document"),
    (b"%!PS", "a PostScript drawing"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\0", "an xz archive"),
    (b"SQLite format 3\0", "a database"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"\0\x05\x16\x07", "an AppleDouble file: attributes of another file"),
    (b"bplist", "a property list"),
    (b"version https://git-lfs", "a Git LFS pointer: the photo itself was never fetched"),
)


def sniff(name: bytes, data: bytes) -> str | None:
    """The container of *data*, None where no decoder of ours takes it.

    Args:
        name: decides only between TIFF and raw where the bytes leave it open, and lets the raw
            decoder try what has no magic bytes at all.
        data: the head, or all of the file.
    """
    for magic, container in _MAGIC:
        if data.startswith(magic):
            return container
    raw_by_name = suffix_of(name) in RAW_SUFFIXES
    if data.startswith((b"II*\0", b"MM\0*")):
        return "raw" if raw_by_name or data[8:10] == b"CR" or _holds_sensor_data(data) else "tiff"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[:2] == b"BM" and data[14:18] in _BITMAP_HEADERS:
        return "bmp"
    if re.match(rb"P[1-6][\s#]", data):
        return "pnm"
    if data[4:8] == b"ftyp":
        return _sniff_brands(data)
    if raw_by_name and data.strip(b"\0") and name_other(data) is None:
        return "raw"
    return None


#: lengths of the known headers behind the 14 bytes of a BMP's first one
_BITMAP_HEADERS: Final = frozenset(
    struct.pack("<I", size) for size in (12, 16, 40, 52, 56, 64, 108, 124)
)


def _sniff_brands(data: bytes) -> str | None:
    end = min(struct.unpack(">I", data[:4])[0], len(data), 256)
    brands = [data[8:12], *(data[at : at + 4] for at in range(16, end - 3, 4))]
    known = [_BRANDS[brand] for brand in brands if brand in _BRANDS]
    # A mif1 file is HEVC or AV1; only the specific brand further on tells.
    if "avif" in known and brands[0] in (b"avif", b"avis", b"mif1", b"msf1"):
        return "avif"
    # Videos list mif1 as compatible when they carry a cover picture: the first brand decides,
    # but for nameless ones.
    return known[0] if known and (brands[0] in _BRANDS or brands[0] == b"\0\0\0\0") else None


def _holds_sensor_data(data: bytes) -> bool:
    main = read_directories(data).main
    return (
        _DNG_VERSION in main
        or main.get(_PHOTOMETRIC) in ((_COLOUR_FILTER_ARRAY,), (_LINEAR_RAW,))
        # NEF and ARW open with a small preview and keep the sensor behind SubIFDs.
        or (main.get(_SUBFILE) == (1,) and _SUBIFDS in main)
    )


def name_other(data: bytes) -> str | None:
    """What *data* is when it is no picture of ours, as words; None where nobody knows."""
    for magic, words in _OTHER:
        if data.startswith(magic):
            return words
    if data[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"):
        return "a video or sound"
    if data[:4] == b"RIFF":
        return {b"AVI ": "a video", b"WAVE": "a sound"}.get(data[8:12], "a RIFF file")
    if data[:1] == b"\x47" and data[188:189] == b"\x47":
        return "a video"
    return _name_text(data[:4096])


def _name_text(start: bytes) -> str | None:
    try:
        text = start.decode()
    except UnicodeDecodeError as error:
        if error.start < len(start) - 3:  # not just cut in the middle of a character
            return None
        text = start[: error.start].decode()
    if not text or any(character < " " and character not in "\t\n\r\f" for character in text):
        return None
    opening = text.lstrip("\ufeff \t\r\n")[:200].lower()
    if "<svg" in opening:
        return "an SVG drawing"
    if opening.startswith(("<!doctype html", "<html")):
        return "a web page"
    if opening.startswith("<"):
        return "an XML file"
    if opening.startswith(("{", "[")):
        return "a JSON file"
    return "a text file"


def expects_photo(name: bytes) -> bool:
    """Whether the owner of a file called *name* takes it for a photo."""
    return suffix_of(name) in PHOTO_SUFFIXES | RAW_SUFFIXES


def risky(name: bytes, head: bytes) -> bool:
    """Whether decoding may take more down than one process, or take this one down often.

    Raw, HEIF and their like by their decoders, videos, and pictures of more than 50 megapixels
    or of a size that *head* does not show.

    Args:
        name: the last component of the path.
        head: the first `HEAD_BYTES` of the file, or all of it.
    """
    container = sniff(name, head)
    if container is None:
        return suffix_of(name) in VIDEO_SUFFIXES and bool(head)
    if container in _RISKY:
        return True
    pixels = declared_pixels(container, head)
    return pixels is None or pixels > RISKY_PIXELS


def declared_pixels(container: str, head: bytes) -> int | None:
    """Width times height as *head* declares it, None where it does not show them."""
    try:
        if container == "jpeg":
            return _jpeg_pixels(head)
        if container == "png":
            width, height = struct.unpack_from(">II", head, 16)
        elif container == "gif":
            width, height = struct.unpack_from("<HH", head, 6)
        elif container == "bmp" and head[14:18] == b"\x0c\0\0\0":
            width, height = struct.unpack_from("<HH", head, 18)
        elif container == "bmp":
            width, height = struct.unpack_from("<ii", head, 18)
        elif container == "webp":
            width, height = _webp_size(head)
        elif container == "pnm":
            found = re.match(rb"P[1-6](?:\s+|#[^\n]*\n)+(\d{1,9})\s+(\d{1,9})", head)
            if found is None:
                return None
            width, height = int(found[1]), int(found[2])
        else:
            return None
    except struct.error:
        return None
    return int(abs(width * height))


def _webp_size(head: bytes) -> tuple[int, int]:
    if head[12:16] == b"VP8X":
        return (
            int.from_bytes(head[24:27], "little") + 1,
            int.from_bytes(head[27:30], "little") + 1,
        )
    if head[12:16] == b"VP8L":
        (bits,) = struct.unpack_from("<I", head, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", head, 26)
    return width & 0x3FFF, height & 0x3FFF


def _jpeg_pixels(head: bytes) -> int | None:
    at = 2
    while at + 9 <= len(head):
        if head[at] != 0xFF:
            at += 1  # decoders skip junk between segments too
            continue
        marker = head[at + 1]
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD9:
            at += 1 if marker == 0xFF else 2
            continue
        # start of frame; of the sixteen, C4, C8 and CC are tables
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", head, at + 5)
            return int(width * height)
        at += 2 + int.from_bytes(head[at + 2 : at + 4], "big")
    return None
