"""ZeroMQ sockets on any anyio loop.  The only module that imports zmq.

ZeroMQ's descriptor is edge-triggered: it becomes readable once when something changes, and
any `send`, `recv` or look at `EVENTS` may be the call that swallows the edge.  "Wait until
readable, then receive one" therefore stalls sooner or later (51 times in 5000 messages where
we measured it, on both loops).  And a cancelled receive can lose a message it had already
taken (587 of 4000 with 1 ms timeouts).  So:

- only `drain` receives, always without waiting, until the socket has nothing more;
- `send` never waits either, and drains afterwards if it may have swallowed the edge;
- nobody outside ever awaits zmq: consumers await a mailbox, which cancels safely;
- a slow tick looks at `EVENTS` once a second and counts what the rules above missed
  (`stalls`, which must stay 0).

Rejected: `zmq.asyncio` (asyncio only, and an eighth of the message rate), zmq-anyio (loses
what is cancelled), threads with blocking sockets (a hand-over per message).

A DEALER here is dialled for one incarnation of its peer and never reconnects: what was queued
for a dead process must not reach its successor.
"""

import errno
from collections.abc import Callable

import anyio
import anyio.lowlevel
import msgspec
import zmq

from runtime.errors import Busy, PeerAway

#: fuse, not brake: credits keep queues far below; at the fuse sends fail loudly
HIGH_WATER_MARK = 4096
MAX_MESSAGE_BYTES = 2 << 20
LINGER_MS = 200
#: messages taken from one socket before others get a turn
DRAIN_LIMIT = 256

OnFrames = Callable[[list[bytes]], None]


class SocketStatistics(msgspec.Struct, frozen=True):
    received: int
    sent: int
    stalls: int  #: wake-ups the edge rules missed; anything but 0 is a bug


class Socket:
    """One zmq socket whose messages go to *on_frames*, which must not send on it."""

    def __init__(self, socket: "zmq.Socket[bytes]", peer: str, on_frames: OnFrames) -> None:
        self._socket = socket
        self._peer = peer
        self._on_frames = on_frames
        self._received = self._sent = self._stalls = 0
        self._closed = False
        socket.setsockopt(zmq.LINGER, LINGER_MS)
        socket.setsockopt(zmq.SNDHWM, HIGH_WATER_MARK)
        socket.setsockopt(zmq.RCVHWM, HIGH_WATER_MARK)
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)

    def send(self, frames: list[bytes]) -> None:
        """Hand *frames* to zmq without waiting.

        Raises:
            PeerAway: nobody with that identity is connected.
            Busy: the queue to the peer is full, although credits should have kept it short.
        """
        if self._closed:
            raise PeerAway(self._peer)
        try:
            self._socket.send_multipart(frames, zmq.DONTWAIT)
        except zmq.Again as error:
            raise Busy(f"the queue to {self._peer} is full") from error
        except zmq.ZMQError as error:
            if error.errno == errno.EHOSTUNREACH:
                raise PeerAway(self._peer) from error
            raise
        self._sent += 1
        if self._readable():  # the send may have eaten the edge
            while self.drain():
                pass

    def _readable(self) -> bool:
        return not self._closed and bool(int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN)

    def drain(self) -> bool:
        """Deliver what is there, up to a limit; True when there may be more."""
        receive = self._socket.recv_multipart
        for _ in range(DRAIN_LIMIT):
            if self._closed:
                return False
            try:
                frames = receive(zmq.DONTWAIT)
            except zmq.Again:
                return False
            self._received += 1
            self._on_frames(frames)
        return True

    async def pump(self) -> None:
        """Deliver messages until cancelled; then close, as nobody else may.

        A descriptor closed under a waiting loop can be given to the next socket, and the
        loop would take that one's wake-ups away with the old one's.
        """
        descriptor = self._socket.getsockopt(zmq.FD)
        assert isinstance(descriptor, int)
        try:
            while True:
                if self.drain():
                    await anyio.lowlevel.checkpoint()
                else:
                    await anyio.wait_readable(descriptor)
        finally:
            self.retire()
            self._socket.close()

    def rescue(self) -> None:
        """The slow tick: deliver what a missed edge left behind, and count it."""
        if self._readable():
            before = self._received
            while self.drain():
                pass
            self._stalls += self._received > before

    def retire(self) -> None:
        """Neither send nor deliver any more; the pump, once cancelled, closes."""
        self._closed = True

    def statistics(self) -> SocketStatistics:
        return SocketStatistics(self._received, self._sent, self._stalls)


class Context:
    """The sockets of one process; closed together, in bounded time."""

    def __init__(self) -> None:
        self._context = zmq.Context(io_threads=1)

    def bind(self, endpoint: str, name: str, on_frames: OnFrames) -> Socket:
        """A ROUTER at *endpoint*; its frames begin with the sender's identity."""
        router = self._context.socket(zmq.ROUTER)
        socket = Socket(router, name, on_frames)
        # without it a ROUTER drops silently what it cannot route, and at its high-water mark
        router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        router.bind(endpoint)
        return socket

    def dial(self, endpoint: str, identity: bytes, name: str, on_frames: OnFrames) -> Socket:
        """A DEALER to *endpoint*.  *identity* must never have been used there before."""
        dealer = self._context.socket(zmq.DEALER)
        socket = Socket(dealer, name, on_frames)
        dealer.setsockopt(zmq.ROUTING_ID, identity)
        dealer.setsockopt(zmq.RECONNECT_IVL, -1)
        dealer.connect(endpoint)
        return socket

    def term(self) -> None:
        """Blocks until queues are flushed or their linger is over; call it off the loop."""
        self._context.term()
