import os
import shlex
import subprocess
import sys

import numpy as np

from actors.vectors.files import IDS_FILE, VECTORS_FILE, write_rows
from actors.vectors.graph import Segment
from runtime.orphan import EXIT_ORPHAN
from tests.actors.vectors.oracle import clustered

WIDE = 16


def build(rows, target, *, parent=None, limit=""):
    command = [sys.executable, "-m", "actors.vectors.build", parent or os.getpid()]
    words = shlex.join(map(str, [*command, rows, target, WIDE, 1]))
    lifeline, ours = os.pipe()
    try:
        return subprocess.run(
            ["bash", "-c", f"{limit} exec {words}"],
            stdin=lifeline,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    finally:
        os.close(lifeline)
        os.close(ours)


def rows_of(count, directory, dimensions=WIDE):
    directory.mkdir()
    vectors = clustered(count, dimensions).astype(np.float16)
    write_rows(directory, [(np.arange(count), vectors)])
    return directory


def test_the_builder_leaves_a_graph(tmp_path):
    done = build(rows_of(300, tmp_path / "rows"), tmp_path / "target")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(Segment.open(tmp_path / "target", WIDE)) == 300


def test_rows_that_do_not_fit_end_in_one_line_without_a_path(tmp_path):
    done = build(rows_of(300, tmp_path / "rows", 15), tmp_path / "target")
    assert (done.returncode, done.stderr) == (1, "no graph: SnapshotBroken\n")
    assert not (tmp_path / "target").exists()


def test_a_builder_without_memory_ends_with_an_error(tmp_path):
    rows = tmp_path / "rows"
    rows.mkdir()
    np.arange(1_000_000).tofile(rows / IDS_FILE)
    with (rows / VECTORS_FILE).open("wb") as file:
        file.truncate(1_000_000 * WIDE * 2)
    # KiB of addresses: enough for the libraries, not for the graph
    done = build(rows, tmp_path / "target", limit="ulimit -v 400000;")
    assert (done.returncode, done.stderr) == (1, "no graph: RuntimeError\n")
    assert not (tmp_path / "target").exists()


def test_a_builder_whose_parent_is_gone_does_not_begin(tmp_path):
    done = build(rows_of(10, tmp_path / "rows"), tmp_path / "target", parent=1)
    assert done.returncode == EXIT_ORPHAN
