"""Why a file gave no photo, and whose fault it is.

    Unread
    ├── NotAPhoto   something else by its own first bytes      → skipped
    ├── BadPhoto    the file's fault; reading again is useless → dead letter, until it changes
    ├── Busy        ours, right now: memory, descriptors, a file that is being written → again
    ├── HostAway    the disk or the share does not answer      → wait, uncharged
    └── NoRoom      no space left for the thumbnails           → nobody can go on

A reason is one line for the user's list: what is wrong, never where the file lies.
"""

import errno
import os
from typing import ClassVar, Literal


class Unread(Exception):
    """Base of all; `reason` is the line the user sees."""

    #: the word of `actors.messages.Fault`; "" where nothing is at fault
    fault: ClassVar[Literal["", "photo", "busy", "host"]] = ""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NotAPhoto(Unread):
    """The bytes say that they are something else."""


class BadPhoto(Unread):
    """A picture, or what should be one, that cannot be read."""

    fault = "photo"


class Busy(Unread):
    """This process lacks something it will have again."""

    fault = "busy"


class HostAway(Unread):
    """The machine that holds the files does not give them."""

    fault = "host"


class NoRoom(Unread):
    """The disk that takes the thumbnails is full."""

    fault = "host"


#: what the process ran out of
_OURS = frozenset({errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.EINTR})


def while_reading(error: OSError) -> Unread:
    """Whose fault it is that the original could not be read."""
    said = (os.strerror(error.errno) if error.errno else "input/output error").lower()
    if error.errno in _OURS:
        return Busy(f"the file could not be read yet: {said}")
    if error.errno in (errno.EACCES, errno.EPERM):
        # The file's own, though no damage: waiting repairs nothing, and changed permissions
        # change its ctime, which makes it a new task.
        return BadPhoto("this user may not read the file; change its permissions")
    if error.errno == errno.ENOENT:
        return HostAway("the file is not there any more")
    return HostAway(f"the disk or share did not give the file: {said}")


def while_writing(error: OSError) -> Unread:
    """Whose fault it is that a thumbnail could not be written."""
    said = (os.strerror(error.errno) if error.errno else "input/output error").lower()
    if error.errno in _OURS:
        return Busy(f"the thumbnails could not be written yet: {said}")
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return NoRoom(f"no room for the thumbnails: {said}")
    return HostAway(f"the thumbnails could not be written: {said}")
