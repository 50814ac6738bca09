"""What a published face graph needs, read from the graph: folders of faces say nothing.

A detector is run once and read in each way there is; the one that fits is its kind.  Scaling is
that of the kind's authors.  A recogniser takes (x - 127.5) / 127.5 like InsightFace's, unless it
begins with a subtraction and a product: then it does that itself, as graphs that came from MXNet
do, and doing it twice would make all faces alike.
"""

from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from models.errors import ModelBroken
from models.faces.detector import KINDS, FaceDetector, Kind
from models.faces.grid import Unreadable
from models.faces.recogniser import FaceRecogniser
from models.graphfile import GraphFile
from models.memory import measured
from models.pack import Channels, Colour, DetectGraph, RecogniseGraph
from models.probing import buckets, layout, mib, only_input, run, vector
from models.session import Port, Session
from models.tower import sample_picture

#: Side of the frame, where a detector takes any; of a crop, where a recogniser does.
FRAME, CROP = 640, 112

#: Batch sizes of a recogniser: most photos have a face or a few.
BUCKETS = (1, 4, 16, 32)

#: What the graph gets of a pixel, by kind: mean and std on the scale 0–1, and the order.
BARE: tuple[Channels, Channels] = ((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255))
SCALES: dict[str, tuple[Channels, Channels, Colour]] = {
    "yunet": (*BARE, "BGR"),
    "scrfd": ((0.5, 0.5, 0.5), (128 / 255, 128 / 255, 128 / 255), "RGB"),
    "ultralight": ((127 / 255, 127 / 255, 127 / 255), (128 / 255, 128 / 255, 128 / 255), "RGB"),
}


def finds_faces(path: Path) -> bool:
    """Is the graph at *path* a detector, by the number of its outputs?  Else it is a recogniser.

    Raises:
        ModelBroken: it does not load.
    """
    return len(Session.open(path).outputs) > 1


def detect_graph(source: Path, file: str, graph: GraphFile, sha256: str) -> DetectGraph:
    """The detector *file* of *source* as the manifest will tell it.

    Raises:
        ModelBroken: it does not load or run, or is of no kind known here.
    """
    with measured() as peak:
        session = Session.open(source / file)
        port = only_input(session)
        kind, width = _kind(session, port)
        mean, std, colour = SCALES[kind]
        told = DetectGraph(
            file=file,
            sha256=sha256,
            kind=kind,
            precision=graph.precision,
            size=width,
            mean=mean,
            std=std,
            colour=colour,
            input=port.name,
            outputs=tuple(session.outputs),
        )
        FaceDetector(session, told).warm_up()
    return msgspec.structs.replace(told, memory_mib=max(peak.mib, mib(source / file, graph)))


def recognise_graph(
    source: Path, file: str, graph: GraphFile, sha256: str, space: str
) -> RecogniseGraph:
    """The recogniser *file* of *source* as the manifest will tell it.

    Raises:
        ModelBroken: it does not load or run, or gives no vectors.
    """
    with measured() as peak:
        session = Session.open(source / file)
        port = only_input(session)
        order = layout(port)
        channels, height, width = (1, 2, 3) if order == "NCHW" else (3, 1, 2)
        if len(port.shape) != 4 or port.shape[channels] not in {3, None}:
            raise ModelBroken(
                session.path, f"expected one input [n, 3, 112, 112], found {list(port.shape)}"
            )
        size = port.shape[width] or CROP
        if port.shape[height] not in {size, None}:
            raise ModelBroken(session.path, f"expected a square, found {list(port.shape)}")
        output = vector(session)
        row = np.zeros((1, 3, size, size) if order == "NCHW" else (1, size, size, 3), port.dtype)
        raw = run(session, port, row, output)
        bare = graph.scales_itself or port.dtype == np.uint8
        mean, std = BARE if bare else ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
        told = RecogniseGraph(
            file=file,
            sha256=sha256,
            precision=graph.precision,
            buckets=buckets(port, BUCKETS),
            size=size,
            mean=mean,
            std=std,
            colour="RGB",
            layout=order,
            input=port.name,
            output=output,
            dimensions=raw.shape[1],
            space=space,
        )
        FaceRecogniser(session, told).warm_up()
    return msgspec.structs.replace(told, memory_mib=max(peak.mib, mib(source / file, graph)))


def _kind(session: Session, port: Port) -> tuple[Literal["yunet", "scrfd", "ultralight"], int]:
    """The kind of a detector, and the width it looks at."""
    shape = port.shape
    outputs = len(session.outputs)
    why = "their number fits none"
    if len(shape) == 4 and shape[1] in {3, None} and shape[0] in {1, None}:
        width = shape[3] or FRAME
        height = shape[2] or (width * 3 // 4 if outputs == 2 else width)
        picture = sample_picture(max(width, height))[:height, :width].transpose(2, 0, 1)[None]
        given = session.run({port.name: np.ascontiguousarray(picture.astype(port.dtype))})
        wanted: tuple[Literal["yunet", "scrfd", "ultralight"], ...] = ("yunet", "scrfd")
        for kind in ("ultralight",) if outputs == 2 else wanted:
            how: Kind = KINDS[kind]
            try:
                how.decode(given.values(), width, height, how.threshold)
            except Unreadable as error:
                why = str(error)
                continue
            return kind, width
    raise ModelBroken(
        session.path,
        "expected one input [1, 3, s, s] and 9 outputs (SCRFD with landmarks), 6 (without), 12 "
        f"(YuNet) or 2 (Ultra-Light), found {list(shape)} and {outputs}: {why}",
    )
