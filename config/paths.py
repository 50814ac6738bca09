"""Paths as people write them."""

import os
from pathlib import Path


def absolute(text: str, base: Path, home: str) -> Path:
    """*text* with `~` expanded, relative to *base*.

    Links are not followed: one in the way may be pointed to another disk between two runs.

    Raises:
        ValueError: it cannot be a path, told as the end of a sentence.
    """
    if not text or "\0" in text:
        raise ValueError("must be a path")
    if text == "~" or text.startswith("~/"):
        text = home + text[1:]
    expanded = os.path.expanduser(text)  # noqa: PTH111 - Path's raises a bare RuntimeError
    if expanded.startswith("~"):
        raise ValueError(f"names the home of an unknown user: {text}")
    return Path(os.path.normpath(base / expanded))
