"""The commands by their names; each is imported when somebody says its name.

Whoever asks for `status` need not wait for what `models` and `doctor` know of graphs: that is
half of the processor time of a short command, and of the start of the supervisor.
"""

import importlib
from collections import UserDict
from typing import Any

import typer
from typer.core import TyperGroup

#: name → where it is defined, in the order of the help
COMMANDS = {
    "search": "actors.cli.search:search",
    "status": "actors.cli.status:status",
    "logs": "actors.cli.logs:logs",
    "dead-letters": "actors.cli.dead_letters:dead_letters",
    "pause": "actors.cli.pause:pause",
    "resume": "actors.cli.pause:resume",
    "stop": "actors.cli.stop:stop",
    "check": "actors.cli.check:check",
    "describe": "actors.cli.describe:describe",
    "forget": "actors.cli.forget:forget",
    "selftest": "actors.cli.selftest:selftest",
    "models": "actors.cli.models:models",
    "doctor": "actors.cli.doctor:doctor",
}


class _Imported(UserDict[str, Any]):
    """Name → command, imported by the look-up."""

    def __getitem__(self, name: str) -> Any:
        module, _, attribute = super().__getitem__(name).partition(":")
        found = getattr(importlib.import_module(module), attribute)
        if not isinstance(found, typer.Typer):
            single = typer.Typer(add_completion=False)
            single.command(name)(found)
            found = single
        command = typer.main.get_command(found)
        command.name = name
        return command


class Commands(TyperGroup):
    """All of them."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _Imported(COMMANDS)
