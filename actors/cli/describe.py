"""`describe`: a photo in words, now, as they are written."""

import os
import sys
from contextlib import aclosing
from typing import Annotated

import typer

from actors import console
from actors.cli.common import (
    EXIT_NO,
    EXIT_NO_INPUT,
    EXIT_TRY_AGAIN,
    DataOption,
    JsonOption,
    fail,
    plain,
    talk,
)
from actors.client import Client, NotDescribed, PeerRefused
from actors.library.paths import printable

#: before the reason, in what the gateway refuses
_SAYS_NO = "gateway: Refusal: "


def describe(
    photo: Annotated[str, typer.Argument(help="Its number, as `search --json` tells it, or path.")],
    as_json: JsonOption = False,
    data: DataOption = None,
) -> None:
    """Describe a photo in words.  Nothing of it is kept."""
    # A file in the working directory may be called by a number too.
    number, place = 0, None
    if photo.isascii() and photo.isdigit() and len(photo) < 19 and not os.path.lexists(photo):
        number = int(photo)
    else:
        # Not `resolve`: a link in the way is a part of the name the library knows.
        place = os.fsencode(os.path.abspath(photo))  # noqa: PTH100 - as in `forget`

    async def ask(client: Client) -> None:
        content = number if place is None else await _content(client, place)
        try:
            text = await _written(client, content, shown=not as_json)
        except NotDescribed as error:
            fail(f"describe: photo {content} was not described: {error}", EXIT_TRY_AGAIN)
        except PeerRefused as error:
            fail(f"describe: {str(error).removeprefix(_SAYS_NO)}", EXIT_NO)
        if as_json:
            console.print_json({"content": content, "caption": text})

    talk(data, ask)


async def _written(client: Client, content: int, *, shown: bool) -> str:
    """The caption of *content*; *shown*, word by word on stdout."""
    text = ""
    try:
        async with aclosing(client.describe(content)) as texts:
            async for longer in texts:
                if shown:
                    sys.stdout.write(plain(longer.removeprefix(text)))
                    sys.stdout.flush()
                text = longer
    finally:
        if shown and text:
            sys.stdout.write("\n")
    return text


async def _content(client: Client, place: bytes) -> int:
    """The number of the photo in the file at *place*."""
    found = await client.photo(place)
    if found.content is None:
        why = "not read yet, or is no photo" if found.known else "not in the library"
        fail(f"describe: {printable(place)} is {why}", EXIT_NO_INPUT)
    return found.content
