"""Lines that name a forgotten photo are overwritten where they stand."""

import json
import os

import pytest

from actors.logs.wiping import wipe
from runtime.log import Record, encode, parse

PATH = b'/photos/Zo\xc3\xab\'s "trip"/\xff secret.jpg'


def line(**fields):
    return Record("2026-01-01T00:00:00+00:00", "decode.0", "debug", "read", fields).line + "\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "decode.0.log.1").write_text(line(n=1))
    (tmp_path / "decode.0.log").write_text(line(n=2))
    return tmp_path


def add(folder, text):
    with (folder / "decode.0.log").open("a", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)


@pytest.mark.parametrize(
    "said",
    [
        line(path=os.fsdecode(PATH)),  # not UTF-8: JSON escapes it
        line(path=PATH.decode("utf-8", "backslashreplace")),
        line(error=f"cannot open {PATH!r}"),
        line(error=f"cannot open {os.fsdecode(PATH)!r}"),
        f"libjpeg: {os.fsdecode(PATH)}: broken\n",
        line(parameters=repr((1, b"\xff secret.jpg", 5))),
        line(thumbnail="derived/ab/" + "ab" * 32 + ".256.jpg"),
    ],
)
def test_a_line_that_names_it_in_whatever_form_is_gone(folder, said):
    add(folder, line(n=3) + said + line(n=4))
    size = (folder / "decode.0.log").stat().st_size
    assert wipe(folder, PATH, [b"\xff secret.jpg"], [bytes.fromhex("ab" * 32)]) == 1
    text = (folder / "decode.0.log").read_text()
    assert len(text.encode()) == size
    assert "secret" not in text
    assert "abab" not in text
    records = [parse("decode.0", each) for each in text.splitlines()]
    assert [record.fields.get("n") for record in records] == [2, 3, None, 4]


def test_what_is_left_says_when_and_of_whom(folder):
    add(folder, line(path="/photos/a.jpg", more="x" * 100))
    wipe(folder, b"/photos/a.jpg", [], [])
    left = json.loads((folder / "decode.0.log").read_text().splitlines()[-1])
    assert left == {
        "timestamp": "2026-01-01T00:00:00+00:00",
        "from": "decode.0",
        "level": "debug",
        "event": "forgotten",
    }


def test_older_files_are_looked_at_too(folder):
    (folder / "decode.0.log.1").write_text(line(path="/photos/trip/day 1/a.jpg"))
    assert wipe(folder, b"/photos/trip/", [], []) == 1
    assert "trip" not in (folder / "decode.0.log.1").read_text()


def test_lines_that_come_meanwhile_are_kept(folder):
    """The supervisor has the file open for appending."""
    add(folder, line(path="/photos/a.jpg"))
    supervisor = os.open(folder / "decode.0.log", os.O_WRONLY | os.O_APPEND)
    wipe(folder, b"/photos/a.jpg", [], [])
    os.write(supervisor, line(n=5).encode())
    os.close(supervisor)
    assert parse("x", (folder / "decode.0.log").read_text().splitlines()[-1]).fields["n"] == 5


def test_a_name_of_one_letter_does_not_wipe_everything(folder):
    before = (folder / "decode.0.log").read_text()
    assert wipe(folder, b"/photos/n", [b"n"], []) == 0
    assert (folder / "decode.0.log").read_text() == before


def test_without_logs_there_is_nothing_to_do(tmp_path):
    assert wipe(tmp_path / "logs", PATH, [b"a.jpg"], []) == 0


def test_a_line_without_an_end_is_wiped_too(folder):
    add(folder, encode({"path": "/photos/a.jpg"}))
    assert wipe(folder, b"/photos/a.jpg", [], []) == 1
    assert "a.jpg" not in (folder / "decode.0.log").read_text()
