"""A known pack from the hub into the data directory.

    ask the hub what there is ─► compare with models.lock ─► is there room?
      ─► fetch each file (`fetching`) ─► make a pack of them ─► models.lock ─► visible, by a rename

Ended anywhere before the rename, nothing is seen of it, and the next pull goes on.  models.lock
comes first: a folder without its entry would count as somebody's own, an entry without its
folder is only a promise about the next pull.

Only one at a time works on a data directory; the caller sees to that.
"""

import errno
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import msgspec

from models.pack import Pack
from models.supply.errors import LicenceNeeded, LockDiffers, NoRoom, PackKept
from models.supply.fetching import PART, Checksums, fetch
from models.supply.hub import Hub, Remote, Snapshot
from models.supply.known import Known
from models.supply.lock import FILE, Entry, Lock, LockedFile
from models.supply.shelf import Shelf

#: makes the pack NAME below a folder from files in another
Importer = Callable[[Path, Path, str], Pack]
#: bytes left on the disk for everything else
SPARE = 200_000_000


class Pulled(msgspec.Struct, frozen=True):
    """What a pull did."""

    name: str
    directory: str
    revision: str
    licence: str
    size: int  #: bytes of all files
    fetched: int  #: bytes that came over the network now
    pinned: bool  #: whether the revision was known before


class Watcher(Protocol):
    """Who is told how far it is."""

    def say(self, text: str) -> None: ...
    def begin(self, total: int, there: int) -> None: ...
    def advance(self, count: int) -> None: ...


def check_licence(pack: Known, lock: Lock, *, accepted: bool) -> None:
    """Pass when *pack* may be fetched.

    Raises:
        LicenceNeeded: its licence has limits that nobody has agreed to yet.
    """
    entry = lock.find(pack.name)
    before = entry is not None and entry.accepted and entry.licence == pack.licence
    if not (pack.commercial or accepted or before):
        raise LicenceNeeded(
            f"{pack.name} may not be used commercially: {pack.licence}, see {pack.link};"
            " whoever agrees says --accept-licence"
        )


def pull(
    pack: Known,
    hub: Hub,
    shelf: Shelf,
    watcher: Watcher,
    *,
    revision: str = "",
    accepted: bool = False,
    make: Importer | None = None,
    room: Callable[[Path], int],
    pause: Callable[[float], None] = time.sleep,
) -> Pulled | None:
    """Fetch *pack* and put it on *shelf*; None where it is there already, unchanged.

    Args:
        pack: what to fetch.
        hub: where from.
        shelf: where to.
        watcher: told what happens.
        revision: a commit, to take another one than models.lock or the catalogue say.
        accepted: whether its licence was agreed to now.
        make: what makes a pack of its files; None keeps them as they are.
        room: bytes that may still be written at a place.
        pause: waits that many seconds.

    Raises:
        LicenceNeeded, NotPullable, LockBroken, LockDiffers, PackKept, NoRoom: nothing changed.
        SupplyError, PackBroken: what was fetched until then stays for the next try.
    """
    lock = Lock.read(shelf.data)
    check_licence(pack, lock, accepted=accepted)
    entry = lock.find(pack.name)
    held = shelf.own(pack.name)
    if held is not None and entry is None:
        raise PackKept(
            f"{held.directory} was not pulled: `models remove {pack.name}` takes it away first"
        )
    wanted = revision or (entry.revision if entry is not None else pack.revision)
    if held is not None and entry is not None and entry.revision == wanted:
        if all(fault is None for _, fault in held.faults(read=True)):
            shelf.give_up(pack.name)
            return None
        watcher.say(f"{pack.name} is damaged and is fetched again")
    repo = pack.require_repo()
    snapshot = hub.snapshot(repo, wanted, tuple(file.path for file in pack.files))
    if not wanted:
        watcher.say(
            f"{pack.name} is unpinned: its revision is not known here; taking the newest,"
            f" {snapshot.revision}, and keeping to it"
        )
    before = _locked_before(entry, snapshot)
    for file in snapshot.files:
        _compare(before, file.path, file.sha256, at=f"{pack.name} at {snapshot.revision}")
    folder = shelf.download(pack.name, snapshot.revision)
    _check_room(pack.name, snapshot, folder, room, twice=make is not None)
    files, fetched = _gather(hub, snapshot, folder, watcher, pause)
    for each in files:
        _compare(before, each.path, each.sha256, at=f"{pack.name} at {snapshot.revision}")
    if make is None:
        made, installed = folder, files
    else:
        made = make(folder, shelf.workshop(pack.name), pack.name).directory
        installed = tuple(_locked(made, path) for path in sorted(made.rglob("*")) if path.is_file())
    now = datetime.now(UTC).isoformat(timespec="seconds")
    asked = not pack.commercial
    lock.write(
        shelf.data,
        Entry(
            name=pack.name,
            kind=pack.kind,
            repo=repo,
            revision=snapshot.revision,
            licence=pack.licence,
            link=pack.link,
            accepted=(entry.accepted if entry is not None else "") or now if asked else "",
            pulled=now,
            files=files,
            installed=installed,
        ),
    )
    directory = shelf.publish(made, pack.name)
    shelf.give_up(pack.name)
    shelf.sweep()
    return Pulled(
        name=pack.name,
        directory=str(directory),
        revision=snapshot.revision,
        licence=pack.licence,
        size=snapshot.size,
        fetched=fetched,
        pinned=bool(wanted),
    )


def _gather(
    hub: Hub,
    snapshot: Snapshot,
    folder: Path,
    watcher: Watcher,
    pause: Callable[[float], None],
) -> tuple[tuple[LockedFile, ...], int]:
    """Every file of *snapshot* in *folder*, and how many bytes were fetched for that."""
    there = sum(_there(folder, file) for file in snapshot.files)
    if there:
        watcher.say(f"going on after {there / 1e6:,.1f} MB")
    watcher.begin(snapshot.size, there)
    done = 0

    def heard(count: int) -> None:
        nonlocal done
        done += count
        watcher.advance(count)

    def wait(seconds: float) -> None:
        if seconds:
            watcher.say(f"the hub does not go on; asking again in {seconds:g} s")
        pause(seconds)

    try:
        files = tuple(
            fetch(hub, snapshot, file, folder, heard, pause=wait) for file in snapshot.files
        )
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise NoRoom(
            f"{folder}: the disk is full with {(snapshot.size - done) / 1e6:,.1f} MB to go;"
            " free some and pull again, it goes on from there"
        ) from error
    return files, max(done - there, 0)


def _there(folder: Path, file: Remote) -> int:
    """Bytes of *file* that need not be fetched."""
    for path in (folder / file.path, folder / (file.path + PART)):
        if path.exists():
            return min(path.stat().st_size, file.size)
    return 0


def _locked_before(entry: Entry | None, snapshot: Snapshot) -> dict[str, str]:
    """Path → sha256 of what was fetched of *snapshot*'s revision before."""
    if entry is None or entry.revision != snapshot.revision:
        return {}
    return {file.path: file.sha256 for file in entry.files}


def _compare(before: dict[str, str], path: str, sha256: str, *, at: str) -> None:
    """Pass when *path* is what was fetched before, or never was, or is not known yet."""
    if sha256 and before.get(path, sha256) != sha256:
        raise LockDiffers(
            f"{at}: the hub now has other bytes for {path}: sha256 {sha256} instead of"
            f" {before[path]} in {FILE}; not taken"
        )


def _check_room(
    name: str, snapshot: Snapshot, folder: Path, room: Callable[[Path], int], *, twice: bool
) -> None:
    need = sum(file.size - _there(folder, file) for file in snapshot.files)
    if twice:  # the pack is made beside what was fetched
        need += snapshot.size
    if (free := room(folder)) < need + SPARE:
        raise NoRoom(
            f"{folder}: {name} needs {(need + SPARE) / 1e6:,.0f} MB and only {free / 1e6:,.0f} MB"
            " are free; free some or choose another place for `data`"
        )


def _locked(folder: Path, path: Path) -> LockedFile:
    size = path.stat().st_size
    return LockedFile(os.fsdecode(path.relative_to(folder)), size, Checksums.of(path, size).sha256)
