"""HTTP: every path, what it takes and what it answers.

    GET  /                        the page; without a session, how to get one (401)
    GET  /static/<file>           the page's own files
    GET  /open?once=<code>        a session's cookie and on to /, once
    POST /once                    {"path", "expires_seconds"}: a link to /open   (Bearer token)
    GET  /api/search?q=…&k=…[&has_faces=true|false][&faces=2]
                                  {"hits": […], "count", "model", "demo", "indexed", "seconds", …}
    GET  /api/status              as `progress` in `protocol`
    GET  /thumb/<content>/<256|1024>[?v=…]    JPEG
    GET  /faces/<face>.jpg[?v=…]  JPEG, the face cut out
    GET  /original/<content>      the owner's file
    GET  /health                  alive, and which processes are: always 200
    GET  /ready                   200 when a search would be answered, else 503
    GET  /metrics                 for Prometheus
    WS   /ws                      `protocol`

`/`, `/static`, `/open`, `/health` and `/ready` need no token (`guard`).  Errors are JSON, see
`errors`; a parameter nobody knows is an error, because a misspelt `k` would otherwise be a
search that looks fine.
"""

import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

import anyio
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route, Router, WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

from actors.library.faces import MOST as MOST_FACES
from actors.web import assets, originals, protocol
from actors.web.access import CODE_S, COOKIE_S, Access
from actors.web.board import Board
from actors.web.crops import Crops
from actors.web.describing import Describer
from actors.web.errors import Code, Refusal
from actors.web.faces import FaceFinder
from actors.web.guard import KNOWN, Guard
from actors.web.library import Photos
from actors.web.metrics import Metrics
from actors.web.responses import json, refused
from actors.web.search import MOST_HITS, Searcher
from actors.web.session import Session
from actors.web.thumbnails import Thumbnails
from runtime.node import Ref

MOST_WEBSOCKETS: Final = 64

Handler = Callable[[Request], Awaitable[Response]]


class Site:
    """All handlers, and what they have in hand."""

    def __init__(
        self,
        *,
        access: Access,
        searcher: Searcher,
        board: Board,
        metrics: Metrics,
        faces: FaceFinder,
        describer: Describer,
        photos: Photos,
        thumbnails: Thumbnails,
        crops: Crops,
        needed: tuple[Ref, ...],
    ) -> None:
        self._access = access
        self._searcher = searcher
        self._board = board
        self._metrics = metrics
        self._photos = photos
        self._thumbnails = thumbnails
        self._faces = faces
        self._describer = describer
        self._crops = crops
        self._needed = needed  #: without whom there is no search
        self._assets = assets.load()
        self._websockets = 0

    def app(self) -> ASGIApp:
        """Everything, behind the guard."""

        def get(path: str, handler: Handler, *parameters: str) -> Route:
            async def checked(request: Request) -> Response:
                _refuse_unknown(request, parameters)
                return await handler(request)

            return Route(path, checked, methods=["GET"])

        router = Router(
            [
                Route("/", self.page, methods=["GET"]),
                Route("/static/{name:path}", self.static, methods=["GET"]),
                get("/open", self.open, "once"),
                Route("/once", self.once, methods=["POST"]),
                get("/api/search", self.search, "q", "k", "has_faces", "faces"),
                get("/api/status", self.status),
                get("/thumb/{content:int}/{size:int}", self.thumbnail, "v"),
                get("/faces/{face:int}.jpg", self.face, "v"),
                get("/original/{content:int}", self.original),
                get("/health", self.health),
                get("/ready", self.ready),
                get("/metrics", self.metrics),
                WebSocketRoute("/ws", self.websocket),
            ],
            redirect_slashes=False,
        )
        # not a whole `Starlette`, which would answer our own mistakes before the guard can
        handlers = {Refusal: _on_refusal, HTTPException: _on_http_exception}
        return Guard(ExceptionMiddleware(router, handlers), self._access)

    # ── the page ──

    async def page(self, request: Request) -> Response:
        if request.scope[KNOWN]:
            return self._asset("index.html", request)
        return self._assets["locked.html"].respond("", HTTPStatus.UNAUTHORIZED)

    async def static(self, request: Request) -> Response:
        return self._asset(request.path_params["name"], request)

    def _asset(self, name: str, request: Request) -> Response:
        if name not in self._assets:
            raise Refusal("not_found", "there is no such file")
        return self._assets[name].respond(_etags(request))

    async def open(self, request: Request) -> Response:
        code = request.query_params.get("once", "")
        if not self._access.use_code(code, anyio.current_time()):
            return self._assets["locked.html"].respond("", HTTPStatus.FORBIDDEN)
        response = RedirectResponse("/", HTTPStatus.SEE_OTHER, {"cache-control": "no-store"})
        response.set_cookie(
            self._access.cookie,
            self._access.new_cookie(time.time()),
            max_age=COOKIE_S,
            httponly=True,
            samesite="strict",
        )
        return response

    async def once(self, request: Request) -> Response:
        # not by a cookie: a session must not be able to make further ones
        _, _, token = request.headers.get("authorization", "").partition(" ")
        if not (self._access.open_to_all or self._access.knows_token(token.strip())):
            raise Refusal("unauthorized", "this takes the token itself, as `Bearer`")
        path = self._access.new_path(anyio.current_time())
        return json({"path": path, "expires_seconds": int(CODE_S)})

    # ── answers ──

    async def search(self, request: Request) -> Response:
        query = request.query_params.get("q")
        if query is None:
            raise Refusal("bad_request", "the parameter `q`, the query, is missing")
        has_faces = request.query_params.get("has_faces")
        if has_faces not in {None, "true", "false"}:
            raise Refusal("bad_request", "has_faces must be true or false")
        found = await self._searcher.search(
            query,
            _whole(request, "k", 20, f"from 1 to {MOST_HITS}"),
            has_faces=None if has_faces is None else has_faces == "true",
            faces=_whole(request, "faces", 0, f"from 0 to {MOST_FACES}"),
        )
        return json({"hits": found.hits, "count": len(found.hits), **protocol.summary(found)})

    async def status(self, _request: Request) -> Response:
        return json(protocol.progress_object(await self._board.progress()))

    async def thumbnail(self, request: Request) -> Response:
        return await self._thumbnails.respond(
            request.path_params["content"],
            request.path_params["size"],
            asked_version=request.query_params.get("v"),
            known_etags=_etags(request),
        )

    async def face(self, request: Request) -> Response:
        return await self._crops.respond(
            request.path_params["face"],
            asked_version=request.query_params.get("v"),
            known_etags=_etags(request),
        )

    async def original(self, request: Request) -> Response:
        return await originals.respond(await self._photos.now(request.path_params["content"]))

    # ── probes ──

    async def health(self, _request: Request) -> Response:
        """Alive, since it answers.  Names and states of processes are nothing private."""
        progress = await self._board.progress()
        processes = {each.name: each.state for each in progress.status.processes}
        database = progress.totals is not None
        well = database and all(state == "ready" for state in processes.values())
        return json(
            {
                "status": "ok" if well and processes else "degraded",
                "database": "ready" if database else "away",
                "processes": processes,
            }
        )

    async def ready(self, _request: Request) -> Response:
        missing = [ref.name for ref in self._needed if ref.line is None]
        if await self._board.totals() is None:
            missing.append("database")
        return json({"ready": not missing, "missing": missing}, 503 if missing else 200)

    async def metrics(self, _request: Request) -> Response:
        progress = await self._board.progress()
        text = self._metrics.render(progress.status, progress.totals)
        return Response(text, headers={"content-type": CONTENT_TYPE_LATEST})

    # ── websocket ──

    async def websocket(self, websocket: WebSocket) -> None:
        if self._websockets >= MOST_WEBSOCKETS:
            refusal = Refusal("busy", f"there are {MOST_WEBSOCKETS} connections already")
            await websocket.send_denial_response(refused(refusal))
            return
        self._websockets += 1
        self._metrics.websockets.set(self._websockets)
        try:
            session = Session(
                websocket,
                self._access,
                searcher=self._searcher,
                faces=self._faces,
                describer=self._describer,
                board=self._board,
                known=websocket.scope[KNOWN],
            )
            await session.run()
        finally:
            self._websockets -= 1
            self._metrics.websockets.set(self._websockets)


def _refuse_unknown(request: Request, known: tuple[str, ...]) -> None:
    given = [name for name, _ in request.query_params.multi_items()]
    for name in given:
        if name not in known:
            takes = f"known: {', '.join(known)}" if known else "this takes none"
            raise Refusal("bad_request", f"unknown parameter `{name}`; {takes}")
        if given.count(name) > 1:
            raise Refusal("bad_request", f"the parameter `{name}` is given more than once")


def _whole(request: Request, name: str, otherwise: int, which: str) -> int:
    given = request.query_params.get(name, str(otherwise))
    if not (given.isascii() and given.isdigit() and len(given) <= 6):
        raise Refusal("bad_request", f"{name} must be a whole number {which}")
    return int(given)


def _etags(request: Request) -> str:
    return request.headers.get("if-none-match", "")


async def _on_refusal(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return refused(error)


async def _on_http_exception(_request: Request, error: Exception) -> Response:
    """What Starlette's router says by itself, in our words."""
    assert isinstance(error, HTTPException)
    codes: dict[int, Code] = {404: "not_found", 405: "method_not_allowed"}
    messages = {404: "there is nothing here", 405: "this path takes another method"}
    code = codes.get(error.status_code, "bad_request")
    response = refused(Refusal(code, messages.get(error.status_code, error.detail)))
    response.headers.update(error.headers or {})
    return response
