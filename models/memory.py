"""How much memory a piece of work takes at its highest, told by the kernel.

Linux keeps the high-water mark of a process's resident memory, and forgets it on request.  What
is measured is the rise above what the process held before, so a process that just let go of a lot
measures too little: measure in a fresh one.  Memory on a GPU is not seen.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_STATUS = Path("/proc/self/status")
_FORGET_PEAK = Path("/proc/self/clear_refs")


class Peak:
    """Filled in when the block of `measured` is left."""

    mib = 0  #: rise of resident memory, at least 1; 0 where the kernel does not tell


@contextmanager
def measured() -> Iterator[Peak]:
    """Measure what the block takes; other threads' memory is counted as well."""
    peak = Peak()
    try:
        _FORGET_PEAK.write_text("5")
        before = _kib("VmRSS")
    except OSError:  # an old kernel, or a container that hides it
        yield peak
        return
    yield peak
    peak.mib = max(1, (_kib("VmHWM") - before) // 1024)


def _kib(field: str) -> int:
    found = re.search(rf"^{field}:\s*(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    return int(found.group(1)) if found else 0
