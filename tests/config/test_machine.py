import os

import pytest

from config.machine import decode_processes, inference_threads, usable_cores

CORES = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        ("max 100000", CORES),
        ("100000 100000", 1),
        ("50000 100000", 1),
        ("99900000 100000", CORES),
        ("", CORES),
    ],
)
def test_a_container_quota_counts_like_missing_cores(tmp_path, quota, cores):
    file = tmp_path / "cpu.max"
    file.write_text(quota)
    assert usable_cores(file) == cores


def test_without_a_quota_every_allowed_core_counts(tmp_path):
    assert usable_cores(tmp_path / "none") == CORES


def test_something_always_runs_and_something_stays_free():
    assert 1 <= decode_processes() <= max(1, CORES - 1)
    assert 1 <= inference_threads() <= max(1, CORES * 0.8)
