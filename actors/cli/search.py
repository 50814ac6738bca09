"""`search`: find photos by what they show."""

from pathlib import Path
from typing import Annotated

import typer

from actors import console
from actors.cli.common import EXIT_NO_INPUT, EXIT_USAGE, DataOption, JsonOption, fail, talk
from actors.client import Client


def search(
    query: Annotated[str, typer.Argument(help="What the photo shows.")] = "",
    k: Annotated[int, typer.Option("-k", help="How many photos.", min=1, max=500)] = 20,
    as_json: JsonOption = False,
    batch: Annotated[
        Path | None, typer.Option(help="A query a line; a JSON line each on stdout.")
    ] = None,
    data: DataOption = None,
) -> None:
    """Find photos by what they show."""
    if batch is None and not query.strip():
        fail("search: say what to look for, or give --batch FILE", EXIT_USAGE)
    queries = [query] if batch is None else _read(batch)

    async def ask(client: Client) -> None:
        for each in queries:
            found = await client.search(each, k)
            if as_json or batch is not None:
                console.print_json([console.result(hit) for hit in found.hits])
            else:
                console.print_found(found)

    talk(data, ask)


def _read(batch: Path) -> list[str]:
    try:
        lines = batch.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        fail(f"search: {batch} is no UTF-8 text", EXIT_NO_INPUT)
    except OSError as error:
        fail(f"search: cannot read {batch}: {error.strerror}", EXIT_NO_INPUT)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            fail(f"search: line {number} of {batch} is empty; every line is a query", EXIT_USAGE)
    return lines
