"""A supervisor to be killed: `python -m tests.runtime.victim RUN_DIR BACKEND`.

Its children: one that idles, one that keeps the GIL for ever, one that computes for ever, one
with a child of its own.  Prints "ready" once all of that goes on.
"""

import sys
from pathlib import Path

import anyio

from runtime.testing import AskPid, Beget, Strike, scapegoat, stage

NAMES = ("idle", "gil", "spin", "parent")


async def main(run_dir: str) -> None:
    children = [scapegoat(name) for name in NAMES]
    async with stage(*children, run_dir=Path(run_dir)) as s:
        await s.ask("parent", Beget())
        for name in NAMES:
            await s.ask(name, AskPid())
        s.tell("gil", Strike("gil", "work", [1], 3600))
        s.tell("spin", Strike("spin", "work", [1], 3600))
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await anyio.sleep_forever()


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], backend=sys.argv[2])
