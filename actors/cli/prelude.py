"""What must hold before the command line's own imports, and those of the command.

Ctrl-C in the second that they may take is no bug of ours to be told with a traceback, and on a
machine that we do not run on an import may be what fails first.  So this imports next to nothing.
"""

import gc
import os
import signal
import sys

from runtime.errors import PlatformUnsupported
from runtime.platform import check_platform

_INTERRUPTED = 128 + signal.SIGINT
_EX_CONFIG = 78


def begin() -> None:
    """Before the imports: nothing is begun yet, so Ctrl-C simply ends it."""
    signal.signal(signal.SIGINT, _leave)
    gc.disable()  # what imports make stays; to look through it again and again takes a tenth
    try:
        check_platform()
    except PlatformUnsupported as error:
        sys.stderr.write(f"obscura: {error}\n")
        sys.exit(_EX_CONFIG)


def end() -> None:
    """After them: Ctrl-C is an exception again, that leaves everything in order."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        gc.freeze()
        gc.enable()


def _leave(*_: object) -> None:
    os._exit(_INTERRUPTED)
