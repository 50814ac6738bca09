"""A link that opens the page, made by whoever has the token."""

import http.client
from typing import Final

import msgspec

from actors.web.server import Address

_ANSWER_S: Final = 5.0


class LinkRefused(Exception):
    """The gateway gave no link; the text says why."""


class _Once(msgspec.Struct, frozen=True):
    path: str


def one_time_link(address: Address, token: str) -> str:
    """A URL that opens the page once, within a minute.  Blocks for a moment.

    Raises:
        LinkRefused: the token is wrong, or nobody answers there.
    """
    connection = http.client.HTTPConnection(address.host, address.port, timeout=_ANSWER_S)
    try:
        connection.request("POST", "/once", headers={"Authorization": f"Bearer {token}"})
        response = connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise LinkRefused(f"{address.url} refused to give a link (HTTP {response.status})")
        return address.url + msgspec.json.decode(body, type=_Once).path
    except (OSError, http.client.HTTPException, msgspec.DecodeError) as error:
        raise LinkRefused(f"{address.url} does not answer: {error}") from error
    finally:
        connection.close()
