"""Where the lines of a process lie: `<name>.log`, older ones in `<name>.log.1`, `.2` and so on."""

from pathlib import Path

#: bytes after which a file is put aside
LARGEST = 8 << 20
#: files a process has, the one that is written included
FILES = 5
SUFFIX = ".log"


def names(folder: Path) -> list[str]:
    """Of whom there are lines, sorted."""
    return sorted(each.name.removesuffix(SUFFIX) for each in folder.glob(f"*{SUFFIX}"))


def current(folder: Path, name: str) -> Path:
    """The file that is written."""
    return folder / f"{name}{SUFFIX}"


def older(folder: Path, name: str, age: int) -> Path:
    """The file that was put aside *age* times ago, from 1."""
    return folder / f"{name}{SUFFIX}.{age}"


def all_of(folder: Path, name: str) -> list[Path]:
    """Every file that *name* may have, oldest first."""
    aside = [older(folder, name, age) for age in range(FILES - 1, 0, -1)]
    return [*aside, current(folder, name)]
