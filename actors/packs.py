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
    SELECT * FROM spaces
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
    kind: str = "embed"  #: of pictures, or "face", "caption"


def chosen(database: Path) -> list[Chosen]:
    """Every space of the library in the file *database* that serves, is built or has vectors.

    None where there is no library.
    """
    rows: list[sqlite3.Row] = []
    with contextlib.suppress(sqlite3.Error):
        connection = sqlite3.connect(
            f"file:{quote(str(database))}?mode=ro", uri=True, timeout=BUSY_S
        )
        with contextlib.closing(connection):
            connection.row_factory = sqlite3.Row
            rows = connection.execute(_SPACES).fetchall()
    # A library that no newer program has opened yet knows no kinds.
    return [
        Chosen(row["name"], row["pack"], row["state"], dict(row).get("kind", "embed"))
        for row in rows
    ]


def serving(database: Path, kind: str = "embed") -> Chosen | None:
    """The space of *kind* that answers; None where there is no library yet, or none of it."""
    spaces = (each for each in chosen(database) if each.kind == kind)
    return next((each for each in spaces if each.state == "active"), None)


def faces_of(pack: Pack) -> Space | None:
    """What the vectors of the faces are that *pack* finds; None where it finds none."""
    if pack.faces is None or pack.faces.detect is None or pack.faces.recognise is None:
        return None
    found, known = pack.faces.detect, pack.faces.recognise
    return Space(
        name=known.space,
        pack=pack.name,
        revision=pack.revision,
        preprocess=f"{found.kind}-{found.size}",
        precision=known.precision,
        dimensions=known.dimensions,
        kind="face",
    )


def captions_of(pack: Pack) -> Space | None:
    """What the captions are that *pack* writes; None where it writes none."""
    if pack.caption is None:
        return None
    return Space(
        name=pack.caption.space,
        pack=pack.name,
        revision=pack.revision,
        preprocess=pack.caption.preprocess,
        precision=pack.caption.precision,
        dimensions=0,
        kind="caption",
    )


def spaces_of(pack: Pack) -> list[Space]:
    """All that *pack* can serve, in the order in which a library needs it."""
    pictures = None if pack.embed is None else space_of(pack)
    return [each for each in (pictures, faces_of(pack), captions_of(pack)) if each is not None]


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
        kind: of the spaces that count here.
    """

    def __init__(
        self, folders: Sequence[str], first: str, database: str, kind: str = "embed"
    ) -> None:
        self._folders = [Path(each) for each in folders]
        self._first = Path(first)
        self._database = Path(database) if database else None
        self._kind = kind

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
        found = serving(self._database, self._kind) if self._database is not None else None
        return "" if found is None else found.pack

    def open(self) -> set[str]:
        """Names of the packs that serve or are built; nothing where nobody can tell."""
        if self._database is None:
            return set()
        return {
            each.pack
            for each in chosen(self._database)
            if each.state != "retired" and each.kind == self._kind
        }

    def is_demo(self, name: str) -> bool:
        """Does it understand drawings only?"""
        try:
            return self.find(name).demo
        except ModelsError:
            return False
