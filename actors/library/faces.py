"""Faces: their numbers, and how the vectors of all faces of a photo lie in one value.

A face is known by one integer for as long as its photo is: which photo, and which face of it.

    id = content << 12 | number        number 0 … 4094, in the order in which faces were first found

When a photo is looked at again, by the same model or by another, a face that lies where one lay
before (intersection over union above one half) keeps that one's number, whichever space found it;
every other one gets a number that nobody has.  So what an owner says of a face outlives the model
that found it.  Rows of other spaces stay, because going back to a model must cost nothing.

The value in `vectors` is, for each face, its number (uint32, little-endian) and its vector: whoever
follows the feed needs to read nothing else.

Prior art: photo managers that key faces by a row id lose every name with a new detector.  Rejected:
hashes of the box, which move with every model; a table of vectors of its own, to which feed,
counters, backfill and forgetting would all have to be taught a second time.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import bindparam, delete, select

from actors.library.schema import faces
from actors.library.statements import Record, values
from actors.library.transaction import Transaction
from actors.messages import FoundFace
from models.faces.face import Face, iou

NUMBER_BITS: Final = 12
#: faces of one photo; what comes after the best of them is left out
MOST: Final = (1 << NUMBER_BITS) - 1
#: the same face, seen again
SAME: Final = 0.5

_OF = select(faces).where(faces.c.content.in_(values())).order_by(faces.c.content, faces.c.number)
_INSERT = faces.insert()
_DELETE = delete(faces).where(
    faces.c.content == bindparam("of"), faces.c.space == bindparam("in_space")
)


def face_id(content: int, number: int) -> int:
    return content << NUMBER_BITS | number


def parts_of(face: int) -> tuple[int, int]:
    """(content, number) of a face's id."""
    return face >> NUMBER_BITS, face & MOST


def number(found: Sequence[Face], known: dict[int, list[Face]]) -> list[int]:
    """A number for each of *found*, given where the faces that have one lay.

    The best match takes its number first, so that two faces that stand close do not swap.
    """
    pairs = sorted(
        (
            (-max(iou(box, old) for old in boxes), index, name)
            for index, box in enumerate(found)
            for name, boxes in known.items()
        ),
    )
    taken: dict[int, int] = {}
    for likeness, index, name in pairs:
        if -likeness > SAME and index not in taken and name not in taken.values():
            taken[index] = name
    free = (each for each in range(MOST + 1 + len(found)) if each not in known)
    return [taken[index] if index in taken else next(free) for index in range(len(found))]


def joined(numbers: Sequence[int], found: Sequence[FoundFace]) -> bytes:
    """The value of a photo's faces in `vectors`; see the head of the module."""
    return b"".join(
        struct.pack("<I", each) + face.vector for each, face in zip(numbers, found, strict=True)
    )


class Joined(NamedTuple):
    """What belongs into `vectors` of the faces of a photo."""

    vector: bytes
    faces: int


async def commit(
    tx: Transaction, found: Mapping[tuple[int, int], Sequence[FoundFace]]
) -> dict[tuple[int, int], Joined]:
    """Write the faces of each (content, space), in place of those it had there."""
    known: dict[int, dict[int, list[Face]]] = {}
    for row in await tx.read_each(_OF, sorted({content for content, _ in found})):
        boxes = known.setdefault(row.content, {}).setdefault(row.number, [])
        boxes.append(_box(row))
    rows: list[dict[str, Any]] = []
    joint: dict[tuple[int, int], Joined] = {}
    for (content, space), some in found.items():
        best = some[:MOST]
        boxes_found = [_box(each) for each in best]
        numbers = number(boxes_found, known.setdefault(content, {}))
        kept = [(n, face) for n, face in zip(numbers, best, strict=True) if n < MOST]
        value = joined([n for n, _ in kept], [face for _, face in kept])
        joint[content, space] = Joined(value, len(kept))
        for n, face in kept:
            known[content].setdefault(n, []).append(_box(face))
            rows.append(_row(content, space, n, face))
    await drop(tx, found)
    await tx.write(_INSERT, rows)
    return joint


async def drop(tx: Transaction, of: Iterable[tuple[int, int]]) -> None:
    """Forget the faces of each (content, space)."""
    await tx.write(_DELETE, [{"of": content, "in_space": space} for content, space in of])


def _box(face: Record | FoundFace) -> Face:
    return Face(face.left, face.top, face.right, face.bottom, face.score)


def _row(content: int, space: int, n: int, face: FoundFace) -> dict[str, Any]:
    return {
        "content": content,
        "space": space,
        "number": n,
        "left": face.left,
        "top": face.top,
        "right": face.right,
        "bottom": face.bottom,
        "score": face.score,
        "landmarks": struct.pack(f"<{len(face.landmarks)}f", *face.landmarks),
        "size": face.size,
        "sharpness": face.sharpness,
        "yaw": face.yaw,
        "roll": face.roll,
    }


def vector_of(joint: bytes, wanted: int, dimensions: int) -> bytes | None:
    """The vector of the face number *wanted* in a value of `joined`; None where it has none."""
    width = 4 + 4 * dimensions
    for at in range(0, len(joint), width):
        if struct.unpack_from("<I", joint, at)[0] == wanted:
            return joint[at + 4 : at + width]
    return None
