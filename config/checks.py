"""What the file system must grant before anything starts.

Asked by the supervisor once, after `load` and before the first child, so that a wrong folder
ends in one line and not in a restart loop.  Each failure is an error of its own with its own
exit status (table in `errors`).  Passing is no guarantee: a disk can fill up a minute later,
and whoever writes has to say so itself.

The checks look and do not change, but for one file made and removed in an existing data
directory: permission bits do not tell about read-only mounts, quotas and root squashing; only
writing does.

Originals on a network disk are fine, they are what a NAS is for.  The data directory is not:
SQLite's write-ahead log shares memory between processes through a file, which network file
systems do not support, and corrupts there in silence.
"""

import errno
import os
import shutil
import tempfile
from pathlib import Path

from config.errors import (
    DataUnwritable,
    DiskFull,
    FoldersOverlap,
    NetworkDisk,
    OriginalsMissing,
    OriginalsUnreadable,
)
from config.settings import Settings

MOUNTS = Path("/proc/self/mounts")
LEAST_FREE = 2_000_000_000  # bytes: the write-ahead log, a migration's copy and a day of thumbnails
#: bytes below which a running system stops: the journal can still be folded into the database
LEAST_LEFT = 200_000_000

#: File systems whose files live on another machine, as /proc/mounts calls them.
NETWORK = frozenset(
    {
        "9p",
        "afs",
        "ceph",
        "cifs",
        "davfs",
        "fuse.davfs",
        "fuse.glusterfs",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.sshfs",
        "glusterfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "smb3",
        "smbfs",
    }
)


def check(settings: Settings, *, mounts: Path = MOUNTS, least_free: int = LEAST_FREE) -> None:
    """Pass when *settings* can be started with.

    Args:
        settings: with absolute paths, as `load` gives them.
        mounts: table of mounted file systems, in the form of /proc/self/mounts.
        least_free: bytes that must be free at the data directory.

    Raises:
        ConfigError: the first thing found wrong, as one of its subclasses.
    """
    check_originals(settings)
    check_overlap(settings)
    check_disk(settings, mounts)
    check_writable(settings.data)
    check_writable(settings.library.derived)
    check_room(settings.data, least_free)


def check_originals(settings: Settings) -> None:
    """Every folder of photos is there and may be listed."""
    if not settings.originals:
        raise OriginalsMissing(
            "no folder of photos is named: use --originals, ORIGINALS_PATH or `originals`"
        )
    for folder in settings.originals:
        try:
            with os.scandir(folder) as entries:
                next(entries, None)
        except FileNotFoundError:
            meant = _nearest_folder(folder)
            hint = f"did you mean {meant}?" if meant else "is its disk mounted?"
            raise OriginalsMissing(
                f"originals: no such folder; {hint}", where=str(folder)
            ) from None
        except NotADirectoryError:
            raise OriginalsMissing(
                "originals: not a folder; name the folder it is in", where=str(folder)
            ) from None
        except OSError as error:
            raise OriginalsUnreadable(
                f"originals: cannot be listed: {error.strerror}; give this user read access",
                where=str(folder),
            ) from None


def check_overlap(settings: Settings) -> None:
    """No folder lies in another: thumbnails would be taken for photos, photos be met twice."""
    own = {
        "data": settings.data,
        "library.derived": settings.library.derived,
        "library.database": settings.database_path.parent,
    }
    for folder in settings.originals:
        for name, path in own.items():
            if _inside(path, folder):
                raise FoldersOverlap(
                    f"`{name}` lies in the originals {folder}, which are only ever read;"
                    " choose a place outside",
                    where=str(path),
                )
            if name != "library.database" and _inside(folder, path):
                raise FoldersOverlap(
                    f"originals lie in `{name}` {path}; choose a place outside for it",
                    where=str(folder),
                )
    for folder in settings.originals:
        for other in settings.originals:
            if folder is not other and _inside(folder, other):
                raise FoldersOverlap(
                    f"originals lie in the originals {other}; name only the outer folder",
                    where=str(folder),
                )


def check_disk(settings: Settings, mounts: Path = MOUNTS) -> None:
    """Data and database are on a disk of this machine."""
    for path in (settings.data, settings.database_path):
        kind = file_system(path, mounts)
        if kind in NETWORK:
            raise NetworkDisk(
                f"is on a network file system ({kind}), where the database would break;"
                " choose a local disk",
                where=str(path),
            )


def check_writable(folder: Path) -> None:
    """Files can be made in *folder*, or it can be made itself."""
    there = _existing(folder)
    reason = ""
    if there == folder:
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            reason = error.strerror or str(error)
    elif not there.is_dir():
        reason = os.strerror(errno.ENOTDIR)
    elif not os.access(there, os.W_OK | os.X_OK, effective_ids=True):
        read_only = os.statvfs(there).f_flag & os.ST_RDONLY
        reason = os.strerror(errno.EROFS if read_only else errno.EACCES)
    if reason:
        raise DataUnwritable(
            f"cannot be written: {reason}; choose another place or give this user access",
            where=str(folder),
        )


def room(folder: Path) -> int:
    """Bytes that may still be written at *folder*, which need not exist yet."""
    return shutil.disk_usage(_existing(folder)).free


def check_room(folder: Path, least_free: int = LEAST_FREE) -> None:
    """There is room to work at *folder*."""
    free = room(folder)
    if free < least_free:
        raise DiskFull(
            f"only {free / 1e9:.1f} GB free, {least_free / 1e9:.1f} GB are needed;"
            " free some or choose another place for `data`",
            where=str(folder),
        )


def file_system(path: Path, mounts: Path = MOUNTS) -> str:
    """Type of the file system that *path* is or would be on, "" where it cannot be told."""
    try:
        table = mounts.read_bytes()
    except OSError:
        return ""  # no /proc: then nothing can be said, and the start is not to fail of it
    real = os.path.realpath(path)
    best, kind = "", ""
    for line in table.splitlines():
        fields = line.split(b" ")
        if len(fields) < 3:
            continue
        # Blanks and line breaks in a mount point are written as octal escapes.
        point = os.fsdecode(fields[1].decode("unicode_escape").encode("latin-1"))
        # >=: of two mounts at one point, the later covers the earlier.
        if _inside_text(real, point) and len(point) >= len(best):
            best, kind = point, os.fsdecode(fields[2])
    return kind


def _existing(path: Path) -> Path:
    """*path* or its nearest ancestor that exists."""
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    return path


def _nearest_folder(path: Path) -> Path | None:
    """The folder that somebody who wrote *path*, which does not exist, may have meant."""
    there = _existing(path)
    missing, *rest = path.relative_to(there).parts
    try:
        with os.scandir(there) as entries:
            names = [each.name for each in entries if each.is_dir()]
    except OSError:
        return None
    import difflib  # noqa: PLC0415 - costs 3 ms, and only ever needed on the way out

    for near in difflib.get_close_matches(missing, names, n=1):
        whole = there.joinpath(near, *rest)
        return whole if whole.is_dir() else there / near
    return None


def _inside(path: Path, folder: Path) -> bool:
    return _inside_text(os.path.realpath(path), os.path.realpath(folder))


def _inside_text(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
