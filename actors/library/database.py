"""Opening the database: engines, pragmas, the version check and the way to a newer version.

A normal start compares one row and never imports Alembic (0.35 s).  The version is Alembic's own
row, `alembic_version`, whose revisions are numbered: a second number of our own could disagree.

Writers begin with BEGIN IMMEDIATE.  The driver's own habit, a transaction that starts as a
reader and asks for the lock at its first write, would let two statements of one verb see
different states.  One connection is enough: verbs are short and SQLite has one write lock.
"""

import os
import sqlite3
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote

import anyio
import anyio.to_thread
from sqlalchemy import Connection, Text, column, event, inspect, select, table
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from actors.library.errors import CatalogUnavailable, NotACatalog, SchemaTooNew
from actors.library.header import refuse_cut_off
from actors.library.schema import VERSION

#: Milliseconds to wait for the write lock; only a foreign program can hold it.
BUSY_MS: Final = 5_000
#: Pages of 16 KB hold seven vectors with little waste; four of 4 KB would waste half.  Only a
#: database without tables takes it, and it has to come before WAL.
PAGE_SIZE: Final = 16_384
#: Random digests land on pages all over an index: 64 MiB keep its upper levels at hand.
CACHE_KIB: Final = 65_536
#: Questions of one process that are answered at the same time; each costs a thread.
READERS: Final = 4
#: The journal is cut back to this after a checkpoint that had to wait for a slow reader.
JOURNAL_BYTES: Final = 64 << 20

_WRITER: Final = (
    f"page_size={PAGE_SIZE}",
    "journal_mode=WAL",
    "synchronous=FULL",
    f"busy_timeout={BUSY_MS}",
    f"cache_size=-{CACHE_KIB}",
    f"journal_size_limit={JOURNAL_BYTES}",
    # What is deleted is overwritten; else a forgotten name could still be read from the file.
    # Some builds of SQLite do so by themselves, others do not.
    "secure_delete=ON",
)
_READER: Final = ("query_only=ON", f"busy_timeout={BUSY_MS}")

_STORED = select(column("version_num", Text())).select_from(table("alembic_version"))


def writer_engine(url: URL, *, foreign_keys: bool = True) -> AsyncEngine:
    """An engine of one connection.  A migration recreates tables and needs *foreign_keys* off."""
    engine = create_async_engine(url, pool_size=1, max_overflow=0, pool_timeout=None)
    if engine.dialect.name == "sqlite":
        _set_pragmas(engine, (*_WRITER, f"foreign_keys={'ON' if foreign_keys else 'OFF'}"))
        # The driver must not begin anything by itself; `_begin` does.
        event.listen(engine.sync_engine, "connect", _leave_transactions_to_us)
        event.listen(engine.sync_engine, "begin", _begin)
    return engine


def reader_engine(url: URL) -> AsyncEngine:
    """An engine that cannot write, and in which every statement is a transaction of its own."""
    sqlite = url.get_backend_name() == "sqlite"
    arguments: dict[str, Any] = {}
    if sqlite:
        name = f"file:{quote(url.database or '')}"
        url = url.set(database=name, query={"mode": "ro", "uri": "true"})
    else:
        arguments["server_settings"] = {"default_transaction_read_only": "on"}
    engine = create_async_engine(
        url,
        pool_size=READERS,
        max_overflow=0,
        pool_timeout=None,
        isolation_level="AUTOCOMMIT",
        connect_args=arguments,
    )
    if sqlite:
        _set_pragmas(engine, _READER)
    return engine


def _set_pragmas(engine: AsyncEngine, pragmas: tuple[str, ...]) -> None:
    def on_connect(connection: Any, _record: Any) -> None:
        try:
            cursor = connection.cursor()
            for pragma in pragmas:
                cursor.execute(f"PRAGMA {pragma}")
            cursor.close()
        except BaseException:
            # The pool would drop it as it is, and its thread would outlive the event loop.
            connection.close()
            raise

    event.listen(engine.sync_engine, "connect", on_connect)


def _leave_transactions_to_us(connection: Any, _record: Any) -> None:
    connection.isolation_level = None


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


async def stored_version(connection: AsyncConnection) -> int:
    """The version of the database; 0 for an empty one.

    Raises:
        NotACatalog: it holds tables, but not ours.
        SchemaTooNew: it is newer than this program.
    """
    # a reader's engine has the path as a quoted URI
    where = f"catalog {unquote((connection.engine.url.database or '').removeprefix('file:'))}"
    tables = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
    if "alembic_version" not in tables:
        if tables:
            raise NotACatalog(f"{where} is the database of another program; choose another file")
        return 0
    stored = (await connection.execute(_STORED)).scalar()
    if stored is None:
        return 0
    if not str(stored).isdigit() or "library" not in tables:
        raise NotACatalog(f"{where} is the database of another program; choose another file")
    if int(stored) > VERSION:
        raise SchemaTooNew(
            f"{where} has schema {int(stored)}, this program knows {VERSION}; use a newer Obscura"
        )
    return int(stored)


async def version_at(url: URL) -> int:
    """`stored_version` of the database at *url*, which is neither made nor touched."""
    if url.get_backend_name() == "sqlite":
        file = anyio.Path(url.database or "")
        if not await file.exists():
            if not await file.parent.is_dir():
                raise CatalogUnavailable(f"catalog {file}: there is no folder {file.parent}")
            return 0
        if not await file.is_file():
            raise CatalogUnavailable(f"catalog {file} is not a file; choose another path")
        await anyio.to_thread.run_sync(refuse_cut_off, Path(file))
    engine = reader_engine(url)
    try:
        async with engine.connect() as connection:
            return await stored_version(connection)
    finally:
        await engine.dispose()


async def prepare(url: URL) -> None:
    """Bring the database at *url* to the present version, making it when there is none."""
    version = await version_at(url)
    if version == VERSION:
        return
    if version and url.get_backend_name() == "sqlite":
        await anyio.to_thread.run_sync(_copy, Path(url.database or ""))
    await migrate(url, f"{VERSION:04}")


def _copy(database: Path) -> None:
    """Copy *database* beside itself before it is upgraded; a half copy never bears the name.

    By SQLite's backup: a plain copy would miss what is still in the journal.
    """
    copy = database.with_name(f"{database.name}.before-{VERSION}")
    partial = copy.with_name(f"{copy.name}.partial")
    partial.unlink(missing_ok=True)
    source, target = sqlite3.connect(database), sqlite3.connect(partial)
    try:
        source.backup(target)
    finally:
        source.close()
        target.close()
    with partial.open("rb") as written:
        os.fsync(written.fileno())
    partial.replace(copy)


async def migrate(url: URL, revision: str) -> None:
    """Take the database up or down to *revision* in one transaction."""
    from actors.library import migration  # noqa: PLC0415  Alembic, only when there is work for it

    engine = writer_engine(url, foreign_keys=False)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(migration.run, revision)
    finally:
        await engine.dispose()
