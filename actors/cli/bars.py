"""Progress on a terminal as bars, elsewhere as a line every few seconds."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import anyio
from rich.console import Console, ConsoleRenderable
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from actors.client import Client
from actors.progress import Course, Stage
from runtime.errors import RuntimeFault

#: between two looks at the system
LOOK_S = 0.5
#: between two lines where there is no terminal
LINE_S = 5.0
BAR_WIDTH = 30
_TITLES = {
    "found": "found",
    "decode": "decoded",
    "embed": "embedded",
    "searchable": "searchable",
    "faces": "faces",
    "captions": "captions",
}

Show = Callable[[Sequence[Stage]], None]


@contextmanager
def shown_on(out: Console, say: Callable[[str], None]) -> Iterator[Show]:
    """How to show stages: by bars drawn on *out* if it is a terminal, else by *say*."""
    if not out.is_terminal:
        yield _Lines(say).show
        return
    with Live(console=out, auto_refresh=False, transient=True) as live:
        yield lambda stages: live.update(bars(stages), refresh=True)


async def follow(client: Client, show: Show) -> None:
    """Show how the system moves on, until cancelled; an answer that fails is left out.

    Raises:
        NotRunning: the system has stopped.
    """
    course = Course()
    while True:
        try:
            status = await client.status()
            totals = await client.totals()
        except RuntimeFault:
            show(course.step(None, None, None, anyio.current_time()))
        else:
            now = anyio.current_time()
            show(course.step(status.catalog, status.index, totals, now, status.scheduler))
        await anyio.sleep(LOOK_S)


class _Lines:
    """A line at first sight of something to do, then every `LINE_S`."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._next_at = float("-inf")
        self._last = ""

    def show(self, stages: Sequence[Stage]) -> None:
        now, text = anyio.current_time(), line(stages)
        begun = not stages or any(stage.total for stage in stages)
        if begun and now >= self._next_at and text != self._last:
            self._say(text)
            self._next_at, self._last = now + LINE_S, text


def line(stages: Sequence[Stage]) -> str:
    """All stages on one line."""
    if not stages:
        return "the catalog is away; it is waited for"
    return " · ".join(
        " ".join(each for each in (_TITLES[stage.name], _count(stage), _pace(stage)) if each)
        for stage in stages
    )


def bars(stages: Sequence[Stage]) -> ConsoleRenderable:
    """A bar a stage; one that only pulses where nobody knows how much there is."""
    if not stages:
        table = Table.grid()
        table.add_row("the catalog is away; it is waited for")
        return table
    table = Table.grid(padding=(0, 2))
    for stage in stages:
        total = None if stage.known == "at least" else max(stage.total, 1)
        done = stage.done if stage.total else 1  # nothing to do is all done
        bar = ProgressBar(total=total, completed=done, width=BAR_WIDTH, pulse=total is None)
        table.add_row(_TITLES[stage.name], bar, _count(stage), _pace(stage))
    return table


def _count(stage: Stage) -> str:
    if stage.name == "found":
        return f"{'at least ' if stage.known == 'at least' else ''}{stage.done:,}"
    exact = stage.known == "all"
    return f"{stage.done:,} of {'' if exact else stage.known + ' '}{stage.total:,}"


def _pace(stage: Stage) -> str:
    parts = []
    goes_on = stage.left or (stage.known == "at least" and stage.rate)
    if stage.rate is not None and goes_on:
        parts.append(f"{stage.rate:,.1f}/s")
    if stage.eta_seconds is not None:
        parts.append(f"{clock(stage.eta_seconds)} left")
    if stage.waits:
        parts.append(f"waits: {stage.waits}")
    return f"({', '.join(parts)})" if parts else ""


def clock(seconds: int) -> str:
    """*seconds* as 1:02:03, 2:03, 0:03."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
