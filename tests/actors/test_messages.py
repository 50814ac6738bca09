"""What is on the wire stays readable: the bytes of released versions, and what they mean now."""

import msgspec
import pytest

from actors.messages import (
    AnyMessage,
    AskCaption,
    AskPhoto,
    Describe,
    Found,
    Hit,
    PhotoIs,
    Saying,
    Search,
)

decode = msgspec.msgpack.Decoder(AnyMessage).decode
encode = msgspec.msgpack.Encoder().encode
BEFORE = Hit(7, "/p/boat.jpg", 0.5, None, "/thumb/7/256", 40, 30)
OF_NOW = Hit(
    7, "/p/boat.jpg", 0.5, None, "/thumb/7/256", 40, 30, reason="both", caption="a red boat"
)


@pytest.mark.parametrize(
    ("body", "golden"),
    [
        (
            Search("x", 3, None, 2),
            bytes.fromhex("84a174a6736561726368a57175657279a178a16b03a5666163657302"),
        ),
        (
            Found([BEFORE], "sketch", True, 9, 0.25),
            bytes.fromhex(
                "86a174a5666f756e64a468697473918ba7636f6e74656e7407a470617468ab2f702f626f61742e6a"
                "7067a573636f7265cb3fe0000000000000a874616b656e5f6174c0a97468756d626e61696cac2f74"
                "68756d622f372f323536a5776964746828a66865696768741ea56661636573c0a466616365c0a672"
                "6561736f6ea6766563746f72a763617074696f6ec0a56d6f64656ca6736b65746368a464656d6fc3"
                "a7696e646578656409a77365636f6e6473cb3fd0000000000000"
            ),
        ),
        (
            Found([OF_NOW], "sketch", True, 9, 0.25),
            bytes.fromhex(
                "86a174a5666f756e64a468697473918ba7636f6e74656e7407a470617468ab2f702f626f61742e6a"
                "7067a573636f7265cb3fe0000000000000a874616b656e5f6174c0a97468756d626e61696cac2f74"
                "68756d622f372f323536a5776964746828a66865696768741ea56661636573c0a466616365c0a672"
                "6561736f6ea4626f7468a763617074696f6eaa612072656420626f6174a56d6f64656ca6736b6574"
                "6368a464656d6fc3a7696e646578656409a77365636f6e6473cb3fd0000000000000"
            ),
        ),
        (
            AskCaption(3, 7, b"d", 40, 30, "teller"),
            bytes.fromhex(
                "87a174ab61736b5f63617074696f6ea361736b03a7636f6e74656e7407a6646967657374c40164a5"
                "776964746828a66865696768741ea47061636ba674656c6c6572"
            ),
        ),
        (
            Saying(3, "two red"),
            bytes.fromhex("83a174a6736179696e67a361736b03a474657874a774776f20726564"),
        ),
        (
            Saying(3, "", True, "died"),
            bytes.fromhex(
                "85a174a6736179696e67a361736b03a474657874a0a4646f6e65c3a56572726f72a464696564"
            ),
        ),
        (Describe(3, 7), bytes.fromhex("83a174a86465736372696265a361736b03a7636f6e74656e7407")),
        (AskPhoto(b"/p/a"), bytes.fromhex("82a174a961736b5f70686f746fa470617468c4042f702f61")),
        (
            PhotoIs(None, True),
            bytes.fromhex("83a174a870686f746f5f6973a7636f6e74656e74c0a56b6e6f776ec3"),
        ),
    ],
)
def test_the_bytes_of_a_message_stay_what_they_are(body, golden):
    assert encode(body) == golden
    assert decode(golden) == body


def test_a_hit_of_a_program_that_knows_no_captions_is_one_by_its_picture():
    old = {
        **{name: getattr(BEFORE, name) for name in Hit.__struct_fields__[:9]},
        "face": None,
    }
    found = {"t": "found", "hits": [old], "model": "m", "demo": False, "indexed": 1, "seconds": 0.5}
    (hit,) = decode(encode(found)).hits
    assert (hit.reason, hit.caption) == ("vector", None)
