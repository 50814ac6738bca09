"""`forget`: remove every trace of a photo, or of a folder of them.

The originals stay where they are.  What goes, and the little that has to be kept so that the
next walk leaves the files out, is told in `actors.library.forgetting`; logs in
`actors.logs.wiping`.  Beyond our reach are copies of the data directory that others made,
what a terminal or a service manager kept of our output, and the blocks of a disk that a
deleted file once lay on.
"""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from actors import console
from actors.cli.common import EXIT_NO, EXIT_USAGE, DataOption, JsonOption, fail, plain
from actors.cli.reach import Door, reach
from actors.library.paths import printable
from actors.messages import AskBelow, Below, Done, Forget, Forgot, RebuildIndex

#: seconds for ten thousand files, on a machine that does other things
FORGET_S = 600.0


def forget(
    path: Annotated[Path, typer.Argument(help="A photo or a folder; it is not touched itself.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: JsonOption = False,
    data: DataOption = None,
) -> None:
    """Remove all that is known of a photo, or of a folder, for good.

    It is not indexed again unless it changes.
    """
    if not yes and not sys.stdin.isatty():
        fail("forget: this cannot be undone; say --yes where nobody can be asked", EXIT_USAGE)
    # Not `resolve`: a link in the way is a part of the name the library knows.
    place = os.fsencode(os.path.abspath(path))  # noqa: PTH100 - the same without the file system

    async def ask(door: Door) -> None:
        below = await door.ask(AskBelow(place), Below, FORGET_S)
        if not below.files:
            fail(f"the library knows nothing at or below {printable(place)}", EXIT_NO)
        if not yes and not typer.confirm(
            f"Forget {below.files} files with {below.photos} photos?  This cannot be undone.",
            err=True,
        ):
            fail("nothing was forgotten", EXIT_NO)
        steps = [await door.ask(Forget(place), Forgot, FORGET_S)]
        while steps[-1].more:
            steps.append(await door.ask(Forget(place), Forgot, FORGET_S))
        await door.ask(RebuildIndex(), Done, FORGET_S)
        _report(steps, as_json=as_json)

    reach(data, ask)


def _report(steps: list[Forgot], *, as_json: bool) -> None:
    files, photos = sum(each.files for each in steps), sum(each.photos for each in steps)
    kept = len({content for each in steps for content in each.kept})
    elsewhere = [printable(path) for each in steps for path in each.elsewhere]
    if as_json:
        console.print_json({"files": files, "photos": photos, "kept": kept, "elsewhere": elsewhere})
        return
    sys.stdout.write(f"forgot {files} files, {photos} photos\n")
    if kept:
        sys.stdout.write(f"{kept} photos stay, because other files hold them too:\n")
        for each in elsewhere:
            sys.stdout.write(f"  {plain(each)}\n")
