"""Database URLs as people write them, and as the database layer takes them.

The names people have in their `.env` are those of synchronous drivers; the catalog uses
asynchronous ones.  Nothing here opens anything.
"""

from pathlib import Path
from urllib.parse import unquote

from config.paths import absolute

SQLITE = "sqlite+aiosqlite:///"
POSTGRES = "postgresql+asyncpg://"

_SQLITE_NAMES = frozenset({"sqlite", "sqlite+aiosqlite", "sqlite+pysqlite"})
_POSTGRES_NAMES = frozenset(
    {
        "postgres",
        "postgresql",
        "postgresql+asyncpg",
        "postgresql+psycopg",
        "postgresql+psycopg2",
    }
)


def async_url(url: str, base: Path, home: str) -> str:
    """*url* with the asynchronous driver; a relative SQLite path is taken from *base*.

    `sqlite:///a/b` is relative, `sqlite:////a/b` absolute, and `%41` is an A, as in SQLAlchemy.

    Raises:
        ValueError: *url* names no database we know, told as the end of a sentence without
            the URL itself, which may hold a password.
    """
    scheme, colon, rest = url.partition("://")
    if not colon:
        raise ValueError("must be a URL such as sqlite:///catalog.sqlite")
    if scheme in _POSTGRES_NAMES:
        return POSTGRES + rest
    if scheme not in _SQLITE_NAMES:
        raise ValueError("must be a sqlite or postgresql URL")
    if not rest.startswith("/"):
        raise ValueError("needs three slashes before a relative path, four before an absolute one")
    path = unquote(rest[1:])
    if path in ("", ":memory:"):
        raise ValueError("must name a file: a database in memory would lose the library")
    if "?" in rest:
        raise ValueError("must be a plain path: options after `?` are not understood")
    return sqlite_url(absolute(path, base, home))


def sqlite_url(path: Path) -> str:
    """The URL of the SQLite file at the absolute *path*."""
    return SQLITE + str(path).replace("%", "%25").replace("?", "%3F")
