"""The directory of sockets and shared pages of one run, and the lock of one data directory.

Anyone who can write into the run directory can speak as an actor, so it is ours alone: mode
0700, owner checked, made anew each run, below `$XDG_RUNTIME_DIR` where there is one.  The
lock lies in the data directory and is taken before anything binds: a second live ROUTER
binds an ipc path in use without an error and steals it.
"""

import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
from pathlib import Path

from runtime.errors import AlreadyRunning, RunDirUnsafe

#: sun_path of a unix socket holds 107 bytes and a NUL on Linux
MAX_ENDPOINT_BYTES = 107


def lock(path: Path) -> int:
    """Take the lock file at *path*; the descriptor holds it until it is closed.

    Raises:
        AlreadyRunning: another process holds it; its pid is in the file.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise AlreadyRunning(f"process {holder} already works on {path.parent}") from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def make(data: Path, run: str) -> Path:
    """A new run directory for *data*; what dead runs of the same data left is removed.

    Call it with the lock of *data* held.

    Raises:
        RunDirUnsafe: the base belongs to somebody else, is open to others, cannot be written,
            or its path is too long for a socket.
    """
    try:
        base = _base()
    except OSError as error:
        raise RunDirUnsafe(
            f"{error.filename}: no directory for sockets can be made: {error.strerror}; "
            "set XDG_RUNTIME_DIR to one of yours"
        ) from error
    prefix = hashlib.blake2b(os.fsencode(data.resolve()), digest_size=5).hexdigest()
    for leftover in base.glob(f"{prefix}-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    directory = base / f"{prefix}-{run}"
    longest = len(os.fsencode(directory / "supervisor.ipc"))
    if longest > MAX_ENDPOINT_BYTES:
        raise RunDirUnsafe(
            f"{directory}: {longest} bytes are too long for a socket path "
            f"(limit {MAX_ENDPOINT_BYTES}); set XDG_RUNTIME_DIR to a shorter directory"
        )
    try:
        directory.mkdir(mode=0o700)
    except OSError as error:
        raise RunDirUnsafe(f"{directory}: cannot be made: {error.strerror}") from error
    return directory


def _base() -> Path:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    parent = Path(runtime) if runtime and Path(runtime).is_dir() else Path(tempfile.gettempdir())
    base = parent / f"obscura-{os.getuid()}"
    base.mkdir(mode=0o700, exist_ok=True)
    status = base.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise RunDirUnsafe(f"{base} is not a directory of ours; remove it or set XDG_RUNTIME_DIR")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise RunDirUnsafe(f"{base} is open to others; run: chmod 700 {base}")
    return base


def endpoint(directory: Path, name: str, kind: str = "ipc") -> str:
    """Where *name* listens; *kind* has three letters at most."""
    return f"ipc://{directory}/{name}.{kind}"
