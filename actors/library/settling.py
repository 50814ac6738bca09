"""The exactly-once commit: results become facts, links, vectors, tasks and feed rows.

A worker keeps a result until it is answered and sends it again after every doubt, so a result
may come late, twice, in any order, from a lease that ended long ago.  Hence the rule: it counts
if and only if its task is not settled yet, whoever holds the lease now; in every case it is
answered as committed.  Since everything happens in one transaction there is no third state.

A result that contradicts its task (another space, a vector of the wrong length, a digest that is
none) is the worker's fault and treated as such: it must cost one task and never the batch.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import msgspec
from sqlalchemy import bindparam, select, update

from actors.library import captions, faces, feed, queue, spaces
from actors.library.schema import contents, files, tasks, vectors
from actors.library.schema import spaces as spaces_table
from actors.library.statements import Record, values
from actors.library.storable import INT32, INT64, cleaned, line
from actors.library.transaction import Transaction
from actors.messages import (
    Captioned,
    Decoded,
    Embedded,
    Faced,
    Failed,
    FoundFace,
    Result,
    Skipped,
    ThumbnailLost,
)

#: Bytes of a BLAKE3 digest.
DIGEST: Final = 32
#: Bytes of a float32.
FLOAT: Final = 4
#: Numbers that five points are.
LANDMARKS: Final = 10

_UNSETTLED = (
    select(
        tasks,
        contents.c.digest,
        files.c.size.label("file_size"),
        files.c.mtime_ns.label("file_mtime_ns"),
        files.c.ctime_ns.label("file_ctime_ns"),
        files.c.content.label("linked"),
        files.c.skip_reason,
        files.c.missing_since_ns,
        spaces_table.c.name.label("space_name"),
        spaces_table.c.dimensions,
    )
    .select_from(
        tasks.outerjoin(files, tasks.c.file == files.c.id)
        .outerjoin(spaces_table, tasks.c.space == spaces_table.c.id)
        .outerjoin(contents, tasks.c.content == contents.c.id)
    )
    .where(tasks.c.id.in_(values()), tasks.c.state.not_in(("done", "dropped")))
)
_KNOWN = select(
    contents.c.id, contents.c.digest, contents.c.thumb_256, contents.c.thumb_1024
).where(contents.c.digest.in_(values()))
_SET_THUMBS = (
    update(contents)
    .where(contents.c.id == bindparam("known"))
    .values(thumb_256=bindparam("new_thumb_256"), thumb_1024=bindparam("new_thumb_1024"))
)
_LINK = (
    update(files)
    .where(files.c.id == bindparam("of_file"))
    .values(content=bindparam("new_content"), skip_reason=bindparam("new_skip_reason"))
)
_HAVE_VECTOR = select(vectors.c.content, vectors.c.space).where(vectors.c.content.in_(values()))


class Settled(msgspec.Struct, frozen=True):
    """What a list of results came to; *decoded* and *embedded* count what was new.

    *faced* are the digests of pictures whose faces are known now, *captioned* counts those that
    were described.
    *unwanted* are the digests of pictures that nobody asked for any more: their file was changed
    or forgotten while it was decoded, and their thumbnails belong to no photo.
    """

    tasks: list[int]
    decoded: int
    embedded: int
    faced: list[bytes]
    captioned: int
    unwanted: list[bytes]


def contradiction(row: Record, result: Result) -> str | None:
    """Why *result* cannot be a result of the task *row*; None when it can."""
    match result:
        case Decoded() if row.kind != "decode":
            return f"a decode result for a task of kind {row.kind}"
        case Decoded(digest=digest) if len(digest) != DIGEST:
            return f"a digest of {len(digest)} bytes instead of {DIGEST}"
        case Decoded(facts=facts) if not (0 < facts.width <= INT32 and 0 < facts.height <= INT32):
            return f"a picture of {facts.width} x {facts.height} pixels"
        case Decoded(facts=facts) if (
            max(abs(facts.orientation), abs(facts.taken_offset or 0)) > INT32
        ):
            return f"orientation {facts.orientation}, offset {facts.taken_offset}"
        case Decoded(thumb_256=small, thumb_1024=large) if not (
            0 <= small <= INT64 and 0 <= large <= INT64
        ):
            return f"thumbnails of {small} and {large} bytes"
        case ThumbnailLost() if row.kind == "decode":
            return f"a lost thumbnail for a task of kind {row.kind}"
        case ThumbnailLost() if result.content != row.content:
            return f"a lost thumbnail of content {result.content} instead of {row.content}"
        case Skipped() if row.kind != "decode":
            return f"skipped, which a task of kind {row.kind} cannot be"
        case Embedded() if row.kind != "embed":
            return f"a vector for a task of kind {row.kind}"
        case Embedded() if result.content != row.content:
            return f"a vector of content {result.content} instead of {row.content}"
        case Embedded() if result.space != row.space_name:
            return f"a vector in space {result.space!r} instead of {row.space_name!r}"
        case Embedded() if len(result.vector) != FLOAT * row.dimensions:
            return f"a vector of {len(result.vector)} bytes instead of {FLOAT * row.dimensions}"
        case Faced() if row.kind != "face":
            return f"faces for a task of kind {row.kind}"
        case Faced() if result.content != row.content:
            return f"faces of content {result.content} instead of {row.content}"
        case Faced() if result.space != row.space_name:
            return f"faces in space {result.space!r} instead of {row.space_name!r}"
        case Faced(faces=found) if any(_is_no_face(face, row.dimensions) for face in found):
            return "a face with a wrong vector, box or number of landmarks"
        case Captioned() if row.kind != "caption":
            return f"a caption for a task of kind {row.kind}"
        case Captioned() if result.content != row.content:
            return f"a caption of content {result.content} instead of {row.content}"
        case Captioned() if result.space != row.space_name:
            return f"a caption in space {result.space!r} instead of {row.space_name!r}"
        case Captioned() if not math.isfinite(result.score):
            return f"a caption with the score {result.score}"
    return None


def _is_no_face(face: FoundFace, dimensions: int) -> bool:
    numbers = (
        *(face.left, face.top, face.right, face.bottom),
        *(face.score, face.size, face.sharpness, face.yaw, face.roll),
        *face.landmarks,
    )
    return (
        len(face.vector) != FLOAT * dimensions
        or len(face.landmarks) not in {0, LANDMARKS}
        or not all(map(math.isfinite, numbers))
    )


def _weight(result: Result) -> int:
    """Of several results for one task the lightest counts: a success, else a verdict."""
    match result:
        case Failed(fault="photo"):
            return 1
        case Failed() | ThumbnailLost():
            return 2
    return 0


async def settle(tx: Transaction, results: Iterable[Result]) -> Settled:
    """Commit *results*; every task of them is answered, the unknown and the settled ones too."""
    by_task: dict[int, Result] = {}
    for result in results:
        by_task[result.task] = min(by_task.get(result.task, result), result, key=_weight)
    # An id that no database can hold is as unknown as any other.
    unsettled = {
        row.id: row
        for row in await tx.read_each(_UNSETTLED, sorted(i for i in by_task if 0 < i <= INT64))
    }

    decoded: list[tuple[Record, Decoded]] = []
    skipped: list[tuple[Record, Skipped]] = []
    embedded: list[tuple[Record, Embedded]] = []
    faced: list[tuple[Record, Faced]] = []
    captioned: list[tuple[Record, Captioned]] = []
    failed: list[tuple[Record, Failed]] = []
    lost: list[Record] = []
    for task, row in unsettled.items():
        result = by_task[task]
        if problem := contradiction(row, result):
            result = Failed(task=task, fault="worker", reason=f"the worker returned {problem}")
        match result:
            case Decoded():
                decoded.append((row, result))
            case Skipped():
                skipped.append((row, result))
            case Embedded():
                embedded.append((row, result))
            case Faced():
                faced.append((row, result))
            case Captioned():
                captioned.append((row, result))
            case ThumbnailLost():
                lost.append(row)
            case Failed():
                failed.append((row, result))

    await _commit_files(tx, decoded, skipped)
    await _commit_vectors(tx, {(row.content, row.space): result.vector for row, result in embedded})
    await _commit_faces(tx, faced)
    await _commit_captions(tx, captioned)
    settled = (*decoded, *skipped, *embedded, *faced, *captioned)
    await queue.finish(tx, [row for row, _ in settled])
    await queue.fail(tx, failed)
    await queue.lost(tx, lost)
    committed = {row.id for row, _ in decoded}
    strays = {
        result.digest
        for task, result in by_task.items()
        if isinstance(result, Decoded) and task not in committed
    }
    known = {row.digest for row in await tx.read_each(_KNOWN, sorted(strays))}
    return Settled(
        tasks=list(by_task),
        decoded=len(decoded),
        embedded=len(embedded),
        faced=[row.digest for row, _ in faced],
        captioned=len(captioned),
        unwanted=sorted(strays - known),
    )


async def _commit_files(
    tx: Transaction,
    decoded: Sequence[tuple[Record, Decoded]],
    skipped: Sequence[tuple[Record, Skipped]],
) -> None:
    """Link files to what is in them, or note that it is no photo."""
    content_of = await _contents(tx, decoded)
    links: list[tuple[Record, int | None, str | None]] = [
        (row, content_of[result.digest], None) for row, result in decoded
    ]
    links += [(row, None, line(result.reason) or "no reason given") for row, result in skipped]
    # The key of a task always is the key of its file (see `schema`); should that ever fail, a
    # file must not be linked to bytes that it no longer has.
    links = [link for link in links if _is_current(link[0])]

    touched = [row.linked for row, *_ in links] + [content for _, content, _ in links]
    async with feed.liveness(tx, [content for content in touched if content is not None]):
        await tx.write(
            _LINK,
            [
                {"of_file": row.file, "new_content": content, "new_skip_reason": reason}
                for row, content, reason in links
            ],
        )
    for row, content, reason in links:
        missing = row.missing_since_ns is not None
        tx.count_file(
            -1,
            missing=missing,
            skipped=row.skip_reason is not None,
            linked=row.linked is not None,
        )
        tx.count_file(1, missing=missing, skipped=reason is not None, linked=content is not None)


def _is_current(row: Record) -> bool:
    return (row.size, row.mtime_ns, row.ctime_ns) == (
        row.file_size,
        row.file_mtime_ns,
        row.file_ctime_ns,
    )


async def _contents(tx: Transaction, decoded: Sequence[tuple[Record, Decoded]]) -> dict[bytes, int]:
    """The ids of all decoded contents; the new ones are inserted and get their tasks."""
    first: dict[bytes, tuple[Record, Decoded]] = {}
    for row, result in decoded:
        first.setdefault(result.digest, (row, result))
    known = await tx.read_each(_KNOWN, sorted(first))
    ids = {row.digest: int(row.id) for row in known}

    # Who decoded a known content again wrote its thumbnails again.
    written = [(row, first[row.digest][1]) for row in known]
    await tx.write(
        _SET_THUMBS,
        [
            {"known": row.id, "new_thumb_256": now.thumb_256, "new_thumb_1024": now.thumb_1024}
            for row, now in written
            if (row.thumb_256, row.thumb_1024) != (now.thumb_256, now.thumb_1024)
        ],
    )

    # Who waits for these thumbnails need wait no longer.
    await queue.wake(tx, ids.values())

    new = [digest for digest in first if digest not in ids]
    if not new:
        return ids
    await tx.write(
        tx.insert(contents).on_conflict_do_nothing(),
        [_content(first[digest][1], tx.now_ns) for digest in new],
    )
    ids |= {row.digest: int(row.id) for row in await tx.read_each(_KNOWN, new)}
    for space in await spaces.open_spaces(tx):
        works = [
            {"content": ids[digest], "space": space.id, "priority": first[digest][0].priority}
            for digest in new
        ]
        await queue.add(tx, space.kind, works)
    return ids


def _content(result: Decoded, now_ns: int) -> dict[str, Any]:
    facts = {
        name: cleaned(value) if isinstance(value, str) else value
        for name, value in msgspec.structs.asdict(result.facts).items()
    }
    return facts | {
        "digest": result.digest,
        "thumb_256": result.thumb_256,
        "thumb_1024": result.thumb_1024,
        "added_ns": now_ns,
    }


async def _commit_faces(tx: Transaction, faced: Sequence[tuple[Record, Faced]]) -> None:
    """Keep the faces of pictures that have none yet in that space."""
    found = {(row.content, row.space): result.faces for row, result in faced}
    have = await tx.read_each(_HAVE_VECTOR, sorted({content for content, _ in found}))
    for content, space in have:
        found.pop((content, space), None)
    joint = await faces.commit(tx, found)
    await _commit_vectors(
        tx,
        {key: each.vector for key, each in joint.items()},
        {key: each.faces for key, each in joint.items()},
    )


async def _commit_captions(tx: Transaction, captioned: Sequence[tuple[Record, Captioned]]) -> None:
    """Keep the captions of pictures that have none yet in that space."""
    told = {
        (row.content, row.space): captions.Told(result.text, result.score)
        for row, result in captioned
    }
    have = await tx.read_each(_HAVE_VECTOR, sorted({content for content, _ in told}))
    for content, space in have:
        told.pop((content, space), None)
    await captions.commit(tx, told)
    await _commit_vectors(tx, dict.fromkeys(told, b""))


async def _commit_vectors(
    tx: Transaction,
    offered: Mapping[tuple[int, int], bytes],
    of_faces: Mapping[tuple[int, int], int] = MappingProxyType({}),
) -> None:
    """Keep the vectors that are new and tell the feed of those whose content is live."""
    have = await tx.read_each(_HAVE_VECTOR, sorted({content for content, _ in offered}))
    new = sorted(offered.keys() - {(content, space) for content, space in have})
    await tx.write(
        tx.insert(vectors).on_conflict_do_nothing(),
        [
            {
                "content": content,
                "space": space,
                "vector": offered[content, space],
                "faces": of_faces.get((content, space)),
            }
            for content, space in new
        ],
    )
    live = await feed.live(tx, sorted({content for content, _ in new}))
    await feed.append(tx, "add", [entry for entry in new if entry[0] in live])
