"""Reads kept lines back: the last ones, and those that come.

Follows a process through the renaming of its files: the file that is being read stays open, and
when its name leads to another one, the rest of it is read first, then whatever was put aside
since, then the new one.  Works on a system that is stopped, and on files that appear later.
"""

import os
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from actors.logs import files
from runtime.log import Record, parse

#: bytes read at a time, from the end towards the start
BLOCK = 1 << 16


class Reader:
    """What all in *folder* have said and will say, or *only* one of them.

    Raises:
        OSError: from every method; a file is there and cannot be read.
    """

    def __init__(self, folder: Path, only: str | None = None) -> None:
        self._folder = folder
        self._only = only
        self._tails: dict[str, _Tail] = {}

    def last(self, count: int) -> list[Record]:
        """The last *count* records that are there, oldest first.  Call it once, before `read`."""
        self._look_for_new()
        said = [record for tail in self._tails.values() for record in tail.last(count)]
        return _in_order(said)[-count:] if count else []

    def read(self) -> list[Record]:
        """What came since the last call, oldest first."""
        self._look_for_new()
        return _in_order(record for tail in self._tails.values() for record in tail.read())

    def _look_for_new(self) -> None:
        for name in files.names(self._folder) if self._only is None else [self._only]:
            if name not in self._tails:
                self._tails[name] = _Tail(self._folder, name)

    def close(self) -> None:
        for tail in self._tails.values():
            tail.close()


def _in_order(records: Iterable[Record]) -> list[Record]:
    """By time; what one process said within a moment stays as it said it."""
    return sorted(records, key=_seconds)


def _seconds(record: Record) -> float:
    try:
        return datetime.fromisoformat(record.at).timestamp()
    except ValueError:
        return 0.0


class _Tail:
    """The growing end of one process's files."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self._file: BinaryIO | None = None
        self._rest = b""  # of a line that is not whole yet

    def last(self, count: int) -> list[Record]:
        *aside, current = files.all_of(self._folder, self._name)
        self._file = _open(current)
        if self._file is None:
            return []
        data = _from_end(self._file, count)
        whole, newline, self._rest = data.rpartition(b"\n")
        lines = _lines(whole + newline)[-count:]
        for path in reversed(aside):
            if len(lines) < count and (file := _open(path)) is not None:
                with file:
                    missing = count - len(lines)
                    lines = _lines(_from_end(file, missing))[-missing:] + lines
        return self._records(lines)

    def read(self) -> Iterator[Record]:
        yield from self._grown()
        for path in self._newer():
            yield from self._grown()  # what came between the two looks
            self.close()
            self._file = _open(path)
            yield from self._grown()

    def _grown(self) -> list[Record]:
        """Whole lines since the last look at the open file."""
        if self._file is None:
            return []
        whole, newline, self._rest = (self._rest + self._file.read()).rpartition(b"\n")
        return self._records(_lines(whole + newline))

    def _newer(self) -> list[Path]:
        """The files that were begun after the one that is open, oldest first."""
        there = [path for path in files.all_of(self._folder, self._name) if path.exists()]
        if self._file is None:
            return there[-1:]
        mine = os.fstat(self._file.fileno()).st_ino
        known = [number for number, path in enumerate(there) if _inode(path) == mine]
        return there[known[0] + 1 :] if known else there

    def _records(self, lines: list[bytes]) -> list[Record]:
        return [parse(self._name, line.decode(errors="replace")) for line in lines]

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file, self._rest = None, b""


def _from_end(file: BinaryIO, count: int) -> bytes:
    """The end of *file*, with *count* lines at least if it has them; leaves it at its end."""
    end = start = file.seek(0, os.SEEK_END)
    data = b""
    while start and data.count(b"\n") <= count:
        step = min(BLOCK, start)
        start = file.seek(start - step)
        data = file.read(step) + data
    file.seek(end)
    return data


def _lines(data: bytes) -> list[bytes]:
    return [line for line in data.split(b"\n") if line]


def _open(path: Path) -> BinaryIO | None:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0
