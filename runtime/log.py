"""What a process has to say for itself: one JSON line an event, on stderr.

The supervisor reads the lines, shows them and keeps them in files; a process never opens a
log file.  Every line carries who (name and incarnation) and, while a message is being worked
on, the trace that follows its cause through all processes.  Paths, captions and query texts
belong to the owner: they may appear at `debug` only.
"""

import logging
import sys
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
_encoder = msgspec.json.Encoder(enc_hook=str)


def configure(name: str, incarnation: int, level: str = "info") -> None:
    """Call once a process."""

    def add_origin(_logger: Any, _method: str, event: EventDict) -> EventDict:
        event["from"] = name
        event["incarnation"] = incarnation
        if cause := trace.get():
            event["trace"] = cause.hex()
        return event

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            add_origin,
            structlog.processors.JSONRenderer(
                serializer=lambda event, **_: _encoder.encode(event).decode()
            ),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def logger() -> Any:
    """The process's logger: `logger().info("event_name", field=value)`."""
    return structlog.get_logger()
