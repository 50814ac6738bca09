"""Opening the database: what is refused, what is upgraded, and what a dead writer leaves."""

import os
import signal
import sqlite3
import sys
from pathlib import Path

import anyio
import pytest
from sqlalchemy.engine import URL

from actors.library import database
from actors.library.errors import (
    CatalogBusy,
    CatalogCorrupt,
    CatalogNotReady,
    CatalogUnavailable,
    NotACatalog,
    SchemaTooNew,
)
from actors.library.reads import open_reader
from actors.library.schema import VERSION
from actors.library.writer import open_writer
from tests.actors.library.catalogs import Catalog

pytestmark = pytest.mark.anyio


def at(path: Path) -> str:
    return URL.create("sqlite+aiosqlite", database=str(path)).render_as_string()


async def opened(url: str):
    return await open_writer(url, run="run", epoch=1, now_ns=1)


async def test_a_file_that_is_no_database_is_refused_in_one_line(tmp_path: Path):
    path = tmp_path / "catalog.sqlite"
    path.write_bytes(b"these are not the bytes you are looking for " * 1000)
    before = path.read_bytes()
    for opening in (opened, open_reader):
        with pytest.raises(CatalogCorrupt, match=r"catalog .*catalog\.sqlite is damaged") as info:
            await opening(at(path))
        assert "\n" not in str(info.value)
    assert path.read_bytes() == before


async def test_damage_that_shows_only_later_is_told_as_such(catalog: Catalog, tmp_path: Path):
    await catalog.index(*[b"%d" % i for i in range(50)])
    await catalog.writer.checkpoint()
    await catalog.die()
    path = tmp_path / "catalog.sqlite"
    whole = path.read_bytes()
    page = database.PAGE_SIZE
    # Every page but the first three, which hold the list of the tables.
    path.write_bytes(whole[: 3 * page] + b"\xff" * (len(whole) - 3 * page))
    with pytest.raises(CatalogCorrupt):
        await catalog.open()
    path.write_bytes(whole)
    await catalog.open()


async def test_a_folder_that_is_not_there_is_the_hosts_fault(tmp_path: Path):
    for opening in (opened, open_reader):
        with pytest.raises(CatalogUnavailable, match="no folder") as info:
            await opening(at(tmp_path / "away" / "catalog.sqlite"))
        assert info.value.fault == "host"


async def test_a_folder_in_place_of_the_file_is_told(tmp_path: Path):
    for opening in (opened, open_reader):
        with pytest.raises(CatalogUnavailable, match="not a file"):
            await opening(at(tmp_path))


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
async def test_a_file_that_cannot_be_written_is_told(catalog: Catalog, tmp_path: Path):
    await catalog.die()
    (tmp_path / "catalog.sqlite").chmod(0o400)
    with pytest.raises(CatalogUnavailable):
        await catalog.open()
    (tmp_path / "catalog.sqlite").chmod(0o600)
    await catalog.open()


async def test_another_programs_database_is_left_alone(tmp_path: Path):
    path = tmp_path / "theirs.sqlite"
    with sqlite3.connect(path) as theirs:
        theirs.execute("CREATE TABLE songs (id INTEGER)")
    theirs.close()
    before = path.read_bytes()
    for opening in (opened, open_reader):
        with pytest.raises(NotACatalog, match="another program"):
            await opening(at(path))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["theirs.sqlite"]


async def test_another_program_that_uses_alembic_is_left_alone_too(tmp_path: Path):
    path = tmp_path / "theirs.sqlite"
    with sqlite3.connect(path) as theirs:
        theirs.execute("CREATE TABLE alembic_version (version_num TEXT)")
        theirs.execute("INSERT INTO alembic_version VALUES ('0001')")
    theirs.close()
    with pytest.raises(NotACatalog):
        await opened(at(path))


async def test_a_newer_schema_is_refused_and_untouched(catalog: Catalog, tmp_path: Path):
    await catalog.close()
    path = tmp_path / "catalog.sqlite"
    with sqlite3.connect(path) as newer:
        newer.execute("UPDATE alembic_version SET version_num = '0099'")
    newer.close()
    before = path.read_bytes()
    for opening in (opened, open_reader):
        with pytest.raises(SchemaTooNew, match=f"schema 99, this program knows {VERSION}"):
            await opening(at(path))
    assert path.read_bytes() == before
    with sqlite3.connect(path) as older:
        older.execute("UPDATE alembic_version SET version_num = ?", [f"{VERSION:04}"])
    older.close()
    await catalog.open()


async def test_a_lock_that_somebody_holds_is_a_busy_catalog(
    catalog: Catalog, tmp_path: Path, monkeypatch
):
    monkeypatch.setattr(database, "_WRITER", (*database._WRITER, "busy_timeout=10"))
    await catalog.restart()
    other = sqlite3.connect(tmp_path / "catalog.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(CatalogBusy) as info:
        await catalog.see(b"a")
    assert info.value.fault == "busy"
    other.execute("ROLLBACK")
    other.close()
    await catalog.see(b"a")


async def test_an_older_schema_makes_readers_wait_for_the_catalog(
    catalog: Catalog, tmp_path: Path, monkeypatch
):
    monkeypatch.setattr("actors.library.reads.VERSION", VERSION + 1)
    with pytest.raises(CatalogNotReady, match=f"schema {VERSION}, this program reads"):
        await open_reader(catalog.url)


async def test_the_database_is_made_as_it_has_to_be(catalog: Catalog):
    async with catalog.writer._engine.connect() as connection:
        for pragma, value in {
            "page_size": 16384,
            "journal_mode": "wal",
            "synchronous": 2,
            "foreign_keys": 1,
            "busy_timeout": database.BUSY_MS,
        }.items():
            assert (await connection.exec_driver_sql(f"PRAGMA {pragma}")).scalar() == value


async def test_a_path_may_hold_anything_a_folder_may_be_called(tmp_path: Path):
    folder = tmp_path / "a b%20c#d ü'"
    folder.mkdir()
    writer = await opened(at(folder / "catalog.sqlite"))
    reader = await open_reader(at(folder / "catalog.sqlite"))
    assert await reader.feed_head() == 0
    await reader.close()
    await writer.close(1)
    assert os.listdir(folder) == ["catalog.sqlite"]


async def test_a_normal_start_does_not_import_alembic(catalog: Catalog):
    await catalog.close()
    program = f"""
import asyncio, sys
from actors.library.reads import open_reader
assert "actors.library.queue" not in sys.modules  # a reader has no use for the write half
from actors.library.writer import open_writer

async def main():
    writer = await open_writer({catalog.url!r}, run="r", epoch=1, now_ns=1)
    reader = await open_reader({catalog.url!r})
    await reader.close()
    await writer.close(1)

asyncio.run(main())
print(sorted(name for name in ("alembic", "mako", "numpy", "zmq") if name in sys.modules))
"""
    done = await anyio.run_process([sys.executable, "-c", program])
    assert done.stdout == b"[]\n"
    await catalog.open()


async def test_what_was_committed_survives_the_death_of_the_writer(url: str):
    """SIGKILL between two commits, with everything still in the journal."""
    program = f"""
import asyncio, os, signal
from actors.library.writer import open_writer
from actors.messages import SeenFile

async def main():
    writer = await open_writer({url!r}, run="r", epoch=1, now_ns=1)
    await writer.seen(b"/photos", [SeenFile(b"", b"a", 1, 1, 1)], 0, 1)
    await writer.lease("decode", 1, "decode.0", 1, 1)
    async with writer._transaction(1) as tx:
        await tx.connection.exec_driver_sql("DELETE FROM tasks")
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""
    died = await anyio.run_process([sys.executable, "-c", program], check=False)
    assert died.returncode == -signal.SIGKILL
    # A reader may be the first to come; it has to recover the journal by itself.
    reader = await open_reader(url)
    assert (await reader.totals()).files == 1
    await reader.close()
    catalog = Catalog(url)
    await catalog.open()
    assert await catalog.counts("decode") == (1, 0, 0, 0)
    assert await catalog.reader.miscounted() == []
    await catalog.close()
