"""The creation date in an IPTC-IIM record, where press programs keep it."""

_MARKER = 0x1C
_APPLICATION_RECORD = 2
_DATE_CREATED, _TIME_CREATED = 55, 60


def read_created(record: bytes) -> str:
    """Date and time created, in a form `dates.read_moment` takes; "" where there is none.

    IIM 4.2: datasets of marker, record, number, two bytes of length, value.  The date is
    CCYYMMDD, the time HHMMSS±HHMM.
    """
    found: dict[int, str] = {}
    at = 0
    while at + 5 <= len(record) and record[at] == _MARKER:
        number = record[at + 2]
        length = int.from_bytes(record[at + 3 : at + 5], "big")
        if length & 0x8000:
            break  # a dataset of more than 32 KB is no date, nor are those behind it
        if record[at + 1] == _APPLICATION_RECORD:
            found.setdefault(number, record[at + 5 : at + 5 + length].decode("ascii", "replace"))
        at += 5 + length
    date, time = found.get(_DATE_CREATED, ""), found.get(_TIME_CREATED, "")
    if len(date) != 8:
        return ""
    if len(time) < 6:
        return date
    return f"{date} {time[:2]}:{time[2:4]}:{time[4:6]}{time[6:]}"
