"""What a process says on stderr, and what the supervisor makes of it."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from runtime import log

ROOT = Path(__file__).resolve().parents[2]
SECRET = "/photos/zebra wedding/kiss.jpg"

TROUBLES = f"""
import asyncio, logging, sqlite3, sys
from runtime import log

log.configure("decode.0", 7, sys.argv[1])
try:
    try:
        open({SECRET!r})
    except OSError as error:
        raise ValueError("while reading {SECRET}") from error
except ValueError:
    log.logger().exception("failed", task=3)

async def forgotten():
    raise RuntimeError({SECRET!r})

async def main():
    task = asyncio.ensure_future(forgotten())
    await asyncio.sleep(0)
    del task

asyncio.run(main())
logging.getLogger("lib").warning("could not read %s", {SECRET!r})
log.logger().debug("reading", path={SECRET!r})
log.logger().info("name", text="half a \\udcff pair")
"""


def say(level):
    done = subprocess.run(
        [sys.executable, "-c", TROUBLES, level],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_no_path_gets_out_above_debug_by_whatever_way():
    lines = say("info")
    assert [each["event"] for each in lines] == ["failed", "library", "library", "name"]
    assert "zebra" not in json.dumps(lines)
    failed, unretrieved, library, _ = lines
    assert (failed["from"], failed["incarnation"], failed["task"]) == ("decode.0", 7, 3)
    assert "FileNotFoundError [ENOENT]" in failed["exception"]
    assert failed["exception"].rstrip().endswith("ValueError")
    assert unretrieved["text"] == "Task exception was never retrieved"
    assert unretrieved["exception"].rstrip().endswith("RuntimeError")
    assert (library["library"], library["text"]) == ("lib", "could not read %s")


def test_at_debug_everything_is_told():
    lines = say("debug")
    assert [each["event"] for each in lines] == ["failed", "library", "library", "reading", "name"]
    assert all(SECRET in json.dumps(each) for each in lines[:-1])


def raised(function):
    with pytest.raises(Exception) as info:  # noqa: PT011 - any
        function()
    return info.value


def test_an_outline_names_frames_kinds_and_error_numbers_only():
    def database():
        sqlite3.connect(":memory:").execute(f"SELECT '{SECRET}' FROM nowhere")

    def group():
        raise ExceptionGroup(SECRET, [raised(database), KeyError(SECRET)])

    outline = log.outline(raised(group))
    assert "zebra" not in outline.replace("{SECRET}", "")
    assert "sqlite3.OperationalError [SQLITE_ERROR]" in outline
    assert "KeyError" in outline
    assert "in database" in outline


def test_a_line_of_ours_comes_back_as_it_was():
    said = log.record("embed", "warning", "slow", {"seconds": 1.5, "incarnation": 3})
    assert log.parse("embed", said.line) == said
    assert said.words == "slow seconds=1.5"


@pytest.mark.parametrize("line", ["", "Corrupt JPEG data", "[1, 2]", "7", '{"event": "x"}', "{"])
def test_anything_else_is_the_output_of_a_library(line):
    said = log.parse("decode.0", line)
    assert (said.name, said.level, said.event, said.fields) == (
        *("decode.0", "info", "output"),
        {"text": line},
    )


def test_words_hold_nothing_that_a_terminal_obeys():
    said = log.record("decode.0", "info", "output", {"text": "a\x1b[2Jb\nc"})
    assert said.words == "output text=a [2Jb c"


def test_who_cannot_work_has_said_why():
    last = log.record("text", "critical", log.UNUSABLE, {"reason": "no model"}).line
    assert log.why_unusable("text", ["noise", last, "more noise"]) == "no model"
    assert log.why_unusable("text", ["noise"]) == ""
