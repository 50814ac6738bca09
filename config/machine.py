"""How much of this machine the program may plan with."""

import os
from pathlib import Path

CPU_MAX = Path("/sys/fs/cgroup/cpu.max")


def usable_cores(cpu_max: Path = CPU_MAX) -> int:
    """Cores this process may run on, at least 1.

    The affinity mask, further cut by the CPU quota of a container, which the mask does not
    show: planning 16 workers into a quota of 2 cores makes each of them crawl.
    """
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = cpu_max.read_text().split()
    except (OSError, ValueError):
        return cores  # no cgroup v2 here, or the root group, which has no such file
    if quota == "max":
        return cores
    return max(1, min(cores, int(quota) // int(period)))


def decode_processes() -> int:
    """Decoding processes this machine can use.

    One core stays free for the database and queries; at 16 one writer and one disk, and no
    longer the cores, are the limit.
    """
    return max(1, min(16, usable_cores() - 1))


def inference_threads() -> int:
    """Threads for models on the CPU: a fifth of the cores stays free."""
    return max(1, usable_cores() * 4 // 5)
