"""Takes what was said of a file out of kept lines.

At the usual level no line names a photo; at `debug` lines do, and libraries may.  A line that
names the path or a file, in any of the forms in which names get into text, or a thumbnail, is
overwritten where it stands by a record of the same length that says only when and of whom.  So
the supervisor, which appends to the same file, is not disturbed, and nothing has to move.  A
line too many is no harm: another photo of the same name costs one.
"""

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from actors.library.paths import printable
from actors.logs import files
from runtime.log import encode

WIPED = "forgotten"
#: bytes of a name below which every other line would hold it by accident
SHORTEST = 4
_HEX = re.compile(rb"[0-9a-f]{64}")


def wipe(folder: Path, path: bytes, names: Iterable[bytes], digests: Iterable[bytes]) -> int:
    """Overwrite the lines in *folder* that name one of the given; returns how many.

    Args:
        folder: of the logs.
        path: absolute; a folder stands for all below it.
        names: of the files alone, for lines that name them apart from their folder.
        digests: of the photos, which their thumbnails are named by.

    Raises:
        OSError: a file is there and cannot be changed.
    """
    needles = _forms(path.rstrip(b"/"))
    needles |= {form for name in names if len(name) >= SHORTEST for form in _forms(name)}
    thumbnails = {digest.hex().encode() for digest in digests}
    count = 0
    for name in files.names(folder):
        for kept in files.all_of(folder, name):
            count += _wipe_file(kept, needles, thumbnails)
    return count


def _forms(name: bytes) -> set[bytes]:
    """*name* as it may stand in a line: as text or as Python shows it, each in JSON or not."""
    shown = {os.fsdecode(name), printable(name), repr(name)[2:-1]}
    shown |= {json.dumps(each)[1:-1] for each in shown}
    raw = {each.encode("utf-8", "surrogateescape") for each in shown}
    raw |= {each.replace(b"\\", b"\\\\") for each in raw}
    return {each for each in raw if each}


def _wipe_file(path: Path, needles: set[bytes], thumbnails: set[bytes]) -> int:
    count = position = 0
    try:
        file = path.open("r+b")
    except FileNotFoundError:
        return 0
    with file:
        for line in file:
            names = any(needle in line for needle in needles)
            if names or not thumbnails.isdisjoint(_HEX.findall(line)):
                text = line.rstrip(b"\n")
                os.pwrite(file.fileno(), _anonymous(text), position)
                count += 1
            position += len(line)
        if count:
            os.fsync(file.fileno())
    return count


def _anonymous(line: bytes) -> bytes:
    """A record of the length of *line* without what it said."""
    head: dict[str, Any] = {}
    try:
        record = msgspec.json.decode(line, type=dict[str, Any])
        head = {key: record[key] for key in ("timestamp", "from", "level")}
    except (msgspec.DecodeError, KeyError):
        pass  # a torn line, or what a library printed
    short = encode(head | {"event": WIPED}).encode()
    return (short if len(short) <= len(line) else b"").ljust(len(line))
