"""`search`: find photos by what they show."""

from pathlib import Path
from typing import Annotated

import typer

from actors import console
from actors.cli.common import EXIT_NO_INPUT, EXIT_USAGE, DataOption, JsonOption, fail, talk
from actors.client import Client


def search(
    query: Annotated[str, typer.Argument(help="What the photo shows.")] = "",
    k: Annotated[int, typer.Option("-k", help="How many photos.", min=1, max=500)] = 20,
    as_json: JsonOption = False,
    batch: Annotated[
        Path | None, typer.Option(help="A query a line; a JSON line each on stdout.")
    ] = None,
    faces: Annotated[int, typer.Option(help="Only photos with at least so many faces.", min=0)] = 0,
    no_faces: Annotated[
        bool, typer.Option("--no-faces", help="Only photos without faces.")
    ] = False,
    face: Annotated[
        int | None, typer.Option(help="Instead of a query: photos with faces like this one.")
    ] = None,
    data: DataOption = None,
) -> None:
    """Find photos by what they show, or by a face."""
    if face is not None:
        _by_face(face, k, data, other=bool(query or batch or faces or no_faces), as_json=as_json)
        return
    if batch is None and not query.strip():
        fail("search: say what to look for, or give --batch FILE, or --face ID", EXIT_USAGE)
    if no_faces and faces:
        fail("search: --no-faces and --faces exclude each other", EXIT_USAGE)
    queries = [query] if batch is None else _read(batch)

    async def ask(client: Client) -> None:
        for each in queries:
            found = await client.search(each, k, has_faces=False if no_faces else None, faces=faces)
            if as_json or batch is not None:
                console.print_json([console.result(hit) for hit in found.hits])
            else:
                console.print_found(found)

    talk(data, ask)


def _by_face(face: int, k: int, data: Path | None, *, other: bool, as_json: bool) -> None:
    if other:
        fail("search: --face goes with no query and no other choice of photos", EXIT_USAGE)

    async def ask(client: Client) -> None:
        found = await client.faces_like(face, k)
        if as_json:
            console.print_json([console.result(hit) for hit in found.hits])
        else:
            console.print_found(found)

    talk(data, ask)


def _read(batch: Path) -> list[str]:
    try:
        lines = batch.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        fail(f"search: {batch} is no UTF-8 text", EXIT_NO_INPUT)
    except OSError as error:
        fail(f"search: cannot read {batch}: {error.strerror}", EXIT_NO_INPUT)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            fail(f"search: line {number} of {batch} is empty; every line is a query", EXIT_USAGE)
    return lines
