"""What must hold before the command line's own imports, which take a second or more.

Ctrl-C in that second is no bug of ours to be told with a traceback, and on a machine that we do
not run on an import may be what fails first.  So this imports next to nothing.
"""

import os
import signal
import sys

from runtime.errors import PlatformUnsupported
from runtime.platform import check_platform

_INTERRUPTED = 128 + signal.SIGINT
_EX_CONFIG = 78


def begin() -> None:
    """Before the imports: nothing is begun yet, so Ctrl-C simply ends it."""
    signal.signal(signal.SIGINT, lambda *_: os._exit(_INTERRUPTED))
    try:
        check_platform()
    except PlatformUnsupported as error:
        sys.stderr.write(f"obscura: {error}\n")
        sys.exit(_EX_CONFIG)


def end() -> None:
    """After the imports: Ctrl-C is an exception again, that leaves everything in order."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
