"""start: how long until the tree is ready, and what a second look at an unchanged library costs.

The library is drawn pictures and many files that are none; what is measured is the whole
program, from its command line.  The budget of a second look is 1 s + 50 µs a file.
"""

import statistics
import tempfile
from pathlib import Path
from typing import Any

from bench.recall import render
from bench.system import index_once

ROUNDS = 3
PICTURES = 60
FOLDERS = 100


def main(*, n: int = 20_000) -> dict[str, Any]:
    """Figures of a library of *n* files."""
    with tempfile.TemporaryDirectory(prefix="obscura-start-") as scratch:
        photos, data = Path(scratch, "photos"), Path(scratch, "data")
        render(PICTURES, 1, photos)
        for number in range(n - PICTURES - 1):
            folder = photos / f"{number % FOLDERS:03}"
            folder.mkdir(exist_ok=True)
            (folder / f"{number}.txt").touch()
        first = index_once(photos, data)
        again = [index_once(photos, data) for _ in range(ROUNDS)]
    files = first["files"]
    rescan_s = statistics.median(each["seconds"] - each["ready_seconds"] for each in again)
    return {
        "files": files,
        "first_ready_s": first["ready_seconds"],
        "ready_s": statistics.median(each["ready_seconds"] for each in again),
        "rescan_s": round(rescan_s, 3),
        "rescan_budget_s": round(1 + 50e-6 * files, 3),
        "inferences_again": sum(each["inferences"]["embed"] for each in again),
        "decodes_again": sum(each["decodes"] for each in again),
    }
