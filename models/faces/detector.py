"""Where the faces in a picture are: one look at all of it, and further ones where that is blind.

A detector sees faces of some ten to three hundred pixels in a frame of 640.  What lies outside
that range gets a look of its own:

    whole      the picture in the detector's frame.  What is found here stays as it was found.
    near       SCRFD whose sides are open: the whole picture again in 128 x 128, both suppressed
               together, as its authors do since 1.0
    border     a small picture, or one with nothing in it but faces that fill it, or with none at
               all: the picture with a border around it, so that faces have surroundings
    turned     a picture with faces that no look is sure of: on its head
    tiles      a picture twice as long as the frame: four overlapping quarters (a long strip: as
               many as it takes), for faces that are too small in the whole.  One that touches an
               inner border is left out: it is whole in the next tile or large enough in the whole.

A face keeps the box of the look that found it first; so boxes are those of the detector alone,
whatever else was looked at.  Its landmarks are those of the look that was surest, or finer and
not less sure; so is its score.

YuNet finds faces on their heads nearly as well as others (21 of 22 photos), but takes their
mouths for eyes: they could not be recognised.  Seen upright they score higher, by more than 0.03
for 140 of 145 such faces and for none of 434 upright ones, none of which was sure of itself.  So
such a face is taken as the turned look has it, in which landmarks name the parts of the upright
face and alignment turns it.  A turned look where nothing was found is not worth it: it found one
face more, and two in 90 photos that have none.  Faces that lie on their side are not looked for.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.errors import DeviceUnusable, ModelBroken, PictureBroken
from models.faces import scrfd, ultralight, yunet
from models.faces.candidates import Candidates
from models.faces.face import Face, covered, iou
from models.faces.grid import Unreadable
from models.faces.letterbox import Fitted, Pixels, letterbox, stretch
from models.faces.suppression import suppress
from models.faces.tensor import tensor
from models.pack import DetectGraph, Pack
from models.session import AGREES, Array, Port, Session
from models.tower import check_contract, open_graph, sample_picture

#: Side of the frame in which an SCRFD looks for faces that fill the picture.
NEAR = 128

#: Part of the frame that stays free on each side of a picture with a border: half the picture.
BORDER = 0.25

#: A picture whose longer side is below this part of the frame's is small.
SMALL = 0.5

#: A face fills a picture whose width or height it takes this part of.
FILLS = 0.7

#: Parts of one face, and the face, share more of the smaller box than two faces do.
PART = 0.6

#: Two looks saw one face if their boxes share this; its landmarks are the other's if it scores
#: higher by so much.
SAME, BETTER = 0.3, 0.03

#: The same for tiles, whose landmarks are finer.  Of faces of 90 pixels in pictures of 2048 the
#: crops' vectors came nearer to those of the originals, from a cosine of 0.84 to 0.91; of 48
#: pixels from 0.56 to 0.76.  Less, and a face on its head would lose what the turned look told.
FINER = -0.03

#: How much of a tile its neighbour shows as well.
SHARED = 0.2

#: Longest strip, in tiles.
MOST_TILES = 8


class Kind(NamedTuple):
    """How one kind of detector is asked and read."""

    fit: Callable[[Pixels, int, int, float], Fitted]
    decode: Callable[[Iterable[NDArray[Any]], int, int, float], Candidates]
    threshold: float
    overlap: float
    sure: float  #: upright faces score more, as a rule; without landmarks nothing can be turned


KINDS: Mapping[str, Kind] = {
    "yunet": Kind(letterbox, yunet.decode, yunet.THRESHOLD, yunet.OVERLAP, yunet.SURE),
    "scrfd": Kind(letterbox, scrfd.decode, scrfd.THRESHOLD, scrfd.OVERLAP, scrfd.SURE),
    "ultralight": Kind(stretch, ultralight.decode, ultralight.THRESHOLD, ultralight.OVERLAP, 0),
}


class FaceDetector:
    """Pictures to faces, one at a time.  Made by `open`."""

    def __init__(self, session: Session, graph: DetectGraph) -> None:
        port = self.check(session, graph)
        self._session = session
        self._graph = graph
        self._kind = KINDS[graph.kind]
        self._feed = port.name
        self._dtype = port.dtype
        self._width, self._height = _frame(graph)
        self._threshold = graph.threshold or self._kind.threshold
        self._overlap = graph.nms or self._kind.overlap
        self._sure = graph.sure or self._kind.sure
        self._looks_near = False

    @staticmethod
    def check(session: Session, graph: DetectGraph) -> Port:
        """The input of *session*'s graph, once that fits *graph*; nothing is run.

        Raises:
            ModelBroken: it does not fit.
        """
        width, height = _frame(graph)
        port = check_contract(
            session,
            feed=graph.input,
            dtypes=("float32", "float16", "uint8"),
            shape=(3, height, width),
        )
        if port.shape and port.shape[0] not in {1, None}:
            raise ModelBroken(
                session.path, f"expected one picture at a time, found {list(port.shape)}"
            )
        missing = [name for name in graph.outputs if name not in session.outputs]
        if missing:
            found = ", ".join(map(repr, session.outputs))
            raise ModelBroken(session.path, f"expected an output {missing[0]!r}, found {found}")
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
        """Load the graph of *pack*'s [faces.detect] and look at one test picture with it.

        A GPU must give what the CPU gives for it.  *threads*, *memory_mib* and *limit_s* (of one
        run) are those of `Session.open`.

        Raises:
            PackBroken: the pack has no such section, or its file is not the one it names.
            ModelBroken: the graph does not load, or its outputs are not those of its kind.
            DeviceUnusable, OutOfMemory, NoRuntime, TwoRuntimes: as `Session.open`.
        """
        graph = pack.require_detect()
        session = open_graph(
            pack,
            graph.file,
            device=device,
            threads=threads,
            memory_mib=memory_mib,
            limit_s=limit_s,
        )
        detector = cls(session, graph)
        detector._check_itself()
        detector._looks_near = detector._can_look_near()
        if not device.startswith("cpu"):
            detector._check_against_cpu()
        return detector

    def limit(self, seconds: float) -> None:
        """Break off runs that take longer from now on, as `RanTooLong`."""
        self._session.limit_s = seconds

    def warm_up(self) -> None:
        """Run each shape once, so that no photo waits for the first run.

        Raises:
            OutOfMemory: it does not fit.
        """
        for width, height in self._frames():
            self._run(self._sample(width, height))

    def detect(self, picture: NDArray[np.uint8]) -> list[Face]:
        """The faces in *picture*, uint8 RGB [h, w, 3], upright; best first.

        Boxes end where the picture ends.

        Raises:
            PictureBroken: it has no pixels or is no RGB, or the graph gave NaN for it alone.
            ModelBroken: the graph failed, or gives NaN for its test picture as well.
            OutOfMemory, DeviceLost, RanTooLong: as `Session.run`.
        """
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise PictureBroken(
                f"expected uint8 [h, w, 3], found {picture.dtype} {list(picture.shape)}"
            )
        height, width = picture.shape[:2]
        if not picture.size:
            raise PictureBroken(f"a picture of {width} x {height} pixels")
        fit, frame = self._kind.fit, (self._width, self._height)
        look = fit(picture, *frame, 0)
        found = self._found(look)
        if self._looks_near:
            near = self._found(fit(picture, NEAR, NEAR, 0))
            found = suppress(Candidates.joined([found, near]), self._overlap)
        faces = self._merged([], _faces(found, width, height))
        small = max(width, height) < SMALL * max(frame)
        if small or all(_fills(face, width, height) for face in faces):
            look = fit(picture, *frame, BORDER)
            faces = self._merged(faces, _faces(self._found(look), width, height))
        if any(face.score < self._sure for face in faces):
            found = self._found(look.turned()).turned(width, height)
            faces = self._merged(faces, _faces(found, width, height))[: len(faces)]
        if max(width, height) >= 2 * max(frame):
            for found in self._in_tiles(picture):
                faces = self._merged(faces, _faces(found, width, height), FINER)
        return sorted(faces, key=lambda face: -face.score)

    def _merged(self, faces: list[Face], more: list[Face], better: float = BETTER) -> list[Face]:
        """*faces*, each with the landmarks of its double in *more*, then who has none.

        *better* is how much higher the double has to score.
        """
        merged = list(faces)
        for face in more:
            shares = [iou(face, other) for other in faces]
            best = max(range(len(faces)), key=shares.__getitem__, default=0)
            if faces and shares[best] > SAME:
                mine = merged[best]
                if face.score > mine.score + better:
                    merged[best] = msgspec.structs.replace(
                        mine, score=max(face.score, mine.score), landmarks=face.landmarks
                    )
            elif not any(
                share > self._overlap or covered(face, other) > PART
                for share, other in zip(shares, faces, strict=True)
            ):
                merged.append(face)
        return merged

    def _in_tiles(self, picture: NDArray[np.uint8]) -> Iterator[Candidates]:
        height, width = picture.shape[:2]
        for top, bottom in _cuts(height, width):
            for left, right in _cuts(width, height):
                tile = self._kind.fit(picture[top:bottom, left:right], self._width, self._height, 0)
                found = self._found(tile).moved(left, top)
                # Within a cell of the finest grid of a side.
                near = np.array([8 / tile.across, 8 / tile.down] * 2)
                low = found.boxes - near < np.array([left, top, right, bottom])
                high = found.boxes + near > np.array([left, top, right, bottom])
                inner = np.array([left > 0, top > 0, right < width, bottom < height])
                cut = (np.concatenate([low[:, :2], high[:, 2:]], axis=1) & inner).any(axis=1)
                yield found.chosen(~cut)

    def propose(self, feed: Array) -> Candidates:
        """One bare look at *feed*, a tensor as the graph takes it: faces in its pixels, best first.

        Raises:
            PictureBroken, ModelBroken, OutOfMemory, DeviceLost, RanTooLong: as `detect`.
        """
        found = self._decoded(feed)
        if not all(np.isfinite(each).all() for each in found):
            self._check_itself()
            raise PictureBroken("gave NaN or infinity where its faces are looked for")
        whole_pixels = self._graph.kind == "yunet"  # crowds are counted as OpenCV counts them
        return suppress(found, self._overlap, whole_pixels=whole_pixels)

    def prepare(self, fitted: Fitted) -> Array:
        """*fitted* as the graph takes it."""
        return tensor(fitted.pixels[None], self._graph, self._dtype)

    def _found(self, fitted: Fitted) -> Candidates:
        """What there is in *fitted*, in pixels of its picture, one box a face."""
        return fitted.back(self.propose(self.prepare(fitted)))

    def _decoded(self, feed: Array) -> Candidates:
        outputs = self._run(feed)
        height, width = feed.shape[2:]
        try:
            return self._kind.decode(outputs.values(), width, height, self._threshold)
        except Unreadable as error:
            raise ModelBroken(self._session.path, str(error)) from error

    def _run(self, feed: Array) -> dict[str, Array]:
        return self._session.run({self._feed: feed}, self._graph.outputs)

    def _sample(self, width: int, height: int) -> Array:
        return self.prepare(self._kind.fit(sample_picture(64), width, height, 0))

    def _bare(self, feed: Array) -> NDArray[np.float64]:
        """All that the graph says of *feed*, in a row."""
        said = [each.ravel() for each in self._run(feed).values()]
        return np.concatenate(said).astype(np.float64)

    def _frames(self) -> list[tuple[int, int]]:
        return [(self._width, self._height)] + [(NEAR, NEAR)] * self._looks_near

    def _can_look_near(self) -> bool:
        """Does it take a smaller frame, too?  What stands in a graph's input may be wrong."""
        sides = self._session.inputs[self._feed].shape[2:]
        if self._graph.kind != "scrfd" or sides != (None, None):
            return False
        try:
            self._decoded(self._sample(NEAR, NEAR))
        except ModelBroken:
            return False
        return True

    def _check_itself(self) -> None:
        for width, height in self._frames():
            found = self._decoded(self._sample(width, height))
            if not all(np.isfinite(each).all() for each in found):
                raise ModelBroken(
                    self._session.path, "gave NaN or infinity for an ordinary test picture"
                )

    def _check_against_cpu(self) -> None:
        """As `Session.check_against_cpu`, over all outputs as one vector."""
        other = FaceDetector(
            Session.open(self._session.path, limit_s=self._session.limit_s), self._graph
        )
        sample = self._sample(self._width, self._height)
        mine, theirs = self._bare(sample), other._bare(sample)
        cosine = float(mine @ theirs / (np.linalg.norm(mine) * np.linalg.norm(theirs) or 1))
        if not cosine > AGREES:
            raise DeviceUnusable(
                self._session.device,
                f"it computes {self._session.path.name} otherwise than the CPU: cosine "
                f"{cosine:.4f}, expected more than {AGREES}",
            )


def _frame(graph: DetectGraph) -> tuple[int, int]:
    """Width and height of what the graph looks at."""
    return graph.size, graph.size * 3 // 4 if graph.kind == "ultralight" else graph.size


def _faces(found: Candidates, width: int, height: int) -> list[Face]:
    """*found* in a picture of *width* × *height*, cut where it ends."""
    corners = np.clip(found.boxes, 0, [width, height, width, height])
    faces = [
        Face(left, top, right, bottom, min(score, 1.0), tuple((x, y) for x, y in points))
        for (left, top, right, bottom), score, points in zip(
            corners.tolist(), found.scores.tolist(), found.points.tolist(), strict=True
        )
    ]
    return [face for face in faces if face.width > 0 and face.height > 0]


def _fills(face: Face, width: int, height: int) -> bool:
    return face.width > FILLS * width or face.height > FILLS * height


def _cuts(side: int, other: int) -> list[tuple[int, int]]:
    """Where tiles begin and end along *side*, of a picture whose other side is *other*.

    Two each way, but a strip is cut along its length only, into tiles about as long as wide.
    """
    count = 2
    if side >= 2 * other:
        count = min(MOST_TILES, round(side / other))
    elif other >= 2 * side:
        count = 1
    if count == 1:
        return [(0, side)]
    length = side / (count - (count - 1) * SHARED)
    starts = [round(number * length * (1 - SHARED)) for number in range(count)]
    return [(start, min(side, round(start + length) + 1)) for start in starts]
