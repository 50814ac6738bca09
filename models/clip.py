"""The two towers of a CLIP-like pack: pictures and words as vectors of one space.

Published exports of one and the same model differ in everything but the mathematics: names,
int32 or int64 ids, float32, float16 or raw uint8 pixels, a batch of any size or of exactly one,
normalised or not.  The pack says which tensors to use; the rest is read from the graph, and `open`
refuses what does not fit together before any photo is touched.

Every vector that leaves here has length one.  Normalising is ours even where the graph does it
too: doing it twice changes nothing, forgetting it ruins every ranking quietly.

A row of NaN could be the photo's fault or the model's.  A fixed test picture tells them apart: it
is embedded at `open`, and again whenever a row came out broken.

Rejected: rewriting the batch of a graph that was exported with a batch of one.  The traced shapes
inside still contain the 1.  Such graphs run row by row.
"""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models import image
from models.errors import ModelBroken, RowsBroken
from models.image import Picture, Size
from models.pack import Embed, ImageGraph, Pack, TextGraph
from models.session import Array, Port, Session
from models.tokenizer import Tokenizer

Vectors = NDArray[np.float32]

#: Batch sizes of the text graph: one query, a handful of phrasings, a vocabulary.
TEXT_BUCKETS = (1, 8, 32)

#: Below this the length of a vector is rounding, and its direction noise.
SHORTEST = 1e-12


class Tower:
    """What both towers are: a graph of one input whose rows become vectors."""

    def __init__(
        self,
        session: Session,
        embed: Embed,
        port: Port,
        *,
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
        self.space = embed.space
        self.dimensions = embed.dimensions

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


class ImageTower(Tower):
    """Pictures to vectors.  Made by `open`; `prepare` and `embed` may run in different threads."""

    def __init__(self, session: Session, embed: Embed) -> None:
        graph = embed.image
        super().__init__(
            session,
            embed,
            self.check(session, graph, embed.dimensions),
            shape=_row(graph),
            output=graph.output,
            buckets=graph.buckets,
        )
        self._graph = graph
        self.size = graph.size  #: side of the square it looks at, for `thumbnail_for`

    @staticmethod
    def check(session: Session, graph: ImageGraph, dimensions: int | None = None) -> Port:
        """The input of *session*'s graph, once that fits *graph*; nothing is run.

        Raises:
            ModelBroken: it does not fit; *dimensions* None fits any width.
        """
        dtypes = ("float32", "float16", "uint8")
        port = _check_contract(session, feed=graph.input, dtypes=dtypes, shape=_row(graph))
        _check_output(session, graph.output, dimensions)
        return port

    @classmethod
    def open(
        cls,
        pack: Pack,
        device: str = "cpu:0",
        threads: int | None = None,
        *,
        memory_mib: int | None = None,
        limit_s: float | None = None,
    ) -> Self:
        """Load the image graph of *pack* and embed one test picture with it.

        A GPU must give what the CPU gives for it.  *threads*, *memory_mib* and *limit_s* are those
        of `Session.open`.

        Raises:
            PackBroken: the pack has no [embed] section.
            ModelBroken: the graph does not load, or does not do what the pack says.
            DeviceUnusable, OutOfMemory, NoRuntime, TwoRuntimes: as `Session.open`.
        """
        embed = pack.require_embed()
        path = pack.path(embed.image.file)
        session = Session.open(
            path, device=device, threads=threads, memory_mib=memory_mib, limit_s=limit_s
        )
        tower = cls(session, embed)
        tower._check_itself()
        if not device.startswith("cpu"):
            row = tower.prepare([sample_picture(tower.size)])
            session.check_against_cpu(tower._feed, row, tower._output)
        return tower

    def warm_up(self) -> None:
        """Run every bucket once, smallest first, so that no photo waits for the first run.

        Raises:
            OutOfMemory: a bucket does not fit; those before it do.
        """
        row = self.prepare([sample_picture(self.size)])
        self._session.warm_up(self._feed, row, self._output, self.buckets)

    def prepare(
        self, pictures: Sequence[Picture], originals: Sequence[Size] | None = None
    ) -> Array:
        """*pictures* as the graph's tensor: its dtype, [n, 3, s, s] or [n, s, s, 3].

        *originals* are the widths and heights of what the pictures are thumbnails of.

        Raises:
            PictureBroken: one of them has no pixels or is no RGB array; it is not said which.
        """
        return image.prepare(pictures, self._graph, self.dtype, originals)

    def embed(self, tensor: Array, *, largest: int | None = None) -> Vectors:
        """A tensor from `prepare` as float32 [n, d], each row of length one.

        *largest* leaves out the buckets above it, after one of them did not fit.

        Raises:
            RowsBroken: some rows gave no vector; the error carries the others'.
            ModelBroken: the graph failed, or fails on its test picture as well.
            OutOfMemory: the bucket of its *rows* does not fit.
            DeviceLost, RanTooLong: as `Session.run`.
            ValueError: the tensor is not from this tower's `prepare`.
        """
        if tensor.dtype != self.dtype or tensor.shape[1:] != self._shape:
            raise ValueError(
                f"expected {self.dtype} {_spell((None, *self._shape))}, "
                f"found {tensor.dtype} {_spell(tensor.shape)}"
            )
        small = tuple(bucket for bucket in self.buckets if largest is None or bucket <= largest)
        vectors, broken = self._vectors(tensor, small or self.buckets[:1])
        if broken:
            self._check_itself()
            raise RowsBroken(broken, vectors)
        return vectors

    def _check_itself(self) -> None:
        _, broken = self._vectors(self.prepare([sample_picture(self.size)]))
        if broken:
            raise ModelBroken(
                self._session.path, "gave NaN, infinity or zero for an ordinary test picture"
            )


class TextTower(Tower):
    """Words to vectors of the same space, on the CPU.  Made by `open`."""

    def __init__(self, session: Session, embed: Embed, tokenizer: Tokenizer) -> None:
        graph = embed.text
        super().__init__(
            session,
            embed,
            self.check(session, graph, embed.dimensions),
            shape=(graph.context,),
            output=graph.output,
            buckets=TEXT_BUCKETS,
        )
        self._tokenizer = tokenizer

    @staticmethod
    def check(session: Session, graph: TextGraph, dimensions: int | None = None) -> Port:
        """As `ImageTower.check`."""
        dtypes = ("int64", "int32")
        port = _check_contract(session, feed=graph.input, dtypes=dtypes, shape=(graph.context,))
        _check_output(session, graph.output, dimensions)
        return port

    @classmethod
    def open(
        cls,
        pack: Pack,
        threads: int | None = None,
        *,
        spinning: bool = False,
        limit_s: float | None = None,
    ) -> Self:
        """Load the text graph of *pack* and its vocabulary, and encode one word with them.

        Raises:
            PackBroken: the pack has no [embed] section.
            ModelBroken: the graph or the vocabulary does not load or does not fit the pack.
            NoRuntime, TwoRuntimes: as `Session.open`.
        """
        embed = pack.require_embed()
        path = pack.path(embed.text.file)
        session = Session.open(path, threads=threads, spinning=spinning, limit_s=limit_s)
        tower = cls(session, embed, Tokenizer.from_pack(pack))
        tower.encode(["photo"])
        return tower

    def encode(self, texts: Sequence[str]) -> Vectors:
        """*texts* as float32 [n, d], each row of length one.

        Raises:
            ModelBroken: the graph failed, or gave NaN, infinity or zero.
            RanTooLong: as `Session.run`.
        """
        ids = self._tokenizer.batch(texts)
        vectors, broken = self._vectors(ids.astype(self.dtype, copy=False))
        if broken:
            raise ModelBroken(
                self._session.path,
                f"gave NaN, infinity or zero for {len(broken)} of {len(texts)} texts",
            )
        return vectors


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


def _check_contract(
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


def _row(graph: ImageGraph) -> tuple[int, ...]:
    """The shape of one picture."""
    square = (graph.size, graph.size)
    return (3, *square) if graph.layout == "NCHW" else (*square, 3)


def _check_output(session: Session, output: str, dimensions: int | None) -> None:
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
            f"expected {port.name!r} to be {_spell((None, *row))}, found {_spell(port.shape)}",
        )


def _spell(shape: tuple[int | None, ...]) -> str:
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
