"""Aligned faces as vectors: two of one person point the same way.

ArcFace and its kin (Deng 2019) differ here only in what the pack says: the scaling of pixels,
which some graphs do themselves, the width, and the buckets.  Vectors of two widths or two packs
are never compared; `space` keeps them apart.

Like the towers of CLIP, a row of NaN is asked about twice: if the fixed test picture gives one as
well, it is the model.
"""

from typing import Self

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelBroken, PictureBroken, RowsBroken
from models.faces.tensor import tensor
from models.pack import Pack, RecogniseGraph
from models.session import Array, Port, Session
from models.tower import (
    Tower,
    Vectors,
    check_contract,
    check_output,
    open_graph,
    sample_picture,
)


class FaceRecogniser(Tower):
    """Crops of `align` to vectors.  Made by `open`."""

    def __init__(self, session: Session, graph: RecogniseGraph) -> None:
        super().__init__(
            session,
            self.check(session, graph),
            space=graph.space,
            dimensions=graph.dimensions,
            shape=_row(graph),
            output=graph.output,
            buckets=graph.buckets,
        )
        self._graph = graph
        self.size = graph.size  #: side of a crop, pixels

    @staticmethod
    def check(session: Session, graph: RecogniseGraph) -> Port:
        """The input of *session*'s graph, once that fits *graph*; nothing is run.

        Raises:
            ModelBroken: it does not fit.
        """
        dtypes = ("float32", "float16", "uint8")
        port = check_contract(session, feed=graph.input, dtypes=dtypes, shape=_row(graph))
        check_output(session, graph.output, graph.dimensions)
        return port

    @classmethod
    def open(
        cls,
        pack: Pack,
        device: str = "cpu:0",
        threads: int = 1,
        *,
        memory_mib: int | None = None,
        limit_s: float | None = None,
    ) -> Self:
        """Load the graph of *pack*'s [faces.recognise] and embed one test picture with it.

        A GPU must give what the CPU gives for it.  *threads*, *memory_mib* and *limit_s* are those
        of `Session.open`.

        Raises:
            PackBroken: the pack has no such section, or its file is not the one it names.
            ModelBroken: the graph does not load, or does not do what the pack says.
            DeviceUnusable, OutOfMemory, NoRuntime, TwoRuntimes: as `Session.open`.
        """
        graph = pack.require_recognise()
        session = open_graph(
            pack,
            graph.file,
            device=device,
            threads=threads,
            memory_mib=memory_mib,
            limit_s=limit_s,
        )
        recogniser = cls(session, graph)
        recogniser._check_itself()
        if not device.startswith("cpu"):
            session.check_against_cpu(recogniser._feed, recogniser._sample(), graph.output)
        return recogniser

    def warm_up(self) -> None:
        """Run every bucket once, smallest first, so that no face waits for the first run.

        Raises:
            OutOfMemory: a bucket does not fit; those before it do.
        """
        self._session.warm_up(self._feed, self._sample(), self._output, self.buckets)

    def embed(self, crops: NDArray[np.uint8], *, largest: int | None = None) -> Vectors:
        """*crops* uint8 RGB [n, size, size, 3] as float32 [n, d], each row of length one.

        They are run in the pack's buckets, padded up to one or split over several; *largest*
        leaves out the buckets above it, after one of them did not fit.

        Raises:
            RowsBroken: some rows gave no vector; the error carries the others'.
            PictureBroken: *crops* are of another shape or dtype.
            ModelBroken: the graph failed, or fails on its test picture as well.
            OutOfMemory: the bucket of its *rows* does not fit.
            DeviceLost, RanTooLong: as `Session.run`.
        """
        expected = (self.size, self.size, 3)
        if crops.dtype != np.uint8 or crops.shape[1:] != expected:
            raise PictureBroken(
                f"expected faces as uint8 [n, {self.size}, {self.size}, 3], "
                f"found {crops.dtype} {list(crops.shape)}"
            )
        small = tuple(bucket for bucket in self.buckets if largest is None or bucket <= largest)
        vectors, broken = self._vectors(
            tensor(crops, self._graph, self.dtype), small or self.buckets[:1]
        )
        if broken:
            self._check_itself()
            raise RowsBroken(broken, vectors)
        return vectors

    def _sample(self) -> Array:
        return tensor(sample_picture(self.size)[None], self._graph, self.dtype)

    def _check_itself(self) -> None:
        _, broken = self._vectors(self._sample())
        if broken:
            raise ModelBroken(
                self._session.path, "gave NaN, infinity or zero for an ordinary test picture"
            )


def _row(graph: RecogniseGraph) -> tuple[int, ...]:
    """The shape of one crop."""
    square = (graph.size, graph.size)
    return (3, *square) if graph.layout == "NCHW" else (*square, 3)
