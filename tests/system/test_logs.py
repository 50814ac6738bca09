"""What a running system leaves in its logs, and how it is read back."""

import json
import os
import signal
import stat
import subprocess
import time

import pytest

from bench.system import ROOT, SUPERVISOR, command, environment, running

pytestmark = pytest.mark.timeout(300)

FOLDER, FILE, WORDS = "zebrafish-wedding", "honeymoon", "xylophone on a volcano"
TELL_TALES = ("zebrafish", "honeymoon", "xylophone", "volcano")


@pytest.fixture(scope="module")
def left(drawings, tmp_path_factory):
    """(data, what was shown) of a system that met everything it might be tempted to tell of."""
    base = tmp_path_factory.mktemp("logs")
    photos, data, shown = base / FOLDER, base / "data", base / "shown"
    (photos / "deep").mkdir(parents=True)
    for number, picture in enumerate(sorted(drawings.glob("*.jpg"))[:6]):
        (photos / f"{FILE} {number}.jpg").write_bytes(picture.read_bytes())
    whole = (photos / f"{FILE} 0.jpg").read_bytes()
    (photos / f"{FILE} torn.jpg").write_bytes(whole[: len(whole) // 3])
    (photos / f"{FILE} no picture.jpg").write_bytes(b"nothing of the kind")
    (photos / f"{FILE} dangling.jpg").symlink_to(f"/nowhere/{FOLDER}")
    (photos / f"{FILE} \udcff.txt").write_bytes(b"not a photo")
    with running(photos, data, "--verbose", log=shown) as library:
        library.wait_indexed()
        found = command("search", WORDS, "--data", data)
        assert found.returncode == 0
        assert FILE in found.stdout
        with library.socket() as socket:
            socket.search(WORDS)
        for victim in ("text", "decode.0", "index"):
            os.kill(library.pids()[victim], signal.SIGKILL)
            command("search", WORDS, "--data", data)
        (photos / f"{FILE} 1.jpg").rename(photos / "deep" / f"{FILE} moved.jpg")
        time.sleep(1)
        library.wait_indexed()
    return data, shown.read_text()


def test_no_path_and_no_query_gets_into_a_log_or_onto_the_terminal(left):
    data, shown = left
    files = sorted((data / "logs").iterdir())
    assert {"supervisor.log", "gateway.log", "catalog.log"} <= {each.name for each in files}
    text = shown + "".join(each.read_text() for each in files)
    assert "walked" in text
    assert "SIGKILL" in text
    for each in TELL_TALES:
        assert each not in text.lower()


def test_every_line_is_json_and_the_files_are_the_owners_alone(left):
    data, _ = left
    for file in (data / "logs").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        for line in file.read_text().splitlines():
            assert {"timestamp", "from", "level", "event"} <= json.loads(line).keys()
    assert stat.S_IMODE((data / "logs").stat().st_mode) == 0o700


def test_logs_are_read_back_while_the_system_is_stopped(left):
    data, _ = left
    every = command("logs", "--data", data).stdout.splitlines()
    assert "supervisor info stopped" in every[-1]
    assert sum("killed by SIGKILL" in line for line in every) == 3
    last = command("logs", "supervisor", "-n", 2, "--json", "--data", data).stdout.splitlines()
    assert [json.loads(line)["from"] for line in last] == ["supervisor"] * 2
    assert json.loads(last[-1])["event"] == "stopped"


def test_a_process_that_nobody_knows_is_refused_with_a_proposal(left):
    data, _ = left
    done = command("logs", "gatway", "--data", data)
    said = f"no process gatway has said anything in {data}/logs; did you mean gateway?"
    assert (done.returncode, done.stderr) == (66, f"obscura: logs: {said}\n")


def test_following_shows_what_comes_and_ends_with_ctrl_c(left):
    data, _ = left
    line = {"timestamp": "2030-01-01T00:00:00Z", "from": "text", "level": "info", "event": "here"}
    with subprocess.Popen(
        [*SUPERVISOR, "logs", "supervisor", "-f", "-n", "1", "--data", str(data)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment(),
    ) as follower:
        assert follower.stdout is not None
        assert "supervisor info stopped" in follower.stdout.readline()
        with (data / "logs" / "supervisor.log").open("a") as file:
            file.write(json.dumps(line) + "\n")
        assert "info here" in follower.stdout.readline()
        follower.send_signal(signal.SIGINT)
        _, errors = follower.communicate(timeout=20)
        assert (follower.returncode, errors) == (130, "")


def test_a_data_directory_without_logs_says_so(tmp_path):
    done = command("logs", "--data", tmp_path)
    assert (done.returncode, done.stderr) == (
        66,
        f"obscura: logs: there are none in {tmp_path}/logs; nothing has run there yet\n",
    )
