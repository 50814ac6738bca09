"""The two small pictures of a content, as files.

`<derived>/ab/<hex>.256.jpg` and `.1024.jpg`, ab being the first two digits.  JPEG of quality
85, upright, sRGB, without metadata; the numbers are the long side at most, nothing is enlarged.
Written without a name and then linked, the small one first: whoever sees the large one has
both, and a decoder that is killed meanwhile leaves nothing.  Where the file system knows no files
without a name, under a temporary one and renamed.  Not synced: after a power cut a file may be
empty or torn, which `find_pair` sees by its end, and derived data can be made again.

A damaged original is noted in the large one's comment, so that its pair is not taken for that
of a whole photo when a duplicate comes by.
"""

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from PIL import Image

from actors.photo import pixels

LARGE: Final = 1024
SMALL: Final = 256
QUALITY: Final = 85

_DAMAGED: Final = b"damaged original"
#: what a file system says that has no files without a name, or a kernel that knows none
_NO_TMPFILE: Final = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL})
_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"


class Pair(NamedTuple):
    """Bytes of the two files."""

    small: int
    large: int


def thumbnail_path(derived: Path, digest: bytes, side: int) -> Path:
    name = digest.hex()
    return derived / name[:2] / f"{name}.{side}.jpg"


def find_pair(derived: Path, digest: bytes) -> Pair | None:
    """The pair that exists for *digest*, None where it is missing, torn or of a damaged photo."""
    small = _whole_size(thumbnail_path(derived, digest, SMALL))
    large = _whole_size(thumbnail_path(derived, digest, LARGE))
    return Pair(small, large) if small and large else None


def _whole_size(path: Path) -> int:
    try:
        with path.open("rb") as file:
            start = file.read(4096)
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - len(_JPEG_END)))
            end = file.read()
    except OSError:
        return 0
    whole = start.startswith(_JPEG_START) and end == _JPEG_END and _DAMAGED not in start
    return size if whole else 0


def why_unreadable(path: Path) -> str:
    """Why the thumbnail at *path* is no picture, "" when it is one."""
    try:
        with Image.open(path, formats=("JPEG",)) as image:
            image.load()
    except Exception as error:  # Pillow raises far more than OSError on torn bytes
        return str(error) or type(error).__name__
    return ""


def remove_pair(derived: Path, digest: bytes) -> None:
    """Remove both sizes, and what a decoder that died left of them.

    Raises:
        OSError: the folder cannot be written.
    """
    for side in (SMALL, LARGE):
        path = thumbnail_path(derived, digest, side)
        path.unlink(missing_ok=True)
        for torn in path.parent.glob(f".{path.name}.*"):
            torn.unlink(missing_ok=True)


def write_pair(derived: Path, digest: bytes, image: Image.Image, *, damaged: bool) -> Pair:
    """Write both sizes of *image*, which is upright, RGB and of long side `LARGE` at most.

    Raises:
        OSError: the folder cannot be written.
    """
    # The large one is what the small one is made of, as for every later reader.
    small = _write(thumbnail_path(derived, digest, SMALL), pixels.shrink(image, SMALL), b"")
    large = _write(thumbnail_path(derived, digest, LARGE), image, _DAMAGED if damaged else b"")
    return Pair(small, large)


def _write(path: Path, image: Image.Image, comment: bytes) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path.parent, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno not in _NO_TMPFILE:
            raise
        return _write_named(path, image, comment)
    with os.fdopen(descriptor, "wb") as file:
        image.save(file, "JPEG", quality=QUALITY, comment=comment)
        size = file.tell()
        file.flush()
        _link(descriptor, path)
    return size


def _link(descriptor: int, path: Path) -> None:
    """Give an open file without a name that of *path*, in place of any that has it."""
    nameless = f"/proc/self/fd/{descriptor}"
    # Only linkat follows that link to the file, and Python calls it only with a descriptor.
    try:
        os.link(nameless, path, src_dir_fd=descriptor)
    except FileExistsError:
        temporary = _temporary(path)
        os.link(nameless, temporary, src_dir_fd=descriptor)
        temporary.replace(path)


def _write_named(path: Path, image: Image.Image, comment: bytes) -> int:
    temporary = _temporary(path)
    try:
        with temporary.open("wb") as file:
            image.save(file, "JPEG", quality=QUALITY, comment=comment)
            size = file.tell()
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    return size


def _temporary(path: Path) -> Path:
    """The process id keeps two decoders of one duplicate apart."""
    return path.with_name(f".{path.name}.{os.getpid()}")
