"""What the walk reports: files that are new or changed, and files that are gone."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from sqlalchemy import bindparam, delete, insert, select, update

from actors.library import queue
from actors.library.feed import liveness
from actors.library.forgetting import leave_out
from actors.library.schema import directories, files, roots, tasks
from actors.library.statements import Record, values
from actors.library.storable import clamped, line
from actors.library.transaction import Transaction
from actors.messages import SeenFile

#: Names looked up by one statement.  SQLite has no index for `(directory, name) IN (…)` but does
#: for `directory IN (…) AND name IN (…)`, at the price of a probe for each pair; a walk goes
#: folder by folder, so there are few pairs that do not exist.
LOOKUP: Final = 128

_ROOT = select(roots.c.id).where(roots.c.path == bindparam("path"))
_DIRECTORIES = select(directories.c.id, directories.c.path).where(
    directories.c.root == bindparam("root"), directories.c.path.in_(values())
)
_FILES = select(files, tasks.c.id.label("task"), tasks.c.state.label("task_state")).select_from(
    files.outerjoin(tasks, tasks.c.file == files.c.id)
)
_NAMED = _FILES.where(
    files.c.directory.in_(values("directories")), files.c.name.in_(values("names"))
)
_PRESENT = _FILES.where(files.c.id.in_(values()), files.c.missing_since_ns.is_(None))

_INSERT = insert(files).returning(files.c.id, files.c.directory, files.c.name)
_START_OVER = (
    update(files)
    .where(files.c.id == bindparam("file"))
    .values(
        size=bindparam("new_size"),
        mtime_ns=bindparam("new_mtime_ns"),
        ctime_ns=bindparam("new_ctime_ns"),
        skip_reason=bindparam("new_skip_reason"),
        content=None,
        missing_since_ns=None,
    )
)
_SET_MISSING = (
    update(files)
    .where(files.c.id == bindparam("file"))
    .values(missing_since_ns=bindparam("since_ns"))
)
_FORGET = delete(tasks).where(tasks.c.id == bindparam("task"))
_INSERT_TASK = insert(tasks)


async def _root(tx: Transaction, path: bytes) -> int:
    rows = await tx.read(_ROOT, path=path)
    if not rows:
        await tx.write(tx.insert(roots).on_conflict_do_nothing(), [{"path": path}])
        rows = await tx.read(_ROOT, path=path)
    return int(rows[0].id)


async def _directories(tx: Transaction, root: int, paths: set[bytes]) -> dict[bytes, int]:
    async def known(wanted: Iterable[bytes]) -> dict[bytes, int]:
        return {row.path: row.id for row in await tx.read_each(_DIRECTORIES, wanted, root=root)}

    ids = await known(sorted(paths))
    if missing := sorted(paths - ids.keys()):
        await tx.write(
            tx.insert(directories).on_conflict_do_nothing(),
            [{"root": root, "path": path} for path in missing],
        )
        ids |= await known(missing)
    return ids


async def _known(
    tx: Transaction, keys: Iterable[tuple[int, bytes]]
) -> dict[tuple[int, bytes], Record]:
    known = {}
    ordered = sorted(keys)
    for start in range(0, len(ordered), LOOKUP):
        part = ordered[start : start + LOOKUP]
        for row in await tx.read(
            _NAMED,
            directories=sorted({directory for directory, _ in part}),
            names=sorted({name for _, name in part}),
        ):
            known[row.directory, row.name] = row
    return known


def _count(tx: Transaction, row: Record, n: int, *, missing: bool) -> None:
    tx.count_file(
        n,
        missing=missing,
        skipped=row.skip_reason is not None,
        linked=row.content is not None,
    )


def _stands(row: Record, key: Mapping[str, int], skip: str | None) -> bool:
    """Whether what is known of a file still holds, now that it was seen with *key* and *skip*."""
    if (row.size, row.mtime_ns, row.ctime_ns) != tuple(key.values()):
        return False
    if skip is None:
        # With a task the decoder has its say, be it "no photo".  Without one the file was skipped
        # by the walk, which now thinks better of it.
        return row.task is not None
    return row.task is None and row.skip_reason == skip


async def seen(tx: Transaction, root: bytes, reported: Iterable[SeenFile], priority: int) -> None:
    """Note files that the walk of *root* found, and what has to be done about them.

    A file that is new or changed, or that the walk now skips or skips no longer, starts over: no
    content, no older task, a decode task unless it is skipped.  A file that was missing and is
    back unchanged is here again and goes on where it was.  For anything else nothing happens, so
    a report may come twice; of two reports about one path the later one holds.  What the owner
    had forgotten is left out.
    """
    reported = await leave_out(tx, root, reported)
    latest = {(file.directory, file.name): file for file in reported}
    if not latest:
        return
    ids = await _directories(tx, await _root(tx, root), {directory for directory, _ in latest})
    present = {(ids[directory], name): file for (directory, name), file in latest.items()}
    known = await _known(tx, present)

    new: list[dict[str, Any]] = []
    changed: list[dict[str, Any]] = []
    back: list[Record] = []
    to_decode: dict[tuple[int, bytes], dict[str, int]] = {}
    obsolete: list[Record] = []
    for place, file in present.items():
        key = {
            "size": clamped(file.size),
            "mtime_ns": clamped(file.mtime_ns),
            "ctime_ns": clamped(file.ctime_ns),
        }
        skip = line(file.skip) or None
        row = known.get(place)
        if row is not None and _stands(row, key, skip):
            if row.missing_since_ns is not None:
                back.append(row)
            continue
        if row is None:
            directory, name = place
            new.append({"directory": directory, "name": name, "skip_reason": skip, **key})
        else:
            _count(tx, row, -1, missing=row.missing_since_ns is not None)
            obsolete.append(row)
            changed.append(
                {"file": row.id, "new_skip_reason": skip}
                | {f"new_{part}": value for part, value in key.items()}
            )
        tx.count_file(1, skipped=skip is not None)
        if skip is None:
            to_decode[place] = key

    linked = {row.content for row in (*obsolete, *back) if row.content is not None}
    async with liveness(tx, linked):
        await tx.write(_START_OVER, changed)
        await tx.write(_SET_MISSING, [{"file": row.id, "since_ns": None} for row in back])
    for row in back:
        _count(tx, row, 1, missing=False)
    parked = [row.task for row in back if row.task_state == "parked"]
    await queue.move_by_id(tx, parked, "ready")
    await queue.wake(tx, {row.content for row in back if row.content is not None})

    file_ids = {place: row.id for place, row in known.items()}
    if new:
        # The directories and names come back too, because rows return in no particular order.
        inserted = await tx.connection.execute(_INSERT, new)
        file_ids |= {(row.directory, row.name): row.id for row in inserted}
    forgotten = [row for row in obsolete if row.task is not None]
    for row in forgotten:
        tx.count("decode", row.task_state, -1)
    await tx.write(_FORGET, [{"task": row.task} for row in forgotten])
    await queue.add(
        tx,
        "decode",
        [
            {"file": file_ids[place], "priority": priority, **key}
            for place, key in to_decode.items()
        ],
    )


async def vanished(tx: Transaction, ids: Iterable[int]) -> None:
    """Note that a complete walk did not find these files.

    Nothing is deleted: their links and tasks stay, so that they go on where they were when the
    disk is plugged in again.  Work that would need the file is parked.
    """
    rows = await tx.read_each(_PRESENT, sorted(set(ids)))
    linked = {row.content for row in rows if row.content is not None}
    async with liveness(tx, linked):
        await tx.write(_SET_MISSING, [{"file": row.id, "since_ns": tx.now_ns} for row in rows])
    for row in rows:
        _count(tx, row, -1, missing=False)
    waiting = [row.task for row in rows if row.task_state in ("ready", "leased")]
    await queue.move_by_id(tx, waiting, "parked")
