"""How far a download is: lines where there is no terminal, a bar where there is one."""

import io

from rich.console import Console

from actors.cli.transfer import Transfer


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_lines_come_every_few_seconds_and_at_the_end(capsys):
    clock = Clock()
    with Transfer("clip", out=Console(file=io.StringIO()), clock=clock) as transfer:
        transfer.begin(20_000_000, 4_000_000)
        transfer.advance(4_000_000)  # what was there before
        clock.now += 4
        transfer.advance(1_000_000)
        assert capsys.readouterr().err == ""
        clock.now += 1
        transfer.advance(5_000_000)
        assert capsys.readouterr().err == "clip: 10.0 of 20.0 MB (1.2 MB/s)\n"
        clock.now += 3
        transfer.advance(10_000_000)
    assert capsys.readouterr().err == "clip: 20.0 of 20.0 MB (2.0 MB/s)\n"


def test_a_quiet_transfer_tells_only_sentences(capsys):
    with Transfer("clip", quiet=True) as transfer:
        transfer.begin(10, 0)
        transfer.advance(10)
        transfer.say("a sentence\nof two")
    assert capsys.readouterr().err == "a sentence\\nof two\n"


def test_a_terminal_gets_a_bar_that_vanishes():
    drawn = io.StringIO()
    out = Console(file=drawn, width=100, force_terminal=True)
    with Transfer("clip", out=out) as transfer:
        transfer.begin(2_000_000, 0)
        transfer.advance(1_000_000)
        transfer.say("a [sentence]")
        transfer.advance(-500_000)
    assert "1.0/2.0 MB" in drawn.getvalue() or "0.5/2.0 MB" in drawn.getvalue()
    assert "a [sentence]" in drawn.getvalue()
    assert drawn.getvalue().endswith("\x1b[2K")  # the last line is erased
