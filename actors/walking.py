"""What a walk finds in a folder, and how that differs from what is known.  No catalog here.

Everything in the tree is reported: what is no photo comes with the reason why it is left out,
so that the number of files adds up.  Links to files and folders are followed, each folder once
(by device and inode), which ends loops.  A folder that cannot be listed is an error of the
walk, not an empty folder: nothing below it counts as vanished.
"""

import errno
import os
import stat
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from actors.messages import SeenFile
from actors.photo.formats import skip_reason

#: folders that NAS boxes and desktops fill with their own thumbnails and deleted files
SYSTEM_FOLDERS = {b"@eaDir", b"#recycle", b"@Recycle", b"$RECYCLE.BIN", b"lost+found"}

Known = Mapping[bytes, tuple[int, int, int, int]]  # name → id, size, mtime_ns, ctime_ns


class Listing(msgspec.Struct, frozen=True):
    """One folder of the walk."""

    directory: bytes  #: relative to the root, b"" for the root itself
    files: list[SeenFile]
    error: str = ""  #: why it could not be listed, "" when it was


class Difference(msgspec.Struct, frozen=True):
    new: list[SeenFile]  #: new or changed
    vanished: list[int]  #: ids of known files that are not there


def walk(root: bytes, below: bytes = b"", *, deep: bool = True) -> Iterator[Listing]:
    """Folder *below* of *root* and, if *deep*, all folders in it, parents before children."""
    seen: set[tuple[int, int]] = set()
    waiting = [below]
    while waiting:
        directory = waiting.pop()
        path = os.path.join(root, directory) if directory else root  # noqa: PTH118 - bytes
        try:
            status = os.stat(path)  # noqa: PTH116 - bytes
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(path) as entries:
                files, folders = _sort(directory, entries)
        except OSError as error:
            yield Listing(directory, [], os.strerror(error.errno or errno.EIO))
            continue
        if deep:
            waiting += sorted(folders, reverse=True)
        yield Listing(directory, files)


def compare(listing: Listing, known: Known) -> Difference:
    """What the catalog must hear of *listing*, given what it knows of that folder."""
    new = []
    here = set()
    for file in listing.files:
        here.add(file.name)
        was = known.get(file.name)
        if was is None or was[1:] != (file.size, file.mtime_ns, file.ctime_ns):
            new.append(file)
    return Difference(new, [was[0] for name, was in known.items() if name not in here])


def _sort(
    directory: bytes, entries: Iterable[os.DirEntry[bytes]]
) -> tuple[list[SeenFile], list[bytes]]:
    files: list[SeenFile] = []
    folders: list[bytes] = []
    aside = _set_aside(directory)
    for entry in entries:
        try:
            if entry.is_dir():
                folders.append(directory + b"/" + entry.name if directory else entry.name)
                continue
            status = entry.stat()
        except OSError:
            # a link to nothing, or a file that went away between two looks
            status = entry.stat(follow_symlinks=False)
            skip = "dangling link"
        else:
            regular = stat.S_ISREG(status.st_mode)
            skip = (aside or skip_reason(entry.name)) if regular else "not a regular file"
        key = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        files.append(SeenFile(directory, entry.name, *key, skip))
    return files, folders


def _set_aside(directory: bytes) -> str:
    for part in directory.split(b"/"):
        if part in SYSTEM_FOLDERS:
            return f"in a system folder ({part.decode(errors='replace')})"
        if part.startswith(b"."):
            return "in a hidden folder"
    return ""
