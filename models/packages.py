"""Which packages of onnxruntime are installed.

`onnxruntime`, `onnxruntime-gpu` and their kin own the same folder.  With two of them installed
the last one wins and the other's providers are gone without a word.  So whoever is about to use
one looks here first, which imports neither it nor numpy, and refuses.
"""

import importlib.metadata
from collections.abc import Sequence
from typing import Any

from models.errors import TwoRuntimes

#: Distributions that install into the folder `onnxruntime`.
PACKAGES = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-openvino",
    "onnxruntime-directml",
    "onnxruntime-migraphx",
    "onnxruntime-rocm",
)


def check_one_runtime(path: Sequence[str] | None = None) -> None:
    """Refuse an installation in which packages have overwritten each other.

    Looks through *path* (default: `sys.path`) for metadata only; nothing is imported.

    Raises:
        TwoRuntimes: more than one is installed.
    """
    where: dict[str, Any] = {} if path is None else {"path": list(path)}
    installed = [
        package
        for package in PACKAGES
        if next(iter(importlib.metadata.distributions(name=package, **where)), None)
    ]
    if len(installed) > 1:
        raise TwoRuntimes(installed)
