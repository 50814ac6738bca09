"""The packs that are here: built in, in the data directory, in folders that a setting names.

    <data>/packs/NAME/            a pack, whole
    <data>/packs/.partial/…       what is being fetched, made or removed; never looked into
    <data>/models.lock            what was pulled (`lock`)

A pack appears and vanishes by one rename, so no kill leaves half of one.  A pulled pack whose
kind has no adapter yet has no pack.toml; models.lock tells its files.

Unknown here: the hub.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from models.errors import PackBroken
from models.pack import BUILT_IN, MANIFEST, Pack, load_pack
from models.supply.errors import PackKept, PackUnknown
from models.supply.fetching import Checksums
from models.supply.lock import Entry, Lock

PARTIAL = ".partial"
_PULL = "pull-"

Place = Literal["search", "data", "built in"]


class Fault(msgspec.Struct, frozen=True):
    """A file that is not what it should be."""

    file: str
    what: str


class Held(msgspec.Struct, frozen=True):
    """A folder that holds a pack, or should."""

    name: str
    place: Place
    directory: Path
    pack: Pack | None  #: None where there is no pack.toml, or a broken one
    entry: Entry | None  #: what models.lock says of it
    broken: str  #: why its pack.toml cannot be used; "" where it can, or where it needs none

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return _size(self.directory)

    @property
    def kind(self) -> str:
        if self.entry is not None:
            return self.entry.kind
        if self.pack is None:
            return ""
        if self.pack.embed is not None:
            return "search"
        if self.pack.faces is not None:
            return "faces"
        return "captions" if self.pack.caption is not None else ""

    @property
    def licence(self) -> str:
        if self.entry is not None:
            return self.entry.licence
        return self.pack.licence if self.pack is not None else ""

    def faults(self, *, read: bool) -> Iterator[tuple[str, Fault | None]]:
        """Each file that belongs to it, with what is wrong.

        Args:
            read: compare checksums; else only whether files are there, with their length where
                it is known.
        """
        if self.broken:
            yield MANIFEST, Fault(MANIFEST, self.broken)
        expected = dict(self.pack.checksums()) if self.pack is not None else {}
        sizes: dict[str, int] = {}
        for each in self.entry.installed if self.entry is not None else ():
            expected[each.path] = each.sha256
            sizes[each.path] = each.size
        for file in sorted(expected):
            yield file, self._fault(file, expected[file], sizes.get(file), read=read)

    def _fault(self, file: str, sha256: str, size: int | None, *, read: bool) -> Fault | None:
        path = self.directory / file
        try:
            found = path.stat().st_size
            if size is not None and found != size:
                return Fault(file, f"has {found} bytes instead of {size}")
            if read and (other := Checksums.of(path, found).sha256) != sha256:
                return Fault(file, f"has sha256 {other} instead of {sha256}")
        except FileNotFoundError:
            return Fault(file, "is missing")
        except OSError as error:
            return Fault(file, f"cannot be read: {error.strerror}")
        return None


class Shelf:
    """Every place where packs lie, in the order in which a name is looked up.

    Args:
        data: the data directory; need not exist.
        search: folders looked into before it (setting `model.search`).
        built_in: the last resort.
    """

    def __init__(
        self, data: Path, search: tuple[Path, ...] = (), built_in: Path = BUILT_IN
    ) -> None:
        self.data = data
        self.packs = data / "packs"
        self.partial = self.packs / PARTIAL
        self.places: list[tuple[Place, Path]] = [
            *(("search", folder) for folder in search),
            ("data", self.packs),
            ("built in", built_in),
        ]

    def held(self) -> list[Held]:
        """All packs; of one name, the first is the one that is used.

        Raises:
            LockBroken: see `Lock.read`.
        """
        lock = Lock.read(self.data)
        return [
            _look(place, directory, lock)
            for place, folder in self.places
            for directory in _folders(folder)
        ]

    def find(self, name: str) -> Held:
        """The pack that the name *name* stands for.

        Raises:
            PackUnknown: there is none.
            LockBroken: see `Lock.read`.
        """
        here = self.held()
        for each in here:
            if each.name == name:
                return each
        names = ", ".join(dict.fromkeys(each.name for each in here))
        raise PackUnknown(f"no pack {name!r} is here; there are: {names}")

    def own(self, name: str) -> Held | None:
        """The pack *name* of the data directory itself."""
        directory = self.packs / name
        return _look("data", directory, Lock.read(self.data)) if directory.is_dir() else None

    def require_removable(self, name: str, used: str) -> Held:
        """The pack *name*, which may be removed.

        Args:
            name: the pack.
            used: name of the pack that serves the library.

        Raises:
            PackUnknown: it is not here.
            PackKept: it is not in the data directory, or it is used.
        """
        held = self.own(name)
        if held is None:
            other = self.find(name)
            where = "is built in" if other.place == "built in" else f"lies in {other.directory}"
            raise PackKept(f"{name} {where}: only packs in {self.packs} are removed")
        if name == used and self.find(name).directory == held.directory:
            raise PackKept(f"{name} is in use: `model.pack` names it, or is not set to another")
        return held

    def remove(self, held: Held) -> None:
        """Take *held* away, in one step for everybody else."""
        aside = self.aside(f"removed-{held.name}")
        held.directory.rename(aside)
        shutil.rmtree(aside)

    def publish(self, made: Path, name: str) -> Path:
        """Make the folder *made*, on the same disk, the pack *name*; one that was there goes."""
        _sync(made)
        target, aside = self.packs / name, self.aside(f"replaced-{name}")
        if target.exists():
            target.rename(aside)
        made.rename(target)
        _sync_folder(self.packs)
        shutil.rmtree(aside, ignore_errors=True)
        return target

    def download(self, name: str, revision: str) -> Path:
        """Where the files of *name* at *revision* are gathered; of others nothing is kept."""
        folder = self.partial / f"{_PULL}{name}@{revision}"
        for other in self.partial.glob(f"{_PULL}{name}@*"):
            if other != folder:
                shutil.rmtree(other)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def begun(self) -> dict[str, int]:
        """Packs whose pull was not finished, with the bytes that are there."""
        return {
            folder.name.removeprefix(_PULL).rpartition("@")[0]: _size(folder)
            for folder in sorted(self.partial.glob(f"{_PULL}*"))
        }

    def give_up(self, name: str) -> int:
        """Remove what is there of unfinished pulls of *name*; how many bytes that was."""
        size = 0
        for folder in self.partial.glob(f"{_PULL}{name}@*"):
            size += _size(folder)
            shutil.rmtree(folder)
        return size

    def sweep(self) -> None:
        """Remove what a kill left behind; call it with nobody else at work here."""
        for folder in self.partial.glob("*"):
            if folder.is_dir() and not folder.name.startswith(_PULL):
                shutil.rmtree(folder)

    def workshop(self, name: str) -> Path:
        """An empty folder in which the pack *name* is made."""
        folder = self.aside(f"made-{name}")
        folder.mkdir()
        return folder

    def aside(self, name: str) -> Path:
        """A path below `.partial` where nothing is."""
        self.partial.mkdir(parents=True, exist_ok=True)
        path = self.partial / name
        shutil.rmtree(path, ignore_errors=True)
        return path


def _look(place: Place, directory: Path, lock: Lock) -> Held:
    entry = lock.find(directory.name) if place == "data" else None
    try:
        pack = load_pack(directory)
    except PackBroken as error:
        raw = not (directory / MANIFEST).exists() and entry is not None
        promised = entry is not None and any(each.path == MANIFEST for each in entry.installed)
        broken = "" if raw and not promised else error.expectation
        return Held(directory.name, place, directory, None, entry, broken)
    broken = ""
    if pack.name != directory.name:
        broken = f"names itself {pack.name!r}, but lies in a folder {directory.name!r}"
    return Held(directory.name, place, directory, pack, entry, broken)


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(each for each in folder.iterdir() if each.is_dir() and each.name[0] != ".")
    except OSError:
        return []


def _files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in _files(directory))


def _sync(directory: Path) -> None:
    """Everything below *directory* is on the disk before its name is."""
    for path in _files(directory):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    for path in (*directory.rglob("*"), directory):
        if path.is_dir():
            _sync_folder(path)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
