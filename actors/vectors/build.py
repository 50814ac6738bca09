"""The builder: turns the rows of a frozen part into a graph, in a process of its own.

    python -m actors.vectors.build PARENT ROWS TARGET DIMENSIONS THREADS

Started by `actors.sealing`, as `runtime.helper` starts helpers.  It steps back behind
everything else, and where memory runs out it asks to be the one who goes: the index it works
for can do without the graph, and not without itself.
"""

import sys

from runtime.orphan import die_with, hold

if __name__ == "__main__":
    die_with(int(sys.argv[1]))

import contextlib
import threading
from pathlib import Path

from actors.vectors.errors import VectorError
from actors.vectors.files import read_rows
from actors.vectors.graph import build_segment
from runtime.priority import LOWEST, step_back


def main() -> int:
    threading.Thread(target=hold, args=(0,), daemon=True).start()
    step_back(LOWEST)
    with contextlib.suppress(OSError):  # forbidden in some containers
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    rows, target, dimensions, threads = sys.argv[2:]
    try:
        ids, vectors = read_rows(Path(rows), int(dimensions))
        build_segment(ids, vectors, Path(target), threads=int(threads))
    except (VectorError, OSError, MemoryError, RuntimeError) as error:
        # hnswlib says RuntimeError, for want of memory among others.  No paths in logs.
        why = error.strerror if isinstance(error, OSError) else ""
        sys.stderr.write(f"no graph: {why or type(error).__name__}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
