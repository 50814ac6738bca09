"""The door: no request reaches the application before it was looked at here.

Host and Origin are checked for everything; the token for everything but what is `open`: the
probes, which tell nothing private, the one-time link, and the page's own files, which are the
same for everybody.  A websocket without proof is let in to prove itself by its first message,
because a browser cannot show its owner the reason of a handshake that was refused.
"""

import time
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from actors.web.access import Access, check_host
from actors.web.errors import INTERNAL, Refusal
from actors.web.responses import refused
from runtime import log

#: key in the ASGI scope: whether the asker has proved to know the token
KNOWN: Final = "obscura.known"

_OPEN: Final = frozenset({"/", "/health", "/ready", "/open"})
_OPEN_BELOW: Final = "/static/"

#: the page needs nothing from elsewhere, may not be framed, and sends no address of itself
SECURITY_HEADERS: Final = (
    (
        b"content-security-policy",
        b"default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)


class Guard:
    """ASGI around *app*."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        scope["app"] = self  # with it Starlette's router raises its 404 instead of writing it
        begun = False

        async def send_guarded(message: Message) -> None:
            nonlocal begun
            begun = True
            if message["type"] in {"http.response.start", "websocket.http.response.start"}:
                given = list(message.get("headers", ()))
                names = {name for name, _ in given}
                given += [pair for pair in SECURITY_HEADERS if pair[0] not in names]
                message["headers"] = given
            await send(message)

        try:
            self._look(scope, headers)
        except Refusal as refusal:
            # also refuses a websocket: Starlette's responses know that extension of ASGI
            await refused(refusal)(scope, receive, send_guarded)
            return
        try:
            await self._app(scope, receive, send_guarded)
        except Exception:
            # without the path: it may hold a query
            log.logger().exception("request_failed", kind=scope["type"])
            if not begun and scope["type"] == "http":
                await refused(INTERNAL)(scope, receive, send_guarded)

    def _look(self, scope: Scope, headers: Headers) -> None:
        check_host(headers.getlist("host"), headers.getlist("origin"))
        authorization = headers.get("authorization")
        known = self._access.knows(
            authorization=authorization,
            cookies="; ".join(headers.getlist("cookie")) or None,
            wall_s=time.time(),
        )
        scope[KNOWN] = known
        if known or (scope["type"] == "websocket" and authorization is None):
            return
        path = scope["path"]
        if scope["type"] == "http" and (path in _OPEN or path.startswith(_OPEN_BELOW)):
            return
        raise Refusal("unauthorized", "this needs the token of the data directory or its cookie")
