"""`models.lock`: which bytes were fetched under a name, so that the same name means them for ever.

Written once a pull is complete.  A later pull of the same name asks for the same revision and
takes nothing with another sha256; that holds after the pack was removed as well, because a hub
that changes under a revision deserves no second chance unseen.  JSON, because people compare it
and programs write it.
"""

import os
from pathlib import Path
from typing import Self

import msgspec

from models.pack import Name, Sha256
from models.supply.errors import LockBroken

FILE = "models.lock"


class LockedFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file and its exact content."""

    path: str
    size: int
    sha256: Sha256


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One pack that was pulled."""

    name: Name
    kind: str
    repo: str
    revision: str
    licence: str
    link: str = ""
    accepted: str = ""  #: when the licence was agreed to, where that was asked; ISO 8601, UTC
    pulled: str  #: when it was complete; ISO 8601, UTC
    files: tuple[LockedFile, ...]  #: as fetched
    installed: tuple[LockedFile, ...]  #: as they lie in the pack's folder


class Lock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    packs: tuple[Entry, ...] = ()

    @classmethod
    def read(cls, data: Path) -> Self:
        """The lock of the data directory *data*; an empty one where there is none.

        Raises:
            LockBroken: it cannot be read, or is not ours.
        """
        path = data / FILE
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except (FileNotFoundError, NotADirectoryError):
            return cls()
        except OSError as error:
            raise LockBroken(f"{path}: cannot be read: {error.strerror}") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise LockBroken(
                f"{path}: {error}; restore a copy of it, or remove it and pull again"
            ) from error

    def find(self, name: str) -> Entry | None:
        return next((each for each in self.packs if each.name == name), None)

    def write(self, data: Path, entry: Entry) -> None:
        """Store it with *entry* in place of the one of that name, in one step."""
        others = tuple(each for each in self.packs if each.name != entry.name)
        packs = tuple(sorted((*others, entry), key=lambda each: each.name))
        text = msgspec.json.format(msgspec.json.encode(Lock(packs)), indent=2)
        partial = data / f"{FILE}.partial"
        with partial.open("wb") as file:
            file.write(text + b"\n")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(data / FILE)
