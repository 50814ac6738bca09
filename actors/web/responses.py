"""The few shapes of answers."""

from typing import Any, Final

import msgspec
from starlette.responses import Response

from actors.web.errors import Refusal

_encoder: Final = msgspec.json.Encoder()


def json(value: Any, status: int = 200, **headers: str) -> Response:
    return Response(
        _encoder.encode(value),
        status,
        {"cache-control": "no-store", **{k.replace("_", "-"): v for k, v in headers.items()}},
        "application/json",
    )


def refused(refusal: Refusal) -> Response:
    headers = {}
    if refusal.status == 503:
        headers["retry-after"] = "1"
    if refusal.code == "unauthorized":
        headers["www-authenticate"] = "Bearer"
    return json(refusal.as_object(), refusal.status, **headers)
