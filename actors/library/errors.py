"""What can go wrong with the catalog, and whose fault it is.

LibraryError
├─ CatalogCorrupt      host   the file is damaged
├─ CatalogUnavailable  host   it cannot be opened, read or written, for want of permission say
│  └─ DiskTrouble      host   … because the disk is full or fails
├─ CatalogBusy         busy   somebody else holds the write lock
├─ CatalogNotReady     busy   the catalog has not made or upgraded it yet (readers only)
├─ NotACatalog         host   a healthy database, but of another program
├─ SchemaTooNew        host   written by a newer Obscura
├─ MigrationFailed     host   the upgrade left broken references and was rolled back
├─ SpaceConflict       worker the name of a space is taken by different vectors
└─ UnknownSpace        worker no space of that name was registered

What does not pass by itself is `ActorUnusable` too: whoever meets it ends with its one line.
Damage and a bad disk meet any statement at any time, and nobody may go on to write over them:
they are `HostUnusable`, which ends the whole system.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, Final

from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from actors.messages import Fault
from runtime.errors import ActorUnusable, HostUnusable

#: what to do about a damaged catalog
REMEDY: Final = "put a copy of it back, or move it away to have everything indexed anew"


class LibraryError(Exception):
    """Base of all; `fault` says what the caller should do (see `actors.messages.Failed`)."""

    fault: ClassVar[Fault] = "host"


class CatalogCorrupt(LibraryError, HostUnusable):
    """The database file is damaged or no database at all."""


class CatalogUnavailable(LibraryError):
    """The database cannot be opened, read or written for a reason outside of it."""


class DiskTrouble(CatalogUnavailable, HostUnusable):
    """The disk below the database is full or fails; the last transaction was not committed."""


class CatalogBusy(LibraryError):
    """The write lock was not free within the busy timeout."""

    fault = "busy"


class CatalogNotReady(LibraryError):
    """A reader came before the catalog had made or upgraded the database."""

    fault = "busy"


class NotACatalog(LibraryError, ActorUnusable):
    """The database holds another program's tables; nothing was written to it."""


class SchemaTooNew(LibraryError, ActorUnusable):
    """The database was written by a newer version; nothing was written to it."""


class MigrationFailed(LibraryError, ActorUnusable):
    """An upgrade would have left dangling references; it was rolled back."""


class SpaceConflict(LibraryError):
    """A space of this name exists with another revision, size or precision."""

    fault = "worker"


class UnknownSpace(LibraryError):
    """No space of this name was registered."""

    fault = "worker"


def _translation(url: URL, error: sqlite3.Error) -> LibraryError | None:
    """SQLite's primary result codes in our words; None for what is our own mistake."""
    where = f"catalog {url.database}"
    # An extended code keeps the primary one in its low byte.  Errors that the driver makes up
    # itself (a value out of range, a closed connection) carry none.
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return CatalogCorrupt(f"{where} is damaged ({error}); {REMEDY}")
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return CatalogBusy(f"{where} is locked by another program; close it")
        case sqlite3.SQLITE_FULL:
            return DiskTrouble(f"{where}: the disk is full; free some space and start again")
        case sqlite3.SQLITE_IOERR:
            return DiskTrouble(
                f"{where} cannot be read or written ({error}); see whether its disk is full or"
                " fails, and start again"
            )
        case (
            sqlite3.SQLITE_READONLY
            | sqlite3.SQLITE_CANTOPEN
            | sqlite3.SQLITE_PERM
            | sqlite3.SQLITE_AUTH
        ):
            return CatalogUnavailable(
                f"{where} cannot be used ({error}); check its folder and its permissions"
            )
    return None


@contextmanager
def translated(url: URL) -> Iterator[None]:
    """Give the driver's errors about the database at *url* their names from above."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        # A pragma that fails while connecting comes bare, everything later comes wrapped.
        cause = error.orig if isinstance(error, DBAPIError) else error
        translation = _translation(url, cause) if isinstance(cause, sqlite3.Error) else None
        if translation is None:
            raise
        raise translation from error
