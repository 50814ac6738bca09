"""`check`: does all of it agree, and with `--repair` make it so.

Looking is done here, beside whatever runs; what is wrong is mended by whoever may write, a
running system or the desk of one that rests.  Nothing is computed here: lost thumbnails and
vectors become tasks again, which the system does, at once or when it is started next.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from actors import console
from actors.cli.common import EXIT_NO, DataOption, JsonOption, plain
from actors.cli.reach import Door, reach
from actors.messages import (
    AskIndexIds,
    AskPlaces,
    Done,
    IndexIds,
    Places,
    RebuildIndex,
    Repair,
    Repaired,
)

if TYPE_CHECKING:
    from actors.checkup import Findings

#: ids a message
SLICE = 2000
EXAMPLES = 5
ASK_S = 600.0


class Line(msgspec.Struct):
    """One kind of thing that is wrong."""

    what: str
    count: int
    examples: list[str]
    remedy: str
    repaired: int = 0


def check(
    repair: Annotated[bool, typer.Option("--repair", help="Mend what is wrong.")] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Open every thumbnail, read the whole database; slow.")
    ] = False,
    as_json: JsonOption = False,
    data: DataOption = None,
) -> None:
    """Whether photos, thumbnails, vectors and index agree; exit status 1 when they do not."""

    async def ask(door: Door) -> None:
        from actors.checkup import examine  # noqa: PLC0415  with it come numpy and the rest

        places = await door.ask(AskPlaces(), Places)

        async def ids(space: str) -> IndexIds:
            return await door.ask(AskIndexIds(space), IndexIds, ASK_S)

        found = await examine(places, ids if door.running else None, deep=deep)
        lines = _lines(found)
        if repair and lines and not found.database:
            await _repair(door, found, {line.what: line for line in lines})
        _report(found, lines, door, as_json=as_json, repair=repair)
        if any(line.repaired < line.count for line in lines):
            raise typer.Exit(EXIT_NO)

    reach(data, ask)


def _lines(found: "Findings") -> list[Line]:
    """What is wrong, a line a kind."""

    def line(what: str, found: Sequence[Any], examples: Sequence[str], remedy: str) -> Line:
        return Line(what, len(found), list(examples[:EXAMPLES]), remedy)

    def one(problem: str) -> list[str]:
        return [problem] if problem else []

    lines = [
        line("database", found.database, found.database, "restore a copy of it"),
        line(
            "counters",
            found.counters,
            [f"{kind} {state} is off by {n}" for kind, state, n in found.counters],
            "counted anew",
        ),
        line(
            "thumbnails",
            found.thumbnails,
            [f"photo {content}" for content in found.thumbnails],
            "to be made again",
        ),
        line(
            "vectors",
            found.vectors,
            [f"photo {content}" for content in found.vectors],
            "to be embedded again",
        ),
        line(
            "faces",
            found.faces,
            [f"photo {content}" for content in found.faces],
            "to be looked for again",
        ),
        line(
            "captions",
            found.captions,
            [f"photo {content}" for content in found.captions],
            "to be described again",
        ),
        line("caption words", one(found.words), [found.words], "indexed anew"),
        line("snapshot", one(found.snapshot), one(found.snapshot), "written anew"),
        line("index", one(found.index), one(found.index), "built anew"),
        line(
            "leftovers",
            found.leftovers,
            [each.name for each in found.leftovers],
            "removed",
        ),
    ]
    return [each for each in lines if each.count]


async def _repair(door: Door, found: "Findings", lines: dict[str, Line]) -> None:
    # Whoever makes it again keeps what looks whole by its ends.
    _remove(found.unreadable)
    for start in range(0, len(found.thumbnails), SLICE):
        part = found.thumbnails[start : start + SLICE]
        lines["thumbnails"].repaired += (
            await door.ask(Repair(thumbnails=part), Repaired, ASK_S)
        ).thumbnails
    for start in range(0, len(found.vectors), SLICE):
        part = found.vectors[start : start + SLICE]
        lines["vectors"].repaired += (await door.ask(Repair(vectors=part), Repaired, ASK_S)).vectors
    for start in range(0, len(found.faces), SLICE):
        part = found.faces[start : start + SLICE]
        lines["faces"].repaired += (await door.ask(Repair(faces=part), Repaired, ASK_S)).faces
    for start in range(0, len(found.captions), SLICE):
        part = found.captions[start : start + SLICE]
        lines["captions"].repaired += (
            await door.ask(Repair(captions=part), Repaired, ASK_S)
        ).captions
    if found.words:
        await door.ask(Repair(words=True), Repaired, ASK_S)
        lines["caption words"].repaired = 1
    if found.counters:
        await door.ask(Repair(counters=True), Repaired, ASK_S)
        lines["counters"].repaired = len(found.counters)
    if found.snapshot or found.index:
        await door.ask(RebuildIndex(), Done, ASK_S)
        for what in {"snapshot", "index"} & lines.keys():
            lines[what].repaired = 1
    if found.leftovers:
        lines["leftovers"].repaired = _remove(found.leftovers)


def _remove(paths: Sequence[Path]) -> int:
    removed = 0
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            sys.stderr.write(f"obscura: {plain(str(path))}: {error.strerror}\n")
        else:
            removed += 1
    return removed


def _report(
    found: "Findings", lines: list[Line], door: Door, *, as_json: bool, repair: bool
) -> None:
    if as_json:
        console.print_json(
            {
                "ok": not lines,
                "photos": found.photos,
                "index_compared": found.compared,
                "found": lines,
            }
        )
        return
    if not found.compared:
        sys.stdout.write("the index was not compared: the library changes too fast\n")
    if not lines:
        sys.stdout.write(f"everything agrees: {found.photos} photos\n")
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("what")
    table.add_column("wrong", justify="right")
    table.add_column("for example", overflow="fold")
    table.add_column("repaired" if repair else "with --repair", overflow="fold")
    for each in lines:
        mended = each.remedy if not repair else f"{each.repaired}: {each.remedy}"
        table.add_row(each.what, str(each.count), Text(plain("; ".join(each.examples))), mended)
    console.print_table(table)
    if repair and not door.running and any("again" in each.remedy for each in lines):
        sys.stdout.write("the next start does what is to be done again\n")
