"""Messages ↔ frames.  No sockets, no actors; bytes in, values out.

A message is two frames, header and body, so that decoding has two stages: the header alone
says what kind of thing the body is, and a body this process has never heard of is answered
with a `Nack` instead of an exception (tractor and Erlang's `ei` do the same).  The header is
an array that only ever grows at its end; the body is one variant of a tagged union that the
application brings along.

This file does not know which peers exist, whether they are alive, or what a body means.
"""

import functools
from collections.abc import Sequence
from enum import IntEnum
from typing import Any, TypeAlias

import msgspec

from runtime.errors import FrameBroken, Unsupported

VERSION = 1
#: a body above this is a bug of its sender: pictures travel as paths, vectors in batches
MAX_BODY_BYTES = 1 << 20

Body: TypeAlias = msgspec.Struct


class Kind(IntEnum):
    TELL = 0
    ASK = 1
    REPLY = 2
    NACK = 3


class Header(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """First frame of every message.  Append-only; new fields have defaults."""

    version: int
    kind: int
    type: str  #: tag of the body
    id: int  #: of the ask; 0 for a tell
    sender: str
    epoch: int  #: incarnation of the sender: what an older one says has no effect
    deadline_ns: int = 0  #: CLOCK_MONOTONIC, comparable on one machine; 0 = none
    trace: bytes = b""  #: 16 bytes that follow one cause through all processes


class Nack(msgspec.Struct, frozen=True, tag="nack", tag_field="t"):
    """No, and why: "busy", "unsupported" or "failed"."""

    reason: str
    detail: str = ""


_header_encoder = msgspec.msgpack.Encoder()
_header_decoder = msgspec.msgpack.Decoder(Header)
_nack_decoder = msgspec.msgpack.Decoder(Nack)
_kinds = frozenset(int(each) for each in Kind)


def decode_header(frame: bytes) -> Header:
    """Stage one.

    Raises:
        FrameBroken: the frame is no header of a version this process can read.
    """
    try:
        header = _header_decoder.decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FrameBroken(f"unreadable header: {error}") from error
    if header.version != VERSION or header.kind not in _kinds:
        raise FrameBroken(f"header of version {header.version}, kind {header.kind}")
    return header


class Codec:
    """Encode and decode the bodies of one application, plus `Nack`.

    Args:
        union: the union of all tagged structs that may travel.
    """

    def __init__(self, union: Any) -> None:
        self._encode = msgspec.msgpack.Encoder().encode
        variants: Sequence[type[Body]] = getattr(union, "__args__", (union,))
        # one decoder a type: the header has said already which one it is
        self._decoders: dict[str, msgspec.msgpack.Decoder[Any]] = {
            _tag(each): msgspec.msgpack.Decoder(each) for each in variants
        }
        self.types = frozenset(self._decoders)

    def encode(
        self,
        kind: Kind,
        body: Body,
        *,
        id: int,  # noqa: A002 - the wire's own word
        sender: str,
        epoch: int,
        deadline_ns: int = 0,
        trace: bytes = b"",
    ) -> list[bytes]:
        """Frames of one message.

        Raises:
            FrameBroken: the body is larger than `MAX_BODY_BYTES`; it was not encoded to be sent.
        """
        payload = self.encode_body(body)
        header = Header(VERSION, kind, _tag(type(body)), id, sender, epoch, deadline_ns, trace)
        return [_header_encoder.encode(header), payload]

    def encode_body(self, body: Body) -> bytes:
        payload = self._encode(body)
        if len(payload) > MAX_BODY_BYTES:
            tag = _tag(type(body))
            raise FrameBroken(f"{tag} of {len(payload)} bytes is above {MAX_BODY_BYTES}")
        return payload

    def decode_body(self, header: Header, frame: bytes) -> Body:
        """Stage two.

        Raises:
            Unsupported: a type this process does not know, from a newer version perhaps.
            FrameBroken: a known type whose bytes do not fit it.
        """
        decoder = _nack_decoder if header.kind == Kind.NACK else self._decoders.get(header.type)
        if decoder is None:
            raise Unsupported(header.type)
        if len(frame) > MAX_BODY_BYTES:
            raise FrameBroken(f"a body of {len(frame)} bytes is above {MAX_BODY_BYTES}")
        try:
            body: Body = decoder.decode(frame)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise FrameBroken(f"unreadable body: {error}") from error
        return body


class Writer:
    """The frames of what one incarnation says.

    The header of a tell is the same from one to the next of its type, but for the trace; it
    is kept and written again.
    """

    def __init__(self, codec: Codec, sender: str, epoch: int) -> None:
        self._codec = codec
        self._sender = sender
        self._epoch = epoch
        self._tells: dict[type[Body], tuple[bytes, bytes]] = {}  # type → trace, header

    def tell(self, body: Body, trace: bytes) -> tuple[bytes, bytes]:
        """Header and body of a message that awaits no answer.

        Raises:
            FrameBroken: as `Codec.encode`.
        """
        kept = self._tells.get(type(body))
        if kept is None or kept[0] != trace:
            kept = self._tells[type(body)] = (trace, self._header(Kind.TELL, body, 0, 0, trace))
        return kept[1], self._codec.encode_body(body)

    def write(
        self,
        kind: Kind,
        body: Body,
        id: int,  # noqa: A002 - the wire's own word
        deadline_ns: int,
        trace: bytes,
    ) -> tuple[bytes, bytes]:
        """Header and body of any message.

        Raises:
            FrameBroken: as `Codec.encode`.
        """
        return self._header(kind, body, id, deadline_ns, trace), self._codec.encode_body(body)

    def _header(self, kind: Kind, body: Body, id: int, deadline_ns: int, trace: bytes) -> bytes:  # noqa: A002
        tag = _tag(type(body))
        header = Header(VERSION, kind, tag, id, self._sender, self._epoch, deadline_ns, trace)
        return _header_encoder.encode(header)


@functools.cache
def _tag(body: type[Body]) -> str:
    return str(body.__struct_config__.tag)
