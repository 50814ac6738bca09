"""A database whose end is missing is told before anything is written to it."""

import os
import sqlite3

import pytest

from actors.library.errors import CatalogCorrupt
from actors.library.header import refuse_cut_off


@pytest.fixture(params=[4096, 16_384, 65_536])
def database(tmp_path, request):
    """A database in WAL mode, at rest."""
    path = tmp_path / "catalog.sqlite"
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA page_size={request.param}")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE things (x)")
    connection.executemany("INSERT INTO things VALUES (?)", [(os.urandom(1000),)] * 300)
    connection.commit()
    connection.close()
    return path


def test_a_whole_database_passes(database):
    refuse_cut_off(database)


@pytest.mark.parametrize("lost", [1, 5000, 200_000])
def test_a_database_without_its_end_is_refused(database, lost):
    size = database.stat().st_size
    os.truncate(database, size - lost)
    with pytest.raises(CatalogCorrupt) as info:
        refuse_cut_off(database)
    assert str(info.value) == (
        f"catalog {database} is damaged (cut off: {size - lost:,} of {size:,} bytes);"
        " put a copy of it back, or move it away to have everything indexed anew"
    )


def test_while_a_journal_waits_the_length_says_nothing(database):
    os.truncate(database, database.stat().st_size - 1)
    database.with_name("catalog.sqlite-wal").write_bytes(b"frames")
    refuse_cut_off(database)


@pytest.mark.parametrize("data", [None, b"", b"too short", os.urandom(4096)])
def test_what_is_no_database_is_left_to_sqlite(tmp_path, data):
    if data is not None:
        (tmp_path / "file").write_bytes(data)
    refuse_cut_off(tmp_path / "file")


def test_a_database_that_is_being_written_always_passes(database):
    connection = sqlite3.connect(database)
    for number in range(50):
        connection.execute("INSERT INTO things VALUES (?)", (os.urandom(3000),))
        connection.commit()
        if number % 10 == 9:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        refuse_cut_off(database)
    connection.close()
    refuse_cut_off(database)
