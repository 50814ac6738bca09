import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.messages import Found, Hit
from actors.web import protocol
from actors.web.about import About
from actors.web.errors import Refusal
from actors.web.protocol import LARGEST_FRAME, AnyRequest, AskStatus, BadRequest, Search, parse


def refused(frame):
    result = parse(frame)
    assert isinstance(result, BadRequest)
    return result.refusal.code, result.id


def test_requests_are_read():
    assert parse('{"type":"search","id":1,"query":"boat"}') == Search(1, "boat", 20)
    assert parse('{"id":1,"k":7,"query":"boat","type":"search"}') == Search(1, "boat", 7)
    assert parse('{"type":"describe","id":4,"content":7}') == protocol.Describe(4, 7)
    assert parse('{"type":"status","id":-2}') == AskStatus(-2)
    assert parse('{"type":"subscribe","id":3,"topic":"progress"}') == protocol.Subscribe(
        3, "progress"
    )


@pytest.mark.parametrize("frame", ["", "{", "nonsense", '{"type":', "\udc80", '"\\ud8', "[" * 9000])
def test_what_is_no_json_is_said_to_be_none(frame):
    code, id_ = refused(frame)
    assert code in {"bad_json", "bad_request"}
    assert id_ is None


@pytest.mark.parametrize(
    ("frame", "code", "id_"),
    [
        ("[]", "bad_request", None),
        ("null", "bad_request", None),
        ("1", "bad_request", None),
        ("{}", "unknown_type", None),
        ('{"type":"dance","id":5}', "unknown_type", 5),
        ('{"type":7,"id":5}', "unknown_type", 5),
        ('{"type":["search"],"id":5}', "unknown_type", 5),
        ('{"type":"search"}', "bad_request", None),
        ('{"type":"search","id":5}', "bad_request", 5),
        ('{"type":"search","id":"5","query":"x"}', "bad_request", None),
        ('{"type":"search","id":true,"query":"x"}', "bad_request", None),
        ('{"type":"search","id":99999999999999999999,"query":"x"}', "bad_request", None),
        ('{"type":"search","id":5,"query":7}', "bad_request", 5),
        ('{"type":"search","id":5,"query":"x","k":0}', "bad_request", 5),
        ('{"type":"search","id":5,"query":"x","k":501}', "bad_request", 5),
        ('{"type":"search","id":5,"query":"x","k":"20"}', "bad_request", 5),
        ('{"type":"search","id":5,"query":"x","k":2.5}', "bad_request", 5),
        ('{"type":"search","id":5,"query":"x","kk":2}', "bad_request", 5),
        ('{"type":"subscribe","id":5,"topic":"gossip"}', "bad_request", 5),
        ('{"type":"describe","id":5,"content":-1}', "bad_request", 5),
        ('{"type":"describe","id":5,"content":"7"}', "bad_request", 5),
    ],
)
def test_a_senseless_request_is_refused_under_its_id(frame, code, id_):
    assert refused(frame) == (code, id_)


def test_the_reason_names_the_field():
    result = parse('{"type":"search","id":5,"query":"x","k":501}')
    assert isinstance(result, BadRequest)
    assert "$.k" in result.refusal.message


def test_a_frame_above_the_limit_is_not_even_read():
    frame = json.dumps({"type": "search", "id": 1, "query": "x" * LARGEST_FRAME})
    assert refused(frame) == ("too_large", None)


@given(
    st.one_of(
        st.text(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        ).map(json.dumps),
    )
)
def test_no_frame_is_worse_than_a_refusal(frame):
    assert isinstance(parse(frame), BadRequest | AnyRequest)


def test_answers_carry_no_tags_of_the_wire_and_all_their_fields():
    hit = Hit(7, "/p/boat.jpg", 0.5, None, "/thumb/7/256")
    found = Found([hit], "sketch", True, 9, 0.01)
    assert json.loads(protocol.hit(1, hit)) == {
        "type": "hit",
        "id": 1,
        "hit": {
            "content": 7,
            "path": "/p/boat.jpg",
            "score": 0.5,
            "taken_at": None,
            "thumbnail": "/thumb/7/256",
            "width": 0,
            "height": 0,
            "faces": None,
            "face": None,
            "reason": "vector",
            "caption": None,
        },
    }
    assert json.loads(protocol.done(1, found)) == {
        "type": "done",
        "id": 1,
        "count": 1,
        "model": "sketch",
        "demo": True,
        "indexed": 9,
        "seconds": 0.01,
        "degraded": "",
        "unlooked": 0,
    }
    assert json.loads(protocol.error(None, Refusal("bad_json", "why"))) == {
        "type": "error",
        "id": None,
        "error": {"code": "bad_json", "message": "why"},
    }
    assert json.loads(protocol.hello(About("m", False, "P1", ("Pictures",)))) == {
        "type": "hello",
        "version": 1,
        "model": "m",
        "demo": False,
        "profile": "P1",
        "roots": ["Pictures"],
    }
