"""What a person at the terminal sees: short lines on stderr, tables and JSON on stdout."""

import json
import sys
from typing import Any

import msgspec
from rich.console import Console as RichConsole
from rich.table import Table

from actors.messages import Found, Hit, Status, Totals
from runtime.log import LEVELS

#: what the supervisor says of births and deaths, in words; None is not worth a line
_SENTENCES = {
    "died": "{name} (pid {pid}) died: {exit}",
    "isolated": "{name} keeps dying and is set aside for {for_s} s; the rest works on",
    "gives_up": "{group} gives up: {reason}",
    "start_too_slow": "{name} was not ready within {s:g} s and is started anew",
}


class Console:
    """Lines of children and events of the supervisor, for people or (*as_json*) for programs."""

    def __init__(self, *, level: str, as_json: bool = False) -> None:
        self._level = LEVELS[level]
        self._as_json = as_json

    def say(self, text: str) -> None:
        """One line to the person."""
        print(text, file=sys.stderr, flush=True)

    def line(self, name: str, line: str) -> None:
        """One line that child *name* wrote: a JSON record, or whatever a library printed."""
        try:
            record = json.loads(line)
            level = LEVELS[record["level"]]
        except (ValueError, KeyError, TypeError):
            self.say(f"{name}: {line}")
            return
        if level < self._level:
            return
        if self._as_json:
            self.say(line)
            return
        hidden = {"level", "timestamp", "from", "incarnation", "trace", "event", "exception"}
        fields = " ".join(f"{key}={value}" for key, value in record.items() if key not in hidden)
        self.say(f"{name}: {record['event']} {fields}".rstrip())
        if "exception" in record:
            self.say(record["exception"])

    def event(self, event: str, fields: dict[str, object]) -> None:
        """Something the supervisor did."""
        if self._as_json:
            self.say(json.dumps({"event": event, **fields}))
        elif event in _SENTENCES:
            self.say(_SENTENCES[event].format(**fields))


def print_json(value: Any) -> None:
    """*value* as one line of JSON on stdout."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")


def print_found(found: Found) -> None:
    """Search results as a table."""
    table = Table(box=None, pad_edge=False)
    table.add_column("score", justify="right")
    table.add_column("taken")
    table.add_column("photo", overflow="fold")
    for hit in found.hits:
        table.add_row(f"{hit.score:.3f}", hit.taken_at or "", _plain(hit.path))
    RichConsole(highlight=False).print(table)
    if found.demo:
        sys.stderr.write("demo model: understands drawings only\n")


def result(hit: Hit) -> dict[str, Any]:
    """One hit as `search --json` prints it."""
    return {
        "path": hit.path,
        "score": round(hit.score, 6),
        "taken_at": hit.taken_at,
        "thumbnail": hit.thumbnail,
    }


def print_summary(summary: msgspec.Struct, *, as_json: bool) -> None:
    """What `--once` did."""
    if as_json:
        print_json(summary)
        return
    out = RichConsole(highlight=False)
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in msgspec.structs.asdict(summary).items():
        table.add_row(name.replace("_", " "), str(value))
    out.print(table)


def print_status(status: Status, totals: Totals) -> None:
    """The whole system at a glance."""
    out = RichConsole(highlight=False)
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
        out.print(table)
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
    out.print(table)


def _plain(path: str) -> str:
    """*path* without what a terminal would obey: a file name is a stranger's text."""
    shown = "".join(each if each.isprintable() else "�" for each in path)
    return shown.replace("[", "\\[")
