"""`selftest`: does it work on this machine, and does it stand what may happen to it?

Everything is drawn, indexed, disturbed and proved in a directory of its own, which is removed in
the end; no library of the owner is touched.  See `actors.selftest`.
"""

import contextlib
import secrets
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import anyio
import anyio.abc
import msgspec
import typer
from rich.table import Table
from rich.text import Text

from actors import console
from actors.cli.common import EXIT_NO, EXIT_USAGE, JsonOption, fail, plain

if TYPE_CHECKING:
    from actors.selftest.trial import Report

MINUTES = 2.0
MOST_MINUTES = 7 * 24 * 60.0
MOST_SEED = 2**32


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes <= MOST_MINUTES:
        fail(f"selftest: --minutes takes a number above 0, not {text!r}", EXIT_USAGE)
    return minutes


def _seed(text: str) -> int:
    seed = int(text) if text.isascii() and text.isdigit() else MOST_SEED
    if seed >= MOST_SEED:
        fail(f"selftest: --seed takes a whole number below 2**32, not {text!r}", EXIT_USAGE)
    return seed


def selftest(
    chaos: Annotated[
        bool, typer.Option("--chaos", help="Kill, freeze, hang and starve its processes.")
    ] = False,
    minutes: Annotated[
        float | None,
        typer.Option(
            parser=_minutes, metavar="N", help=f"How long with --chaos; default {MINUTES:g}."
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(parser=_seed, metavar="S", help="Repeats disturbances.")
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave what was made where it is, and say where.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Try everything out on a drawn library; with --chaos under every fault there is."""
    if minutes is not None and not chaos:
        fail("selftest: --minutes is for --chaos; the calm test ends by itself", EXIT_USAGE)
    seed = secrets.randbelow(MOST_SEED) if seed is None else seed
    minutes = (minutes or MINUTES) if chaos else 0.0

    def say(text: str) -> None:
        if not as_json:
            sys.stdout.write(plain(text) + "\n")
            sys.stdout.flush()

    say(f"seed {seed}")
    with _scratch(keep=keep) as place:
        report = _run(place, seed, minutes, say)
    again = f"python -m supervisor selftest --chaos --minutes {minutes:g} --seed {seed}"
    if not chaos:
        again = f"python -m supervisor selftest --seed {seed}"
    if as_json:
        console.print_json({"ok": report.ok, **msgspec.structs.asdict(report)})
    else:
        _print(report)
    if keep:
        sys.stderr.write(f"obscura: everything is left in {place}\n")
    if not report.ok:
        fail(f"selftest: FAILED with seed {seed}; again: {again}", EXIT_NO)


@contextlib.contextmanager
def _scratch(*, keep: bool) -> Iterator[Path]:
    if keep:
        yield Path(tempfile.mkdtemp(prefix="obscura-selftest-"))
        return
    with tempfile.TemporaryDirectory(prefix="obscura-selftest-") as place:
        yield Path(place)


def _run(place: Path, seed: int, minutes: float, say: Callable[[str], None]) -> "Report":
    from actors.selftest.trial import Trial  # noqa: PLC0415  with it come numpy and Pillow

    interrupted = 0

    async def run() -> "Report | None":
        report: Report | None = None

        async def obey(*, task_status: anyio.abc.TaskStatus[None]) -> None:
            nonlocal interrupted
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                task_status.started()
                async for number in signals:
                    if not interrupted:
                        say("stopping; nothing is left behind")
                    interrupted = number
                    tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            await tasks.start(obey)
            report = await Trial(place, seed, minutes * 60, say).run()
            tasks.cancel_scope.cancel()
        return report

    report = anyio.run(run)
    if report is None or interrupted:
        raise typer.Exit(128 + (interrupted or signal.SIGINT))
    return report


def _print(report: "Report") -> None:
    if report.disturbances:
        table = Table(box=None, pad_edge=False)
        table.add_column("\ndisturbance")
        table.add_column("\ntimes", justify="right")
        table.add_column("longest\nrecovery", justify="right")
        for kind, tally in report.disturbances.items():
            table.add_row(kind, str(tally.times), f"{tally.longest_s:.1f} s")
        console.print_table(table)
    found = report.searches
    over = f" ({plain(found.silent_over)})" if found.silent_over else ""
    sys.stdout.write(
        f"{found.answers} searches answered, the slowest after {found.slowest_s:.2f} s,"
        f" {found.refused} refused; the longest silence was {found.longest_silence_s:.1f} s{over}\n"
    )
    table = Table(box=None, pad_edge=False, show_header=False)
    for each in report.proofs:
        state = Text("ok", "green") if each.ok else Text("FAILED", "bold red")
        table.add_row(state, each.what, Text(plain(each.detail), overflow="fold"))
    console.print_table(table)
