"""What a process has to say for itself: one JSON line an event, on stderr.

The supervisor reads the lines, shows them and keeps them in files; a process never opens a
log file.  Every line carries who (name and incarnation) and, while a message is being worked
on, the trace that follows its cause through all processes.

Paths of photos, captions and query texts belong to the owner: they may appear at `debug` only.
The text of an exception may quote any of them (a failed statement quotes its parameters, a
missing file its name), and so may what a library says with arguments.  Above `debug` an
exception is therefore told by its frames, its kind and its errno, and a library by its
template.  The one exception is the line that a process dies with when it cannot work at all:
it names the program's own file that is to be mended.
"""

import errno
import json
import logging
import sqlite3
import sys
import textwrap
import traceback
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog
from structlog.typing import EventDict

from runtime.node import trace

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}
#: what a record has as attributes
_HEAD = {"timestamp", "from", "level", "event", "exception"}
#: fields that only a program wants to see
_UNSHOWN = {"incarnation", "trace"}
#: the last event of a process that cannot work; its `reason` is the line for the owner
UNUSABLE = "unusable"
_encoder = msgspec.json.Encoder(enc_hook=str)
_decoder = msgspec.json.Decoder(dict[str, Any])


# ── in the process that speaks ──────────────────────────────────────────────────────────────


def configure(name: str, incarnation: int, level: str = "info") -> None:
    """Call once a process."""
    private = LEVELS[level] <= logging.DEBUG

    def add_origin(_logger: Any, _method: str, event: EventDict) -> EventDict:
        event["from"] = name
        event["incarnation"] = incarnation
        if cause := trace.get():
            event["trace"] = cause.hex()
        return event

    def tell_exception(_logger: Any, _method: str, event: EventDict) -> EventDict:
        error = _exception_of(event.pop("exc_info", None))
        if error is not None:
            full = "".join(traceback.format_exception(error)) if private else outline(error)
            event["exception"] = full.rstrip()
        return event

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            tell_exception,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            add_origin,
            structlog.processors.JSONRenderer(serializer=lambda event, **_: encode(event)),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_Libraries(private=private)], level=logging.WARNING, force=True)


def logger() -> Any:
    """The process's logger: `logger().info("event_name", field=value)`."""
    return structlog.get_logger()


class _Libraries(logging.Handler):
    """What libraries say by Python's own logging, as lines of ours."""

    def __init__(self, *, private: bool) -> None:
        super().__init__()
        self._private = private

    def emit(self, record: logging.LogRecord) -> None:
        # asyncio puts the repr of a failed task, with all it holds, behind the first line
        text = record.getMessage() if self._private else str(record.msg).partition("\n")[0]
        logger().log(
            record.levelno, "library", library=record.name, text=text, exc_info=record.exc_info
        )


def _exception_of(given: Any) -> BaseException | None:
    match given:
        case BaseException():
            return given
        case (_, BaseException() as error, _):
            return error
    return sys.exc_info()[1] if given is True else None


def outline(error: BaseException) -> str:
    """Where *error* was raised and of what kind it is, without a word of its message."""
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    parts = [outline(cause) + "which led to\n"] if cause is not None else []
    parts += [*traceback.format_tb(error.__traceback__), _kind(error), "\n"]
    if isinstance(error, BaseExceptionGroup):
        parts += [textwrap.indent(outline(each), "  | ") for each in error.exceptions]
    return "".join(parts)


def _kind(error: BaseException) -> str:
    name = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    match error:
        case OSError(errno=int(number)):
            return f"{name} [{errno.errorcode.get(number, number)}]"
        case sqlite3.Error():
            return f"{name} [{getattr(error, 'sqlite_errorname', '')}]"
    return name


# ── in the process that listens ─────────────────────────────────────────────────────────────


class Record(msgspec.Struct, frozen=True):
    """One line of a process."""

    at: str  #: ISO 8601, UTC
    name: str  #: of the process
    level: str
    event: str
    fields: dict[str, Any]
    exception: str = ""

    @property
    def line(self) -> str:
        """As JSON, the form in which it is kept."""
        head = {"timestamp": self.at, "from": self.name, "level": self.level, "event": self.event}
        tail = {"exception": self.exception} if self.exception else {}
        return encode(head | self.fields | tail)

    @property
    def words(self) -> str:
        """The event and its fields, on one line, without what a terminal would obey."""
        shown = (f"{key}={each}" for key, each in self.fields.items() if key not in _UNSHOWN)
        return "".join(c if c.isprintable() else " " for c in " ".join([self.event, *shown]))

    @property
    def text(self) -> str:
        """`words`, and the exception below."""
        return f"{self.words}\n{self.exception}" if self.exception else self.words


def encode(fields: dict[str, Any]) -> str:
    """*fields* as one line of JSON, whatever they hold."""
    try:
        return _encoder.encode(fields).decode()
    except UnicodeEncodeError:  # half a surrogate pair, from a name that is no UTF-8
        return json.dumps(fields, default=str)


def record(name: str, level: str, event: str, fields: dict[str, Any]) -> Record:
    """A record of now."""
    return Record(datetime.now(UTC).isoformat(), name, level, event, fields)


def parse(name: str, line: str) -> Record:
    """The record in *line*, which process *name* wrote.

    What is no line of ours was printed by a library below Python and becomes an `output`.
    """
    try:
        fields = _decoder.decode(line)
        at, event = str(fields["timestamp"]), str(fields["event"])
        level = fields["level"] if fields["level"] in LEVELS else "info"
    except (msgspec.DecodeError, KeyError, TypeError, UnicodeEncodeError):
        return record(name, "info", "output", {"text": line})
    rest = {key: each for key, each in fields.items() if key not in _HEAD}
    return Record(at, name, level, event, rest, str(fields.get("exception", "")))


def why_unusable(name: str, lines: Iterable[str]) -> str:
    """What a process that cannot work said last, "" when it said nothing."""
    records = [parse(name, line) for line in lines]
    reasons = [str(each.fields.get("reason")) for each in records if each.event == UNUSABLE]
    return reasons[-1] if reasons else ""
