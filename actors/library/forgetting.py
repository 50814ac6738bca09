"""Forgetting: what the owner names leaves no trace here, and does not come back by itself.

Deleted are the files' rows with their tasks and dead letters, the names of folders that are
empty then, and of every photo that no file holds any more its vectors, its tasks and all that
was known of it.  Of the photo a number remains, in the feed and as a row without facts and
with a random digest: so the index hears of the removal like of any other, and no later photo
ever gets the number, under which pages and caches may still know it.  Photos that lost their
last file earlier, by an edit, go along: an older version of what is forgotten may be among them.

The next walk would find the file again.  To leave it out one has to recognise it, and to
recognise it something has to be kept: a hash of its path, and one of its path, size and time of
change, both keyed by the library's own id.  So the table names nothing by itself and two
libraries cannot be compared; but whoever has the whole database and a guess can still test
whether that very path was forgotten.  A file that changed is a new file, and so is one that was
renamed.

The caller removes the derived files and snapshots, and cuts the journal.
"""

import os
import struct
import uuid
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from blake3 import blake3
from sqlalchemy import bindparam, delete, exists, func, select, update

from actors.library import queue
from actors.library.captions import compact
from actors.library.feed import liveness
from actors.library.paths import absolute
from actors.library.places import within
from actors.library.schema import (
    FORGOTTEN,
    captions,
    contents,
    directories,
    faces,
    files,
    forgotten,
    library,
    roots,
    tasks,
    vectors,
)
from actors.library.statements import Record, values
from actors.library.storable import clamped
from actors.library.transaction import Transaction
from actors.messages import SeenFile

#: Paths that are told of photos which stay because they lie elsewhere too.
ELSEWHERE: Final = 20

_CONTEXT: Final = "obscura: files that were forgotten, 1"

_UUID = select(library.c.uuid)
_ANY = select(forgotten.c.place).limit(1)
_KNOWN = select(forgotten.c.place, forgotten.c.state).where(forgotten.c.place.in_(values()))
_RECALL = delete(forgotten).where(forgotten.c.place == bindparam("gone"))
_ROOTS = select(roots.c.id, roots.c.path).order_by(roots.c.id)
_FILES = (
    select(
        files,
        directories.c.path.label("folder"),
        tasks.c.id.label("task"),
        tasks.c.state.label("task_state"),
    )
    .select_from(
        files.join(directories, directories.c.id == files.c.directory).outerjoin(
            tasks, tasks.c.file == files.c.id
        )
    )
    .where(directories.c.root == bindparam("root"))
    .limit(bindparam("n"))
)
_DELETE_TASK = delete(tasks).where(tasks.c.id == bindparam("task"))
_DELETE_FILE = delete(files).where(files.c.id == bindparam("file"))
_HELD = (
    select(
        files.c.content,
        roots.c.path.label("root"),
        directories.c.path.label("folder"),
        files.c.name,
    )
    .select_from(
        files.join(directories, directories.c.id == files.c.directory).join(
            roots, roots.c.id == directories.c.root
        )
    )
    .where(
        files.c.id.in_(
            select(func.min(files.c.id))
            .where(files.c.content.in_(values()))
            .group_by(files.c.content)
        )
    )
)
_EMPTY = select(directories.c.id).where(
    directories.c.id.in_(values()),
    ~exists(select(files.c.id).where(files.c.directory == directories.c.id)),
)
_DELETE_DIRECTORY = delete(directories).where(directories.c.id == bindparam("directory"))
_ORPHANS = select(contents.c.id).where(
    contents.c.format != FORGOTTEN,
    ~exists(select(files.c.id).where(files.c.content == contents.c.id)),
)
_DIGESTS = select(contents.c.id, contents.c.digest).where(contents.c.id.in_(values()))
_TASKS_OF = select(tasks.c.id, tasks.c.kind, tasks.c.state).where(tasks.c.content.in_(values()))
_DELETE_FACES = delete(faces).where(faces.c.content == bindparam("gone"))
_DELETE_CAPTIONS = delete(captions).where(captions.c.content == bindparam("gone"))
_DELETE_VECTORS = delete(vectors).where(vectors.c.content == bindparam("gone"))
_EMPTY_OUT = (
    update(contents)
    .where(contents.c.id == bindparam("gone"))
    .values(
        dict.fromkeys((column.name for column in contents.c if column.nullable), None)
        | {
            "digest": bindparam("nothing"),
            "format": FORGOTTEN,
            "width": 0,
            "height": 0,
            "orientation": 1,
            "damaged": False,
            "thumb_256": 0,
            "thumb_1024": 0,
            "added_ns": 0,
        }
    )
)


class Forgotten(msgspec.Struct, frozen=True):
    """What one transaction forgot."""

    names: list[bytes]  #: of the files, without their folders
    digests: list[bytes]  #: of the photos that are gone; their derived files may go
    kept: dict[int, bytes]  #: contents that stay → the path of another file that holds them
    more: bool  #: there are further files


class _Marks:
    """What is remembered of a forgotten file instead of its name."""

    def __init__(self, library_uuid: str) -> None:
        self._key = blake3(uuid.UUID(library_uuid).bytes, derive_key_context=_CONTEXT).digest()

    def place(self, path: bytes) -> bytes:
        return blake3(path, key=self._key).digest()

    def state(self, path: bytes, size: int, mtime_ns: int) -> bytes:
        """Without ctime, which a backup or a change of permissions alters."""
        return blake3(struct.pack("<qq", size, mtime_ns) + path, key=self._key).digest()


async def _marks(tx: Transaction) -> _Marks:
    return _Marks((await tx.read(_UUID))[0].uuid)


async def leave_out(tx: Transaction, root: bytes, reported: Iterable[SeenFile]) -> list[SeenFile]:
    """*reported* without the files that were forgotten and have not changed since.

    One that has changed is forgotten no longer.
    """
    reported = list(reported)
    if not await tx.read(_ANY):
        return reported
    marks = await _marks(tx)
    paths = [absolute(root, file.directory, file.name) for file in reported]
    places = [marks.place(path) for path in paths]
    known = {row.place: row.state for row in await tx.read_each(_KNOWN, sorted(set(places)))}
    left, changed = [], set()
    for file, path, place in zip(reported, paths, places, strict=True):
        state = marks.state(path, clamped(file.size), clamped(file.mtime_ns))
        if known.get(place) == state:
            continue
        left.append(file)
        if place in known:
            changed.add(place)
    await tx.write(_RECALL, [{"gone": place} for place in sorted(changed)])
    return left


async def forget(tx: Transaction, path: bytes, n: int, who: str) -> Forgotten:
    """Forget up to *n* of the files at or below the absolute *path*, the missing ones too."""
    rows: list[Record] = []
    marks = await _marks(tx)
    remembered: dict[bytes, bytes] = {}
    for root in await tx.read(_ROOTS):
        where = within(path, root.path)
        if where is None or len(rows) == n:
            continue
        found = await tx.read(_FILES.where(where), root=root.id, n=n - len(rows))
        for row in found:
            place = absolute(root.path, row.folder, row.name)
            remembered[marks.place(place)] = marks.state(place, row.size, row.mtime_ns)
        rows += found
    insert = tx.insert(forgotten)
    await tx.write(
        insert.on_conflict_do_update(
            index_elements=["place"], set_={"state": insert.excluded.state}
        ),
        [{"place": place, "state": state} for place, state in sorted(remembered.items())],
    )

    for row in rows:
        if row.task is not None:
            tx.count("decode", row.task_state, -1)
        tx.count_file(
            -1,
            missing=row.missing_since_ns is not None,
            skipped=row.skip_reason is not None,
            linked=row.content is not None,
        )
    linked = {row.content for row in rows if row.content is not None}
    await tx.write(_DELETE_TASK, [{"task": row.task} for row in rows if row.task is not None])
    async with liveness(tx, linked):
        await tx.write(_DELETE_FILE, [{"file": row.id} for row in rows])
    empty = await tx.read_each(_EMPTY, sorted({row.directory for row in rows}))
    await tx.write(_DELETE_DIRECTORY, [{"directory": row.id} for row in empty])

    kept = {
        row.content: absolute(row.root, row.folder, row.name)
        for row in await tx.read_each(_HELD, sorted(linked))
    }
    more = len(rows) == n
    gone = linked - kept.keys()
    if not more:
        gone |= {row.id for row in await tx.read(_ORPHANS)}
    digests = await _erase(tx, sorted(gone))
    if not more:  # not only if something is gone: slices before this one may have left words
        await compact(tx)
    if rows or digests:
        await queue.note(tx, who, f"forgot {len(rows)} files, {len(digests)} photos")
    return Forgotten([row.name for row in rows], digests, kept, more)


async def _erase(tx: Transaction, gone: list[int]) -> list[bytes]:
    """Delete all that is known of contents that no file holds; returns their digests."""
    digests = [row.digest for row in await tx.read_each(_DIGESTS, gone)]
    waiting = await tx.read_each(_TASKS_OF, gone)
    for row in waiting:
        tx.count(row.kind, row.state, -1)
    await tx.write(_DELETE_TASK, [{"task": row.id} for row in waiting])
    await tx.write(_DELETE_VECTORS, [{"gone": content} for content in gone])
    await tx.write(_DELETE_FACES, [{"gone": content} for content in gone])
    await tx.write(_DELETE_CAPTIONS, [{"gone": content} for content in gone])
    nothing: list[dict[str, Any]] = [
        {"gone": content, "nothing": os.urandom(32)} for content in gone
    ]
    await tx.write(_EMPTY_OUT, nothing)
    return digests
