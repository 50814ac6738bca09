"""A gateway among neighbours that are played: real sockets, real uvicorn, one process."""

import contextlib
import hashlib
import io
import os
import struct
import tempfile
from pathlib import Path

import anyio
import httpx
import msgspec
import numpy as np
from PIL import Image, ImageDraw

from actors.gateway import Gateway
from actors.library.faces import face_id
from actors.library.reads import CaptionRow, FaceRow, KnownPath, Looking, Match, Serving
from actors.messages import (
    AnyMessage,
    AskCaption,
    AskStatus,
    CatalogStatus,
    EncodeText,
    IndexStatus,
    Nearest,
    Neighbours,
    QueueStatus,
    Saying,
    SchedulerStatus,
    ThumbnailsLost,
    Totals,
    Vectors,
)
from actors.settings import GatewaySettings
from actors.web.errors import Refusal
from actors.web.library import Photo, Row
from actors.web.server import Address, read_address
from runtime import wire
from runtime.messages import (
    AnyControl,
    AskProcesses,
    Down,
    Drain,
    Hello,
    Processes,
    ProcessState,
    Ready,
    Up,
)
from runtime.node import SUPERVISOR, Line, Node
from runtime.page import Page
from runtime.wire import Nack

SPACE = "fake@1"
DIMENSIONS = 8
NEIGHBOURS = ("text", "index", "catalog")


def vector_of(text):
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")
    vector = np.random.default_rng(seed).standard_normal(DIMENSIONS).astype("<f4")
    return (vector / np.linalg.norm(vector)).tobytes()


class FakeLibrary:
    """A few photos, their thumbnails below *derived*; away while `away` says why."""

    def __init__(self, derived, originals):
        self.derived = derived
        self.originals = originals
        self.photos = {}
        self.away = ""
        self.served = None
        self.asked = 0
        self.looking_is = None
        self.found_faces = {}  #: content → [FaceRow]
        self.face_vectors = {}
        self.told = {}  #: content → what is said of it
        self.teller = None  #: who describes
        self.unembedded = set()  #: contents that have no vector
        self.reading = None  #: an event that captions are not read before

    def add(self, content, *, name=b"", colour=(200, 60, 40), size=(320, 240), kind="jpeg"):
        image = Image.new("RGB", size, colour)
        ImageDraw.Draw(image).ellipse([40, 40, size[0] - 40, size[1] - 40], fill=(250, 240, 200))
        digest = hashlib.blake2s(f"photo {content}".encode()).digest()
        sizes = {}
        for side in (256, 1024):
            thumb = image.copy()
            thumb.thumbnail((side, side))
            buffer = io.BytesIO()
            thumb.save(buffer, "JPEG", quality=85)
            path = self.thumb(digest, side)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(buffer.getvalue())
            sizes[side] = len(buffer.getvalue())
        original = self.originals / (os.fsdecode(name) or f"photo {content}.jpg")
        image.save(original, "JPEG")
        path = os.fsencode(original)
        row = Row(content, path, "2019-03-21T11:04:22", size[0], size[1], digest)
        photo = Photo(content, digest, kind, sizes[256], sizes[1024], [path])
        self.photos[content] = (row, photo)
        return photo

    def thumb(self, digest, side):
        name = digest.hex()
        return self.derived / name[:2] / f"{name}.{side}.jpg"

    def _ask(self):
        self.asked += 1
        if self.away:
            raise Refusal("library_away", self.away)

    async def rows(self, contents):
        self._ask()
        return {each: self.photos[each][0] for each in contents if each in self.photos}

    async def photo(self, content):
        self._ask()
        return self.photos[content][1] if content in self.photos else None

    async def totals(self):
        self._ask()
        n = len(self.photos)
        return Totals(files=n + 2, indexed=n, skipped=1, dead=1, duplicates=0, pending=0)

    async def serving(self, kind="embed"):
        self._ask()
        return self.served if kind == "embed" else self.teller

    async def file(self, path):
        self._ask()
        photos = [photo.content for _, photo in self.photos.values() if path in photo.paths]
        return KnownPath(photos[0]) if photos else None

    def tell(self, content, text):
        """Somebody has described *content*."""
        self.teller = Serving("says", "teller")
        self.told[content] = text

    async def captions(self, contents):
        self._ask()
        return {
            each: CaptionRow(self.told[each], -1.0, "teller")
            for each in contents
            if each in self.told
        }

    async def captioned(self, question, limit):
        self._ask()
        if self.reading is not None:
            await self.reading.wait()
        words = set(question.split())
        found = [each for each, text in sorted(self.told.items()) if words <= set(text.split())]
        return [Match(each, float(len(self.told[each]))) for each in found[:limit]]

    def look(self, content, *boxes):
        """Somebody found faces in *content*, there."""
        self.found_faces[content] = [
            FaceRow._make((face_id(content, n), *box, 0.9 - n / 100, 80.0, 7.0, 0.0, 0.0))
            for n, box in enumerate(boxes)
        ]
        for n in range(len(boxes)):
            vector = vector_of(f"face {content} {n}")
            self.face_vectors[face_id(content, n)] = ("faces", vector)
        n = len(self.found_faces)
        self.looking_is = Looking("faces", "people", DIMENSIONS, n, len(self.photos) - n)

    async def looking(self):
        self._ask()
        return self.looking_is

    async def face_counts(self, contents):
        self._ask()
        return {each: len(self.found_faces[each]) for each in contents if each in self.found_faces}

    async def with_faces(self, least, most, after, limit):
        self._ask()
        counted = sorted((len(rows), content) for content, rows in self.found_faces.items())
        return [each for each in counted if least <= each[0] <= most and each > after][:limit]

    async def faces(self, contents):
        self._ask()
        return {each: self.found_faces[each] for each in contents if self.found_faces.get(each)}

    async def face_vector(self, face):
        self._ask()
        return self.face_vectors.get(face)

    async def close(self):
        pass


class StagedGateway(Gateway):
    """A gateway whose photos are *library*."""

    def __init__(self, settings, library):
        super().__init__(settings)
        self.fake_library = library
        self.changed = anyio.Event()

    def open_library(self):
        return self.fake_library

    async def on_up(self, name):
        await super().on_up(name)
        self._notify()

    async def on_down(self, down):
        await super().on_down(down)
        self._notify()

    def _notify(self):
        self.changed.set()
        self.changed = anyio.Event()


class Neighbour:
    """A played actor: what it answers is in `answers`, by the type of the question."""

    def __init__(self, name, answers):
        self.name = name
        self.answers = answers
        self.heard = []
        self.incarnation = 0
        self._scope = anyio.CancelScope()
        self._closed = anyio.Event()

    async def start(self, stage):
        self.incarnation += 1
        opened = anyio.Event()
        self._scope = anyio.CancelScope()
        self._closed = anyio.Event()
        stage.tasks.start_soon(self._live, stage.run_dir, opened)
        await opened.wait()
        stage.announce(Up(self.name, self.incarnation))

    async def end(self):
        if self.incarnation:
            self._scope.cancel()
            await self._closed.wait()

    async def stop(self, stage):
        await self.end()
        stage.announce(Down(self.name, self.incarnation, "killed by SIGKILL", True, []))

    async def _live(self, run_dir, opened):
        node = Node(self.name, self.incarnation, run_dir, wire.Codec(AnyMessage | AnyControl))
        async with node.open():
            opened.set()
            with self._scope:
                while True:
                    self._hear(await node.mailbox.get())
        self._closed.set()

    def _hear(self, envelope):
        self.heard.append(envelope.body)
        answer = self.answers[type(envelope.body)]
        if callable(answer):
            answer = answer(envelope.body)
        if isinstance(answer, Nack):
            envelope.refuse(answer.reason, answer.detail)
        elif answer is not None:
            envelope.reply(answer)


class Scheduler(Neighbour):
    """One that writes nothing by itself: a test says what it says."""

    def __init__(self):
        super().__init__("scheduler", {AskCaption: None, AskStatus: SchedulerStatus([], 0, 0.0)})
        self.asks = []
        self._line: Line
        self._news = anyio.Event()

    def _hear(self, envelope):
        super()._hear(envelope)
        if isinstance(envelope.body, AskCaption):
            self._line = envelope.line
            self.asks.append(envelope.body)
            self._news.set()
            self._news = anyio.Event()

    async def asked(self, n=1):
        """The *n*th question."""
        with anyio.fail_after(5):
            while len(self.asks) < n:
                await self._news.wait()
        return self.asks[n - 1]

    def say(self, text, n=1, **more):
        """As far as the caption is that was asked for as the *n*th."""
        self._line.tell(Saying(self.asks[n - 1].ask, text, **more))


class Stage:
    """The gateway, its neighbours, and clients to it."""

    def __init__(self, directory, **settings):
        self.run_dir = directory / "run"
        self.data = directory / "data"
        self.derived = self.data / "derived"
        self.originals = directory / "originals"
        for each in (self.run_dir, self.derived, self.originals):
            each.mkdir(mode=0o700, parents=True)
        self.library = FakeLibrary(self.derived, self.originals)
        plain = GatewaySettings(
            data=os.fsencode(self.data),
            derived=os.fsencode(self.derived),
            database="",
            pack="sketch",
            demo=True,
            profile="P1",
            roots=("Pictures",),
            port=0,
        )
        self.settings = msgspec.structs.replace(plain, **settings)
        self.address = Address("", 0)
        self.decodes = 0
        self.ready = 0
        self.neighbours = {
            "text": Neighbour("text", {EncodeText: self._encode}),
            "index": Neighbour("index", {Nearest: self._nearest, AskStatus: self._index_status}),
            "catalog": Neighbour(
                "catalog", {AskStatus: self._catalog_status, ThumbnailsLost: None}
            ),
            "scheduler": Scheduler(),
        }
        self.scheduler = self.neighbours["scheduler"]
        self.heard_ready = anyio.Event()
        self._line: Line | None = None

    # ── what the neighbours answer ──

    def _encode(self, message):
        return Vectors(SPACE, DIMENSIONS, vector_of(message.texts[0]))

    def _nearest(self, message):
        library = self.library
        known = list(library.face_vectors if message.space == "faces" else library.photos)
        known = [each for each in known if each not in library.unembedded]
        places = {each: place for place, each in enumerate(known)}
        if message.among:
            among = set(struct.unpack(f"<{len(message.among) // 8}q", message.among))
            known = [each for each in known if each in among]
        contents = known[: message.k]
        scores = [0.5 - places[each] / 1000 for each in contents]
        return Neighbours([contents], [scores], seq=7, degraded="exact")

    def _index_status(self, _message):
        return IndexStatus(SPACE, len(self.library.photos), 7)

    def _catalog_status(self, _message):
        queues = [
            QueueStatus("decode", self.ready, 0, self.decodes, 0),
            QueueStatus("embed", 0, 0, self.decodes, 0),
        ]
        return CatalogStatus(
            queues=queues,
            scanning=False,
            scanned=True,
            scan_error="",
            feed_seq=7,
            decodes=self.decodes,
            embeds=self.decodes,
            settled=not self.ready,
        )

    def _processes(self):
        return Processes(
            [
                ProcessState(name, "ready", 4242, 1, 0)
                for name in ("catalog", "index", "text", "gateway")
            ]
        )

    # ── the supervisor's part ──

    def announce(self, news):
        if self._line is not None:
            self._line.tell(news)

    async def _supervise(self, node, scope):
        with scope:
            while True:
                self._hear(await node.mailbox.get())

    def _hear(self, envelope):
        match envelope.body:
            case AskProcesses():
                envelope.reply(self._processes())
            case Hello():
                self._line = envelope.line
                for each in self.neighbours.values():
                    if each.incarnation:
                        self._line.tell(Up(each.name, each.incarnation))
            case Ready():
                self.heard_ready.set()

    async def drain(self):
        """Ask the gateway to end, and wait until it has."""
        if not self.ended.is_set():
            self.announce(Drain(5))
            await self.ended.wait()

    async def ask_until_free(self):
        """Return once no websocket is open any more."""
        async with self.client() as http:
            with anyio.fail_after(5):
                while "obscura_websocket_connections 0.0" not in (await http.get("/metrics")).text:
                    pass

    async def wait_up(self, *names):
        """Return once the gateway has heard that *names* are up."""
        await self._wait(lambda: all(self.gateway.node.ref(name).line for name in names))

    async def wait_down(self, name):
        await self._wait(lambda: self.gateway.node.ref(name).line is None)

    async def _wait(self, condition):
        with anyio.fail_after(5):
            while not condition():
                await self.gateway.changed.wait()

    @contextlib.asynccontextmanager
    async def opened(self, *, neighbours=NEIGHBOURS):
        async with anyio.create_task_group() as self.tasks:
            supervisor = Node(SUPERVISOR, 0, self.run_dir, wire.Codec(AnyControl))
            async with supervisor.open():
                supervising = anyio.CancelScope()
                self.tasks.start_soon(self._supervise, supervisor, supervising)
                for name in neighbours:
                    await self.neighbours[name].start(self)
                codec = wire.Codec(AnyMessage | AnyControl)
                self.node = Node("gateway", 1, self.run_dir, codec)
                self.node.page = Page(self.run_dir / "gateway.page", create=True)
                self.gateway = StagedGateway(self.settings, self.library)
                self.tasks.start_soon(self._live)
                with anyio.fail_after(10):
                    await self.heard_ready.wait()
                await self.wait_up(*neighbours)
                self.address = read_address(self.run_dir) or self.address
                try:
                    async with self._zeromq_client():
                        yield self
                finally:
                    with anyio.fail_after(10, shield=True):
                        await self.drain()
                        for each in self.neighbours.values():
                            await each.end()
                    supervising.cancel()

    async def _live(self):
        self.ended = anyio.Event()
        try:
            async with self.node.open():
                self.node.ref(SUPERVISOR)
                self.node.peer_up(Up(SUPERVISOR, 0))
                await self.gateway.live(self.node)
        finally:
            self.ended.set()

    # ── clients ──

    @property
    def token(self):
        return (self.data / "token").read_text().strip()

    @property
    def url(self):
        return self.address.url

    @contextlib.asynccontextmanager
    async def _zeromq_client(self):
        node = self.asker = Node("client", 1, self.run_dir, wire.Codec(AnyMessage | AnyControl))
        async with node.open(bind=False):
            self._gateway = node.ref("gateway")
            node.peer_up(Up("gateway", 1))
            yield

    async def ask(self, body, seconds=10):
        """What the gateway answers to a program that speaks ZeroMQ."""
        return await self._gateway.ask(body, seconds)

    def client(self, *, token=True, **headers):
        if token:
            headers["authorization"] = f"Bearer {self.token if token is True else token}"
        return httpx.AsyncClient(base_url=self.url, headers=headers, trust_env=False)


@contextlib.asynccontextmanager
async def stage(*, neighbours=NEIGHBOURS, photos=3, before=None, **settings):
    """A running gateway.

    Args:
        neighbours: who is up from the start.
        photos: how many there are.
        before: called with the stage before the gateway starts.
    """
    with tempfile.TemporaryDirectory(prefix="obs") as directory:
        it = Stage(Path(directory), **settings)
        for content in range(1, photos + 1):
            it.library.add(content)
        if before is not None:
            before(it)
        async with it.opened(neighbours=neighbours):
            yield it


def code_of(response):
    return msgspec.json.decode(response.content)["error"]["code"]
