"""What a database can hold of what the world says.

One value that a driver refuses would refuse the whole batch it travels in, for ever: the sender
keeps it and sends it again.  So everything that comes from a file, a camera or a dying process
is made to fit first.
"""

from typing import Final

INT32: Final = 2**31 - 1
INT64: Final = 2**63 - 1

#: Characters kept of a reason; nobody reads more in a list.
REASON: Final = 500
#: Characters kept of what a process said last.
STDERR: Final = 8000


def clamped(value: int) -> int:
    """*value* in 64 bits: broken file systems report times beyond that."""
    return max(-INT64 - 1, min(INT64, value))


def cleaned(text: str) -> str:
    """*text* without what PostgreSQL (NUL) or UTF-8 (lone surrogates) cannot store."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def line(text: str) -> str:
    """*text* as one line of bounded length."""
    return " ".join(cleaned(text).split())[:REASON]


def tail(text: str) -> str:
    """The end of *text*, where a dying process says why."""
    return cleaned(text)[-STDERR:]
