"""`status`: what every part of the system is doing."""

import msgspec

from actors import console
from actors.cli.common import DataOption, JsonOption, talk
from actors.client import Client


def status(as_json: JsonOption = False, data: DataOption = None) -> None:
    """What every part of the system is doing."""

    async def ask(client: Client) -> None:
        answer = await client.status()
        totals = await client.totals()
        if as_json:
            console.print_json({"totals": totals, **msgspec.structs.asdict(answer)})
        else:
            console.print_status(answer, totals)

    talk(data, ask)
