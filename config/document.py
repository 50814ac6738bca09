"""`Settings` as a TOML file that a person can read and edit."""

import ast
import inspect
from pathlib import Path
from typing import Any

import msgspec

from config import settings as source
from config.loading import keys, sections
from config.settings import Settings


def meanings() -> dict[str, str]:
    """Dotted key → the text after `#:` on its line in `settings`; "" where there is none.

    Read from the source, because comments are where a reader of the code looks for it, and
    writing it twice would let the two drift apart.
    """
    text = inspect.getsource(source)
    lines = text.splitlines()
    owners = {part.__name__: f"{name}." for name, part in sections().items()} | {"Settings": ""}
    found: dict[str, str] = {}
    for node in ast.parse(text).body:
        if not isinstance(node, ast.ClassDef) or node.name not in owners:
            continue
        for field in node.body:
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                comment = lines[(field.end_lineno or field.lineno) - 1].partition("#:")[2]
                found[owners[node.name] + field.target.id] = comment.strip()
    return {key: found.get(key, "") for key in keys()}


def render(settings: Settings, *, commented: bool = True) -> str:
    """*settings* as TOML, each value below its meaning.

    Args:
        settings: what to write; the paths in it must be UTF-8, as TOML is.
        commented: put `# ` before each value, as in a file of defaults to be edited, so that
            a later version's defaults are not overruled by today's.
    """
    meaning = meanings()
    mark = "# " if commented else ""
    lines = []
    section = ""
    for key in keys():
        table, _, name = key.rpartition(".")
        if table != section:
            section = table
            lines += [f"[{table}]"]
        value: Any = settings
        for step in key.split("."):
            value = getattr(value, step)
        lines += [f"# {meaning[key]}", f"{mark}{name} = {_toml(value)}", ""]
    return "\n".join(lines)


def _toml(value: Any) -> str:
    if isinstance(value, (str, Path)):
        # JSON's escapes are TOML's, except for DEL, which only TOML wants escaped.
        return msgspec.json.encode(str(value)).decode().replace("\x7f", "\\u007f")
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(each) for each in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value)
