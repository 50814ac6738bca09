"""One ONNX graph, loaded on one device.  The only module that imports onnxruntime.

Four habits of onnxruntime decide its shape:

- Two of its packages overwrite each other, so `packages` looks before we import.
- `get_available_providers()` lists what was compiled in, not what works.  Without a driver a CUDA
  session logs an error and silently computes on the CPU.  So `devices` runs a small product on
  each GPU, and `Session.open` looks at what it got.  There is no fall-back here: whoever wants
  the CPU asks for it.
- A sticky CUDA error (an illegal address, 700, and its kin) fails every later call of the process,
  which goes on looking alive.  Such errors become `DeviceLost`, and whoever holds the process ends
  it.
- GPU arenas grow with every new shape and never shrink.  So batches come in few fixed sizes
  (buckets), each warmed once, and a batch between two of them is split or padded: `plan`.

So onnxruntime is imported by the first session and not by this module, and processes that only
need the types here start without it.  One session may be run from several threads.

A caption is written in many runs, and what one of them leaves for the next would cross to the
device and back each time: 42 MB a photo.  `Session.run_kept` leaves it where it was computed, by
IOBinding, and `Session.take` picks rows of it there.  The CPU goes the same way: it costs nothing.

Rejected: IOBinding for all runs, which pays nothing for 150 kB in and 2 kB out.  Also rejected:
keeping the optimised graph on disk, which is valid for one version, provider and processor only,
and saves a second.
"""

import contextlib
import functools
import io
import os
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.errors import (
    DeviceLost,
    DeviceUnusable,
    ModelBroken,
    NoRuntime,
    OutOfMemory,
    RanTooLong,
)
from models.packages import check_one_runtime

Array = NDArray[Any]

CUDA = "CUDAExecutionProvider"

#: ONNX's names of the element types numpy has, as `get_inputs()[i].type` spells them.
DTYPES: dict[str, np.dtype[Any]] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(float16)": np.dtype(np.float16),
    "tensor(double)": np.dtype(np.float64),
    "tensor(uint8)": np.dtype(np.uint8),
    "tensor(int8)": np.dtype(np.int8),
    "tensor(int32)": np.dtype(np.int32),
    "tensor(int64)": np.dtype(np.int64),
    "tensor(bool)": np.dtype(np.bool_),
}

#: A graph of one node, product = MatMul(x, x) on float32 [2, 2]: small, and needs cuBLAS, whose
#: absence an addition would not notice.  ONNX protobuf: IR version 8, opset 13.
PROBE = (
    b'\x08\x08:P\n\x17\n\x01x\n\x01x\x12\x07product"\x06MatMul\x12\x05probe'
    b"Z\x13\n\x01x\x12\x0e\n\x0c\x08\x01\x12\x08\n\x02\x08\x02\n\x02\x08\x02"
    b"b\x19\n\x07product\x12\x0e\n\x0c\x08\x01\x12\x08\n\x02\x08\x02\n\x02\x08\x02"
    b"B\x04\n\x00\x10\r"
)

#: A graph of one node, y = Gather(x, rows) along the first axis, for x of any shape; each %c is
#: its element type.  IR version 8, opset 13.
TAKE = (
    b'\x08\x08:@\n\x14\n\x01x\n\x04rows\x12\x01y"\x06Gather\x12\x04take'
    b"Z\t\n\x01x\x12\x04\n\x02\x08%cZ\x0c\n\x04rows\x12\x04\n\x02\x08\x07"
    b"b\t\n\x01y\x12\x04\n\x02\x08%cB\x04\n\x00\x10\r"
)

#: TensorProto.DataType of what is kept on a device, by its name in onnxruntime.
KEPT = {"tensor(float)": 1, "tensor(float16)": 10}

#: How the memory errors of onnxruntime, CUDA and cuBLAS read.
NO_MEMORY = ("failed to allocate memory", "out of memory", "alloc_failed", "bad_alloc")

#: How CUDA's sticky errors read.  Their numbers are 700 and up, less 701 (a launch that asked for
#: too much, which the next one need not), and 214 (memory that failed its check).
LOST = re.compile(
    r"cuda (?:failure|error)\s*:?\s*(?:700|70[2-9]|7[1-9]\d|214)\b|illegal memory access"
    r"|misaligned address|unspecified launch failure|device-side assert|illegal instruction"
    r"|launch timed out|hardware stack error|context is destroyed|uncorrectable ecc"
    r"|invalid program counter|operation not supported on global/shared address space",
    re.IGNORECASE,
)

#: Cosine to the CPU's vector that a GPU must reach on an ordinary input.
AGREES = 0.999


class Port(msgspec.Struct, frozen=True):
    """An input or output of a graph."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...]  #: None where the graph leaves a dimension open


class Device(msgspec.Struct, frozen=True):
    """Something that graphs could run on; *reason* says why it cannot, "" when it can."""

    name: str  #: "cpu:0", "cuda:0", …
    usable: bool
    reason: str = ""


class Runtime(msgspec.Struct, frozen=True):
    """The installed onnxruntime."""

    version: str
    providers: tuple[str, ...]  #: compiled in, which is not to say usable
    cuda: str  #: version it was built for, "" for none


def runtime() -> Runtime:
    """What is installed.

    Raises:
        NoRuntime, TwoRuntimes: nothing usable is.
    """
    ort = _runtime()
    cuda = str(getattr(ort, "cuda_version", "") or "")
    return Runtime(ort.__version__, tuple(ort.get_available_providers()), cuda)


def background_threads() -> int:
    """All the processors this process may use but one, which stays for the user."""
    return max(1, len(os.sched_getaffinity(0)) - 1)


def devices() -> tuple[Device, ...]:
    """What this machine can compute on, the CPU first, each GPU after a real computation on it.

    Leaves a CUDA context (some hundred MiB of GPU memory) in the process that asks.

    Raises:
        NoRuntime, TwoRuntimes: nothing can be said.
    """
    found = [Device("cpu:0", usable=True)]
    providers = _runtime().get_available_providers()
    if CUDA not in providers:
        if Path("/proc/driver/nvidia/version").exists():
            found.append(
                Device("cuda:0", usable=False, reason="the installed onnxruntime is CPU only")
            )
        return tuple(found)
    for ordinal in range(16):  # more GPUs than any desk has; the first missing one ends it
        reason = _probe_cuda(ordinal)
        if reason and ordinal:
            break
        found.append(Device(f"cuda:{ordinal}", usable=not reason, reason=reason))
        if reason:
            break
    return tuple(found)


def plan(rows: int, buckets: Sequence[int]) -> list[tuple[int, int]]:
    """Cut *rows* into runs of (rows taken, bucket run), with few runs and little padding.

    Full buckets first, largest first; what is left is padded into the next bucket up if it fills
    at least half of it, else split further.  Only what is smaller than the smallest bucket is
    padded beyond half.
    """
    runs: list[tuple[int, int]] = []
    rising = sorted(buckets)
    while rows > 0:
        above = next((bucket for bucket in rising if bucket >= rows), None)
        below = next((bucket for bucket in reversed(rising) if bucket <= rows), None)
        if above is not None and (below is None or 2 * rows >= above):
            runs.append((rows, above))
            break
        assert below is not None, "there are no buckets"
        runs.append((below, below))
        rows -= below
    return runs


class Kept:
    """A tensor of float32 or float16 that stays on the device that computed it."""

    def __init__(self, value: Any) -> None:
        self.value = value

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.value.shape())


class Session:
    """A loaded graph.  Made by `open`.

    *limit_s*: seconds after which a run is broken off between two operators; None for never.
    """

    def __init__(
        self, inner: Any, path: Path, device: str, *, limit_s: float | None = None
    ) -> None:
        self._inner = inner
        self.limit_s = limit_s  #: may be changed between runs
        self.until: float | None = None  #: on the monotonic clock; no run goes on after it
        self.path = path
        self.device = device
        self.inputs = {port.name: port for port in _ports(inner.get_inputs(), path)}
        self.outputs = {port.name: port for port in _ports(inner.get_outputs(), path)}

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        device: str = "cpu:0",
        threads: int | None = None,
        spinning: bool = False,
        memory_mib: int | None = None,
        limit_s: float | None = None,
    ) -> Self:
        """Load the graph at *path* on *device* ("cpu:0" or "cuda:N").

        *threads* is the number that share one operator on the CPU, `background_threads()` if
        None.  *spinning* lets them wait for the next operator without sleeping: a few per cent
        faster, at the cost of burning a processor between operators.  *memory_mib* bounds the
        GPU arena of this session.  *limit_s* is the longest a run may take.

        Raises:
            ModelBroken: the file is missing, or no graph this onnxruntime can load.
            DeviceUnusable: no such device, or the graph would not run on it.
            OutOfMemory: the graph itself does not fit.
            NoRuntime, TwoRuntimes: onnxruntime cannot be used.
        """
        kind, _, ordinal = device.partition(":")
        if not re.fullmatch("cpu:0|cuda:[0-9]{1,3}", device):
            raise DeviceUnusable(device, 'the name of a device is "cpu:0" or "cuda:N"')
        ort = _runtime()
        if not path.is_file():
            raise ModelBroken(path, "expected an ONNX graph: there is no such file")
        options = _options(ort, threads=threads or background_threads(), spinning=spinning)
        providers: list[Any] = ["CPUExecutionProvider"]
        if kind == "cuda":
            if CUDA not in ort.get_available_providers():
                raise DeviceUnusable(device, "the installed onnxruntime is CPU only")
            said = _preload()
            providers.insert(0, (CUDA, _cuda_options(int(ordinal), memory_mib)))
        try:
            # By path, not by bytes: weights kept beside the graph are found, and mapped.
            inner = ort.InferenceSession(str(path), options, providers, enable_fallback=0)
        except Exception as error:
            if kind == "cuda" and LOST.search(str(error)):
                raise DeviceLost(path, _first_line(error)) from error
            if _is_memory(error):
                raise OutOfMemory(path, 0, _first_line(error)) from error
            if kind == "cuda" and (reason := _probe_cuda(int(ordinal))):
                raise DeviceUnusable(device, reason) from error
            raise ModelBroken(
                path, f"expected an ONNX graph this onnxruntime loads: {_first_line(error)}"
            ) from error
        if kind == "cuda" and inner.get_providers()[0] != CUDA:
            raise DeviceUnusable(device, said or "onnxruntime could not start CUDA on it")
        return cls(inner, path, device, limit_s=limit_s)

    def run(
        self, feeds: Mapping[str, Array], wanted: Sequence[str] | None = None
    ) -> dict[str, Array]:
        """Run the graph once.  Arrays must have the dtypes of `inputs`.

        The outputs *wanted* come back, all if None; what is not wanted is not copied.

        Raises:
            OutOfMemory: the batch did not fit; a smaller one may.
            DeviceLost: nothing will run in this process any more.
            RanTooLong: it took longer than the session's limit.
            ModelBroken: the graph refused these inputs, or failed.
        """
        names = list(self.outputs if wanted is None else wanted)
        with self._guarded(feeds.values()) as options:
            outputs = self._inner.run(names, dict(feeds), options)
        return dict(zip(names, outputs, strict=True))

    def run_kept(
        self, feeds: Mapping[str, Array | Kept], *, fetched: Sequence[str], kept: Sequence[str]
    ) -> tuple[dict[str, Array], dict[str, Kept]]:
        """Run the graph once; the outputs *fetched* come back, those *kept* stay on the device.

        Feeds may have been kept by any session of this device.

        Raises:
            OutOfMemory, DeviceLost, RanTooLong, ModelBroken: as `run`.
        """
        with self._guarded(feeds.values()) as options:
            binding = self._inner.io_binding()
            for name, feed in feeds.items():
                if isinstance(feed, Kept):
                    binding.bind_ortvalue_input(name, feed.value)
                else:
                    binding.bind_cpu_input(name, feed)
            kind, _, ordinal = self.device.partition(":")
            for name in fetched:
                binding.bind_output(name, "cpu")
            for name in kept:
                binding.bind_output(name, kind, int(ordinal))
            self._inner.run_with_iobinding(binding, options)
            values = binding.get_outputs()
            arrays = {name: value.numpy() for name, value in zip(fetched, values, strict=False)}
        left = map(Kept, values[len(fetched) :])
        return arrays, dict(zip(kept, left, strict=True))

    def take(self, values: Mapping[str, Kept], rows: NDArray[np.int64]) -> dict[str, Kept]:
        """*rows* of each of *values*, which were kept by sessions of this device.

        Raises:
            OutOfMemory, DeviceLost, ModelBroken: as `run`.
        """
        taken: dict[str, Kept] = {}
        kind, _, ordinal = self.device.partition(":")
        with self._guarded([rows]):
            for name, kept in values.items():
                taker = _taker(self.device, kept.value.data_type())
                binding = taker.io_binding()
                binding.bind_ortvalue_input("x", kept.value)
                binding.bind_cpu_input("rows", rows)
                binding.bind_output("y", kind, int(ordinal))
                taker.run_with_iobinding(binding)
                taken[name] = Kept(binding.get_outputs()[0])
        return taken

    @contextlib.contextmanager
    def _guarded(self, feeds: Iterable[Array | Kept]) -> Iterator[Any]:
        """Options for one run, whose failures become ours."""
        late = threading.Event()
        try:
            with self._limited(late) as options:
                yield options
        except RanTooLong:
            raise
        except Exception as error:
            if LOST.search(str(error)):
                raise DeviceLost(self.path, _first_line(error)) from error
            if late.is_set():
                raise RanTooLong(self.path, self.limit_s or 0) from error
            if _is_memory(error):
                rows = max((feed.shape[0] for feed in feeds if len(feed.shape)), default=0)
                raise OutOfMemory(self.path, rows, _first_line(error)) from error
            raise ModelBroken(self.path, f"did not run: {_first_line(error)}") from error

    @contextlib.contextmanager
    def _limited(self, late: threading.Event) -> Iterator[Any]:
        """Options for one run, which end it at the limit and then set *late*."""
        limits = [] if self.limit_s is None else [self.limit_s]
        if self.until is not None:
            limits.append(self.until - time.monotonic())
        if not limits:
            yield None
            return
        if min(limits) <= 0:
            raise RanTooLong(self.path, self.limit_s or 0)
        options = _runtime().RunOptions()

        def end() -> None:
            late.set()
            options.terminate = True

        timer = threading.Timer(min(limits), end)
        timer.daemon = True
        timer.start()
        try:
            yield options
        finally:
            timer.cancel()

    def run_rows(self, feed: str, rows: Array, output: str, buckets: Sequence[int]) -> Array:
        """Run *rows* (at least one) through a graph of one input in batches of fixed sizes.

        Padding repeats the last row, so that it is as ordinary as the others.  A graph whose
        batch is fixed is run at that size, whatever *buckets* says.

        Raises:
            OutOfMemory, ModelBroken: as `run`; ModelBroken also if rows are lost on the way.
        """
        fixed = self.inputs[feed].shape[0]
        parts: list[Array] = []
        start = 0
        for taken, bucket in plan(len(rows), buckets if fixed is None else (fixed,)):
            batch = rows[start : start + taken]
            start += taken
            if taken < bucket:
                batch = np.concatenate([batch, np.repeat(batch[-1:], bucket - taken, axis=0)])
            result = self.run({feed: batch}, [output])[output]
            if result.shape[:1] != (bucket,):
                raise ModelBroken(
                    self.path,
                    f"expected {bucket} rows in {output!r}, found the shape {result.shape}",
                )
            parts.append(result[:taken])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def warm_up(self, feed: str, row: Array, output: str, buckets: Iterable[int]) -> None:
        """Run each bucket once, filled with *row* [1, …].

        The first run of a shape allocates, and on a GPU it chooses the kernels.

        Raises:
            OutOfMemory, ModelBroken: as `run`.
        """
        for bucket in buckets:
            self.run_rows(feed, np.repeat(row, bucket, axis=0), output, (bucket,))

    def check_against_cpu(self, feed: str, rows: Array, output: str) -> None:
        """Compute *rows* on the CPU as well, and compare: some devices compute fast and wrongly.

        Raises:
            DeviceUnusable: the rows of the two differ by more than rounding.
            OutOfMemory, ModelBroken, DeviceLost, RanTooLong: as `run`.
        """
        other = type(self).open(self.path, limit_s=self.limit_s)
        mine, theirs = (
            session.run_rows(feed, rows, output, (1,)).reshape(len(rows), -1).astype(np.float64)
            for session in (self, other)
        )
        dots = np.einsum("nd,nd->n", mine, theirs)
        lengths = np.linalg.norm(mine, axis=1) * np.linalg.norm(theirs, axis=1)
        cosine = float((dots / np.where(lengths > 0, lengths, 1)).min())
        if not cosine > AGREES:  # NaN is not above it either
            raise DeviceUnusable(
                self.device,
                f"it computes {self.path.name} otherwise than the CPU: cosine {cosine:.4f}, "
                f"expected more than {AGREES}",
            )


@functools.cache
def _runtime() -> Any:
    """onnxruntime, imported once, quiet: what it would log comes to us as an exception."""
    check_one_runtime()
    try:
        import onnxruntime  # noqa: PLC0415 - see the module's story
    except ImportError as error:
        raise NoRuntime(str(error)) from error
    onnxruntime.set_default_logger_severity(4)
    return onnxruntime


def _options(ort: Any, *, threads: int, spinning: bool) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
    return options


def _cuda_options(ordinal: int, memory_mib: int | None) -> dict[str, str]:
    # The defaults try every convolution kernel at each new shape and double the arena each time.
    options = {
        "device_id": str(ordinal),
        "cudnn_conv_algo_search": "HEURISTIC",
        "arena_extend_strategy": "kSameAsRequested",
    }
    if memory_mib is not None:
        options["gpu_mem_limit"] = str(memory_mib << 20)
    return options


@functools.cache
def _taker(device: str, kind: str) -> Any:
    """`TAKE` on *device* for tensors of *kind*."""
    ort = _runtime()
    options = _options(ort, threads=1, spinning=False)
    name, _, ordinal = device.partition(":")
    providers: list[Any] = ["CPUExecutionProvider"]
    if name == "cuda":
        _preload()
        providers.insert(0, (CUDA, _cuda_options(int(ordinal), None)))
    element = KEPT[kind]
    return ort.InferenceSession(TAKE % (element, element), options, providers, enable_fallback=0)


@functools.cache
def _preload() -> str:
    """Load the CUDA libraries that pip installed; what could not be loaded, in words, else ""."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):  # it prints its failures
        _runtime().preload_dlls()
    return said.getvalue().strip().partition("\n")[0]


def _probe_cuda(ordinal: int) -> str:
    """Multiply two matrices on the GPU *ordinal*; why that failed, or ""."""
    ort = _runtime()
    said = _preload()
    options = _options(ort, threads=1, spinning=False)
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    square = np.array([[1, 2], [3, 4]], dtype=np.float32)
    try:
        session = ort.InferenceSession(
            PROBE, options, [(CUDA, _cuda_options(ordinal, None))], enable_fallback=0
        )
        if session.get_providers()[0] != CUDA:
            return said or "onnxruntime could not start CUDA on it"
        product = session.run(None, {"x": square})[0]
    except Exception as error:
        return said or _first_line(error)
    return "" if np.array_equal(product, square @ square) else f"it computes wrongly: {product}"


def _ports(nodes: Iterable[Any], path: Path) -> Iterable[Port]:
    for node in nodes:
        dtype = DTYPES.get(node.type)
        if dtype is None:
            raise ModelBroken(path, f"{node.name!r} is a {node.type}, which numpy cannot hold")
        shape = tuple(extent if isinstance(extent, int) else None for extent in node.shape)
        yield Port(node.name, dtype, shape)


def _is_memory(error: Exception) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(sign in text for sign in NO_MEMORY)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
