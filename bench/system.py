"""A real system as a bench or a test drives it: started by its command line, asked from outside."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from actors.client import BlockingClient
from runtime.errors import RuntimeFault

ROOT = Path(__file__).resolve().parents[1]
SUPERVISOR = [sys.executable, "-m", "supervisor"]


#: nobody waits for what may still come: benches and tests wait until all is done
AT_ONCE = {"OBSCURA__SCHEDULER__SETTLE": "0"}


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The process's own, without settings of another system."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("OBSCURA__") and name not in {"OBSCURA_DATA", "DEPLOY_PROFILE"}
    }
    return clean | {"PYTHONPATH": str(ROOT)} | AT_ONCE | dict(extra or {})


def command(*arguments: object, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run one command of the program to its end; *before* is a command that takes one, like env."""
    return subprocess.run(
        [*options.pop("before", ()), *SUPERVISOR, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=options.pop("cwd", ROOT),
        timeout=options.pop("timeout", 600),
        env=environment(options.pop("env", None)),
    )


def index_once(originals: Path | list[Path], data: Path, *more: object) -> dict[str, Any]:
    """Index everything; the summary.

    Raises:
        RuntimeError: the program failed; the text is its stderr.
    """
    folders = [originals] if isinstance(originals, Path) else originals
    flags = [flag for folder in folders for flag in ("--originals", folder)]
    done = command(*flags, "--data", data, "--once", "--json", *more)
    if done.returncode:
        raise RuntimeError(f"exit {done.returncode}: {done.stderr}")
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


class Library:
    """A running system."""

    def __init__(self, process: "subprocess.Popen[bytes]", data: Path) -> None:
        self.process = process
        self.data = data

    @property
    def run(self) -> dict[str, Any]:
        """`run.json`."""
        found: dict[str, Any] = json.loads((self.data / "run.json").read_text())
        return found

    def wait_indexed(self, seconds: float = 120) -> None:
        """Return once nothing is left to do and the index knows of all of it.

        Raises:
            RuntimeError: it took longer.
        """
        deadline = time.monotonic() + seconds
        with BlockingClient.connect(self.data) as client:
            while time.monotonic() < deadline:
                with contextlib.suppress(RuntimeFault):
                    status = client.status()
                    catalog, index = status.catalog, status.index
                    if catalog and index and catalog.settled and index.seq >= catalog.feed_seq:
                        return
                time.sleep(0.05)
        raise RuntimeError(f"not everything was indexed within {seconds:g} s")

    def status(self) -> dict[str, Any]:
        """What `status --json` says."""
        done = command("status", "--json", "--data", self.data)
        if done.returncode:
            raise RuntimeError(done.stderr)
        status: dict[str, Any] = json.loads(done.stdout)
        return status

    def pids(self) -> dict[str, int]:
        """Process ids by name, of those that run."""
        return {each["name"]: each["pid"] for each in self.status()["processes"] if each["pid"]}

    @contextlib.contextmanager
    def socket(self) -> Iterator["Socket"]:
        token = (self.data / "token").read_text().strip()
        address = self.run["http"].replace("http://", "ws://") + "/ws"
        with connect(address, additional_headers={"Authorization": f"Bearer {token}"}) as raw:
            json.loads(raw.recv())  # hello
            yield Socket(raw)


class Socket:
    """The websocket, one request at a time."""

    def __init__(self, raw: ClientConnection) -> None:
        self._raw = raw
        self._id = 0

    def search(self, query: str, k: int = 20) -> list[dict[str, Any]]:
        """The hits, best first.

        Raises:
            RuntimeError: the server answered with an error.
        """
        self._id += 1
        self._raw.send(json.dumps({"type": "search", "id": self._id, "query": query, "k": k}))
        hits: list[dict[str, Any]] = []
        while True:
            frame = json.loads(self._raw.recv(timeout=30))
            if frame["type"] == "hit":
                hits.append(frame["hit"])
            elif frame["type"] == "done":
                return hits
            elif frame["type"] == "error":
                raise RuntimeError(frame["error"]["message"])


@contextlib.contextmanager
def running(
    originals: Path, data: Path, *more: object, log: Path | None = None
) -> Iterator[Library]:
    """A system that serves until the block is left; ready when it is entered."""
    flags = ["--originals", originals, "--data", data, "--port", 0, *more]
    (data / "run.json").unlink(missing_ok=True)
    with (log or Path(os.devnull)).open("ab") as output:
        process = subprocess.Popen(
            [*SUPERVISOR, *map(str, flags)],
            stdout=output,
            stderr=output,
            cwd=ROOT,
            env=environment(),
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 120
        while not (data / "run.json").exists():
            if process.poll() is not None:
                raise RuntimeError(f"the system ended with {process.returncode}")
            if time.monotonic() > deadline:
                raise RuntimeError("the system did not become ready within 120 s")
            time.sleep(0.05)
        yield Library(process, data)
    finally:
        stop(process)


def stop(process: "subprocess.Popen[bytes]", seconds: float = 30) -> int:
    """Stop with Ctrl-C's signal; the exit status."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
