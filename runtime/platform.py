"""What we stand on: Linux, x86-64 or ARM64, kernel 5.10 or newer.

pidfds, `PR_SET_PDEATHSIG` and lock-free shared pages are used without a second way; elsewhere
it is better to say so than to half work.
"""

import platform
import sys

from runtime.errors import PlatformUnsupported

MACHINES = {"x86_64", "aarch64"}
KERNEL = (5, 10)


def check_platform() -> None:
    """Pass on a machine we run on.

    Raises:
        PlatformUnsupported: with the one reason.
    """
    if sys.platform != "linux":
        raise PlatformUnsupported(f"runs on Linux only, this is {platform.system()}")
    if platform.machine() not in MACHINES:
        raise PlatformUnsupported(f"runs on x86-64 and ARM64 only, this is {platform.machine()}")
    release = platform.release()
    numbers = tuple(int(part) for part in release.split("-")[0].split(".")[:2] if part.isdigit())
    if numbers < KERNEL:
        raise PlatformUnsupported(f"needs a Linux kernel of 5.10 or newer, this is {release}")
