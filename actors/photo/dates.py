"""Dates as cameras and programs write them.

Pure.  Known forms: "2019:03:21 16:04:22" (EXIF), "2019-03-21T16:04:22.348+01:00" (XMP and
programs that put ISO 8601 into EXIF), "2005.09.15 16:28:54", "2001.12.19.11:20" (Casio),
"2024-04-22T14:38:09GMT+2", "20190321" (IPTC), and all of them without a time, which then is
midnight.  Unset clocks write zeros, blanks or the Unix epoch; those say nothing.
"""

import re
from datetime import datetime
from typing import NamedTuple

_DATE = re.compile(
    r"""\s*(\d{4})([:\-./]?)(\d\d?)\2(\d\d?)          # year, month, day by one separator
    (?:[T\s.:]+(\d\d?):(\d\d)(?::(\d\d)(?:[.,](\d+))?)?)?   # hours, minutes, seconds, fraction
    \s*(Z|(?:GMT|UTC)?[+-]\d\d?(?::?\d\d)?)?""",
    re.VERBOSE,
)
_OFFSET = re.compile(r"\s*(?:GMT|UTC)?\s*([+-])(\d\d?)(?::?(\d\d))?")

#: the first photograph, and a year that only a broken clock shows
_FIRST_YEAR, _LAST_YEAR = 1826, 2100

#: what counters start at: nobody's camera was running
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - wall-clock time has no zone here


class Moment(NamedTuple):
    """A wall-clock time and, where said, its offset from UTC in minutes."""

    local: datetime
    offset: int | None = None

    def iso(self) -> str:
        """ISO 8601 without zone; a fraction only where there is one."""
        if not self.local.microsecond:
            return self.local.isoformat(timespec="seconds")
        whole = self.local.microsecond % 1000 == 0
        return self.local.isoformat(timespec="milliseconds" if whole else "microseconds")


def read_offset(text: str) -> int | None:
    """Minutes east of UTC; None for blanks and for what no zone on Earth has."""
    if text.strip().upper() == "Z":
        return 0
    found = _OFFSET.match(text)
    if found is None:
        return None
    minutes = int(found[2]) * 60 + int(found[3] or 0)
    if found[1] == "-":
        minutes = -minutes
    return minutes if -12 * 60 <= minutes <= 14 * 60 and int(found[3] or 0) < 60 else None


def read_moment(text: str, *, fraction: str = "", offset: str = "") -> Moment | None:
    """The moment *text* tells, or None.

    Args:
        text: the date in any of the known forms.
        fraction: digits of the second that EXIF keeps in a tag of its own ("348").
        offset: the offset that EXIF keeps in a tag of its own; one inside *text* wins.
    """
    found = _DATE.match(text)
    if found is None:
        return None
    year, separator, month, day, hour, minute, second, inner_fraction, inner_offset = found.groups()
    if not separator and len(month + day) != 4:
        return None  # "2019321" could be two days
    if not _FIRST_YEAR <= int(year) <= _LAST_YEAR:
        return None
    digits = (inner_fraction or fraction.strip())[:6]
    micros = int(digits.ljust(6, "0")) if digits.isascii() and digits.isdigit() else 0
    clock = (int(hour or 0), int(minute or 0), int(second or 0), micros)
    try:
        local = datetime(int(year), int(month), int(day), *clock)  # noqa: DTZ001
    except ValueError:
        return None
    if local == _EPOCH:
        return None
    return Moment(local, read_offset(inner_offset or offset))
