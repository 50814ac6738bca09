"""The secret that tells the owner of a library from the other users of the machine.

A loopback address is open to every local user; the token is not.  It lies in the data
directory as `token`, one line, mode 0600, made at first start and never changed by itself:
deleting the file is how all sessions are ended.

The file appears complete or not at all (written aside, then linked), and whoever comes
second takes what is there, so two first starts agree.
"""

import contextlib
import os
import secrets
import stat
from pathlib import Path
from typing import Final

from runtime.errors import ActorUnusable

NAME: Final = "token"
#: bytes of entropy; the text is a third longer
ENTROPY: Final = 32
#: characters below which a file written by hand is no secret
SHORTEST: Final = 32


class TokenUnusable(ActorUnusable):
    """The token file cannot be trusted; the text says why and what to do."""


def obtain(data: Path) -> str:
    """The token of *data*, made now if there is none.

    Raises:
        TokenUnusable: see `read`; or the directory cannot be written.
    """
    path = data / NAME
    if not path.exists() and not path.is_symlink():
        try:
            _create(path)
        except OSError as error:
            raise TokenUnusable(f"{path}: cannot be written ({error.strerror})") from error
    return read(data)


def read(data: Path) -> str:
    """The token of *data*.

    Raises:
        TokenUnusable: there is none, it is no plain file of ours, others can read it, or it is
            too short to be a secret.
    """
    path = data / NAME
    remedy = "delete it to get a new one at the next start"
    try:
        # not blocking: somebody may have put a pipe there
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise TokenUnusable(f"{path}: cannot be read ({error.strerror})") from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            raise TokenUnusable(f"{path}: not a plain file of ours; {remedy}")
        if status.st_mode & 0o077:
            mode = stat.S_IMODE(status.st_mode)
            raise TokenUnusable(
                f"{path}: others can read it (mode {mode:04o}), it is no secret now; {remedy}"
            )
        text = file.read(4096).decode("ascii", "replace").strip()
    if len(text) < SHORTEST or not text.isprintable() or not text.isascii():
        raise TokenUnusable(f"{path}: holds no token of at least {SHORTEST} characters; {remedy}")
    return text


def _create(path: Path) -> None:
    aside = path.with_name(f".{NAME}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(f"{secrets.token_urlsafe(ENTROPY)}\n".encode())
            file.flush()
            os.fsync(descriptor)
        with contextlib.suppress(FileExistsError):  # somebody was faster: theirs is as good
            os.link(aside, path)
    finally:
        aside.unlink()
