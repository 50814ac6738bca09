"""`selftest`: the calm one to its end, the wild one until Ctrl-C; and its proofs can fail."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from actors.selftest import proofs
from actors.selftest.drawings import Drawings
from actors.selftest.system import System
from bench.system import ROOT, SUPERVISOR, command, environment, index_once
from runtime.leftovers import Mark
from supervisor import app

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def place():
    """A directory for temporary files, of a name short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="st") as directory:
        yield Path(directory)


def test_the_calm_selftest_proves_everything_and_leaves_nothing(place):
    done = command("selftest", "--json", "--seed", 5, env={"TMPDIR": str(place)})
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["ok"]
    assert report["seed"] == 5
    assert report["disturbances"] == {}
    assert report["searches"]["answers"] >= 10
    assert [each["what"] for each in report["proofs"] if not each["ok"]] == []
    assert list(place.glob("obscura-selftest-*")) == []


def test_ctrl_c_ends_chaos_and_leaves_nobody_behind(place):
    with subprocess.Popen(
        [*SUPERVISOR, "selftest", "--chaos", "--seed", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=ROOT,
        env=environment({"TMPDIR": str(place)}),
        text=True,
        start_new_session=True,
    ) as run:
        assert run.stdout is not None
        said = [run.stdout.readline()]
        while said[-1] and " is " not in said[-1]:  # the first disturbance
            said.append(run.stdout.readline())
        assert len(list(place.glob("obscura-selftest-*"))) == 1
        run.send_signal(signal.SIGINT)
        rest, _ = run.communicate(timeout=60)
    assert run.returncode == 130, (said, rest)
    assert said[0] == "seed 1\n"
    assert rest.endswith("stopping; nothing is left behind\n")
    assert list(place.glob("obscura-selftest-*")) == []
    marks = [(pid, Mark.of(pid)) for pid in psutil.pids()]
    assert [pid for pid, mark in marks if mark and str(place) in command_line(pid)] == []


def command_line(pid):
    with contextlib.suppress(psutil.Error):
        return " ".join(psutil.Process(pid).environ().values())
    return ""


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--minutes", "2"], "--minutes is for --chaos; the calm test ends by itself"),
        (["--chaos", "--minutes", "soon"], "--minutes takes a number above 0, not 'soon'"),
        (["--chaos", "--minutes", "nan"], "--minutes takes a number above 0, not 'nan'"),
        (["--chaos", "--minutes", "-1"], "--minutes takes a number above 0, not '-1'"),
        (["--seed", "lucky"], "--seed takes a whole number below 2**32, not 'lucky'"),
    ],
)
def test_a_wrong_argument_is_one_clear_line(arguments, line):
    done = CliRunner().invoke(app, ["selftest", *arguments])
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", f"obscura: selftest: {line}\n")


# ── proofs that can fail ──


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """A drawn library that was indexed, at rest."""
    place = tmp_path_factory.mktemp("proved")
    drawings = Drawings(place / "pictures", place / "staging", 11)
    drawings.add(40)
    system = System(place, drawings.place)
    index_once(drawings.place, system.data)
    return system, drawings


def failed(library):
    return [each.what for each in proofs.of_library(*library) if not each.ok]


@contextlib.contextmanager
def altered(library, *statements):
    """The database, changed as a bug might, and put right again."""
    file = library[0].data / "catalog.sqlite"
    before = file.read_bytes()
    with contextlib.closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA foreign_keys = OFF")
        for each in statements:
            database.execute(each)
        database.commit()
    try:
        yield
    finally:
        file.write_bytes(before)
        for each in ("-wal", "-shm"):
            Path(f"{file}{each}").unlink(missing_ok=True)


def test_a_good_library_passes_every_proof(library):
    assert failed(library) == []


FATES = "every file is indexed, skipped or dead, as it should be"
ONCE = "every vector was committed once, and the feed tells so"
SOME = "(SELECT content FROM vectors LIMIT 1)"
DECODE = "(SELECT id FROM tasks WHERE kind = 'decode' AND state = 'done' LIMIT 1)"
EMBED = "(SELECT id FROM tasks WHERE kind = 'embed' LIMIT 1)"


@pytest.mark.parametrize(
    ("statement", "proof"),
    [
        (f"DELETE FROM vectors WHERE content = {SOME}", {FATES, ONCE}),
        (f"DELETE FROM feed WHERE content = {SOME}", {ONCE}),
        (f"INSERT INTO feed (op, space, content) VALUES ('add', 1, {SOME})", {ONCE}),
        (f"INSERT INTO feed (op, space, content) VALUES ('remove', 1, {SOME})", {ONCE}),
        (f"UPDATE contents SET digest = zeroblob(32) WHERE id = {SOME}", {FATES}),
        (f"UPDATE files SET missing_since_ns = 1 WHERE content = {SOME}", {FATES, ONCE}),
        (
            f"UPDATE tasks SET state = 'dead', crash_attempts = 3 WHERE id = {DECODE}",
            {FATES, "no innocent dead letter"},
        ),
        (f"UPDATE tasks SET state = 'leased' WHERE id = {EMBED}", {"nothing is left to do"}),
        ("UPDATE files SET name = X'FF' WHERE id = 1", {FATES}),
    ],
)
def test_a_library_with_something_wrong_fails_the_proof_of_it(library, statement, proof):
    with altered(library, statement):
        assert set(failed(library)) == proof


def test_a_system_that_left_something_is_found_out(tmp_path, library):
    """A run directory, and a process that carries the mark of the run."""
    system, _ = library
    run_dir = tmp_path / "abc-1"
    run_dir.mkdir()
    system.run_dirs.add(run_dir)
    environ = os.environ | {"ACTOR_RUN": str(Mark.of_this_process(tmp_path / "abc-0"))}
    with subprocess.Popen(["sleep", "60"], env=environ) as heir:
        try:
            deadline = time.monotonic() + 5
            while Mark.of(heir.pid) is None and time.monotonic() < deadline:
                time.sleep(0.01)
            assert set(system.left()) == {f"process {heir.pid}", str(run_dir)}
        finally:
            heir.kill()
            system.run_dirs.clear()
