"""Pictures to sentences, whatever kind of model tells them.

One loop for all of them: the picture is looked at once, then a decoder is asked for one id after
the other, and a way of decoding chooses.  What the kinds do differently is in `blip`, `vit_gpt2`
and `florence2`, how ids are chosen in `greedy` and `beam`, where layouts differ in `decoder`.

A picture whose logits are no numbers is given up alone.  It could be the model's fault, so then a
test picture is looked at, as when the model was opened.

A batch on a GPU is one of the pack's buckets, padded by its last row, because encoders choose
kernels by shape; the padding leaves after the first step.  On the CPU padding would be paid for,
and there is none.

Not here: two calls of `caption` of one captioner at a time, because its time limit is one.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Self

import numpy as np

from models import image
from models.captions.beam import BeamSearch
from models.captions.blip import Blip
from models.captions.decoder import Memory
from models.captions.decoding import Decoding, Ids, log_probabilities
from models.captions.florence2 import Florence2
from models.captions.greedy import Greedy
from models.captions.rules import Rules
from models.captions.teller import Teller
from models.captions.vit_gpt2 import VitGpt2
from models.captions.vocabulary import Growing, Vocabulary
from models.errors import DeviceUnusable, ModelBroken, OutOfMemory, PackBroken, PictureBroken
from models.image import Picture, Size
from models.pack import MANIFEST, Caption, Pack
from models.session import AGREES, Array, Session, plan
from models.tower import open_graph, sample_picture, spell

#: Ids that are written of the smaller buckets while warming up: without past, and with one.
WARM = 3


class Written(NamedTuple):
    """One caption."""

    text: str  #: stripped, one line, no special tokens
    ids: tuple[int, ...]  #: what was written, without *begin*, without the id that stops
    score: float  #: mean log-probability of the ids, the one that stops included


class Captioner:
    """Pictures to sentences.  Made by `open`; `prepare` may run in another thread."""

    def __init__(self, teller: Teller, caption: Caption, vocabulary: Vocabulary) -> None:
        fixed = teller.picture.shape[0] if teller.picture.shape else None
        self._teller = teller
        self._caption = caption
        self._rules = Rules.of(caption)
        self._vocabulary = vocabulary
        self._seconds: float | None = None
        self._pads = fixed is not None or not teller.decoder.session.device.startswith("cpu")
        self._cached = teller.decoder.cached
        self.space = caption.space
        self.size = caption.size  #: side of the square it looks at, for `thumbnail_for`
        self.buckets = caption.buckets if fixed is None else (fixed,)

    @classmethod
    def open(
        cls,
        pack: Pack,
        device: str = "cpu:0",
        threads: int | None = None,
        *,
        memory_mib: int | None = None,
    ) -> Self:
        """Load the graphs of *pack*'s [caption] and begin to tell one test picture.

        A GPU must begin as the CPU does.  *threads* and *memory_mib*, which bounds each graph by
        itself, are those of `Session.open`.

        Raises:
            PackBroken: the pack has no such section, or a file is not the one it names, or its
                ids are none of the graph's.
            ModelBroken: a graph or the vocabulary does not load, or does not fit the kind.
            DeviceUnusable, DeviceLost, OutOfMemory, NoRuntime, TwoRuntimes: as `Session.open`.
        """
        caption = pack.require_caption()
        vocabulary = Vocabulary.from_pack(pack)
        graphs = {
            name: open_graph(
                pack, graph.file, device=device, threads=threads, memory_mib=memory_mib
            )
            for name, graph in caption.graphs.items()
        }
        captioner = cls(teller_of(graphs, caption, vocabulary), caption, vocabulary)
        known = captioner._teller.decoder.ids
        captioner._check_ids(pack, known)
        logits = captioner._check_itself()
        captioner._check_ids(pack, logits.shape[1])
        if not device.startswith("cpu"):
            others = {name: Session.open(session.path) for name, session in graphs.items()}
            other = cls(teller_of(others, caption, vocabulary), caption, vocabulary)
            captioner._check_against(other._check_itself(), logits)
        return captioner

    def limit(self, seconds: float | None) -> None:
        """Break off a `caption` that takes longer from now on, all its steps together.

        None: never.
        """
        self._seconds = seconds
        for session in self._teller.sessions:
            session.limit_s = seconds

    def warm_up(self) -> None:
        """Look at each bucket once, smallest first, and write a few ids.

        At the largest as many as ever, so that what it takes is known: memory and time.

        Raises:
            OutOfMemory: a bucket does not fit; those before it do.
        """
        row = self.prepare([sample_picture(self.size)])
        for bucket in self.buckets:
            longest = self._rules.longest if bucket == self.buckets[-1] else WARM
            rules = self._rules._replace(longest=longest, shortest=longest)
            self._tell(np.repeat(row, bucket, axis=0), bucket, rules, self._caption.beams)

    def prepare(
        self, pictures: Sequence[Picture], originals: Sequence[Size] | None = None
    ) -> Array:
        """*pictures* as the graph's tensor: its dtype, [n, 3, s, s].

        *originals* are the widths and heights of what the pictures are thumbnails of.

        Raises:
            PictureBroken: one of them has no pixels or is no RGB array; it is not said which.
        """
        return image.prepare(pictures, self._caption, self._teller.picture.dtype, originals)

    def caption(
        self,
        tensor: Array,
        *,
        largest: int | None = None,
        beams: int | None = None,
        said: Callable[[int, str], None] | None = None,
    ) -> list[Written | PictureBroken]:
        """What the pictures of a tensor from `prepare` show, one answer a row.

        *largest* leaves out the buckets above it, after one of them did not fit.  *beams* is the
        pack's, if None.  While captions are written greedily, *said* is told of each row that
        says more, and all it says so far.

        Raises:
            ModelBroken: a graph failed, or fails on its test picture as well.
            OutOfMemory: the bucket of its *rows* does not fit.
            DeviceLost: as `Session.run`.
            RanTooLong: it took longer than its limit; nothing is left of it.
            ValueError: the tensor is not from this captioner's `prepare`.
        """
        shape = (3, self.size, self.size)
        if tensor.dtype != self._teller.picture.dtype or tensor.shape[1:] != shape:
            raise ValueError(
                f"expected {self._teller.picture.dtype} {spell((None, *shape))}, "
                f"found {tensor.dtype} {spell(tensor.shape)}"
            )
        small = tuple(bucket for bucket in self.buckets if largest is None or bucket <= largest)
        told: list[Written | PictureBroken] = []
        until = None if self._seconds is None else time.monotonic() + self._seconds
        try:
            for session in self._teller.sessions:
                session.until = until
            for taken, bucket in plan(len(tensor), small or self.buckets[:1]):
                batch = tensor[len(told) : len(told) + taken]
                if self._pads and taken < bucket:
                    batch = np.concatenate([batch, np.repeat(batch[-1:], bucket - taken, axis=0)])
                told += self._tell(
                    batch,
                    taken,
                    self._rules,
                    beams or self._caption.beams,
                    said=said,
                    first=len(told),
                )
        finally:
            for session in self._teller.sessions:
                session.until = None
        if any(isinstance(each, PictureBroken) for each in told):
            self._check_itself()
        return told

    def _tell(
        self,
        batch: Array,
        wanted: int,
        rules: Rules,
        beams: int,
        *,
        said: Callable[[int, str], None] | None = None,
        first: int = 0,
    ) -> list[Written | PictureBroken]:
        """The first *wanted* rows of *batch*; its row 0 is called *first*."""
        rows = len(batch)
        decoding: Decoding = (
            Greedy(rows, rules, real=wanted)
            if beams == 1
            else BeamSearch(rows, rules, beams=beams, real=wanted)
        )
        growing = [Growing(self._vocabulary) for _ in range(wanted if said and beams == 1 else 0)]
        try:
            for _ in self._steps(batch, decoding, rules):
                for row, text in enumerate(growing):
                    if said is not None and text.grow(decoding.written(row)):
                        said(first + row, text.text)
        except OutOfMemory as error:
            raise OutOfMemory(error.file, rows, error.reason) from error
        return [
            PictureBroken("its caption came out as NaN or infinity")
            if each is None
            else Written(self._vocabulary.text(each.ids), *each)
            for each in decoding.told()[:wanted]
        ]

    def _steps(self, batch: Array, decoding: Decoding, rules: Rules) -> Iterator[None]:
        """Ask, choose and come back, until *decoding* has told all of *batch*."""
        decoder = self._teller.decoder
        memory = Memory(self._teller.look(batch), {}, 0)
        seen = memory.seen
        pictures: Ids = np.arange(len(batch))
        ids: Ids = np.tile(np.array(rules.begin, np.int64), (len(batch), 1))
        while True:
            logits, memory = decoder.read(self._teller.words(ids), memory)
            if not self._cached:
                memory = Memory(seen, {}, 0)
            step = decoding.step(logits)
            yield
            if step.over:
                return
            if not np.array_equal(step.parents, np.arange(len(ids))):
                others = not np.array_equal(step.pictures, pictures)
                memory = decoder.choose(memory, step.parents, seen=others)
            seen, pictures = memory.seen, step.pictures
            before = ids[step.parents, : 0 if self._cached else None]
            ids = np.concatenate([before, step.ids[:, None]], axis=1)

    def _check_ids(self, pack: Pack, known: int | None) -> None:
        rules = self._rules
        highest = max(*rules.begin, rules.stop, rules.pad)
        if known is not None and highest >= known:
            raise PackBroken(
                pack.path(MANIFEST), f"names the id {highest}, but its decoder knows {known}"
            )

    def _check_itself(self) -> Array:
        """The logits of a test picture's first id."""
        row = self.prepare([sample_picture(self.size)])
        batch = np.repeat(row, self.buckets[0] if self._pads else 1, axis=0)
        ids: Ids = np.tile(np.array(self._rules.begin, np.int64), (len(batch), 1))
        memory = Memory(self._teller.look(batch), {}, 0)
        logits, _ = self._teller.decoder.read(self._teller.words(ids), memory)
        if log_probabilities(logits)[1].any():
            raise ModelBroken(
                self._teller.decoder.session.path,
                "gave NaN or infinity for an ordinary test picture",
            )
        return logits[:1]

    def _check_against(self, expected: Array, found: Array) -> None:
        """As `Session.check_against_cpu`, of the logits."""
        mine, theirs = (
            np.nan_to_num(each.astype(np.float64).ravel()) for each in (found, expected)
        )
        cosine = float(mine @ theirs / (np.linalg.norm(mine) * np.linalg.norm(theirs) or 1))
        session = self._teller.decoder.session
        if not cosine > AGREES:
            raise DeviceUnusable(
                session.device,
                f"it computes {session.path.name} otherwise than the CPU: cosine {cosine:.4f}, "
                f"expected more than {AGREES}",
            )


def teller_of(graphs: dict[str, Session], caption: Caption, vocabulary: Vocabulary) -> Teller:
    """*graphs*, by the names of `CAPTION_GRAPHS`, as a captioner of *caption*'s kind.

    Raises:
        ModelBroken: they do not fit the kind; nothing is run.
    """
    if caption.kind == "blip":
        return Blip(graphs, caption)
    if caption.kind == "vit-gpt2":
        return VitGpt2(graphs, caption)
    return Florence2(graphs, caption, vocabulary)
