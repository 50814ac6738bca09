"""Run directories and the lock: ours alone, and no pid is ever taken at its word."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from runtime import rundir
from runtime.errors import AlreadyRunning, RunDirUnsafe

ROOT = Path(__file__).resolve().parents[2]
HOLD = (
    "import sys, time; from pathlib import Path; from runtime import rundir\n"
    "held = rundir.lock(Path(sys.argv[1])); print('held', flush=True); time.sleep(600)"
)


@pytest.fixture
def base(monkeypatch):
    """As short as those of real systems: pytest's own are too long for a socket, some of them."""
    with tempfile.TemporaryDirectory(prefix="obs") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield Path(folder, f"obscura-{os.getuid()}")


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of `tmp_path`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "lock")], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    with process.stdout as out:
        assert out.readline() == b"held\n"
        yield process
    process.kill()
    process.wait()


def test_c13_a_second_instance_is_refused_and_told_who_the_first_is(tmp_path, holder):
    with pytest.raises(AlreadyRunning, match=f"process {holder.pid} already works on"):
        rundir.lock(tmp_path / "lock")


def test_c13_the_lock_of_a_killed_instance_is_free(tmp_path, holder):
    holder.kill()
    holder.wait()
    os.close(rundir.lock(tmp_path / "lock"))


def test_c13_a_pid_in_the_lock_file_that_is_somebody_elses_now_means_nothing(tmp_path):
    """The lock is the kernel's, the number is for people: nobody is refused or killed for it."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as innocent:
        (tmp_path / "lock").write_text(f"{innocent.pid}\n")
        descriptor = rundir.lock(tmp_path / "lock")
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
        assert innocent.poll() is None
        os.close(descriptor)
        innocent.kill()


def test_c13_the_run_directory_of_a_dead_run_is_removed_and_others_are_left_alone(base, tmp_path):
    data, other = tmp_path / "data", tmp_path / "other"
    stale = rundir.make(data, "run1")
    (stale / "catalog.ipc").touch()
    neighbour = rundir.make(other, "run1")
    fresh = rundir.make(data, "run2")
    assert not stale.exists()
    assert neighbour.is_dir()
    assert fresh.is_dir()
    assert fresh.parent == base
    assert fresh.stat().st_mode & 0o777 == 0o700


def test_c13_a_runtime_directory_of_120_characters_is_refused_with_a_way_out(tmp_path, monkeypatch):
    long = tmp_path / ("x" * (120 - len(str(tmp_path)) - 1))
    long.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    with pytest.raises(RunDirUnsafe, match=r"too long for a socket path.*set XDG_RUNTIME_DIR"):
        rundir.make(tmp_path / "data", "run")


def test_a_base_open_to_others_is_refused(base, tmp_path):
    base.mkdir(mode=0o755)
    base.chmod(0o755)
    with pytest.raises(RunDirUnsafe, match="open to others; run: chmod 700"):
        rundir.make(tmp_path / "data", "run")


def test_a_base_that_is_a_link_is_refused(base, tmp_path):
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    base.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunDirUnsafe, match="not a directory of ours"):
        rundir.make(tmp_path / "data", "run")


def test_a_base_that_cannot_be_made_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/proc")
    with pytest.raises(RunDirUnsafe, match="set XDG_RUNTIME_DIR to one of yours"):
        rundir.make(tmp_path / "data", "run")
