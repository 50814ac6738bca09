"""`pause` and `resume`: whether work is handed out.  Search goes on either way."""

import sys

from actors import console
from actors.cli.common import DataOption, JsonOption
from actors.cli.reach import Door, reach
from actors.messages import Done, Pause


def pause(as_json: JsonOption = False, data: DataOption = None) -> None:
    """Hand out no more work until `resume`; what is in hand is finished, search goes on."""
    _set(data, on=True, as_json=as_json)


def resume(as_json: JsonOption = False, data: DataOption = None) -> None:
    """Go on after `pause`."""
    _set(data, on=False, as_json=as_json)


def _set(data: DataOption, *, on: bool, as_json: bool) -> None:
    async def ask(door: Door) -> None:
        await door.ask(Pause(on), Done)
        if as_json:
            console.print_json({"paused": on})
        else:
            sys.stdout.write("paused until `resume`\n" if on else "resumed\n")

    reach(data, ask)
