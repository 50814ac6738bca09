"""The bytes of one original, read once and never touched.

Opened read-only, without moving its access time where the system permits, and without
waiting on what is no regular file.  What is no picture is told from the first bytes, so a
video of 40 GB costs one small read.
"""

import os
import stat
from typing import NamedTuple

from blake3 import blake3

from actors.photo.containers import HEAD_BYTES, expects_photo, name_other, sniff
from actors.photo.errors import BadPhoto, Busy, NotAPhoto, while_reading
from actors.photo.limits import DEFAULT_LIMITS, MIB, Limits

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class Original(NamedTuple):
    """One file, in memory."""

    name: bytes
    data: bytes
    digest: bytes  #: BLAKE3 of *data*, 32 bytes
    container: str  #: as `containers.sniff` names it


def read_original(path: bytes | str, limits: Limits = DEFAULT_LIMITS) -> Original:
    """Read the file at *path*.

    Raises:
        NotAPhoto: the bytes are something else, or there is no regular file.
        BadPhoto: empty, zeroed, of no known format though called a photo, too large, or not
            ours to read.
        Busy: the file changed while it was read.
        HostAway: the disk or share does not give it.
    """
    name = os.fsencode(path).rpartition(b"/")[2]
    try:
        descriptor = _open(path)
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            os.close(descriptor)
            raise NotAPhoto("not a regular file")
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor is no path
            head = file.read(HEAD_BYTES)
            _refuse_early(name, head, before.st_size, limits)
            # One byte more than there should be is enough to see that it grows.
            data = head + file.read(max(0, before.st_size - len(head)) + 1)
            after = os.fstat(descriptor)
    except OSError as error:
        raise while_reading(error) from error
    except MemoryError as error:
        raise Busy("not enough memory to read the file now") from error
    unchanged = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    if not unchanged or len(data) != before.st_size:
        raise Busy("the file changed while it was read; it is still being written")
    container = sniff(name, data)
    assert container is not None, "more bytes never take a container away"
    return Original(name, data, blake3(data).digest(), container)


def _open(path: bytes | str) -> int:
    try:
        return os.open(path, _FLAGS | os.O_NOATIME)
    except PermissionError:
        return os.open(path, _FLAGS)  # only a file's owner may leave its access time alone


def _refuse_early(name: bytes, head: bytes, size: int, limits: Limits) -> None:
    if sniff(name, head) is not None:
        if size > limits.file:
            raise BadPhoto(
                f"too large: {size / MIB:,.0f} MiB, and the limit is {limits.file / MIB:,.0f} MiB"
            )
        return
    other = name_other(head)
    if other is not None:
        raise NotAPhoto(f"not a photo: {other}")
    if not expects_photo(name):
        raise NotAPhoto("not a photo: " + ("of an unknown kind" if head else "an empty file"))
    if not head:
        raise BadPhoto("empty: the file has a photo's name and no bytes")
    if not head.strip(b"\0"):
        raise BadPhoto("zeroed: the file holds nothing but zero bytes where a photo should begin")
    raise BadPhoto("damaged: the file does not begin like any picture format")
