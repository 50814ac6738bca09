"""`dead-letters`: photos that were given up, and what becomes of them."""

import sys
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from actors import console
from actors.cli.common import EXIT_NO, EXIT_USAGE, DataOption, JsonOption, fail, plain
from actors.cli.reach import Door, reach
from actors.library.paths import printable
from actors.messages import (
    AskDeadLetter,
    AskDeadLetters,
    DeadLetters,
    DropLetters,
    Letter,
    LettersMoved,
    RetryLetters,
)

dead_letters = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Photos that were given up: list them, try again, or drop them.",
)

IdsArgument = Annotated[list[int] | None, typer.Argument(help="Numbers, as `list` shows them.")]
OneIdArgument = Annotated[int, typer.Argument(help="Its number, as `list` shows it.")]


@dead_letters.command("list")
def list_(as_json: JsonOption = False, data: DataOption = None) -> None:
    """Which photos could not be read, and why."""

    async def ask(door: Door) -> None:
        letters: list[Letter] = []
        while True:
            after = letters[-1].task if letters else 0
            page = await door.ask(AskDeadLetters(after), DeadLetters)
            if not page.letters:
                break
            letters += page.letters
        if as_json:
            console.print_json([_as_object(each) for each in letters])
        elif letters:
            _print(letters)
            if page.trimmed:
                sys.stdout.write(f"{page.trimmed} old ones no longer tell what was said last\n")
        else:
            sys.stdout.write("no dead letters\n")

    reach(data, ask)


@dead_letters.command()
def show(task: OneIdArgument, as_json: JsonOption = False, data: DataOption = None) -> None:
    """Everything that is known of one, with what its process said last."""

    async def ask(door: Door) -> None:
        letters = (await door.ask(AskDeadLetter(task), DeadLetters)).letters
        if not letters:
            _refuse([task])
        letter = letters[0]
        about = _as_object(letter) | {
            "exit_reason": letter.exit_reason,
            "stderr_tail": letter.stderr_tail,
        }
        if as_json:
            console.print_json(about)
            return
        for name, value in about.items():
            if value != "":
                text = str(value)
                lines = [plain(line) for line in text.splitlines()]
                sys.stdout.write(f"{name.replace('_', ' ')}: " + "\n    ".join(lines) + "\n")

    reach(data, ask)


@dead_letters.command()
def retry(
    tasks: IdsArgument = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    as_json: JsonOption = False,
    data: DataOption = None,
) -> None:
    """Try again, as if nothing had happened."""
    if bool(tasks) == everything:
        fail("dead-letters retry: give numbers, or --all for all of them", EXIT_USAGE)

    async def ask(door: Door) -> None:
        moved = await door.ask(RetryLetters(tasks or [], everything), LettersMoved, 600)
        _report("retried", tasks or [], moved, as_json=as_json)

    reach(data, ask)


@dead_letters.command()
def drop(tasks: IdsArgument = None, as_json: JsonOption = False, data: DataOption = None) -> None:
    """Take them off the list; their files count as skipped until they change."""
    if not tasks:
        fail("dead-letters drop: give the numbers of those to drop", EXIT_USAGE)

    async def ask(door: Door) -> None:
        moved = await door.ask(DropLetters(tasks), LettersMoved, 600)
        _report("dropped", tasks, moved, as_json=as_json)

    reach(data, ask)


def _report(done: str, wanted: list[int], moved: LettersMoved, *, as_json: bool) -> None:
    unknown = sorted(set(wanted) - set(moved.tasks))
    if as_json:
        console.print_json({done: moved.tasks, "unknown": unknown})
    elif moved.tasks or not unknown:
        sys.stdout.write(f"{done} {len(moved.tasks)}\n")
    if unknown:
        _refuse(unknown)


def _refuse(unknown: list[int]) -> None:
    numbers = ", ".join(str(each) for each in unknown)
    fail(f"no dead letter has the number {numbers}; see: dead-letters list", EXIT_NO)


def _as_object(letter: Letter) -> dict[str, Any]:
    when = datetime.fromtimestamp(letter.when_ns / 1e9, UTC)
    return {
        "id": letter.task,
        "path": printable(letter.path),
        "kind": letter.kind,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "crashes": letter.crash_attempts,
        "when": when.isoformat(timespec="seconds"),
    }


def _print(letters: list[Letter]) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("id", justify="right")
    table.add_column("when")
    table.add_column("kind")
    table.add_column("tries", justify="right")
    table.add_column("reason", overflow="fold")
    table.add_column("photo", overflow="fold")
    for each in letters:
        when = datetime.fromtimestamp(each.when_ns / 1e9, UTC).astimezone()
        table.add_row(
            str(each.task),
            when.strftime("%Y-%m-%d %H:%M"),
            each.kind,
            str(each.attempts + each.crash_attempts),
            Text(plain(each.reason)),
            Text(plain(printable(each.path))),
        )
    console.print_table(table)
