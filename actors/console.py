"""What a person at the terminal sees: short lines on stderr, tables and JSON on stdout."""

import logging
import sys
from datetime import UTC, datetime
from typing import Any

import msgspec
from rich.console import Console as RichConsole
from rich.table import Table
from rich.text import Text

from actors.messages import CatalogStatus, Found, Hit, Status, Totals
from runtime import log
from runtime.log import LEVELS, Record

#: what a record says to a person; {name} is who is spoken of
_SENTENCES = {
    "died": "{name} (pid {pid}) died: {exit}; `logs {name}` tells more",
    "isolated": "{name} is set aside for {for_s} s ({reason}); the rest works on",
    "set_aside": "{name} cannot work and is set aside until the next start: {reason}",
    "gives_up": "{group} gives up: {reason}",
    "start_too_slow": "{name} was not ready within {s:g} s and is started anew",
    "killing": "{name} hangs ({why}) and is started anew",
    "abandoned": "{name} (pid {pid}) does not end even when killed, and is left behind",
    "snapshot_refused": "{name}: the stored index is not usable ({reason}) and is built anew"
    " from the catalog; nothing is lost",
    "snapshot_not_written": "{name}: the index cannot be stored ({reason}); nothing is lost, but"
    " the next start has more to read",
    "held_back": "{name}: {space} is built and does not take over: {reason}",
    "no_model": "{name}: the pack {pack} cannot be loaded ({reason}); it is tried again",
}
#: how bad it is what the supervisor did; what is not listed is `info`
_LEVELS = {
    "died": "warning",
    "isolated": "warning",
    "start_too_slow": "warning",
    "killing": "warning",
    "abandoned": "warning",
    "unusable": "error",
    "set_aside": "error",
    "gives_up": "error",
}
#: a sentence of the supervisor follows these, and tells a person more
_FOLLOWED = {log.UNUSABLE, "crashed"}
_STYLES = {"debug": "dim", "warning": "yellow", "error": "red", "critical": "bold red"}


def event_record(event: str, fields: dict[str, object]) -> Record:
    """What the supervisor did, as a record of its own."""
    return log.record("supervisor", _LEVELS.get(event, "info"), event, dict(fields))


#: what is said of a pack where it does not serve whole pictures
KINDS = {"face": " (faces)", "caption": " (captions)"}

#: columns when nobody sees them: a folded path is of no use to the next program
UNFOLDED = 10_000


class Console:
    """What happens, on stderr: for people, or (*as_json*) everything for programs.

    A person sees what was said to a person, warnings, and with *verbose* what is worth `info`.
    Nothing is shown any more once the tree has given up for good: its reason is said last.
    """

    def __init__(self, *, verbose: bool = False, as_json: bool = False) -> None:
        self.rich = RichConsole(stderr=True, highlight=False)
        self._least = logging.INFO if verbose else logging.WARNING
        self._verbose = verbose
        self._as_json = as_json
        self._over = False

    def say(self, text: str) -> None:
        """One line to the person."""
        if self._as_json:
            self._print(log.record("supervisor", "info", "said", {"text": text}).line)
        else:
            self._print(_printable(text))

    def show(self, record: Record) -> None:
        """Something a process said, or the supervisor did."""
        if self._as_json:
            self._print(record.line)
            return
        self._over = self._over or record.fields.get("ends") is True
        followed = record.event in _FOLLOWED and not self._verbose
        if LEVELS[record.level] < self._least or followed or self._over:
            return
        self._print(_sentence(record))
        if record.exception and self._verbose:
            self._print(record.exception)

    def _print(self, text: str) -> None:
        # through rich, because bars may be drawn below
        self.rich.print(Text(text), soft_wrap=True)


def _sentence(record: Record) -> str:
    if record.event in _SENTENCES:
        return _printable(_SENTENCES[record.event].format(**{"name": record.name} | record.fields))
    return f"{record.name}: {record.words}"


def _printable(text: str) -> str:
    """*text* without what a terminal would obey or cannot show."""
    return "".join(each if each.isprintable() else "�" for each in text)


def print_record(record: Record) -> None:
    """One line of `logs`."""
    out = _stdout()
    try:
        at = f"{datetime.fromisoformat(record.at).astimezone():%Y-%m-%d %H:%M:%S.%f}"[:-3]
    except ValueError:
        at = record.at
    style = _STYLES.get(record.level, "")
    line = Text.assemble(
        (_printable(at), "dim"), " ", (record.name, "cyan"), " ", (record.level, style), " "
    )
    out.print(line.append(record.words), soft_wrap=True)
    if record.exception:
        lines = (f"    {_printable(each)}" for each in record.exception.splitlines())
        out.print(Text("\n".join(lines), style="dim"), soft_wrap=True)


def _stdout() -> RichConsole:
    """Standard output; where no terminal gives a width, lines are as long as they are."""
    return RichConsole(highlight=False, width=None if sys.stdout.isatty() else UNFOLDED)


def print_table(table: Table) -> None:
    """*table* on stdout; nothing follows the last word of a line where no terminal is."""
    out = _stdout()
    if out.is_terminal:
        out.print(table)
        return
    with out.capture() as captured:
        out.print(table)
    sys.stdout.writelines(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def print_json(value: Any) -> None:
    """*value* as one line of JSON on stdout."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")


def print_found(found: Found) -> None:
    """Search results as a table."""
    table = Table(box=None, pad_edge=False)
    table.add_column("score", justify="right")
    table.add_column("taken")
    counted = any(hit.faces is not None for hit in found.hits)
    by_face = any(hit.face is not None for hit in found.hits)
    told = any(hit.caption is not None for hit in found.hits)
    if by_face:
        table.add_column("face", justify="right")
    elif counted:
        table.add_column("faces", justify="right")
    if told:
        table.add_column("by")
    table.add_column("photo", overflow="fold")
    if told:
        table.add_column("caption", overflow="fold")
    for hit in found.hits:
        cells = [f"{hit.score:.3f}", hit.taken_at or ""]
        if by_face:
            cells.append("" if hit.face is None else str(hit.face.id))
        elif counted:
            cells.append("?" if hit.faces is None else str(hit.faces))
        if told:
            cells.append(hit.reason)
        cells.append(_plain(hit.path))
        if told:
            cells.append(_plain(hit.caption or ""))
        table.add_row(*cells)
    print_table(table)
    if found.unlooked:
        sys.stderr.write(f"faces are still to be looked for in {found.unlooked} more photos\n")
    if lacking := [each for each in found.degraded.split("; ") if each not in {"", "exact"}]:
        sys.stderr.write(f"{'; '.join(lacking)}\n")
    if found.demo:
        sys.stderr.write("demo model: understands drawings only\n")


def result(hit: Hit) -> dict[str, Any]:
    """One hit as `search --json` prints it."""
    return {
        "path": hit.path,
        "score": round(hit.score, 6),
        "taken_at": hit.taken_at,
        "thumbnail": hit.thumbnail,
        "content": hit.content,
        "faces": hit.faces,
        "face": hit.face,
        "reason": hit.reason,
        "caption": hit.caption,
    }


def print_summary(summary: msgspec.Struct, *, as_json: bool) -> None:
    """What `--once` did."""
    if as_json:
        print_json(summary)
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in msgspec.structs.asdict(summary).items():
        table.add_row(name.replace("_", " "), str(value))
    print_table(table)


def print_status(status: Status, totals: Totals) -> None:
    """The whole system at a glance."""
    out = _stdout()
    out.print(
        f"{totals.files} files: {totals.indexed} indexed, {totals.pending} to do, "
        f"{totals.duplicates} duplicates, {totals.skipped} skipped, {totals.dead} unreadable"
    )
    if status.catalog is not None:
        table = Table(box=None, pad_edge=False)
        for column in ("stage", "waiting", "in hand", "done", "dead"):
            table.add_column(column, justify="left" if column == "stage" else "right")
        for queue in status.catalog.queues:
            numbers = (queue.ready, queue.leased, queue.done, queue.dead)
            table.add_row(queue.kind, *(str(each) for each in numbers))
        print_table(table)
        ready = {each.kind: each.ready for each in status.catalog.queues}
        for work in [] if status.scheduler is None else status.scheduler.classes:
            if work.reason and (ready.get(work.kind) or work.queued):
                out.print(f"{work.kind} waits: {work.reason}")
        if status.catalog.paused:
            out.print(f"{pause(status.catalog)}; `resume` goes on")
        for line in spaces(status.catalog):
            out.print(line)
    if status.index is not None:
        note = f" ({status.index.degraded})" if status.index.degraded else ""
        out.print(f"{status.index.vectors} photos searchable in {status.index.space}{note}")
    if status.demo:
        out.print("demo model: understands drawings only")
    table = Table(box=None, pad_edge=False)
    for column in ("process", "state", "pid", "restarts", "last exit"):
        table.add_column(column)
    for each in status.processes:
        table.add_row(each.name, each.state, str(each.pid), str(each.restarts), each.last_exit)
    print_table(table)


def spaces(catalog: CatalogStatus) -> list[str]:
    """Which models serve, are built and can be gone back to; nothing where there is one alone."""
    known = [each for each in catalog.spaces if each.vectors or each.state != "retired"]
    if len(known) < 2:
        return []
    found = []
    for each in known:
        number = f"{each.vectors} of {catalog.photos} photos"
        name = each.pack + KINDS.get(each.kind, "")
        if each.state == "active":
            found.append(f"{name} serves ({number})")
        elif each.state == "retired":
            found.append(f"{name} can be gone back to ({number})")
        elif each.held:
            found.append(f"{name} is built ({number}) and held back: {each.held}")
        else:
            eta = f", {pretty_seconds(each.eta_seconds)} left" if each.eta_seconds else ""
            rate = f", {each.rate:g}/s" if each.rate else ""
            found.append(f"{name} is being built beside it: {number}{rate}{eta}")
    return found


def pretty_seconds(seconds: int) -> str:
    """A duration, as long as a person needs to know it."""
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if seconds < 120:
        return f"{seconds} s"
    return f"{minutes} min" if minutes < 120 else f"{hours} h"


def pause(catalog: CatalogStatus) -> str:
    """Since when a paused library is so, and what waits."""
    since = datetime.fromtimestamp(catalog.paused_since_ns / 1e9, UTC).astimezone()
    waiting = {queue.kind: queue.ready for queue in catalog.queues}
    return (
        f"paused by its owner since {since:%Y-%m-%d %H:%M}, with {waiting.get('decode', 0)} photos"
        f" to be read and {waiting.get('embed', 0)} to be indexed"
    )


def _plain(path: str) -> str:
    """*path* without what a terminal would obey: a file name is a stranger's text."""
    return _printable(path).replace("[", "\\[")
