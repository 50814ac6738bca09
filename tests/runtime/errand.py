"""A helper for the tests: does what its second argument says."""

import sys

from runtime.orphan import die_with, hold

if __name__ == "__main__":
    die_with(int(sys.argv[1]))

import threading
import time
from pathlib import Path

from runtime.priority import LOWEST, step_back

if __name__ == "__main__":
    threading.Thread(target=hold, args=(0,), daemon=True).start()
    word, *rest = sys.argv[2:]
    if word == "exit":
        sys.exit(int(rest[0]))
    step_back(LOWEST)
    Path(rest[0]).touch()
    time.sleep(600)
