"""Paths as the catalog keeps them: bytes, in three parts."""

import os.path


def absolute(root: bytes, directory: bytes, name: bytes) -> bytes:
    """The path of a file; *directory* is relative to *root*, b"" for the root itself."""
    return os.path.join(root, directory, name)  # noqa: PTH118  pathlib has no bytes


def printable(path: bytes) -> str:
    r"""*path* for people and for JSON: what is not UTF-8 is shown as ``\xff``.

    Not `os.fsdecode`: its lone surrogates can be neither printed nor encoded.
    """
    return path.decode("utf-8", "backslashreplace")
