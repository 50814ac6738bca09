"""The way between versions."""

import re
import shutil
import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, make_url

from actors.library import database, migration
from actors.library.errors import MigrationFailed
from actors.library.schema import VERSION, metadata
from tests.actors.library.catalogs import Catalog, decoded, embedded

pytestmark = pytest.mark.anyio

NEXT = """
from alembic import op
import sqlalchemy as sa

revision = "{version:04}"
down_revision = "{before:04}"


def upgrade():
    with op.batch_alter_table("files") as files:  # copies the table, to which others point
        files.add_column(sa.Column("stars", sa.Integer))
    {more}


def downgrade():
    with op.batch_alter_table("files") as files:
        files.drop_column("stars")
"""


@pytest.fixture
def next_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Make the program one version newer than it is."""

    def write(more: str = "pass") -> None:
        scripts = tmp_path / "scripts 100%"
        shutil.copytree(migration.SCRIPTS, scripts)
        (scripts / "versions" / f"v{VERSION + 1:04}_next.py").write_text(
            NEXT.format(more=more, version=VERSION + 1, before=VERSION)
        )
        monkeypatch.setattr(migration, "SCRIPTS", scripts)
        for module in ("database", "reads"):
            monkeypatch.setattr(f"actors.library.{module}.VERSION", VERSION + 1)

    return write


def tables(path: Path) -> set[str]:
    connection = sqlite3.connect(path)
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
    connection.close()
    return names


def rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    found = connection.execute(sql).fetchall()
    connection.close()
    return found


def test_the_version_of_the_program_is_the_newest_revision():
    assert migration.head() == f"{VERSION:04}"


async def test_the_scripts_make_exactly_the_tables_of_the_program(catalog: Catalog):
    def ours(thing: object, name: str | None, kind: str, *_: object) -> bool:
        return not (kind == "table" and str(name).startswith("caption_words"))

    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"include_object": ours})
        return list(compare_metadata(context, metadata))

    async with catalog.writer._engine.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_the_scripts_spell_every_table_and_index_as_the_program_does(
    catalog: Catalog, tmp_path: Path
):
    """What Alembic does not compare: checks, partial indexes, AUTOINCREMENT."""
    declared = create_engine(f"sqlite:///{tmp_path}/declared.sqlite")
    metadata.create_all(declared)
    declared.dispose()
    spelled = """
        SELECT name, sql FROM sqlite_schema
        WHERE name NOT LIKE '%alembic%' AND name NOT LIKE 'caption_words%' AND type != 'trigger'
        ORDER BY name
    """

    def words(path: Path) -> list[tuple[object, list[str]]]:
        # Constraints of a table come in no particular order.
        return [
            (name, sorted(re.findall(r"[\w'=]+", str(sql)))) for name, sql in rows(path, spelled)
        ]

    assert words(tmp_path / "catalog.sqlite") == words(tmp_path / "declared.sqlite")


async def test_every_revision_goes_down_to_the_one_before_and_up_again(url: str, tmp_path: Path):
    where = make_url(url)
    await database.prepare(where)
    assert {table.name for table in metadata.sorted_tables} <= tables(tmp_path / "catalog.sqlite")
    await database.migrate(where, "0001")
    assert "forgotten" not in tables(tmp_path / "catalog.sqlite")
    (library,) = rows(
        tmp_path / "catalog.sqlite", "SELECT sql FROM sqlite_schema WHERE name='library'"
    )
    assert "paused_ns" not in str(library)
    assert "CHECK (id = 1)" in str(library)
    await database.migrate(where, "base")
    left = {name for name in tables(tmp_path / "catalog.sqlite") if "sqlite_" not in name}
    assert left == {"alembic_version"}
    assert await database.version_at(where) == 0
    await database.prepare(where)
    assert await database.version_at(where) == VERSION


async def test_a_new_catalog_needs_no_copy(catalog: Catalog, tmp_path: Path):
    assert not list(tmp_path.glob("*.before-*"))


async def test_an_upgrade_keeps_everything_and_a_copy_of_the_old(
    catalog: Catalog, tmp_path: Path, next_version
):
    await catalog.see(b"a.jpg")
    await catalog.settle(*[decoded(task) for task in await catalog.decodes()])
    await catalog.settle(*[embedded(task) for task in await catalog.embeds()])
    await catalog.die()  # so that the newest rows are still in the journal
    next_version()
    await catalog.open()
    assert await database.version_at(make_url(catalog.url)) == VERSION + 1
    assert (await catalog.totals()).indexed == 1
    assert rows(tmp_path / "catalog.sqlite", "SELECT name, stars FROM files") == [(b"a.jpg", None)]
    copy = tmp_path / f"catalog.sqlite.before-{VERSION + 1}"
    assert rows(copy, "SELECT version_num FROM alembic_version") == [(f"{VERSION:04}",)]
    assert rows(copy, "SELECT content, length(vector) FROM vectors") == [(1, 16)]
    assert rows(copy, "PRAGMA integrity_check") == [("ok",)]


async def test_a_library_of_the_first_version_is_upgraded_with_all_it_holds(
    catalog: Catalog, tmp_path: Path
):
    await catalog.index(b"a.jpg")
    await catalog.close()
    await database.migrate(make_url(catalog.url), "0001")
    await catalog.open()
    assert (await catalog.totals()).indexed == 1
    assert (await catalog.reader.info()).paused_ns is None
    copy = tmp_path / f"catalog.sqlite.before-{VERSION}"
    assert rows(copy, "SELECT version_num FROM alembic_version") == [("0001",)]


async def test_an_upgrade_that_fails_halfway_changes_nothing(
    catalog: Catalog, tmp_path: Path, next_version
):
    await catalog.index(b"a.jpg")
    await catalog.die()
    next_version("raise RuntimeError('power failure')")
    for _ in range(2):  # the copy of the first try is no obstacle to the second
        with pytest.raises(RuntimeError, match="power failure"):
            await catalog.open()
    assert "stars" not in str(rows(tmp_path / "catalog.sqlite", "SELECT sql FROM sqlite_schema"))
    assert rows(tmp_path / "catalog.sqlite", "SELECT * FROM alembic_version") == [
        (f"{VERSION:04}",)
    ]


async def test_an_upgrade_that_loses_references_is_rolled_back(
    catalog: Catalog, tmp_path: Path, next_version
):
    await catalog.index(b"a.jpg")
    await catalog.die()
    next_version("op.execute('DELETE FROM contents')")
    with pytest.raises(MigrationFailed, match="would point nowhere"):
        await catalog.open()
    assert rows(tmp_path / "catalog.sqlite", "SELECT count(*) FROM contents") == [(1,)]


async def test_a_half_copy_never_bears_the_name_of_a_whole_one(
    catalog: Catalog, tmp_path: Path, next_version
):
    await catalog.close()
    half = tmp_path / f"catalog.sqlite.before-{VERSION + 1}.partial"
    half.write_bytes(b"half a copy")
    next_version()
    await catalog.open()
    assert rows(tmp_path / f"catalog.sqlite.before-{VERSION + 1}", "PRAGMA integrity_check") == [
        ("ok",)
    ]
    assert not half.exists()
    await catalog.writer.dispose()
    await catalog.reader.close()
    await catalog.open()
