"""The two small pictures of a content, as files.

`<derived>/ab/<hex>.256.jpg` and `.1024.jpg`, ab being the first two digits.  JPEG of quality
85, upright, sRGB, without metadata; the numbers are the long side at most, nothing is enlarged.
The small one is written first: whoever sees the large one has both.  A file that a power cut left
empty or torn is seen by its end (`find_pair`), and made again.

A damaged original is noted in the large one's comment, so that its pair is not taken for that
of a whole photo when a duplicate comes by.
"""

import os
from pathlib import Path
from typing import Final, NamedTuple

from PIL import Image

from actors.photo import files, pixels

LARGE: Final = 1024
SMALL: Final = 256
QUALITY: Final = 85

_DAMAGED: Final = b"damaged original"
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
    small = files.write_jpeg(
        thumbnail_path(derived, digest, SMALL), pixels.shrink(image, SMALL), QUALITY
    )
    large = files.write_jpeg(
        thumbnail_path(derived, digest, LARGE), image, QUALITY, _DAMAGED if damaged else b""
    )
    return Pair(small, large)
