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
from typing import Self

from models import image
from models.errors import ModelBroken, RowsBroken
from models.image import Picture, Size
from models.pack import Embed, ImageGraph, Pack, TextGraph
from models.session import Array, Port, Session
from models.tokenizer import Tokenizer
from models.tower import Tower, Vectors, check_contract, check_output, sample_picture, spell

#: Batch sizes of the text graph: one query, a handful of phrasings, a vocabulary.
TEXT_BUCKETS = (1, 8, 32)


class ImageTower(Tower):
    """Pictures to vectors.  Made by `open`; `prepare` and `embed` may run in different threads."""

    def __init__(self, session: Session, embed: Embed) -> None:
        graph = embed.image
        super().__init__(
            session,
            self.check(session, graph, embed.dimensions),
            space=embed.space,
            dimensions=embed.dimensions,
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
        port = check_contract(session, feed=graph.input, dtypes=dtypes, shape=_row(graph))
        check_output(session, graph.output, dimensions)
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
                f"expected {self.dtype} {spell((None, *self._shape))}, "
                f"found {tensor.dtype} {spell(tensor.shape)}"
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
            self.check(session, graph, embed.dimensions),
            space=embed.space,
            dimensions=embed.dimensions,
            shape=(graph.context,),
            output=graph.output,
            buckets=TEXT_BUCKETS,
        )
        self._tokenizer = tokenizer

    @staticmethod
    def check(session: Session, graph: TextGraph, dimensions: int | None = None) -> Port:
        """As `ImageTower.check`."""
        dtypes = ("int64", "int32")
        port = check_contract(session, feed=graph.input, dtypes=dtypes, shape=(graph.context,))
        check_output(session, graph.output, dimensions)
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


def _row(graph: ImageGraph) -> tuple[int, ...]:
    """The shape of one picture."""
    square = (graph.size, graph.size)
    return (3, *square) if graph.layout == "NCHW" else (*square, 3)
