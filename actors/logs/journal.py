"""Keeps what every process says, one file a process, cut by size.

The supervisor alone writes here: one writer needs no lock, and a child that is killed in the
middle of a line has said its line or not.  A record is one `write` to a file opened for
appending, so that a killed supervisor leaves whole lines, but for the last one at most.

Logs are worth less than the system they tell of.  Whatever the disk refuses is left out and
counted, and the first record that gets through says how many are missing.  The owner hears of
it once, but not of a full disk: that stops the system, with a line of its own.  Writing is not
handed to a thread: it ends in the page cache, and nothing is synced.
"""

import errno
import itertools
import os
from collections.abc import Callable
from pathlib import Path

from actors.logs import files
from runtime.log import Record, record


class Journal:
    """The files in *folder*.

    Args:
        folder: made when it is not there, for its owner alone.
        on_trouble: hears in one line that records cannot be kept, once.
        largest: bytes after which a file is put aside.
    """

    def __init__(
        self, folder: Path, on_trouble: Callable[[str], None], *, largest: int = files.LARGEST
    ) -> None:
        self._folder = folder
        self._on_trouble = on_trouble
        self._largest = largest
        self._open: dict[str, _File] = {}
        self._lost = 0
        self._told = False

    def keep(self, said: Record) -> None:
        """Append *said* to the file of who said it."""
        try:
            if self._lost:
                gap = record(said.name, "warning", "records_lost", {"count": self._lost})
                self._write(gap)
                self._lost = 0
            self._write(said)
        except OSError as error:
            self._lost += 1
            if not self._told and error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                self._told = True
                self._on_trouble(f"logs cannot be kept in {self._folder}: {error.strerror}")

    def _write(self, said: Record) -> None:
        line = f"{said.line}\n".encode()
        if said.name not in self._open:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            self._open[said.name] = _File(files.current(self._folder, said.name))
        file = self._open[said.name]
        if file.size and file.size + len(line) > self._largest:
            self._put_aside(said.name)
            file = self._open[said.name] = _File(files.current(self._folder, said.name))
        file.append(line)

    def _put_aside(self, name: str) -> None:
        self._open.pop(name).close()
        oldest_first = files.all_of(self._folder, name)
        for older, newer in itertools.pairwise(oldest_first):
            if newer.exists():
                newer.replace(older)

    def close(self) -> None:
        for file in self._open.values():
            file.close()
        self._open.clear()


class _File:
    """One file, open for appending."""

    def __init__(self, path: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o600)
        self.size = os.fstat(self._descriptor).st_size
        self._torn = self.size > 0 and os.pread(self._descriptor, 1, self.size - 1) != b"\n"

    def append(self, line: bytes) -> None:
        """Write *line* whole.

        Raises:
            OSError: it is not there, or only a part of it; the next one begins a line of its own.
        """
        data = b"\n" + line if self._torn else line
        written = os.write(self._descriptor, data)
        self.size += written
        self._torn = written < len(data)
        if self._torn:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        os.close(self._descriptor)
