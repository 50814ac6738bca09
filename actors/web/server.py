"""The socket and the HTTP server on it.

The socket is bound here and not by uvicorn, so that "the port is taken" is one clear line,
and so that a gateway which was restarted gets the port of its predecessor back: pages that
are open find it again.
"""

import contextlib
import errno
import ipaddress
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import uvicorn
from starlette.types import ASGIApp

from runtime.errors import ActorUnusable

#: file in the run directory that says where we listen
ADDRESS_FILE: Final = "gateway.json"
#: uvicorn itself cuts a connection whose frame is above this; `protocol` answers below it
LARGEST_FRAME_BYTES: Final = 256 << 10
#: seconds that answers under way get when the process drains
LAST_WORDS_S: Final = 2


class Address(msgspec.Struct, frozen=True):
    """Where the page is.  What `gateway.json` holds."""

    host: str
    port: int

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


def read_address(run_dir: Path) -> Address | None:
    """Where the gateway of this run listens; None before it does."""
    try:
        return msgspec.json.decode((run_dir / ADDRESS_FILE).read_bytes(), type=Address)
    except FileNotFoundError:
        return None


def write_address(run_dir: Path, address: Address) -> None:
    aside = run_dir / f".{ADDRESS_FILE}.{os.getpid()}"
    aside.write_bytes(msgspec.json.encode(address))
    aside.replace(run_dir / ADDRESS_FILE)


def bind(host: str, port: int, former: Address | None) -> tuple[socket.socket, Address]:
    """A listening socket on this machine alone, and where it is.

    Args:
        host: a loopback address or `localhost`.
        port: 0 for any; then that of *former*, if it is still free.
        former: where the last incarnation of this run listened.

    Raises:
        ActorUnusable: *host* is not this machine alone, or the port is taken.
    """
    address = "127.0.0.1" if host == "localhost" else host
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        parsed = None
    if parsed is None or not parsed.is_loopback:
        raise ActorUnusable(
            f"gateway.host is {host!r}: only this machine may be listened to, 127.0.0.1 or ::1"
        )
    family = socket.AF_INET6 if parsed.version == 6 else socket.AF_INET
    if port == 0 and former is not None and former.host == address:
        with contextlib.suppress(OSError):
            return _listen(family, address, former.port)
    try:
        return _listen(family, address, port)
    except OSError as error:
        why = "another program uses it" if error.errno == errno.EADDRINUSE else error.strerror
        raise ActorUnusable(
            f"cannot listen on {address} port {port}: {why}; "
            "end that program, or start with another --port, or with --port 0 for any"
        ) from error


def _listen(family: socket.AddressFamily, host: str, port: int) -> tuple[socket.socket, Address]:
    # asyncio switches Nagle's delay off only where the protocol is spelled out; left on, every
    # second small frame waits 40 ms for an acknowledgement
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        # connections of a predecessor that linger must not keep us out
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener, Address(host, listener.getsockname()[1])


class Server(uvicorn.Server):
    """uvicorn without signal handlers: stopping is the supervisor's to say."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def server(app: ASGIApp) -> Server:
    return Server(
        uvicorn.Config(
            app,
            loop="none",
            http="h11",
            ws="websockets-sansio",
            ws_max_size=LARGEST_FRAME_BYTES,
            # the other end is this machine: packing costs more than it saves
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=LAST_WORDS_S,
        )
    )
