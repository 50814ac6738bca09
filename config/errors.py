"""What can be wrong before anything starts, each with the exit status of the program.

The numbers are those of BSD `sysexits.h`, because service managers know them.  78 also tells
our own supervisor, as it tells systemd by `RestartPreventExitStatus`, that trying again
without a change cannot help.

    ConfigError            78  a setting is unknown, of the wrong type, or contradicts another
    ├─ NotBuilt            78  the setting is understood; what it asks for does not exist yet
    ├─ FoldersOverlap      78  data inside the originals, or the other way round
    ├─ NetworkDisk         78  data on a network file system
    ├─ OriginalsMissing    66  no photo folder is named, or it is not there, or is no folder
    ├─ OriginalsUnreadable 77  the photo folder may not be listed
    ├─ DataUnwritable      73  the data directory cannot be made or written
    └─ DiskFull            74  too little room at the data directory
"""

from typing import ClassVar


class ConfigError(Exception):
    """A setting cannot be used.  `str(error)` is one line: what, where, what to do."""

    exit_code: ClassVar[int] = 78  # EX_CONFIG

    def __init__(self, what: str, *, where: str = "") -> None:
        self.what = what
        self.where = where
        line = f"config error: {where}: {what}" if where else f"config error: {what}"
        # A file name or a quoted key may hold a line break or an undecodable byte; the promise
        # of one printable line is kept here, once.
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in line))


class NotBuilt(ConfigError):
    """A profile or backend that is known and planned, but not there yet."""


class FoldersOverlap(ConfigError):
    """Originals and data directory, or two originals, lie in one another."""


class NetworkDisk(ConfigError):
    """SQLite's write-ahead log needs shared memory, which no network file system gives."""


class OriginalsMissing(ConfigError):
    """There is no folder of photos to read."""

    exit_code = 66  # EX_NOINPUT


class OriginalsUnreadable(ConfigError):
    """The folder of photos exists and may not be listed."""

    exit_code = 77  # EX_NOPERM


class DataUnwritable(ConfigError):
    """Nothing can be kept at the data directory."""

    exit_code = 73  # EX_CANTCREAT


class DiskFull(ConfigError):
    """The disk of the data directory is nearly full."""

    exit_code = 74  # EX_IOERR
