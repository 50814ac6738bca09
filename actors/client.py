"""The way in for other programs: search a running library over ZeroMQ.

    async with Client.connect() as library:
        found = await library.search("a red circle on green", k=5)

    with BlockingClient.connect() as library:
        found = library.search("a red circle on green", k=5)
        for text in library.describe(found.hits[0].content):
            print(text)

A client finds the running system by `<data>/run.json`, asks the supervisor which incarnation
of the gateway is up, and dials that one; when the gateway was replaced it dials the new one
within the same call's deadline.  It needs the permissions of the library's owner: the sockets
lie in a directory of mode 0700.
"""

import contextlib
import itertools
import os
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

import anyio
import anyio.from_thread
import msgspec

from actors.messages import (
    AnyMessage,
    AskFaces,
    AskLink,
    AskPhoto,
    AskStatus,
    AskTotals,
    Describe,
    Done,
    Faces,
    FacesLike,
    Found,
    Link,
    Message,
    PhotoIs,
    Saying,
    Search,
    Status,
    Totals,
)
from runtime import wire
from runtime.errors import Busy, DeadlinePassed, PeerAway, PeerRefused, PeerRestarted, RuntimeFault
from runtime.messages import AnyControl, AskProcesses, Processes, Up
from runtime.node import SUPERVISOR, Node, plain_errors

GATEWAY = "gateway"
#: how often a waiting client asks the supervisor whether the gateway was replaced
SILENCE_S = 2.0
#: a little longer than the gateway waits for a word, since it knows why there is none
WORD_S = 65.0

Answer = TypeVar("Answer", bound=Message)


class NotRunning(Exception):
    """Nobody works on that data directory right now."""

    def __init__(self, data: Path) -> None:
        super().__init__(
            f"Obscura is not running on {data}; start it with: "
            f"python -m supervisor --originals FOLDER --data {data}"
        )


class StartedAnew(NotRunning):
    """The system that was connected to is gone, and another one works there now."""

    def __init__(self, data: Path) -> None:
        Exception.__init__(self, f"Obscura on {data} was started anew meanwhile: connect again")


class NotDescribed(Exception):
    """A photo could not be described; the text tells why."""


class Run(msgspec.Struct, frozen=True):
    """`<data>/run.json`: how to reach the system that works on this data directory."""

    pid: int
    run: str
    run_dir: str
    http: str = ""
    pack: str = ""  #: the model pack it was started with


def default_data() -> Path:
    """$OBSCURA_DATA, else ~/.obscura."""
    return Path(os.environ.get("OBSCURA_DATA") or Path.home() / ".obscura").expanduser()


def find_run(data: Path) -> Run:
    """The run of the system on *data*.

    Raises:
        NotRunning: there is none, or it is dead.
    """
    try:
        run = msgspec.json.decode((data / "run.json").read_bytes(), type=Run)
        os.kill(run.pid, 0)
    except (OSError, msgspec.DecodeError) as error:
        raise NotRunning(data) from error
    if not Path(run.run_dir).is_dir():
        raise NotRunning(data)
    return run


class Client:
    """Questions to a running library.  Works on asyncio and trio."""

    running: bool = True  #: unlike the door to a library at rest

    def __init__(self, node: Node, data: Path, run: str) -> None:
        self._node = node
        self._data = data
        self._run = run
        self._asks = itertools.count(1)
        #: what was said last under a number; None: nothing new
        self._said: dict[int, Saying | None] = {}
        self._saying = anyio.Event()

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(cls, data: Path | None = None) -> AsyncIterator[Self]:
        """Find the system that works on *data* (default: see `default_data`).

        Raises:
            NotRunning: nobody does.
        """
        data = data or default_data()
        run = find_run(data)
        name = f"client-{os.getpid()}-{secrets.token_hex(4)}"
        node = Node(name, 0, Path(run.run_dir), wire.Codec(AnyMessage | AnyControl))
        async with node.open(bind=False):
            node.ref(SUPERVISOR)
            node.ref(GATEWAY)
            node.peer_up(Up(SUPERVISOR, 0))
            client = cls(node, data, run.run)
            with plain_errors():
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(client._follow_gateway)
                    tasks.start_soon(client._listen)
                    yield client
                    tasks.cancel_scope.cancel()

    async def search(
        self,
        query: str,
        k: int = 20,
        *,
        has_faces: bool | None = None,
        faces: int = 0,
        seconds: float = 10.0,
    ) -> Found:
        """The *k* photos that fit *query* best, best first.

        Args:
            query: what is to be seen.
            k: how many photos.
            has_faces: only photos with a face, or only those without.
            faces: only photos with at least so many faces.
            seconds: to wait.

        Raises:
            DeadlinePassed, PeerRefused: search is away or says no; the text tells why.
            NotRunning: the system stopped meanwhile, or was started anew.
        """
        return await self.ask(Search(query, k, has_faces, faces), Found, seconds)

    async def faces(self, content: int, *, seconds: float = 10.0) -> Faces:
        """The faces of the photo *content*, the surest first.

        Raises:
            as `search`.
        """
        return await self.ask(AskFaces(content), Faces, seconds)

    async def faces_like(
        self, face: int, k: int = 20, *, least: float = 0.0, seconds: float = 10.0
    ) -> Found:
        """The *k* photos with the faces most like *face*, best first, each once.

        Args:
            face: id of a face, as `faces` tells it; it is left out of the answer.
            k: how many photos.
            least: cosine below which none is like it.
            seconds: to wait.

        Raises:
            as `search`.
        """
        return await self.ask(FacesLike(face, k, least), Found, seconds)

    async def describe(self, content: int, *, seconds: float = WORD_S) -> AsyncGenerator[str, None]:
        """The photo *content* in words, as they are written: each time all of the text so far.

        Nothing of it is kept.

        Args:
            content: id of a photo, as a hit has it.
            seconds: to wait for the first word, and from one to the next.

        Raises:
            NotDescribed: it came to nothing; the text tells why.
            DeadlinePassed, PeerRefused, NotRunning: as `search`.
        """
        ask = next(self._asks)
        self._said[ask] = None
        try:
            await self.ask(Describe(ask, content), Done, seconds)
            gateway = self._node.ref(GATEWAY).incarnation
            saying = Saying(ask, "")
            while not saying.done:
                saying = await self._next_saying(ask, gateway, seconds)
                if saying.error:
                    raise NotDescribed(saying.error)
                yield saying.text
        finally:
            del self._said[ask]

    async def _next_saying(self, ask: int, gateway: int | None, seconds: float) -> Saying:
        deadline = anyio.current_time() + seconds
        while (saying := self._said[ask]) is None:
            left = deadline - anyio.current_time()
            if left <= 0:
                raise DeadlinePassed(GATEWAY, seconds)
            with anyio.move_on_after(min(left, SILENCE_S)) as patience:
                await self._saying.wait()
            if patience.cancelled_caught:
                with contextlib.suppress(Busy, PeerAway, PeerRestarted):
                    await self._dial_gateway(SILENCE_S)
                if self._node.ref(GATEWAY).incarnation != gateway:
                    raise NotDescribed("the gateway was started anew meanwhile; ask again")
        self._said[ask] = None
        return saying

    async def _listen(self) -> None:
        """Take in what is said without an answer being due."""
        while True:
            envelope = await self._node.mailbox.get()
            match envelope.body:
                case Saying(ask) as saying if ask in self._said:
                    self._said[ask] = saying
                    self._saying.set()
                    self._saying = anyio.Event()

    async def photo(self, path: bytes, *, seconds: float = 10.0) -> PhotoIs:
        """Which photo the file at *path* is, an absolute one."""
        return await self.ask(AskPhoto(path), PhotoIs, seconds)

    async def status(self, *, seconds: float = 10.0) -> Status:
        """What every part of the system is doing."""
        return await self.ask(AskStatus(), Status, seconds)

    async def totals(self, *, seconds: float = 60.0) -> Totals:
        """How every file of the library ended."""
        return await self.ask(AskTotals(), Totals, seconds)

    async def link(self, *, seconds: float = 10.0) -> str:
        """An address that opens the page once, without a token."""
        return (await self.ask(AskLink(), Link, seconds)).url

    async def ask(self, question: Message, kind: type[Answer], seconds: float = 60.0) -> Answer:
        """The gateway's answer to *question*, which is of *kind*.

        Raises:
            DeadlinePassed, PeerRefused: somebody is away or says no; the text tells why.
            NotRunning: the system stopped meanwhile, or was started anew.
        """
        deadline = anyio.current_time() + seconds
        while True:
            left = deadline - anyio.current_time()
            if left <= 0:
                raise DeadlinePassed(GATEWAY, seconds)
            try:
                await self._dial_gateway(left)
                answer = await self._node.ref(GATEWAY).ask(question, left)
            except (PeerRestarted, PeerAway, Busy):
                if find_run(self._data).run != self._run:  # gone altogether?
                    raise StartedAnew(self._data) from None
                await anyio.sleep(min(0.1, left))
                continue
            assert isinstance(answer, kind)
            return answer

    async def _follow_gateway(self) -> None:
        """Notice a replaced gateway while an answer is awaited: nobody announces it to us."""
        while True:
            await anyio.sleep(SILENCE_S)
            if self._node.statistics().questions:
                with contextlib.suppress(Busy, PeerAway, PeerRestarted, NotRunning):
                    await self._dial_gateway(SILENCE_S)

    async def _dial_gateway(self, seconds: float) -> None:
        """Dial the gateway that is up now, unless that is done already."""
        try:
            answer = await self._node.ref(SUPERVISOR).ask(AskProcesses(), min(seconds, SILENCE_S))
        except DeadlinePassed:
            raise NotRunning(self._data) from None
        assert isinstance(answer, Processes)
        gateway = next((each for each in answer.processes if each.name == GATEWAY), None)
        if gateway is None or gateway.state != "ready":
            raise PeerAway(GATEWAY)
        self._node.peer_up(Up(GATEWAY, gateway.incarnation))


class BlockingClient:
    """The same for programs without an event loop; a thread in the background runs one."""

    def __init__(self, portal: anyio.from_thread.BlockingPortal, client: Client) -> None:
        self._portal = portal
        self._client = client

    @classmethod
    @contextlib.contextmanager
    def connect(cls, data: Path | None = None) -> Iterator[Self]:
        """As `Client.connect`."""
        with (
            anyio.from_thread.start_blocking_portal() as portal,
            portal.wrap_async_context_manager(Client.connect(data)) as client,
        ):
            yield cls(portal, client)

    def search(
        self, query: str, k: int = 20, *, has_faces: bool | None = None, faces: int = 0
    ) -> Found:
        """As `Client.search`."""
        return self._portal.call(
            partial(self._client.search, query, k, has_faces=has_faces, faces=faces)
        )

    def faces(self, content: int) -> Faces:
        """As `Client.faces`."""
        return self._portal.call(self._client.faces, content)

    def faces_like(self, face: int, k: int = 20, *, least: float = 0.0) -> Found:
        """As `Client.faces_like`."""
        return self._portal.call(partial(self._client.faces_like, face, k, least=least))

    def describe(self, content: int) -> Iterator[str]:
        """As `Client.describe`."""
        texts = self._client.describe(content)

        async def following() -> str | None:
            return await anext(texts, None)

        while (text := self._portal.call(following)) is not None:
            yield text

    def status(self) -> Status:
        """As `Client.status`."""
        return self._portal.call(self._client.status)

    def totals(self) -> Totals:
        """As `Client.totals`."""
        return self._portal.call(self._client.totals)


__all__ = [
    "BlockingClient",
    "Client",
    "DeadlinePassed",
    "Faces",
    "Found",
    "NotDescribed",
    "NotRunning",
    "PeerRefused",
    "RuntimeFault",
    "StartedAnew",
    "Status",
    "Totals",
]
