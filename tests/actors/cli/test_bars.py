"""Progress for people: a line where there is no terminal, bars where there is one."""

import io

import pytest
from rich.console import Console

from actors.cli.bars import bars, clock, line, shown_on
from actors.progress import Stage

WALKING = [
    Stage("found", 1200, 0, "at least", rate=400.0),
    Stage("decode", 300, 900, "at least", rate=12.5),
    Stage("embed", 280, 20, "at least"),
    Stage("searchable", 270, 30, "at least"),
]
BUSY = [
    Stage("found", 1300, 0, "all", rate=40.0),
    Stage("decode", 1200, 60, "all", rate=12.0, eta_seconds=5),
    Stage("embed", 900, 360, "about", rate=1.5, eta_seconds=240),
    Stage("searchable", 890, 370, "about", rate=0.0),
]
DONE = [Stage("found", 3, 0), Stage("decode", 3, 0, rate=7.0), Stage("embed", 2, 0)]


def test_a_line_while_folders_are_walked_promises_nothing():
    assert line(WALKING) == (
        "found at least 1,200 (400.0/s) · decoded 300 of at least 1,200 (12.5/s)"
        " · embedded 280 of at least 300 · searchable 270 of at least 300"
    )


def test_a_line_tells_the_rate_and_what_is_left():
    assert line(BUSY) == (
        "found 1,300 · decoded 1,200 of 1,260 (12.0/s, 0:05 left)"
        " · embedded 900 of about 1,260 (1.5/s, 4:00 left) · searchable 890 of about 1,260 (0.0/s)"
    )


def test_what_is_done_has_no_rate():
    assert line(DONE) == "found 3 · decoded 3 of 3 · embedded 2 of 2"


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (61, "1:01"), (36_061, "10:01:01")])
def test_a_clock(seconds, text):
    assert clock(seconds) == text


@pytest.fixture
def drawn():
    return io.StringIO()


@pytest.mark.parametrize("stages", [WALKING, BUSY, DONE, []])
def test_bars_can_be_drawn_for_everything_that_has_a_line(stages, drawn):
    out = Console(file=drawn, width=120, force_terminal=True)
    out.print(bars(stages))
    assert drawn.getvalue().count("\n") == max(len(stages), 1)
    if stages:
        assert "decoded" in drawn.getvalue()


def test_lines_come_at_once_and_then_every_few_seconds(monkeypatch, drawn):
    now = 100.0
    said: list[str] = []
    monkeypatch.setattr("actors.cli.bars.anyio.current_time", lambda: now)
    with shown_on(Console(file=drawn), said.append) as show:
        show([Stage("decode", 0, 0, "at least")])  # nothing is known yet
        assert said == []
        show(WALKING)
        now += 1
        show(BUSY)
        assert said == [line(WALKING)]
        now += 5
        show(BUSY)
        assert said == [line(WALKING), line(BUSY)]
        now += 50
        show(BUSY)  # nothing new to say
    assert said == [line(WALKING), line(BUSY)]
    assert drawn.getvalue() == ""


def test_a_terminal_gets_bars_that_vanish(drawn):
    out = Console(file=drawn, width=100, force_terminal=True)
    with shown_on(out, pytest.fail) as show:
        show(BUSY)
        show(DONE)
    assert "embedded" in drawn.getvalue()
    assert drawn.getvalue().endswith("\x1b[2K")  # the last line is erased
