"""How far a transfer is: a bar on a terminal, elsewhere a line now and then."""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from actors.cli.bars import LINE_S
from actors.cli.common import plain


class Transfer:
    """Told of bytes, tells a person on stderr; *quiet* tells only sentences.

    Use it as a context, so that nothing of a bar stays when it ends.
    """

    def __init__(
        self,
        title: str,
        *,
        quiet: bool = False,
        out: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._title = title
        self._quiet = quiet
        self._out = out or Console(stderr=True, highlight=False)
        self._clock = clock
        self._progress: Progress | None = None
        self._done = self._total = self._there = 0
        self._started = self._next_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def say(self, text: str) -> None:
        """One line, whatever is drawn."""
        if self._progress is not None:
            self._progress.console.print(Text(plain(text)), soft_wrap=True)
        else:
            sys.stderr.write(f"{plain(text)}\n")

    def begin(self, total: int, there: int) -> None:
        """From now on *total* bytes are to come, *there* of them from what was left before."""
        self._total, self._there = total, there
        self._started = self._clock()
        self._next_at = self._started + LINE_S
        if self._quiet or not self._out.is_terminal:
            return
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(30),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self._out,
            transient=True,
        )
        self._progress.start()
        self._progress.add_task(self._title, total=total)

    def advance(self, count: int) -> None:
        """*count* bytes more, or fewer where something is begun anew."""
        self._done += count
        if self._progress is not None:
            self._progress.advance(self._progress.task_ids[0], count)
            return
        now = self._clock()
        if not self._quiet and (now >= self._next_at or self._done == self._total):
            rate = max(self._done - self._there, 0) / max(now - self._started, 1e-3)
            self.say(
                f"{self._title}: {self._done / 1e6:,.1f} of {self._total / 1e6:,.1f} MB"
                f" ({rate / 1e6:,.1f} MB/s)"
            )
            self._next_at = now + LINE_S
