"""Asking a neighbour on behalf of somebody who waits.

A neighbour that is up gets *seconds*.  One that is not gets `GRACE_S` to come back, so that an
ordinary restart is not seen by the user, and after that the asker is told instead of kept.
A question that died with its neighbour is asked again: nothing asked here changes anything.
"""

from typing import Final, Literal, TypeVar

import anyio
import msgspec

from actors.web.errors import Code, Refusal
from runtime.errors import Busy, DeadlinePassed, PeerAway, PeerRefused, PeerRestarted
from runtime.node import Ref
from runtime.wire import Body

GRACE_S: Final = 2.5

_NAMES: Final = {"text": "the text model", "index": "the index"}
_CODES: Final[dict[tuple[str, str], Code]] = {
    ("text", "away"): "text_away",
    ("text", "slow"): "text_slow",
    ("text", "failed"): "text_failed",
    ("index", "away"): "index_away",
    ("index", "slow"): "index_slow",
    ("index", "failed"): "index_failed",
}

B = TypeVar("B", bound=msgspec.Struct)


def _refusal(ref: Ref, how: Literal["away", "slow", "failed"], message: str) -> Refusal:
    return Refusal(_CODES[ref.name, how], f"{_NAMES[ref.name]} {message}")


async def ask(ref: Ref, body: Body, expected: type[B], seconds: float) -> B:
    """The answer of *ref* to *body*.

    Raises:
        Refusal: `<name>_away`, `_slow`, `_failed`, or busy.
    """
    now = anyio.current_time()
    deadline = now + (GRACE_S if ref.line is None else seconds)
    while True:
        try:
            answer = await ref.ask(body, max(0.0, deadline - anyio.current_time()))
        except PeerRestarted:
            deadline = min(deadline, anyio.current_time() + GRACE_S)
        except PeerAway as error:
            raise _refusal(ref, "away", "is not up; try again in a moment") from error
        except DeadlinePassed as error:
            raise _refusal(ref, "slow", f"did not answer within {seconds:g} s") from error
        except Busy as error:
            raise Refusal("busy", f"{_NAMES[ref.name]} has too much to do; try again") from error
        except PeerRefused as error:
            raise _refusal(ref, "failed", f"refused: {error}") from error
        else:
            if not isinstance(answer, expected):
                raise _refusal(ref, "failed", f"gave an answer of type {type(answer).__name__}")
            return answer


async def ask_or_none(ref: Ref, body: Body, expected: type[B], seconds: float) -> B | None:
    """The answer of *ref*, or None when it is not up, slow or unwilling."""
    if ref.line is None:
        return None
    try:
        answer = await ref.ask(body, seconds)
    except (PeerAway, PeerRestarted, DeadlinePassed, PeerRefused):
        return None
    return answer if isinstance(answer, expected) else None
