"""What is said over the websocket, `/ws`.  This page is the specification.

Every frame is text and one JSON object with a `type`.  Requests carry an `id` that the client
chooses (any integer below 2⁵³, not in use by another request of this connection); whatever
answers a request carries its id.  Unknown fields in a request are refused; clients must
ignore unknown fields and unknown types in what they receive.

Opening: with the cookie of the page or `Authorization: Bearer <token>` nothing has to be
said.  Without, the first frame is `auth`, within `AUTH_S`.  The server's first frame is
`hello`:

    ← {"type":"hello","version":1,"model":"sketch","demo":true,"profile":"P1","roots":["Pictures"]}

Requests:

    → {"type":"auth","token":"…"}
    → {"type":"search","id":1,"query":"a red boat","k":20}           1 ≤ k ≤ 500, 20 if not given
       with "has_faces":true or false, only photos with or without faces;
       with "faces":2, only photos with at least so many
    ← {"type":"hit","id":1,"hit":{"content":7,"path":"/home/…/boat.jpg","score":0.31,
       "taken_at":"2019-03-21T11:04:22","thumbnail":"/thumb/7/256?v=…","width":4000,"height":3000,
       "faces":2|null,"face":null,"reason":"vector","caption":"a red boat on a lake"|null}}
    ← … more hits, best first, none is fine …
    ← {"type":"done","id":1,"count":20,"model":"sketch","demo":true,"indexed":1234,
       "seconds":0.031,"degraded":"","unlooked":0}

    → {"type":"faces","id":4,"content":7}                            the faces of a photo
    ← {"type":"faces","id":4,"looked":true,"model":"sketch","faces":[{"id":28672,
       "left":0.41,"top":0.2,"right":0.52,"bottom":0.36,"score":0.93,"size":212.0,
       "picture":"/faces/28672.jpg?v=…"}, … the surest first]}

    → {"type":"faces_like","id":5,"face":28672,"k":20,"least":0.3}   0 if `least` is not given
    ← hits as above, each with the "face" that is like it, and done

    → {"type":"describe","id":6,"content":7}                         in words, now; not kept
    ← {"type":"caption","id":6,"text":"two red","done":false,"error":""}   all of it so far
    ← … until "done":true, with the whole text, or with the reason in "error" …

    → {"type":"status","id":2}
    ← {"type":"status","id":2,"status":{"processes":[…],"catalog":{…}|null,"index":{…}|null,
       "model":"sketch","demo":true,"profile":"P1","scheduler":{…}|null}}

    → {"type":"subscribe","id":3,"topic":"progress"}
    ← {"type":"progress","id":3,"status":{… as above …},
       "totals":{"files":…,"indexed":…,"skipped":…,"dead":…,"duplicates":…,"pending":…}|null,
       "pace":{"decode":12.5|null,"embed":9.0|null,"eta_seconds":240|null,"faces":4.0|null,
               "faces_left":800,"faces_eta_seconds":200|null,"faces_wait":"",
               "captions":0.5|null,"captions_left":800,"captions_eta_seconds":1600|null,
               "captions_wait":"faces first"}}
      at once, then whenever it changes, at most twice a second
    → {"type":"unsubscribe","id":3}
    ← {"type":"unsubscribed","id":3}

Boxes of faces are parts of the upright picture's width and height, `size` is the shorter side in
pixels of the original.  `faces` of a hit is null while nobody has looked for them; such a photo
is neither with nor without faces, and `unlooked` tells how many there are, where faces mattered.

`reason` of a hit is "vector" where the picture looks like what was asked for, "caption" where its
caption has all the words, "both" where both is so.  `score` is the cosine in any case, so that it
does not always fall from hit to hit; it is 0 where a photo was found by its caption and has no
vector yet.  `caption` is what a model says of the photo, null while it was not described.

`taken_at` is local time without zone, or null.  `thumbnail` is below the address of the page;
256 in it may be replaced by 1024.  `degraded` is "" or says what the answer lacks.

Errors leave the connection open, and end the request they belong to (`id` is null where none
could be read):

    ← {"type":"error","id":1,"error":{"code":"text_away","message":"…"}}

codes are those of `actors.web.errors`.  Three errors close the connection after the frame:
`unauthorized` (close code 4401), `too_large` (1009: a frame above `LARGEST_FRAME`), and
`busy` at opening (1013: too many connections).  1012 means that the server restarts.

Hits are frames of their own, so that partial results can stream once there are any; today an
answer is complete when its first hit is sent.
"""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from actors.library.faces import MOST as MOST_FACES
from actors.messages import Faces, Found, Hit, Saying, Status
from actors.web.about import About
from actors.web.board import Progress
from actors.web.errors import Refusal
from actors.web.search import LONGEST_QUERY, MOST_HITS

VERSION: Final = 1
LARGEST_FRAME: Final = 16 << 10  #: characters
AUTH_S: Final = 10.0

Id = Annotated[int, Meta(ge=-(2**53), le=2**53)]


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of what a client says."""


class Auth(Request, frozen=True, tag="auth"):
    token: str


class Search(Request, frozen=True, tag="search"):
    id: Id
    query: Annotated[str, Meta(max_length=LONGEST_QUERY)]
    k: Annotated[int, Meta(ge=1, le=MOST_HITS)] = 20
    has_faces: bool | None = None
    faces: Annotated[int, Meta(ge=0, le=MOST_FACES)] = 0


class AskFaces(Request, frozen=True, tag="faces"):
    id: Id
    content: Annotated[int, Meta(ge=0, le=2**53)]


class FacesLike(Request, frozen=True, tag="faces_like"):
    id: Id
    face: Annotated[int, Meta(ge=0, le=2**53)]
    k: Annotated[int, Meta(ge=1, le=MOST_HITS)] = 20
    least: Annotated[float, Meta(ge=-1, le=1)] = 0.0


class Describe(Request, frozen=True, tag="describe"):
    id: Id
    content: Annotated[int, Meta(ge=0, le=2**53)]


class AskStatus(Request, frozen=True, tag="status"):
    id: Id


class Subscribe(Request, frozen=True, tag="subscribe"):
    id: Id
    topic: Literal["progress"]


class Unsubscribe(Request, frozen=True, tag="unsubscribe"):
    id: Id


AnyRequest = Auth | Search | AskFaces | FacesLike | Describe | AskStatus | Subscribe | Unsubscribe


class _Head(msgspec.Struct, frozen=True):
    """What is read before anything else, so that an error can be answered to its id."""

    type: Any = None
    id: Any = None


_TYPES: Final = (
    *("auth", "search", "faces", "faces_like", "describe"),
    *("status", "subscribe", "unsubscribe"),
)
_head: Final = msgspec.json.Decoder(_Head)
_request: Final[msgspec.json.Decoder[AnyRequest]] = msgspec.json.Decoder(AnyRequest)
_encoder: Final = msgspec.json.Encoder()


class BadRequest(msgspec.Struct, frozen=True):
    """A frame that is no request, and the id it would have had."""

    id: int | None
    refusal: Refusal


def parse(frame: str) -> AnyRequest | BadRequest:
    """What the client said."""
    if len(frame) > LARGEST_FRAME:
        message = f"a frame has at most {LARGEST_FRAME} characters, this one {len(frame)}"
        return BadRequest(None, Refusal("too_large", message))
    id_ = None
    try:
        head = _head.decode(frame)
        if type(head.id) is int and abs(head.id) <= 2**53:
            id_ = head.id
        if head.type not in _TYPES:
            message = f"unknown type; known: {', '.join(_TYPES)}"
            return BadRequest(id_, Refusal("unknown_type", message))
        return _request.decode(frame)
    except msgspec.ValidationError as error:
        return BadRequest(id_, Refusal("bad_request", str(error)))
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        return BadRequest(id_, Refusal("bad_json", f"this is no JSON: {error}"))


# ── what the server says ────────────────────────────────────────────────────────────────────


def _frame(kind: str, **fields: Any) -> str:
    return _encoder.encode({"type": kind, **fields}).decode()


def hello(about: About) -> str:
    return _frame("hello", version=VERSION, **msgspec.structs.asdict(about))


def hit(id: int, found: Hit) -> str:  # noqa: A002 - the protocol's own word
    return _frame("hit", id=id, hit=found)


def done(id: int, found: Found) -> str:  # noqa: A002
    return _frame("done", id=id, count=len(found.hits), **summary(found))


def faces(id: int, found: Faces) -> str:  # noqa: A002
    return _frame("faces", id=id, **msgspec.structs.asdict(found))


def caption(id: int, saying: Saying) -> str:  # noqa: A002
    return _frame("caption", id=id, text=saying.text, done=saying.done, error=saying.error)


def status(id: int, now: Status) -> str:  # noqa: A002
    return _frame("status", id=id, status=status_object(now))


def progress(id: int, now: Progress) -> str:  # noqa: A002
    return _frame("progress", id=id, **progress_object(now))


def unsubscribed(id: int) -> str:  # noqa: A002
    return _frame("unsubscribed", id=id)


def error(id: int | None, refusal: Refusal) -> str:  # noqa: A002
    return _frame("error", id=id, **refusal.as_object())


# ── messages of the tree as JSON, without the tags they have on the wire ────────────────────


def _fields(message: msgspec.Struct | None) -> dict[str, Any] | None:
    return None if message is None else msgspec.structs.asdict(message)


def summary(found: Found) -> dict[str, Any]:
    """Everything about an answer but its hits."""
    return {key: value for key, value in msgspec.structs.asdict(found).items() if key != "hits"}


def status_object(now: Status) -> dict[str, Any]:
    return msgspec.structs.asdict(now) | {
        "catalog": _fields(now.catalog),
        "index": _fields(now.index),
        "scheduler": _fields(now.scheduler),
    }


def progress_object(now: Progress) -> dict[str, Any]:
    return {
        "status": status_object(now.status),
        "totals": _fields(now.totals),
        "pace": now.pace,
    }
