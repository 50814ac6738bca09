"""Does all of it agree: files, contents, thumbnails, vectors, snapshot, index, counters?

Read-only, and beside a running system: the questions go to the database like everybody's, files
are only looked at, and of the index in memory a digest is compared.  While a library changes,
parts of it disagree for a moment by right, so nothing counts as wrong that is on its way (a
thumbnail whose file waits to be decoded, a vector whose task is open) or too young to tell.

Thumbnails are known by their size only.  A file whose bytes rotted in place is found when it is
opened (*deep*), as far as the decoder notices; there is no hash of it to compare.

What is wrong can be made again: everything here is derived from the originals, or from what is
in the database.  Only the database itself cannot.
"""

import os
import re
import stat
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
import msgspec
import numpy as np
from blake3 import blake3

from actors.library.errors import CatalogCorrupt
from actors.library.faces import parts_of
from actors.library.reads import Derived, Reader, SpaceStatus, open_reader
from actors.messages import IndexIds, Places
from actors.photo.thumbnails import LARGE, SMALL, thumbnail_path, why_unreadable
from actors.vectors import snapshot
from actors.vectors.backends import make_index
from actors.vectors.errors import SnapshotBroken, SnapshotMissing

#: rows a question
PAGE: Final = 2000
#: seconds for which a file that belongs to nobody may be one on its way
YOUNG_S: Final = 600.0
#: looks at an index that moves, and seconds between them
LOOKS: Final = 20
PAUSE_S: Final = 0.25

_THUMBNAIL: Final = re.compile(r"([0-9a-f]{64})\.(?:256|1024)\.jpg")
_TORN: Final = re.compile(r"\.[0-9a-f]{64}\.(?:256|1024)\.jpg\.(\d+)")

AskIndex = Callable[[str], Awaitable[IndexIds]]  # of the space with that name


class Findings(msgspec.Struct):
    """What is wrong; everything empty when nothing is."""

    database: list[str] = []  #: damage that only a copy can mend
    counters: list[tuple[str, str, int]] = []  #: kind, state, by how much
    thumbnails: list[int] = []  #: contents with one that is missing or of another size
    unreadable: list[Path] = []  #: … or of the right size, and no picture
    vectors: list[int] = []  #: contents without one, and nothing to bring it
    faces: list[int] = []  #: contents in which nobody looked for faces, and nobody is about to
    captions: list[int] = []  #: contents that nobody described, and nobody is about to
    words: str = ""  #: how the index of their words differs from the captions
    snapshot: str = ""
    index: str = ""
    leftovers: list[Path] = []  #: derived files that belong to no photo
    photos: int = 0  #: looked at
    compared: bool = True  #: the index stood still long enough to be compared


async def examine(places: Places, ask_index: AskIndex | None, *, deep: bool = False) -> Findings:
    """Look at everything.

    Args:
        places: where it lies.
        ask_index: asks the running index; None when none runs, and the snapshot stands for it.
        deep: read every page of the database and open every thumbnail.

    Raises:
        LibraryError: the database cannot be read, for another reason than damage.
    """
    findings = Findings()
    derived = Path(os.fsdecode(places.derived))
    try:
        reader = await open_reader(places.database)
    except CatalogCorrupt as error:
        findings.database = [str(error)]
        return findings
    try:
        findings.database = await reader.integrity(deep=deep)
        if findings.database:
            return findings  # what else it says cannot be trusted
        findings.counters = await reader.miscounted()
        await _thumbnails(findings, reader, derived, deep=deep)
        findings.vectors = await _all(reader.unembedded)
        findings.faces = await _all(partial(reader.unembedded, kind="face"))
        findings.captions = await _all(partial(reader.unembedded, kind="caption"))
        findings.words = await reader.misworded()
        running = ask_index is not None
        findings.leftovers = await _leftovers(reader, derived, YOUNG_S if running else 0)
        for space in await reader.spaces():
            # captions are found by the database itself
            if space.state == "active" and space.space.kind != "caption":
                await _index(findings, reader, space, Path(os.fsdecode(places.index)), ask_index)
    except CatalogCorrupt as error:
        findings.database = [str(error)]
    finally:
        await reader.close()
    return findings


async def _all(question: Callable[[int, int], Awaitable[list[int]]]) -> list[int]:
    """Every id that a question in pages answers."""
    found: list[int] = []
    while page := await question(found[-1] if found else 0, PAGE):
        found += page
    return found


# ── derived files ───────────────────────────────────────────────────────────────────────────


async def _thumbnails(findings: Findings, reader: Reader, derived: Path, *, deep: bool) -> None:
    after = 0
    while page := await reader.derived(after, PAGE):
        after = page[-1].content
        findings.photos += len(page)
        wrong = await anyio.to_thread.run_sync(_missing, derived, page)
        if wrong:
            # Written anew since the page was read?  Then the database knows by now.
            again = await reader.derived(wrong[0].content - 1, PAGE)
            ids = {each.content for each in wrong}
            wrong = await anyio.to_thread.run_sync(
                _missing, derived, [each for each in again if each.content in ids]
            )
        findings.thumbnails += [each.content for each in wrong]
        if deep:
            lost = {each.content for each in wrong}
            whole = [each for each in page if each.content not in lost and not each.waiting]
            for content, path in await anyio.to_thread.run_sync(_unreadable, derived, whole):
                findings.thumbnails.append(content)
                findings.unreadable.append(path)


def _missing(derived: Path, page: Sequence[Derived]) -> list[Derived]:
    def size(row: Derived, side: int) -> int:
        try:
            return thumbnail_path(derived, row.digest, side).stat().st_size
        except OSError:
            return -1

    return [
        row
        for row in page
        if not row.waiting
        and (size(row, SMALL), size(row, LARGE)) != (row.thumb_256, row.thumb_1024)
    ]


def _unreadable(derived: Path, page: Sequence[Derived]) -> list[tuple[int, Path]]:
    return [
        (row.content, path)
        for row in page
        for path in [thumbnail_path(derived, row.digest, side) for side in (SMALL, LARGE)]
        if why_unreadable(path)
    ]


async def _leftovers(reader: Reader, derived: Path, young_s: float) -> list[Path]:
    """Files of ours that no photo has any more, and what decoders that died left half done."""
    found: list[Path] = []
    folders = await anyio.to_thread.run_sync(lambda: sorted(_folders(derived)))
    for folder in folders:
        torn, pairs = await anyio.to_thread.run_sync(_sort, folder, time.time() - young_s)
        known = await reader.known_digests([bytes.fromhex(digest) for digest in pairs])
        found += torn
        for digest, paths in pairs.items():
            if bytes.fromhex(digest) not in known:
                found += paths
    return found


def _folders(derived: Path) -> Iterator[Path]:
    try:
        with os.scandir(derived) as entries:
            for entry in entries:
                if re.fullmatch("[0-9a-f]{2}", entry.name) and entry.is_dir():
                    yield Path(entry.path)
    except FileNotFoundError:
        return


def _sort(folder: Path, before: float) -> tuple[list[Path], dict[str, list[Path]]]:
    """Half-done files in *folder*, and thumbnails by digest, as far as they are old enough."""
    torn: list[Path] = []
    pairs: dict[str, list[Path]] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue  # it has just been renamed or removed
            old = stat.S_ISREG(status.st_mode) and status.st_mtime <= before
            half = _TORN.fullmatch(entry.name)
            if half is not None and (old or not Path("/proc", half[1]).exists()):
                torn.append(Path(entry.path))
            whole = _THUMBNAIL.fullmatch(entry.name)
            if whole is not None and old:
                pairs.setdefault(whole[1], []).append(Path(entry.path))
    return torn, pairs


# ── the index ───────────────────────────────────────────────────────────────────────────────


async def _index(
    findings: Findings,
    reader: Reader,
    space: SpaceStatus,
    indexes: Path,
    ask_index: AskIndex | None,
) -> None:
    name = space.space.name
    home = snapshot.space_directory(indexes, name)
    snapshot_is = await _why_broken(reader, space, home)
    findings.snapshot = findings.snapshot or snapshot_is
    index_is = ""
    if ask_index is not None:
        index_is, compared = await _compare_running(reader, space, ask_index)
        findings.compared = findings.compared and compared
    elif not snapshot_is:
        index_is = await _compare_resting(reader, space, home)
    findings.index = findings.index or index_is


async def _why_broken(reader: Reader, space: SpaceStatus, home: Path) -> str:
    """What is wrong with the snapshot; that there is none is nothing wrong."""
    reason = ""
    for _ in range(3):
        try:
            manifest = await anyio.to_thread.run_sync(_checked, home)
        except SnapshotMissing:
            return ""
        except SnapshotBroken as error:
            if str(error) == reason:
                return reason  # not one that was being replaced
            reason = str(error)
            continue
        if (manifest.space, manifest.dimensions) != (space.space.name, space.space.dimensions):
            return f"{home}: it is of {manifest.space} with {manifest.dimensions} dimensions"
        if manifest.applied_seq > await reader.feed_head():
            return f"{home}: it is newer than the database"
        return ""
    return reason


def _checked(home: Path) -> snapshot.Manifest:
    manifest = snapshot.read_manifest(home)
    for file in manifest.files:
        file.check(home / manifest.directory)
    return manifest


async def _compare_running(
    reader: Reader, space: SpaceStatus, ask_index: AskIndex
) -> tuple[str, bool]:
    """How the index differs, and whether that could be told."""
    for _ in range(LOOKS):
        head = await reader.feed_head()
        live = await _live(reader, space)
        held = await ask_index(space.space.name)
        if held.seq == head == await reader.feed_head():
            if held.digest == blake3(np.array(live, "<i8").tobytes()).digest():
                return "", True
            return f"it holds {held.count} {_things(space)}, {len(live)} have a vector", True
        await anyio.sleep(PAUSE_S)
    return "", False


async def _compare_resting(reader: Reader, space: SpaceStatus, home: Path) -> str:
    name = space.space.name
    try:
        held, seq = await anyio.to_thread.run_sync(_read_ids, home)
    except SnapshotMissing:
        return ""
    except SnapshotBroken as error:
        return str(error)
    while rows := await reader.feed_after(seq, name, PAGE):
        seq = rows[-1].seq
        for row in rows:
            if space.space.kind == "embed":
                (held.add if row.op == "add" else held.discard)(row.content)
            else:
                # a value is kept once and for all, so that what comes or goes is all of a photo
                faces = (await reader.faces([row.content])).get(row.content, [])
                held = {each for each in held if parts_of(each)[0] != row.content}
                held |= {each.id for each in faces if row.op == "add"}
    live = set(await _live(reader, space))
    if held == live:
        return ""
    return f"it would hold {len(held)} {_things(space)}, {len(live)} have a vector"


async def _live(reader: Reader, space: SpaceStatus) -> list[int]:
    """Ids that the index of *space* has to hold, ascending."""

    async def page(after: int, limit: int) -> list[int]:
        return await reader.indexed(space.space.name, after, limit)

    contents = await _all(page)
    if space.space.kind == "embed":
        return contents
    found: list[int] = []
    for start in range(0, len(contents), PAGE):
        faces = await reader.faces(contents[start : start + PAGE])
        found += [each.id for some in faces.values() for each in some]
    return sorted(found)


def _things(space: SpaceStatus) -> str:
    return "photos" if space.space.kind == "embed" else "faces"


def _read_ids(home: Path) -> tuple[set[int], int]:
    manifest = snapshot.read_manifest(home)
    index = make_index(manifest.backend, manifest.dimensions)
    snapshot.read(home, manifest.space, index)
    return set(index.ids().tolist()), manifest.applied_seq
