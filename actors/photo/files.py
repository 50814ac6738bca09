"""JPEG files that appear whole or not at all.

Written without a name and then linked: a writer that is killed meanwhile leaves nothing.  Where
the file system knows no files without a name, under a temporary one and renamed.  Not synced:
after a power cut a file may be empty or torn, and derived data can be made again.
"""

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from PIL import Image

#: what a file system says that has no files without a name, or a kernel that knows none
_NO_TMPFILE: Final = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL})


def write_jpeg(path: Path, image: Image.Image, quality: int, comment: bytes = b"") -> int:
    """Write *image* to *path*, in place of what is there; returns the size in bytes.

    Raises:
        OSError: the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path.parent, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno not in _NO_TMPFILE:
            raise
        return _write_named(path, image, quality, comment)
    with os.fdopen(descriptor, "wb") as file:
        image.save(file, "JPEG", quality=quality, comment=comment)
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


def _write_named(path: Path, image: Image.Image, quality: int, comment: bytes) -> int:
    temporary = _temporary(path)
    try:
        with temporary.open("wb") as file:
            image.save(file, "JPEG", quality=quality, comment=comment)
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
