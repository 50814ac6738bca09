"""What every command shares: its options, its exit statuses, how it fails and how it asks.

    0    done
    1    done, and the answer is no (`check` found something)
    2    the command line itself is wrong
    66   an input file or folder is missing or unreadable; no model of that name is known
    69   the command needs a running system, and there is none
    70   the tree could not be kept alive
    73   the data directory cannot be written
    74   the disk is nearly full, or fails; also while running
    75   come again: another instance holds the data directory, or no answer in time, or no network
    77   no permission, or a licence that nobody has agreed to
    78   a setting, a model, the database, the page's port or the machine is not usable as it is
    130  stopped by Ctrl-C before it was done (a start, `--once`, `logs -f`); 143 by TERM

The numbers are those of BSD `sysexits.h` where it has one; `config.errors` draws the part that
is found before anything starts.
"""

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, NoReturn

import anyio
import typer

from actors.client import Client, NotRunning
from runtime.errors import RuntimeFault

EXIT_NO = 1
EXIT_USAGE = 2
EXIT_NO_INPUT = 66
EXIT_NOT_RUNNING = 69
EXIT_GAVE_UP = 70
EXIT_NO_WRITE = 73
EXIT_DISK = 74
EXIT_TRY_AGAIN = 75
EXIT_NO_PERMISSION = 77
EXIT_CONFIG = 78


def fail(message: str, code: int) -> NoReturn:
    """One line on stderr, and the exit status."""
    sys.stderr.write(f"obscura: {plain(message)}\n")
    raise typer.Exit(code)


def folder(text: str) -> Path:
    """The path in an option.  An empty one would be the working directory, and is a mistake."""
    if not text.strip():
        fail("a folder is named by an empty text: is a variable not set?", EXIT_USAGE)
    return Path(text)


DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        parser=folder,
        metavar="FOLDER",
        help="Data directory; default $OBSCURA_DATA or ~/.obscura.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]


def plain(text: str) -> str:
    """*text* on one line: a name in it may hold a line break, or what a terminal would obey."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def talk(data: Path | None, ask: Callable[[Client], Awaitable[None]]) -> None:
    """Run *ask* with a client of the system on *data*; its failures become exit statuses."""

    async def session() -> None:
        async with Client.connect(data) as client:
            await ask(client)

    try:
        anyio.run(session)
    except NotRunning as error:
        fail(str(error), EXIT_NOT_RUNNING)
    except RuntimeFault as error:
        fail(f"the running system did not answer: {error}", EXIT_TRY_AGAIN)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
