"""Which files the walk sends on to be decoded, judged by their names alone.

A name decides only whether a file is opened; what it is, its bytes say (`containers`).  So a
name that nobody knows, or without a suffix, is opened: reading 64 KB is cheap and a lost photo
is not.  What is known to be something else is left out with a reason that the user can read.
"""

from typing import Final

PHOTO_SUFFIXES: Final = frozenset(
    b"jpg jpeg jpe jfif jif mpo jps insp png apng webp gif bmp dib tif tiff heic heics heif heifs"
    b" hif avif avifs psd jp2 j2k jpf jpx j2c jpc pnm ppm pgm pbm".split()
)

RAW_SUFFIXES: Final = frozenset(
    b"3fr arq arw bay cap cr2 cr3 crw dcr dcs dng drf eip erf fff gpr iiq k25 kdc mdc mef mos mrw"
    b" nef nrw orf ori pef ptx pxn raf raw rw2 rwl rwz sr2 srf srw sti x3f".split()
)

VIDEO_SUFFIXES: Final = frozenset(
    b"mp4 m4v mov qt avi mkv webm 3gp 3g2 mpg mpeg mpe m1v m2v mts m2t m2ts ts wmv asf flv f4v vob"
    b" ogv ogm insv lrv mod tod mxf divx dv rm rmvb r3d braw 360".split()
)

_REASONS: Final = {
    "video: not indexed yet": VIDEO_SUFFIXES,
    "sidecar: data about another file": (
        b"xmp aae json thm pp3 dop cos vrd on1 acr nks arp pto dr4 spd cpr lrsmcol comask"
    ).split(),
    "JPEG XL: no decoder for it": [b"jxl"],
    "drawing, not a photo": b"svg svgz eps ai cdr dxf dwg wmf emf afdesign xcf kra".split(),
    "icon, not a photo": b"ico cur icns ani".split(),
    "sound, not a photo": b"mp3 m4a wav aac flac ogg oga opus amr wma mid aif aiff caf".split(),
    "document, not a photo": (
        b"pdf txt md rtf doc docx odt xls xlsx ods csv ppt pptx odp epub html htm xml log tex"
    ).split(),
    "archive: unpack it to have its photos indexed": (
        b"zip rar 7z tar gz tgz bz2 xz zst cab iso dmg"
    ).split(),
    "unfinished download": b"part crdownload partial download opdownload !ut tmp temp".split(),
    "program or program data": (
        b"exe dll so msi apk bat cmd sh py pyc js mjs css c h cpp java class jar o a php go rs ini"
        b" cfg conf toml yaml yml db sqlite sqlite3 db-wal db-shm db-journal lock lnk url cat lrcat"
        b" lrprev lrdata ithmb bin dat onnx ttf otf woff woff2"
    ).split(),
}

_BY_SUFFIX: Final = {suffix: reason for reason, suffixes in _REASONS.items() for suffix in suffixes}


def suffix_of(name: bytes) -> bytes:
    """Lower-case suffix without its dot, b"" where there is none."""
    stem, dot, suffix = name.rpartition(b".")
    return suffix.lower() if dot and stem else b""


def skip_reason(name: bytes) -> str:
    """Why the file called *name* is not sent to be decoded; "" when it is.

    Args:
        name: the last component of the path, as the file system has it.
    """
    if name.startswith(b"._"):
        # A Mac leaves one beside every file it copies to a foreign disk; `._IMG_1.jpg` ends
        # like a photo and holds none.
        return "AppleDouble: attributes of another file"
    if name.startswith(b"."):
        return "hidden file"
    if name.lower() in (b"thumbs.db", b"ehthumbs.db", b"desktop.ini", b"icon\r"):
        return "made by the desktop, not a photo"
    return _BY_SUFFIX.get(suffix_of(name), "")
