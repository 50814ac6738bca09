"""`logs`: what the processes have said, also of a system that is stopped."""

import difflib
import time
from pathlib import Path
from typing import Annotated

import typer

from actors import console
from actors.cli.common import EXIT_NO_INPUT, DataOption, fail
from actors.client import default_data
from actors.logs import files, reading
from runtime.log import Record

#: between two looks while following
LOOK_S = 0.3


def logs(
    name: Annotated[
        str | None, typer.Argument(help="Of one process only, decode.0 for example.")
    ] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what comes.")] = False,
    count: Annotated[int, typer.Option("-n", help="How many of the last ones.", min=0)] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines on stdout.")] = False,
    data: DataOption = None,
) -> None:
    """Show what the processes have said; works while the system is stopped."""
    folder = (data or default_data()) / "logs"
    if name is not None:
        _refuse_unknown(folder, name)
    elif not files.names(folder) and not follow:
        fail(f"logs: there are none in {folder}; nothing has run there yet", EXIT_NO_INPUT)
    reader = reading.Reader(folder, name)
    try:
        _print(reader.last(count), as_json=as_json)
        while follow:
            time.sleep(LOOK_S)
            _print(reader.read(), as_json=as_json)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise  # whoever read along has had enough; the command line knows how to end
        fail(f"logs: cannot read {error.filename or folder}: {error.strerror}", EXIT_NO_INPUT)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _refuse_unknown(folder: Path, name: str) -> None:
    known = files.names(folder)
    if name in known:
        return
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known) or 'none'}"
    fail(f"logs: no process {name} has said anything in {folder}; {hint}", EXIT_NO_INPUT)


def _print(records: list[Record], *, as_json: bool) -> None:
    for each in records:
        if as_json:
            print(each.line, flush=True)  # noqa: T201
        else:
            console.print_record(each)
