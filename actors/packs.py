"""Which packs serve a library, for whoever has to load one.

The catalog's database says it (`library.spaces`).  Processes that hold a model ask when they
start, and commands ask before anything runs; neither needs the machinery of the library, which
takes a third of a second to import, for three columns.  So they are read here with the driver
that Python brings.  A database that cannot be read says nothing here; the catalog tells why.

A space is named by the manifest of its pack, and found by the pack's name in the folders where
packs lie.  A task or a query names the pack too: so who computes needs to remember nothing, and
cannot be wrong about who serves.
"""

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import msgspec

from actors.library.space import Space
from models.errors import ModelsError
from models.pack import Pack, find_pack, load_pack

BUSY_S = 5.0
_SPACES = """
    SELECT name, pack, state FROM spaces
    WHERE state != 'retired' OR EXISTS (
        SELECT 1 FROM counters
        WHERE kind = 'vector' AND counters.state = CAST(spaces.id AS TEXT) AND n > 0
    )
"""


class Chosen(msgspec.Struct, frozen=True):
    """A space that the library knows."""

    space: str
    pack: str
    state: str  #: active, building or retired


def chosen(database: Path) -> list[Chosen]:
    """Every space of the library in the file *database* that serves, is built or has vectors.

    None where there is no library.
    """
    rows: list[tuple[str, str, str]] = []
    with contextlib.suppress(sqlite3.Error):
        connection = sqlite3.connect(
            f"file:{quote(str(database))}?mode=ro", uri=True, timeout=BUSY_S
        )
        with contextlib.closing(connection):
            rows = connection.execute(_SPACES).fetchall()
    return [Chosen(*row) for row in rows]


def serving(database: Path) -> Chosen | None:
    """The space that answers; None where there is no library yet."""
    return next((each for each in chosen(database) if each.state == "active"), None)


def space_of(pack: Pack) -> Space:
    """What the vectors of *pack* are.

    Raises:
        PackBroken: it has none.
    """
    embed = pack.require_embed()
    return Space(
        name=embed.space,
        pack=pack.name,
        revision=pack.revision,
        preprocess=embed.image.preprocess,
        precision=embed.image.precision,
        dimensions=embed.dimensions,
    )


class Packs:
    """Packs by name.

    Args:
        folders: where they lie, the first one first.
        first: folder of the one that serves a new library.
        database: file of the catalog; "" where there is none.
    """

    def __init__(self, folders: Sequence[str], first: str, database: str) -> None:
        self._folders = [Path(each) for each in folders]
        self._first = Path(first)
        self._database = Path(database) if database else None

    def find(self, name: str) -> Pack:
        """The pack *name*; the first one where that is "".

        Raises:
            PackNotFound, PackBroken: it is not there, or not usable.
        """
        if not name or not self._folders:
            return load_pack(self._first)
        return find_pack(name, self._folders)

    def serving(self) -> str:
        """Name of the pack that serves now, "" for the first one."""
        found = serving(self._database) if self._database is not None else None
        return "" if found is None else found.pack

    def open(self) -> set[str]:
        """Names of the packs that serve or are built; nothing where nobody can tell."""
        if self._database is None:
            return set()
        return {each.pack for each in chosen(self._database) if each.state != "retired"}

    def is_demo(self, name: str) -> bool:
        """Does it understand drawings only?"""
        try:
            return self.find(name).demo
        except ModelsError:
            return False
