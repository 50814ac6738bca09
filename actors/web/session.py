"""One websocket, from its opening to its end.

Requests of a connection are worked on side by side, at most `MOST_REQUESTS` of them, so that
a slow search holds up no status.  Frames are sent whole, one after the other; a client that
does not read holds up its own connection and nobody else's: progress is asked for when the
last one has been sent, so there is never more than one in the way.
"""

from contextlib import aclosing
from typing import Final

import anyio
import anyio.abc
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketDisconnected

from actors.messages import Found
from actors.web import protocol
from actors.web.access import Access
from actors.web.board import Board
from actors.web.describing import Describer
from actors.web.errors import INTERNAL, Refusal
from actors.web.faces import FaceFinder
from actors.web.search import Searcher
from runtime import log

MOST_REQUESTS: Final = 8
PROGRESS_S: Final = 0.5
#: while nothing changes, looking that often is enough; arrivals and deaths wake it anyway
QUIET_S: Final = 2.0

#: the other end is gone, or has been told that this one is
_OVER: Final = (WebSocketDisconnect, WebSocketDisconnected)

CLOSE_TOO_LARGE: Final = 1009
CLOSE_UNAUTHORIZED: Final = 4401


class Session:
    """Speaks `protocol` with one client.

    Args:
        websocket: not yet accepted.
        known: whether the handshake has already proved the token.
    """

    def __init__(
        self,
        websocket: WebSocket,
        access: Access,
        *,
        searcher: Searcher,
        faces: FaceFinder,
        describer: Describer,
        board: Board,
        known: bool,
    ) -> None:
        self._websocket = websocket
        self._access = access
        self._searcher = searcher
        self._faces = faces
        self._describer = describer
        self._board = board
        self._known = known
        self._lock = anyio.Lock()
        self._working: dict[int, anyio.CancelScope] = {}
        self._subscribed: dict[int, anyio.CancelScope] = {}
        self._tasks: anyio.abc.TaskGroup

    async def run(self) -> None:
        """Serve until either side closes."""
        await self._websocket.accept()
        try:
            async with anyio.create_task_group() as self._tasks:
                await self._converse()
                self._tasks.cancel_scope.cancel()
        except* _OVER:
            pass  # the client left while something was being sent to it

    async def _converse(self) -> None:
        if self._known:
            await self._send(protocol.hello(await self._board.about()))
        else:
            with anyio.move_on_after(protocol.AUTH_S) as patience:
                await self._authenticate()
            if patience.cancelled_caught:
                await self._end_unauthorized(None, "nothing was said")
        while self._known:
            frame = await self._receive()
            if frame is None:
                return
            request = protocol.parse(frame)
            if isinstance(request, protocol.BadRequest):
                await self._send(protocol.error(request.id, request.refusal))
                if request.refusal.code == "too_large":
                    await self._websocket.close(CLOSE_TOO_LARGE)
                    return
            else:
                await self._take(request)

    async def _authenticate(self) -> None:
        frame = await self._receive()
        if frame is None:
            return
        match protocol.parse(frame):
            case protocol.Auth(token) if self._access.knows_token(token):
                self._known = True
                await self._send(protocol.hello(await self._board.about()))
            case protocol.Auth():
                await self._end_unauthorized(None, "the token is wrong")
            case request:
                await self._end_unauthorized(request.id, "the first frame must be `auth`")

    async def _end_unauthorized(self, id_: int | None, why: str) -> None:
        await self._send(protocol.error(id_, Refusal("unauthorized", why)))
        await self._websocket.close(CLOSE_UNAUTHORIZED)

    async def _receive(self) -> str | None:
        """The next frame as text; None at the end."""
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            return None
        text: str | None = message.get("text")
        # a binary frame is read as what it would have been as text; the decoder judges it
        return (message.get("bytes") or b"").decode("utf-8", "replace") if text is None else text

    async def _send(self, frame: str) -> None:
        async with self._lock:
            await self._websocket.send_text(frame)

    # ── requests ──

    async def _take(self, request: protocol.AnyRequest) -> None:
        match request:
            case protocol.Auth():
                return  # already known: harmless
            case protocol.Unsubscribe(id_):
                scope = self._subscribed.pop(id_, None)
                if scope is not None:
                    scope.cancel()
                await self._send(protocol.unsubscribed(id_))
            case protocol.Subscribe(id_):
                await self._start(id_, request, self._subscribed)
            case (
                protocol.Search(id_)
                | protocol.FacesLike(id_)
                | protocol.AskFaces(id_)
                | protocol.Describe(id_)
                | protocol.AskStatus(id_)
            ):
                await self._start(id_, request, self._working)

    async def _start(
        self, id_: int, request: protocol.AnyRequest, among: dict[int, anyio.CancelScope]
    ) -> None:
        if id_ in self._working or id_ in self._subscribed:
            refusal = Refusal("bad_request", f"id {id_} is in use by another request")
        elif len(among) >= MOST_REQUESTS:
            refusal = Refusal("busy", f"at most {MOST_REQUESTS} requests at once")
        else:
            scope = among[id_] = anyio.CancelScope()
            self._tasks.start_soon(self._work, id_, request, among, scope)
            return
        await self._send(protocol.error(id_, refusal))

    async def _work(
        self,
        id_: int,
        request: protocol.AnyRequest,
        among: dict[int, anyio.CancelScope],
        scope: anyio.CancelScope,
    ) -> None:
        with scope:
            try:
                await self._answer(id_, request)
            except _OVER:
                raise
            except Refusal as refusal:
                await self._send(protocol.error(id_, refusal))
            except Exception:
                log.logger().exception("request_failed", request=type(request).__name__)
                await self._send(protocol.error(id_, INTERNAL))
            finally:
                if among.get(id_) is scope:
                    del among[id_]

    async def _answer(self, id_: int, request: protocol.AnyRequest) -> None:
        match request:
            case protocol.Search(_, query, k, has_faces, faces):
                found = await self._searcher.search(query, k, has_faces=has_faces, faces=faces)
                await self._tell(id_, found)
            case protocol.FacesLike(_, face, k, least):
                await self._tell(id_, await self._faces.like(face, k, least))
            case protocol.AskFaces(_, content):
                await self._send(protocol.faces(id_, await self._faces.of(content)))
            case protocol.Describe(_, content):
                number = await self._describer.begin(content)
                async with aclosing(self._describer.sayings(number)) as sayings:
                    async for each in sayings:
                        await self._send(protocol.caption(id_, each))
            case protocol.AskStatus():
                await self._send(protocol.status(id_, await self._board.status()))
            case protocol.Subscribe():
                await self._push_progress(id_)

    async def _tell(self, id_: int, found: Found) -> None:
        for each in found.hits:
            await self._send(protocol.hit(id_, each))
        await self._send(protocol.done(id_, found))

    async def _push_progress(self, id_: int) -> None:
        last = None
        while True:
            progress = await self._board.progress()
            changed = progress != last
            if changed:
                await self._send(protocol.progress(id_, progress))
                last = progress
            await anyio.sleep(PROGRESS_S)
            if not changed:
                await self._board.wait_news(QUIET_S - PROGRESS_S)
