"""Public packs by name: `known.toml`, typed.

Only what is known stands there.  A pack without a revision is told as unpinned, one without a
repository as not to be fetched; neither is guessed.
"""

from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from models.pack import Name, Section, check_relative
from models.supply.errors import NotPullable, PackUnknown

CATALOGUE = Path(__file__).with_name("known.toml")
#: what a pack is for: pictures and words as vectors, sentences about pictures, people
Kind = Literal["search", "captions", "faces"]
Commit = Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{40})?$")]


class KnownFile(Section, frozen=True):
    """One file of a repository."""

    path: str
    mb: float = 0  #: about how many megabytes; 0: little, or not known

    def __post_init__(self) -> None:
        check_relative(self.path)


class Known(Section, frozen=True):
    """A public pack, and what may be done with it."""

    name: Name
    kind: Kind
    summary: str
    licence: str
    files: tuple[KnownFile, ...]
    repo: str = ""  #: its repository on the hub; "": none is known
    revision: Commit = ""  #: the commit that is fetched; "": none is known
    link: str = ""  #: where the licence is told
    commercial: bool = True  #: False: its licence has to be agreed to
    missing: str = ""  #: why it cannot be fetched

    def __post_init__(self) -> None:
        if bool(self.repo) == bool(self.missing):
            raise ValueError("either repo or missing is told")
        if self.repo and not (self.files and self.link):
            raise ValueError("what can be fetched has files and a link to its licence")

    @property
    def size(self) -> int:
        """About how many bytes it has; 0: not known."""
        return int(sum(file.mb for file in self.files) * 1e6)

    def require_repo(self) -> str:
        """Where it is fetched.

        Raises:
            NotPullable: nobody knows.
        """
        if self.missing:
            raise NotPullable(
                f"{self.name} cannot be pulled: {self.missing};"
                " with its files in a folder: models import FOLDER"
            )
        return self.repo


class _Catalogue(Section, frozen=True):
    pack: tuple[Known, ...]


@cache
def known() -> dict[str, Known]:
    """Every known pack by name, in the order of the file."""
    found = msgspec.toml.decode(CATALOGUE.read_bytes(), type=_Catalogue)
    return {each.name: each for each in found.pack}


def find_known(name: str) -> Known:
    """The pack *name*.

    Raises:
        PackUnknown: there is none.
    """
    if name not in known():
        raise PackUnknown(f"no pack {name!r} is known; there are: {', '.join(known())}")
    return known()[name]
