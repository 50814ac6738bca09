"""Is the library what a calm look at its folder says?  Read-only, and with eyes of its own.

Nothing of the library's own read half is used here: plain SQL on the catalog's file and plain
looks at the disk, so that a mistake made there cannot vouch for itself.  `check` is asked as
well, which looks at thumbnails, vectors and the index.
"""

import contextlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from actors.selftest.drawings import Drawings
from actors.selftest.system import System, Usage

#: named in a proof that failed
EXAMPLES: Final = 3
#: the supervisor may take more at the end than at first: descriptors (a child that is just being
#: replaced), threads (one looks at a disk now and then), part of its memory and megabytes
MORE: Final = Usage(8, 2, 12.0)
MORE_MEMORY: Final = 1.25
CHECK_S: Final = 300.0

_FILES: Final = """
    SELECT directories.path, files.name, contents.digest, files.skip_reason, tasks.state,
           tasks.last_error, EXISTS (SELECT 1 FROM vectors WHERE content = contents.id)
    FROM files JOIN directories ON directories.id = files.directory
    LEFT JOIN contents ON contents.id = files.content
    LEFT JOIN tasks ON tasks.file = files.id
    WHERE files.missing_since_ns IS NULL
"""
_LIVE: Final = """
    SELECT vectors.space, vectors.content FROM vectors
    WHERE vectors.content IN (SELECT content FROM files WHERE missing_since_ns IS NULL)
"""


class Proof(msgspec.Struct, frozen=True):
    what: str
    ok: bool
    detail: str = ""


def proof(what: str, found: Iterable[str], detail: str = "") -> Proof:
    """That nothing was *found* against it; *detail* where nothing was."""
    against = list(found)
    if not against:
        return Proof(what, ok=True, detail=detail)
    more = f" … and {len(against) - EXAMPLES} more" if len(against) > EXAMPLES else ""
    return Proof(what, ok=False, detail="; ".join(against[:EXAMPLES]) + more)


def of_library(system: System, drawings: Drawings) -> Iterator[Proof]:
    """Of a library at rest."""
    with _opened(system.data) as ask:
        rows = ask(_FILES)
        indexed = sum(each.fate == "indexed" for each in drawings.files.values())
        yield proof(
            "every file is indexed, skipped or dead, as it should be",
            _wrong(rows, drawings),
            f"{len(drawings.files)} files, {indexed} of them pictures",
        )
        yield proof("no innocent dead letter", _innocent(ask, drawings), _charged(ask))
        yield proof("nothing is left to do", _open(ask))
        yield proof("every vector was committed once, and the feed tells so", _feed(ask))
    yield proof("originals are as they were", drawings.touched(), f"{len(drawings.files)} files")


def agreement(system: System, when: str) -> Proof:
    """That `check` finds nothing; *when*: it works beside a running system and without one."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "supervisor", "check", "--deep", "--data", str(system.data)],
        capture_output=True,
        text=True,
        check=False,
        cwd=system.data,
        env=system.environment(),
        timeout=CHECK_S,
    )
    said = [line.strip() for line in (done.stdout + done.stderr).splitlines()]
    return proof(f"`check` finds nothing {when}", said if done.returncode else [])


def flatness(usages: list[Usage]) -> Proof:
    """That a supervisor takes no more at the end of its life than at the beginning."""
    what = "the supervisor takes no more and more"
    if not usages:
        return Proof(what, ok=False, detail="it was never looked at")
    first, last = usages[0], usages[-1]
    grown = [
        f"{name} {before} → {after}"
        for name, before, after, most in (
            (
                "descriptors",
                first.descriptors,
                last.descriptors,
                first.descriptors + MORE.descriptors,
            ),
            ("threads", first.threads, last.threads, first.threads + MORE.threads),
            ("MB", first.rss_mb, last.rss_mb, first.rss_mb * MORE_MEMORY + MORE.rss_mb),
        )
        if after > most
    ]
    flat = (
        f"{first.descriptors} → {last.descriptors} descriptors, {first.threads} → {last.threads}"
        f" threads, {first.rss_mb:.0f} → {last.rss_mb:.0f} MB"
    )
    return proof(what, grown, flat)


def at_rest(data: Path) -> list[str]:
    """What a system that was stopped in order left in somebody's hands."""
    with _opened(data) as ask:
        return [
            f"task {task} is {state}"
            for task, state in ask(
                "SELECT id, state FROM tasks WHERE state = 'leased' OR executing_run IS NOT NULL"
            )
        ]


Ask = Callable[[str], list[tuple]]  # type: ignore[type-arg]


@contextlib.contextmanager
def _opened(data: Path) -> Iterator[Ask]:
    address = f"{(data / 'catalog.sqlite').as_uri()}?mode=ro"
    with contextlib.closing(sqlite3.connect(address, uri=True, timeout=10)) as database:
        yield lambda sql: database.execute(sql).fetchall()


def _wrong(rows: list[tuple], drawings: Drawings) -> Iterator[str]:  # type: ignore[type-arg]
    expected = dict(drawings.files)
    for directory, name, digest, skipped, state, error, vector in rows:
        path = drawings.place / os.fsdecode(directory) / os.fsdecode(name)
        file = expected.pop(path, None)
        is_ = (
            "dead" if state == "dead" else "skipped" if skipped else "indexed" if vector else state
        )
        if file is None:
            yield f"{path.name} is there no more, and yet {is_}"
        elif is_ != file.fate:
            yield f"{path.name} is {is_} ({skipped or error or 'no reason'}), not {file.fate}"
        elif is_ == "indexed" and digest != file.blake3:
            yield f"{path.name} is indexed with other bytes"
    yield from (f"{path.name} was never seen" for path in expected)


def _innocent(ask: Ask, drawings: Drawings) -> Iterator[str]:
    dead = ask(
        "SELECT tasks.kind, files.name, tasks.crash_attempts, tasks.last_error FROM tasks"
        " JOIN files ON files.id = tasks.file OR files.content = tasks.content"
        " WHERE tasks.state = 'dead' AND files.missing_since_ns IS NULL"
    )
    broken = {path.name for path, file in drawings.files.items() if file.fate == "dead"}
    for kind, name, crashes, error in dead:
        if (text := os.fsdecode(name)) not in broken:
            yield f"{text} ({kind}) after {crashes} deaths: {error}"


def _charged(ask: Ask) -> str:
    [(tasks, most)] = ask(
        "SELECT count(*), max(crash_attempts) FROM tasks WHERE crash_attempts > 0"
    )
    return (
        f"{tasks} tasks were in hand when a process died, one of them {most} times" if tasks else ""
    )


def _open(ask: Ask) -> list[str]:
    rows = ask(
        "SELECT kind, state, count(*) FROM tasks"
        " WHERE state IN ('ready', 'leased') OR executing_run IS NOT NULL GROUP BY 1, 2"
    )
    return [f"{number} {kind} tasks are {state}" for kind, state, number in rows]


def _feed(ask: Ask) -> Iterator[str]:
    """An add only for what is out, a remove only for what is in, and in the end all that lives."""
    held: set[tuple[int, int]] = set()
    for seq, op, space, content in ask("SELECT seq, op, space, content FROM feed ORDER BY seq"):
        if ((space, content) in held) == (op == "add"):
            yield f"feed row {seq}: {op} of content {content}, which is so already"
        (held.add if op == "add" else held.discard)((space, content))
    live = ask(_LIVE)
    yield from (f"content {content} has two vectors" for content in _twice(live))
    for space, content in held ^ set(live):
        fed = "in" if (space, content) in held else "out"
        yield f"content {content} of space {space} is {fed}, by the feed"


def _twice(rows: list[tuple]) -> set[int]:  # type: ignore[type-arg]
    seen: set[tuple[int, int]] = set()
    twice = set()
    for row in rows:
        if row in seen:
            twice.add(row[1])
        seen.add(row)
    return twice
