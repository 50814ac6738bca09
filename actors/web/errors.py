"""Requests that are answered with a reason instead of a result.

On HTTP and in a websocket frame the reason has one shape,

    {"error": {"code": "text_away", "message": "the text model is not up; …"}}

and *code* is for programs, *message* for people.  Whose fault it is can be told from the
status: 4xx the asker's, 503 ours and worth another try.
"""

from typing import Final, Literal

from runtime.errors import RuntimeFault

Code = Literal[
    "bad_request",
    "bad_json",
    "unknown_type",
    "unauthorized",
    "bad_code",
    "foreign_host",
    "foreign_origin",
    "not_found",
    "gone",
    "no_face_model",
    "not_looked",
    "no_caption_model",
    "caption_away",
    "method_not_allowed",
    "too_large",
    "busy",
    "text_away",
    "text_slow",
    "text_failed",
    "index_away",
    "index_slow",
    "index_failed",
    "library_away",
    "internal",
]

#: HTTP status of each code
STATUS: Final[dict[Code, int]] = {
    "bad_request": 400,
    "bad_json": 400,
    "unknown_type": 400,
    "unauthorized": 401,
    "bad_code": 403,
    "foreign_host": 403,
    "foreign_origin": 403,
    "not_found": 404,
    "gone": 410,
    "no_face_model": 409,
    "not_looked": 503,
    "no_caption_model": 409,
    "caption_away": 503,
    "method_not_allowed": 405,
    "too_large": 413,
    "busy": 503,
    "text_away": 503,
    "text_slow": 503,
    "text_failed": 503,
    "index_away": 503,
    "index_slow": 503,
    "index_failed": 503,
    "library_away": 503,
    "internal": 500,
}


class Refusal(RuntimeFault):
    """No, and why.  Over ZeroMQ it travels as a `Nack` that carries this text."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(f"{message} ({code})")
        self.code: Code = code
        self.message = message

    @property
    def status(self) -> int:
        return STATUS[self.code]

    def as_object(self) -> dict[str, dict[str, str]]:
        return {"error": {"code": self.code, "message": self.message}}


#: what the asker hears of a bug of ours
INTERNAL: Final = Refusal("internal", "this should not have happened; the log knows more")
