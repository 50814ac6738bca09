"""Frames: what was once sent can be read for ever, and no bytes can do harm."""

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import wire
from runtime.errors import FrameBroken, Unsupported
from runtime.messages import AnyControl, Down, Ready, Up
from runtime.wire import Kind

CODEC = wire.Codec(AnyControl)

#: bytes of version 1 as they were sent; never change them
GOLDEN = [
    (
        [
            bytes.fromhex("980101a572742e757002a46e616d6507ce000f4240c400"),
            bytes.fromhex("83a174a572742e7570a46e616d65a5656d626564ab696e6361726e6174696f6e07"),
        ],
        Up("embed", 7),
    )
]


@pytest.mark.parametrize(("frames", "body"), GOLDEN)
def test_a20_golden_bytes_of_each_version_decode(frames, body):
    header = wire.decode_header(frames[0])
    assert (header.kind, header.id, header.sender, header.epoch) == (Kind.ASK, 2, "name", 7)
    assert CODEC.decode_body(header, frames[1]) == body


@pytest.mark.parametrize(("frames", "body"), GOLDEN)
def test_what_is_sent_today_equals_the_golden_bytes(frames, body):
    sent = CODEC.encode(Kind.ASK, body, id=2, sender="name", epoch=7, deadline_ns=1_000_000)
    assert sent == frames


def test_a20_a_field_added_later_is_ignored():
    header = wire.decode_header(GOLDEN[0][0][0])
    body = msgspec.msgpack.encode({"t": "rt.up", "name": "x", "incarnation": 1, "colour": "red"})
    assert CODEC.decode_body(header, body) == Up("x", 1)


def test_a20_a_header_with_more_fields_is_read():
    fields = msgspec.msgpack.decode(GOLDEN[0][0][0])
    assert wire.decode_header(msgspec.msgpack.encode([*fields, "new"])).sender == "name"


def test_a20_an_unknown_type_is_told_apart_from_broken_bytes():
    header = wire.decode_header(GOLDEN[0][0][0])
    unknown = msgspec.structs.replace(header, type="rt.from_the_future")
    with pytest.raises(Unsupported):
        CODEC.decode_body(unknown, GOLDEN[0][0][1])


def test_another_version_is_refused():
    fields = msgspec.msgpack.decode(GOLDEN[0][0][0])
    with pytest.raises(FrameBroken, match="version 2"):
        wire.decode_header(msgspec.msgpack.encode([2, *fields[1:]]))


def test_an_oversized_body_is_never_sent():
    down = Down("x", 1, "exit 1", True, [], "x" * (wire.MAX_BODY_BYTES + 1))
    with pytest.raises(FrameBroken, match="above"):
        CODEC.encode(Kind.TELL, down, id=0, sender="s", epoch=1)


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_a20_random_bytes_raise_nothing_but_our_own(header, body):
    with contextlib.suppress(FrameBroken, Unsupported):
        CODEC.decode_body(wire.decode_header(header), body)


@given(st.text(max_size=50), st.integers(0, 2**63 - 1))
def test_every_message_survives_the_round_trip(name, incarnation):
    frames = CODEC.encode(Kind.TELL, Up(name, incarnation), id=0, sender="s", epoch=1)
    assert CODEC.decode_body(wire.decode_header(frames[0]), frames[1]) == Up(name, incarnation)


def test_a_writer_says_what_the_codec_says_whichever_header_it_kept():
    writer = wire.Writer(CODEC, "s", 1)
    for cause in (b"", b"", b"c" * 16, b"d" * 16, b""):
        for body in (Up("x", 1), Up("y", 2)):
            plain = CODEC.encode(Kind.TELL, body, id=0, sender="s", epoch=1, trace=cause)
            assert list(writer.tell(body, cause)) == plain
            assert list(writer.write(Kind.TELL, body, 0, 0, cause)) == plain


def test_a_body_that_is_not_what_its_header_says_is_broken():
    head, _ = CODEC.encode(Kind.TELL, Up("x", 1), id=0, sender="s", epoch=1)
    _, ready = CODEC.encode(Kind.TELL, Ready(), id=0, sender="s", epoch=1)
    with pytest.raises(FrameBroken, match="unreadable body"):
        CODEC.decode_body(wire.decode_header(head), ready)


@pytest.mark.parametrize("kind", [-1, 4, 255])
def test_a_kind_that_does_not_exist_is_broken(kind):
    fields = msgspec.msgpack.decode(GOLDEN[0][0][0])
    with pytest.raises(FrameBroken, match=f"kind {kind}"):
        wire.decode_header(msgspec.msgpack.encode([fields[0], kind, *fields[2:]]))


def test_an_oversized_body_is_not_even_looked_at():
    header = wire.decode_header(GOLDEN[0][0][0])
    with pytest.raises(FrameBroken, match="above"):
        CODEC.decode_body(header, bytes(wire.MAX_BODY_BYTES + 1))
