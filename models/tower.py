"""A graph that turns rows into vectors, whatever they show: pictures, words, faces.

The pack says which tensors to use; the rest is read from the graph, and what does not fit together
is refused before anything is run.  Every vector that leaves here has length one.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelBroken
from models.pack import Pack, check_file
from models.session import Array, Port, Session

Vectors = NDArray[np.float32]

#: Below this the length of a vector is rounding, and its direction noise.
SHORTEST = 1e-12


class Tower:
    """What all of them are: a graph of one input whose rows become vectors."""

    def __init__(
        self,
        session: Session,
        port: Port,
        *,
        space: str,
        dimensions: int,
        shape: tuple[int, ...],
        output: str,
        buckets: tuple[int, ...],
    ) -> None:
        fixed = port.shape[0] if port.shape else None
        self._session = session
        self._feed = port.name
        self._output = output
        self._shape = shape
        self.dtype = port.dtype  #: of one element of the input
        self.buckets = buckets if fixed is None else (fixed,)
        self.space = space
        self.dimensions = dimensions

    def limit(self, seconds: float) -> None:
        """Break off runs that take longer from now on, as `RanTooLong`."""
        self._session.limit_s = seconds

    def _vectors(
        self, rows: Array, buckets: tuple[int, ...] | None = None
    ) -> tuple[Vectors, tuple[int, ...]]:
        """`unit` of what the graph gives for *rows*, run in *buckets* (all, if None)."""
        if not len(rows):
            return np.empty((0, self.dimensions), np.float32), ()
        raw = self._session.run_rows(self._feed, rows, self._output, buckets or self.buckets)
        if raw.shape != (len(rows), self.dimensions):
            raise ModelBroken(
                self._session.path,
                f"expected {self._output!r} to be [{len(rows)}, {self.dimensions}], "
                f"found {list(raw.shape)}",
            )
        return unit(raw)


def open_graph(
    pack: Pack,
    file: str,
    *,
    device: str,
    threads: int | None,
    memory_mib: int | None = None,
    limit_s: float | None = None,
) -> Session:
    """Load the graph *file* of *pack*; the rest as `Session.open`.

    Raises:
        PackBroken: it does not load because it is not the file that the pack names.
        ModelBroken: it is that file, and does not load all the same.
        DeviceUnusable, DeviceLost, OutOfMemory, NoRuntime, TwoRuntimes: as `Session.open`.
    """
    path = pack.path(file)
    try:
        return Session.open(
            path, device=device, threads=threads, memory_mib=memory_mib, limit_s=limit_s
        )
    except ModelBroken:
        check_file(path, pack.checksums()[file])
        raise


def unit(rows: Array) -> tuple[Vectors, tuple[int, ...]]:
    """*rows* [n, d] at length one, and the indices of those that have no direction.

    Rows with NaN or infinity in them, or of length zero, become zeros.
    """
    wide = rows.astype(np.float64)  # squares of large float32 values do not fit into float32
    lengths = np.sqrt(np.einsum("nd,nd->n", wide, wide))
    good = np.isfinite(lengths) & (lengths > SHORTEST)
    wide[~good] = 0
    vectors = wide / np.where(good, lengths, 1)[:, None]
    return vectors.astype(np.float32), tuple(np.flatnonzero(~good).tolist())


def check_contract(
    session: Session, *, feed: str, dtypes: tuple[str, ...], shape: tuple[int, ...]
) -> Port:
    """The input *feed* as the graph describes it, once that fits what the pack says.

    *shape* is that of one row.
    """
    names = list(session.inputs)
    if names != [feed]:
        raise ModelBroken(
            session.path,
            f"expected one input {feed!r}, found {', '.join(map(repr, names)) or 'none'}",
        )
    port = session.inputs[feed]
    if port.dtype.name not in dtypes:
        raise ModelBroken(
            session.path, f"expected {feed!r} to be {' or '.join(dtypes)}, found {port.dtype}"
        )
    _check_shape(session, port, shape)
    return port


def check_output(session: Session, output: str, dimensions: int | None) -> None:
    if output not in session.outputs:
        names = ", ".join(map(repr, session.outputs))
        raise ModelBroken(session.path, f"expected an output {output!r}, found {names}")
    _check_shape(session, session.outputs[output], (dimensions,))


def _check_shape(session: Session, port: Port, row: tuple[int | None, ...]) -> None:
    """A dimension the graph leaves open fits any; a shape it leaves open shows when it runs."""
    fits = len(port.shape) == len(row) + 1 and all(
        wanted is None or extent in {None, wanted}
        for extent, wanted in zip(port.shape[1:], row, strict=True)
    )
    if port.shape and not fits:
        raise ModelBroken(
            session.path,
            f"expected {port.name!r} to be {spell((None, *row))}, found {spell(port.shape)}",
        )


def spell(shape: tuple[int | None, ...]) -> str:
    return f"[{', '.join('n' if extent is None else str(extent) for extent in shape)}]"


def sample_picture(size: int) -> NDArray[np.uint8]:
    """An ordinary picture to try a graph with, uint8 [size, size, 3]: edges, slopes, colours."""
    ramp = np.arange(size) * 255 // max(1, size - 1)
    planes: list[NDArray[Any]] = [
        np.broadcast_to(ramp, (size, size)),
        np.broadcast_to(ramp[:, None], (size, size)),
        (np.add.outer(np.arange(size), np.arange(size)) // 8 % 2) * 255,
    ]
    return np.stack(planes, axis=-1).astype(np.uint8)
