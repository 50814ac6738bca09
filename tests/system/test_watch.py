"""How far it is, for people on stderr; what programs read stays clean."""

import contextlib
import json
import signal
import subprocess

import pytest

from bench.system import ROOT, SUPERVISOR, command, environment, running

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def photos(drawings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("watch") / "photos"
    folder.mkdir()
    for picture in sorted(drawings.glob("*.jpg"))[:40]:
        (folder / picture.name).write_bytes(picture.read_bytes())
    return folder


def once(photos, data, *more):
    done = command("--originals", photos, "--data", data, "--once", *more)
    assert done.returncode == 0
    return done


def test_once_tells_how_far_it_is_on_stderr(fewer, tmp_path):
    done = once(fewer, tmp_path / "data")
    assert "found" in done.stderr
    assert "searchable" in done.stderr
    assert "searchable" not in done.stdout
    assert "\x1b" not in done.stderr


def test_with_json_nothing_but_the_summary_is_said(photos, tmp_path):
    done = once(photos, tmp_path / "data", "--json")
    assert (json.loads(done.stdout)["indexed"], done.stderr) == (40, "")


def test_unless_it_is_asked_for_and_then_as_json_too(fewer, tmp_path):
    done = once(fewer, tmp_path / "data", "--json", "--log-json", "--progress")
    assert json.loads(done.stdout)["indexed"] == 150
    said = [json.loads(line) for line in done.stderr.splitlines()]
    assert {"spawned", "ready", "stopped"} <= {each["event"] for each in said}
    assert any("searchable" in each.get("text", "") for each in said if each["event"] == "said")


@contextlib.contextmanager
def watching(command):
    """A command that would go on for ever, ended with the block."""
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment(),
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_running_system_can_be_watched(photos, tmp_path):
    data = tmp_path / "data"
    with running(photos, data) as library:
        library.wait_indexed()
        watch = [*SUPERVISOR, "status", "--watch", "--data", str(data)]
        with watching(watch) as watcher:
            assert watcher.stdout is not None
            assert watcher.stdout.readline() == (
                "found 40 · decoded 40 of 40 · embedded 40 of 40 · searchable 40 of 40"
                " · faces 40 of 40 · captions 40 of 40\n"
            )
            watcher.send_signal(signal.SIGINT)
            _, errors = watcher.communicate(timeout=20)
            assert (watcher.returncode, errors) == (130, "")
        with watching([*watch, "--json"]) as watcher:
            assert watcher.stdout is not None
            assert json.loads(watcher.stdout.readline())["totals"]["indexed"] == 40
            library.process.send_signal(signal.SIGINT)
            _, errors = watcher.communicate(timeout=60)
            assert watcher.returncode == 69
            assert errors.startswith("obscura: Obscura is not running on ")
