"""What goes wrong in `models`, and whose fault it is.

    ModelsError
    ├─ PackNotFound       host    no folder of that name holds a pack
    ├─ PackBroken         host    a pack's own files do not keep what its pack.toml promises
    ├─ ModelBroken        worker  a graph or a vocabulary does not load, or does not do its job
    ├─ RuntimeUnusable    host    onnxruntime cannot be used as it is installed
    │  ├─ NoRuntime       host    … because it is not installed
    │  └─ TwoRuntimes     host    … because two of its packages overwrote each other
    ├─ DeviceUnusable     host    the device asked for is not there, or does not compute
    ├─ DeviceLost         worker  the device's memory of this process is gone: only a new one helps
    ├─ OutOfMemory        busy    the device had no room for this batch: try a smaller one
    ├─ RanTooLong         worker  a run did not end within its limit
    ├─ ThumbnailBroken    worker  a derived picture is missing or torn: derive it again
    ├─ PictureBroken      photo   pixels no model can take
    └─ RowsBroken         photo   these rows of a batch gave no usable vector, the others did

A process reads *fault* and acts: photo → dead letter, worker → restart and try again, busy →
back-pressure, host → wait until the owner has changed something.
"""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:  # whoever only names an error need not wait for numpy
    import numpy as np
    from numpy.typing import NDArray

Fault = Literal["photo", "worker", "busy", "host"]


class ModelsError(Exception):
    """Base of everything `models` raises on purpose."""

    fault: ClassVar[Fault] = "worker"


class PackNotFound(ModelsError):
    """None of the searched folders holds a pack of this name."""

    fault = "host"

    def __init__(self, name: str, searched: list[Path], present: list[str]) -> None:
        self.name = name
        self.searched = searched
        places = ", ".join(str(folder) for folder in searched) or "nowhere"
        there = f"; there are: {', '.join(present)}" if present else ""
        super().__init__(f"no pack {name!r} in {places}{there}")


class PackBroken(ModelsError):
    """A file of a pack is missing, altered, or says something its pack.toml does not promise."""

    fault = "host"

    def __init__(self, file: Path, expectation: str) -> None:
        self.file = file
        self.expectation = expectation
        super().__init__(f"{file}: {expectation}")


class ModelBroken(ModelsError):
    """A graph or vocabulary does not load, or breaks the contract of its pack while it runs."""

    def __init__(self, file: Path, expectation: str) -> None:
        self.file = file
        self.expectation = expectation
        super().__init__(f"{file}: {expectation}")


class RuntimeUnusable(ModelsError):
    """onnxruntime cannot be used as it is installed."""

    fault = "host"


class NoRuntime(RuntimeUnusable):
    """No onnxruntime package is installed."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"onnxruntime cannot be imported ({reason}): install exactly one of the extras "
            "cpu, gpu, gpu-cu12"
        )


class TwoRuntimes(RuntimeUnusable):
    """Two packages own the folder `onnxruntime`; whichever came last has overwritten the other."""

    def __init__(self, packages: list[str]) -> None:
        self.packages = packages
        super().__init__(
            f"{' and '.join(packages)} are both installed and overwrite each other's files: "
            "uninstall all of them, then install exactly one"
        )


class DeviceUnusable(ModelsError):
    """The device does not exist or failed its probe; nothing else is used in its place."""

    fault = "host"

    def __init__(self, device: str, reason: str) -> None:
        self.device = device
        self.reason = reason
        super().__init__(f"device {device!r} cannot be used: {reason}")


class DeviceLost(ModelsError):
    """A CUDA error after which every later call of this process fails as well.

    The process must end; a new one may find the device as it was.
    """

    def __init__(self, file: Path, reason: str) -> None:
        self.file = file
        super().__init__(f"{file}: the GPU is lost to this process: {reason}")


class OutOfMemory(ModelsError):
    """The device had no room for a batch of *rows*."""

    fault = "busy"

    def __init__(self, file: Path, rows: int, reason: str) -> None:
        self.file = file
        self.rows = rows
        self.reason = reason
        super().__init__(f"{file}: no memory for a batch of {rows}: {reason}")


class RanTooLong(ModelsError):
    """A run was broken off because it did not end within its limit."""

    def __init__(self, file: Path, limit_s: float) -> None:
        self.file = file
        super().__init__(f"{file}: a run did not end within {limit_s:g} s and was broken off")


class ThumbnailBroken(ModelsError):
    """A derived picture is missing or torn; the original is not to blame."""

    def __init__(self, file: Path, reason: str) -> None:
        self.file = file
        super().__init__(f"{file}: thumbnail cannot be read: {reason}")


class PictureBroken(ModelsError):
    """A picture no model can take: no pixels, or not 8-bit RGB."""

    fault = "photo"


class RowsBroken(ModelsError):
    """Some rows of a batch gave NaN, infinity or nothing; the rest of the batch is good.

    *vectors* is float32 [n, d], L2-normalised, with zeros in the broken rows; *rows* are their
    indices in rising order.
    """

    fault = "photo"

    def __init__(self, rows: tuple[int, ...], vectors: "NDArray[np.float32]") -> None:
        self.rows = rows
        self.vectors = vectors
        super().__init__(
            f"{len(rows)} of {len(vectors)} pictures gave no usable vector "
            f"(NaN, infinite or zero): rows {', '.join(map(str, rows))}"
        )
