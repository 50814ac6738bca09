"""What there is to compute with: packages, the GPU's driver, packs and their state.  For `doctor`.

Everything here answers, whatever is missing: a machine that cannot run a model is what it is for.
The driver is asked through nvidia-ml-py where that is installed, which no other part needs.
"""

import importlib
import importlib.metadata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from models.errors import ModelsError
from models.pack import MANIFEST, load_pack, verify

DRIVER = Path("/proc/driver/nvidia/version")


class Gpu(msgspec.Struct, frozen=True):
    name: str
    total_mib: int
    free_mib: int


class Driver(msgspec.Struct, frozen=True):
    """The GPU driver of this machine."""

    version: str  #: "" where it is there and does not tell
    gpus: tuple[Gpu, ...] = ()
    problem: str = ""  #: why it does not answer


class PackState(msgspec.Struct, frozen=True):
    """One folder that should be a pack."""

    folder: Path
    name: str
    kinds: tuple[str, ...] = ()
    revision: str = ""
    licence: str = ""
    precision: str = ""  #: of the image graph
    demo: bool = False
    mib: int = 0
    problem: str = ""  #: why it cannot be used, "" when it can


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Of those that are installed."""
    found: dict[str, str] = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def driver() -> Driver | None:
    """None where the kernel has none and none answers."""
    try:
        nvml: Any = importlib.import_module("pynvml")
    except ImportError:
        return Driver("", problem="nvidia-ml-py is not installed") if DRIVER.exists() else None
    try:
        nvml.nvmlInit()
    except Exception as error:  # NVMLError, of a library that is not there or does not fit
        return Driver("", problem=str(error)) if DRIVER.exists() else None
    try:
        handles = [nvml.nvmlDeviceGetHandleByIndex(n) for n in range(nvml.nvmlDeviceGetCount())]
        gpus = []
        for handle in handles:
            memory = nvml.nvmlDeviceGetMemoryInfo(handle)
            name = _text(nvml.nvmlDeviceGetName(handle))
            gpus.append(Gpu(name, int(memory.total) >> 20, int(memory.free) >> 20))
        return Driver(_text(nvml.nvmlSystemGetDriverVersion()), tuple(gpus))
    except Exception as error:
        return Driver("", problem=str(error))
    finally:
        nvml.nvmlShutdown()


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def packs(folders: Sequence[Path]) -> list[PackState]:
    """Every pack below *folders*, with all its files read and compared."""
    found = [path.parent for folder in folders for path in folder.glob(f"[!.]*/{MANIFEST}")]
    return [_state(folder) for folder in sorted(found)]


def _state(folder: Path) -> PackState:
    try:
        pack = load_pack(folder)
    except ModelsError as error:
        return PackState(folder, folder.name, problem=str(error))
    problem = ""
    if pack.name != folder.name:
        problem = f"{folder / MANIFEST}: names itself {pack.name!r}, but lies in {folder.name!r}"
    try:
        verify(pack)
    except ModelsError as error:
        problem = problem or str(error)
    files = [pack.path(file) for file in pack.checksums()]
    return PackState(
        folder,
        pack.name,
        pack.kinds,
        pack.revision,
        pack.licence,
        pack.embed.image.precision if pack.embed else "",
        pack.demo,
        sum(file.stat().st_size for file in files if file.is_file()) >> 20,
        problem,
    )
