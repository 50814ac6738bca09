"""Peaks of memory, as the kernel tells them."""

import subprocess
import sys

import numpy as np

from models import memory
from models.memory import measured


def test_a_peak_that_is_over_is_still_seen():
    code = (
        "import numpy as np\n"
        "from models.memory import measured\n"
        "with measured() as first:\n    np.ones(80 << 17)\n"
        "with measured() as second:\n    np.ones(8 << 17)\n"
        "print(first.mib, second.mib)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    first, second = map(int, done.stdout.split())
    assert 75 <= first <= 100
    assert 1 <= second <= 20


def test_a_kernel_that_does_not_tell_gives_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_FORGET_PEAK", tmp_path / "absent" / "clear_refs")
    with measured() as peak:
        np.ones(1 << 20)
    assert peak.mib == 0
