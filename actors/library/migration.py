"""Running Alembic from the program: no ini file, no engine of its own, one transaction."""

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from actors.library.errors import MigrationFailed

SCRIPTS: Final = Path(__file__).with_name("migrations")


def configuration(connection: Connection | None = None) -> Config:
    config = Config()
    # The option is a template: a percent sign in a folder's name has to be doubled.
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def run(connection: Connection, revision: str) -> None:
    """Upgrade or downgrade to *revision* in *connection*'s transaction; "base" is nothing at all.

    Raises:
        MigrationFailed: rows point nowhere afterwards; the caller's transaction rolls back.
    """
    config = configuration(connection)
    stored = connection.dialect.has_table(connection, "alembic_version")
    current = (
        connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        if stored
        else None
    )
    down = revision == "base" or (current is not None and revision < current)
    (command.downgrade if down else command.upgrade)(config, revision)
    if connection.dialect.name == "sqlite":
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchmany(1)
        if broken:
            raise MigrationFailed(f"table {broken[0][0]} would point nowhere at schema {revision}")


def head() -> str:
    """The newest revision there is."""
    return ScriptDirectory.from_config(configuration()).get_current_head() or ""
