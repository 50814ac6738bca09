"""ZeroMQ sockets on any anyio loop.  The only module that imports zmq.

ZeroMQ's descriptor is edge-triggered: it becomes readable once when something changes, and
any `send`, `recv` or look at `EVENTS` may be the call that swallows the edge.  "Wait until
readable, then receive one" therefore stalls sooner or later (51 times in 5000 messages where
we measured it, on both loops).  And a cancelled receive can lose a message it had already
taken (587 of 4000 with 1 ms timeouts).  So:

- only `drain` receives, always without waiting, until the socket has nothing more;
- `send` never waits either, and looks afterwards whether it swallowed the edge: at once, or
  on asyncio once for all sends of the loop's turn;
- nobody outside ever awaits zmq: consumers await a mailbox, which cancels safely;
- a slow tick looks once a second whether messages wait although the descriptor is silent and
  nothing has come for a moment, and counts what the rules above missed (`stalls`, which must
  stay 0).

A message is exactly two frames, a header and a body; a ROUTER's begin with the sender's
identity.  Anything else is counted (`misshapen`) and dropped whole.

pyzmq's comfortable calls cost more than ZeroMQ itself: `send_multipart` 2.2 µs where two plain
sends take 0.3, `recv_multipart` 3.2 µs where three plain receives take 0.4, most of it an
enumeration built anew for each look at `RCVMORE`.  The plain calls are those of the backend's
`Socket`, which pyzmq documents; whether a frame is the last one is told by the `Frame` that a
receive without copying returns.

Rejected: `zmq.asyncio` (asyncio only, and an eighth of the message rate), zmq-anyio (loses
what is cancelled), threads with blocking sockets (a hand-over per message).

A DEALER here is dialled for one incarnation of its peer and never reconnects: what was queued
for a dead process must not reach its successor.  ZeroMQ has a word for that, an interval of -1,
but then it takes the line away as soon as the peer hangs up, and with it what the peer had said
and nobody had received yet (4.3.5; a look at `EVENTS` is enough).  An interval longer than any
line lives keeps both promises.
"""

import contextlib
import errno
import select
from collections.abc import Callable
from typing import TypeAlias

import msgspec
import zmq
import zmq.backend

from runtime.errors import Busy, PeerAway
from runtime.loop import MOST, Reader

#: fuse, not brake: credits keep queues far below; at the fuse sends fail loudly
HIGH_WATER_MARK = 4096
MAX_MESSAGE_BYTES = 2 << 20
LINGER_MS = 200
#: milliseconds, about: no line of ours outlives its peer by a day
NEVER_MS = 86_400_000

_DONTWAIT = int(zmq.DONTWAIT)
_MORE = int(zmq.DONTWAIT | zmq.SNDMORE)
_EVENTS = int(zmq.EVENTS)
_POLLIN = int(zmq.POLLIN)

#: identity of the sender (empty on a DEALER), header, body
OnMessage: TypeAlias = Callable[[bytes, bytes, bytes], None]


class SocketStatistics(msgspec.Struct, frozen=True):
    received: int
    sent: int
    stalls: int  #: wake-ups the edge rules missed; anything but 0 is a bug
    misshapen: int = 0  #: messages of another number of frames than ours


class Socket:
    """One zmq socket whose messages go to *on_message*, which must not send on it."""

    def __init__(self, socket: "zmq.Socket[bytes]", peer: str, on_message: OnMessage) -> None:
        plain = zmq.backend.Socket
        self._socket = socket
        self._receive = plain.recv.__get__(socket)
        self._send = plain.send.__get__(socket)
        self._get = plain.get.__get__(socket)
        self._routed = socket.type == zmq.ROUTER
        self._peer = peer
        self._on_message = on_message
        self._received = self._sent = self._stalls = self._misshapen = 0
        self._closed = False
        descriptor = socket.getsockopt(zmq.FD)
        assert isinstance(descriptor, int)
        self._reader = Reader(descriptor, self.drain, self._readable)
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)
        socket.setsockopt(zmq.LINGER, LINGER_MS)
        socket.setsockopt(zmq.SNDHWM, HIGH_WATER_MARK)
        socket.setsockopt(zmq.RCVHWM, HIGH_WATER_MARK)
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)

    def send(self, identity: bytes, header: bytes, body: bytes) -> None:
        """Hand a message to zmq without waiting; *identity* is empty on a DEALER.

        Raises:
            PeerAway: nobody with that identity is connected.
            Busy: the queue to the peer is full, although credits should have kept it short.
        """
        if self._closed:
            raise PeerAway(self._peer)
        try:
            # whether there is room is decided with the first frame; the others follow it
            if identity:
                self._send(identity, _MORE)
            self._send(header, _MORE)
            self._send(body, _DONTWAIT)
        except zmq.Again as error:
            raise Busy(f"the queue to {self._peer} is full") from error
        except zmq.ZMQError as error:
            if error.errno == errno.EHOSTUNREACH:
                raise PeerAway(self._peer) from error
            raise
        self._sent += 1
        self._reader.nudge()  # the send may have eaten the edge

    @property
    def received(self) -> int:
        return self._received

    def _readable(self) -> bool:
        return not self._closed and bool(self._get(_EVENTS) & _POLLIN)

    def drain(self, most: int) -> int:
        """Deliver what is there, up to *most* messages; how many it was."""
        receive = self._receive
        identity = b""
        for found in range(most):
            if self._closed:
                return found
            try:
                if self._routed:
                    identity = receive(_DONTWAIT)
                frame = receive(_DONTWAIT, False)
            except zmq.Again:
                return found
            self._received += 1
            header = frame
            if header.more:
                frame = receive(_DONTWAIT, False)
                if not frame.more:
                    self._on_message(identity, header.bytes, frame.bytes)
                    continue
            while frame.more:
                frame = receive(_DONTWAIT, False)
            self._misshapen += 1
        return most

    async def pump(self) -> None:
        """Deliver messages until cancelled; then close, as nobody else may.

        A descriptor closed under a waiting loop can be given to the next socket, and the
        loop would take that one's wake-ups away with the old one's.
        """
        try:
            await self._reader.run()
        finally:
            self.retire()
            self._socket.close()

    @property
    def silent(self) -> bool:
        """Does the descriptor tell of nothing?  Unlike `EVENTS`, this takes no edge away."""
        return not self._closed and not self._poll.poll(0)

    def rescue(self, received: int) -> None:
        """Deliver what a missed edge left behind, and count it.

        Args:
            received: messages a moment ago, when it was `silent` already.  Where there are more
                now, edges come through.
        """
        if self._received == received and self.silent and self._readable():
            found = self.drain(MOST)
            self._stalls += found > 0
            while found == MOST:
                found = self.drain(MOST)

    def retire(self) -> None:
        """Neither send nor deliver any more; the pump, once cancelled, closes."""
        self._closed = True

    def statistics(self) -> SocketStatistics:
        return SocketStatistics(self._received, self._sent, self._stalls, self._misshapen)


class Context:
    """The sockets of one process; closed together, in bounded time."""

    def __init__(self) -> None:
        self._context = zmq.Context(io_threads=1)

    def bind(self, endpoint: str, name: str, on_message: OnMessage) -> Socket:
        """A ROUTER at *endpoint*; its frames begin with the sender's identity."""
        router = self._context.socket(zmq.ROUTER)
        socket = Socket(router, name, on_message)
        # without it a ROUTER drops silently what it cannot route, and at its high-water mark
        router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        router.bind(endpoint)
        return socket

    def dial(self, endpoint: str, identity: bytes, name: str, on_message: OnMessage) -> Socket:
        """A DEALER to *endpoint*.  *identity* must never have been used there before."""
        dealer = self._context.socket(zmq.DEALER)
        socket = Socket(dealer, name, on_message)
        dealer.setsockopt(zmq.ROUTING_ID, identity)
        dealer.setsockopt(zmq.RECONNECT_IVL, NEVER_MS)
        dealer.connect(endpoint)
        return socket

    def term(self) -> None:
        """Blocks until queues are flushed or their linger is over; call it off the loop."""
        self._context.term()


# ── is anybody there? ───────────────────────────────────────────────────────────────────────


def echo(endpoint: str) -> None:
    """Send back whatever comes to *endpoint*, for ever; call it in a daemon thread.

    The loop is libzmq's own and needs no GIL, so it answers as long as the process can run at
    all, whatever Python is doing (ipykernel's heartbeat is the same).
    """
    socket = zmq.Context(io_threads=1).socket(zmq.ROUTER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.bind(endpoint)
    zmq.proxy(socket, socket)


class Echoes:
    """Calls into the `echo` of other processes, and what came back.  Never waits."""

    def __init__(self) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._sockets: dict[str, zmq.Socket[bytes]] = {}
        self._heard: dict[str, int] = {}

    def call(self, endpoint: str) -> None:
        if self._context is None:
            self._context = zmq.Context(io_threads=1)
        if endpoint not in self._sockets:
            socket = self._sockets[endpoint] = self._context.socket(zmq.DEALER)
            socket.setsockopt(zmq.LINGER, 0)
            socket.connect(endpoint)
        with contextlib.suppress(zmq.Again):
            self._sockets[endpoint].send(b"", _DONTWAIT)

    def heard(self, endpoint: str) -> int:
        """How many calls to *endpoint* have come back so far."""
        socket = self._sockets.get(endpoint)
        if socket is None:
            return 0
        with contextlib.suppress(zmq.Again):
            while True:
                socket.recv(_DONTWAIT)
                self._heard[endpoint] = self._heard.get(endpoint, 0) + 1
        return self._heard.get(endpoint, 0)

    def forget(self, endpoint: str) -> None:
        """That process is gone."""
        self._heard.pop(endpoint, None)
        socket = self._sockets.pop(endpoint, None)
        if socket is not None:
            socket.close()

    def close(self) -> None:
        for endpoint in list(self._sockets):
            self.forget(endpoint)
        if self._context is not None:
            self._context.term()
            self._context = None
