"""Messages ↔ frames.  No sockets, no actors; bytes in, values out.

A message is two frames, header and body, so that decoding has two stages: the header alone
says what kind of thing the body is, and a body this process has never heard of is answered
with a `Nack` instead of an exception (tractor and Erlang's `ei` do the same).  The header is
an array that only ever grows at its end; the body is one variant of a tagged union that the
application brings along.

This file does not know which peers exist, whether they are alive, or what a body means.
"""

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


def decode_header(frame: bytes) -> Header:
    """Stage one.

    Raises:
        FrameBroken: the frame is no header of a version this process can read.
    """
    try:
        header = _header_decoder.decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FrameBroken(f"unreadable header: {error}") from error
    if header.version != VERSION or header.kind not in Kind._value2member_map_:
        raise FrameBroken(f"header of version {header.version}, kind {header.kind}")
    return header


class Codec:
    """Encode and decode the bodies of one application, plus `Nack`.

    Args:
        union: the union of all tagged structs that may travel.
    """

    def __init__(self, union: Any) -> None:
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(union)
        variants: Sequence[type[Body]] = getattr(union, "__args__", (union,))
        self.types = frozenset(str(each.__struct_config__.tag) for each in variants)

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
        payload = self._encoder.encode(body)
        tag = str(body.__struct_config__.tag)
        if len(payload) > MAX_BODY_BYTES:
            raise FrameBroken(f"{tag} of {len(payload)} bytes is above {MAX_BODY_BYTES}")
        header = Header(VERSION, kind, tag, id, sender, epoch, deadline_ns, trace)
        return [_header_encoder.encode(header), payload]

    def decode_body(self, header: Header, frame: bytes) -> Body:
        """Stage two.

        Raises:
            Unsupported: a type this process does not know, from a newer version perhaps.
            FrameBroken: a known type whose bytes do not fit it.
        """
        if header.kind == Kind.NACK:
            return _decode(_nack_decoder, frame)
        if header.type not in self.types:
            raise Unsupported(header.type)
        return _decode(self._decoder, frame)


def _decode(decoder: msgspec.msgpack.Decoder[Any], frame: bytes) -> Body:
    if len(frame) > MAX_BODY_BYTES:
        raise FrameBroken(f"a body of {len(frame)} bytes is above {MAX_BODY_BYTES}")
    try:
        body: Body = decoder.decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FrameBroken(f"unreadable body: {error}") from error
    return body
