"""`status`: what every part of the system is doing, once or again and again."""

import sys
from functools import partial
from typing import Annotated

import anyio
import msgspec
import typer
from rich.console import Console

from actors import console
from actors.cli import bars
from actors.cli.common import DataOption, JsonOption, talk
from actors.client import Client


def status(
    as_json: JsonOption = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Bars that follow the work; with --json, line by line.")
    ] = False,
    data: DataOption = None,
) -> None:
    """What every part of the system is doing."""

    async def ask(client: Client) -> None:
        if watch and not as_json:
            with bars.shown_on(Console(highlight=False), partial(print, flush=True)) as show:
                await bars.follow(client, show)
        await tell(client)
        while watch:
            sys.stdout.flush()
            await anyio.sleep(bars.LINE_S)
            await tell(client)

    async def tell(client: Client) -> None:
        answer = await client.status()
        totals = await client.totals()
        if as_json:
            console.print_json({"totals": totals, **msgspec.structs.asdict(answer)})
        else:
            console.print_status(answer, totals)

    talk(data, ask)
