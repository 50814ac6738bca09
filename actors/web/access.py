"""Who may come in.  Pure: no sockets, no clock.

Three ways to prove that one knows the token:

    Authorization: Bearer <token>       programs; CLI and scripts read the file
    {"type": "auth", "token": …}        websocket clients that cannot set headers
    a cookie                            the page

A browser gets its cookie by a one-time link.  A program that has the token (`POST /once`), or
that may speak ZeroMQ with this process (`AskLink`), asks for a code and opens
`/open?once=<code>`, which answers with the cookie and a redirect.
So the token itself is in no URL, hence in no history, log or process list; the code that is,
works once and for a minute.

The cookie is `<expiry>.<nonce>.<mac>`, keyed by the token: it outlives a restart of this
process without being kept anywhere, and a new token ends all sessions.  Its name carries a
hash of the token, since browsers keep the cookies of all ports of a host in one jar and two
libraries would take each other's away.

Against other web pages in the same browser: the `Host` must be a loopback name, so a
name that was re-bound to 127.0.0.1 gets nothing; an `Origin`, where one is sent, must be that
very host and port, so neither a foreign site nor another local port can open a websocket with
our cookie.  Any port is fine in `Host`: behind an ssh tunnel it is not ours.

Not defended against: another local service that the same browser visits under the same host
name receives the cookie as well, because cookies know no ports.
"""

import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from actors.web.errors import Refusal

#: life of a one-time code: long enough for a browser to start
CODE_S: Final = 60.0
#: codes that may wait at once; beyond it the oldest is forgotten
MOST_CODES: Final = 32
#: life of a session
COOKIE_S: Final = 30 * 24 * 3600


class Access:
    """What is granted to whom, for one token.

    Args:
        token: the secret, or None where the owner has switched it off.
    """

    def __init__(self, token: str | None) -> None:
        self._token = token
        self._codes: dict[bytes, float] = {}  # hash of the code → when it ends, oldest first
        self.cookie = f"obscura_{self._mac('name')[:8]}"

    @property
    def open_to_all(self) -> bool:
        return self._token is None

    def knows_token(self, token: str) -> bool:
        return self._token is not None and _same(token, self._token)

    def knows(self, *, authorization: str | None, cookies: str | None, wall_s: float) -> bool:
        """Whether the two headers prove anything.

        An `Authorization` header that is there decides alone: whoever sends a wrong one is
        not let in by the cookie of somebody else.
        """
        if self.open_to_all:
            return True
        if authorization is not None:
            scheme, _, token = authorization.partition(" ")
            return scheme.lower() == "bearer" and self.knows_token(token.strip())
        return cookies is not None and self._knows_cookie(cookies, wall_s)

    # ── one-time codes ──

    def new_code(self, now: float) -> str:
        """A code that opens a session once, within `CODE_S` of *now* (monotonic seconds)."""
        self._forget(now)
        while len(self._codes) >= MOST_CODES:
            del self._codes[next(iter(self._codes))]
        code = secrets.token_urlsafe(32)
        self._codes[_hash(code)] = now + CODE_S
        return code

    def new_path(self, now: float) -> str:
        """Path and query that open the page, with a code where one is needed."""
        return "/" if self.open_to_all else f"/open?once={self.new_code(now)}"

    def use_code(self, code: str, now: float) -> bool:
        """Whether *code* was good; it is not any more."""
        self._forget(now)
        # looked up by hash: how long that takes says nothing about a code that exists
        return self._codes.pop(_hash(code), None) is not None

    def _forget(self, now: float) -> None:
        for code in [code for code, ends in self._codes.items() if ends <= now]:
            del self._codes[code]

    # ── cookie ──

    def new_cookie(self, wall_s: float) -> str:
        """The value of a session's cookie, good for `COOKIE_S` from *wall_s* (Unix time)."""
        claim = f"{int(wall_s) + COOKIE_S}.{secrets.token_hex(16)}"
        return f"{claim}.{self._mac(claim)}"

    def _knows_cookie(self, header: str, wall_s: float) -> bool:
        # by hand: http.cookies gives up at the first cookie it dislikes, and the jar is shared
        # with whatever else runs on this host
        for each in header.split(";"):
            name, _, value = each.strip().partition("=")
            claim, _, mac = value.rpartition(".")
            if name == self.cookie and _same(mac, self._mac(claim)):
                return wall_s < int(claim.partition(".")[0])
        return False

    def _mac(self, text: str) -> str:
        key = (self._token or "").encode()
        return hmac.new(key, f"obscura cookie {text}".encode(), hashlib.sha256).hexdigest()


def check_host(hosts: Iterable[str], origins: Iterable[str]) -> None:
    """Let a request pass whose `Host` is this machine and whose `Origin`, if any, is that host.

    Raises:
        Refusal: foreign_host or foreign_origin.
    """
    match list(hosts):
        case [host] if _is_loopback(host):
            pass
        case _:
            raise Refusal("foreign_host", "this address answers to 127.0.0.1 and localhost only")
    for origin in origins:
        if origin.lower() != f"http://{host.lower()}":
            raise Refusal("foreign_origin", "another web page may not ask here")


def _is_loopback(host: str) -> bool:
    try:
        parts = urlsplit(f"//{host}")
        name, port = parts.hostname, parts.port
    except ValueError:
        return False
    if name is None or parts.netloc != host or parts.username is not None or port == 0:
        return False
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _same(a: str, b: str) -> bool:
    """Compare in constant time; `compare_digest` takes no text beyond ASCII."""
    return hmac.compare_digest(a.encode("utf-8", "replace"), b.encode("utf-8", "replace"))


def _hash(code: str) -> bytes:
    return hashlib.sha256(code.encode("utf-8", "replace")).digest()
