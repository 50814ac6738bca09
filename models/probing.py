"""What a loaded graph tells of itself: names, shapes, and what it does with a row."""

from pathlib import Path

import numpy as np

from models.errors import ModelBroken
from models.graphfile import GraphFile
from models.pack import Layout
from models.session import Array, Port, Session

#: Batch sizes of a graph whose batch is open.
BUCKETS = (1, 8, 32)

#: Names of the output that is the vector, where a graph has several that could be it.
VECTORS = (
    "embedding",
    "image_embeds",
    "text_embeds",
    "image_embedding",
    "text_embedding",
    "pooler_output",
    "sentence_embedding",
)


def only_input(session: Session) -> Port:
    if len(session.inputs) != 1:
        names = ", ".join(map(repr, session.inputs)) or "none"
        raise ModelBroken(session.path, f"expected a graph of one input, found {names}")
    return next(iter(session.inputs.values()))


def vector(session: Session) -> str:
    """Which output is the vector: the only one of two dimensions, or the one known by its name."""
    flat = [port.name for port in session.outputs.values() if len(port.shape) in {0, 2}]
    if len(flat) == 1:
        return flat[0]
    for name in VECTORS:
        if name in flat:
            return name
    found = ", ".join(f"{port.name!r} {list(port.shape)}" for port in session.outputs.values())
    raise ModelBroken(session.path, f"expected one output [n, d], found {found}")


def buckets(port: Port, open_: tuple[int, ...] = BUCKETS) -> tuple[int, ...]:
    """Batch sizes for the input *port*: *open_*, unless the graph fixes one."""
    fixed = port.shape[0] if port.shape else None
    return open_ if fixed is None else (fixed,)


def layout(port: Port) -> Layout:
    last = len(port.shape) == 4 and port.shape[3] == 3 and port.shape[1] != 3
    return "NHWC" if last else "NCHW"


def run(session: Session, port: Port, rows: Array, output: str) -> Array:
    raw = session.run_rows(port.name, rows, output, buckets(port))
    if raw.ndim != 2 or not np.isfinite(raw.astype(np.float64)).all():
        what = "NaN or infinity" if raw.ndim == 2 else list(raw.shape)
        raise ModelBroken(session.path, f"expected {output!r} to be finite [n, d], found {what}")
    return raw


def mib(path: Path, graph: GraphFile) -> int:
    """The weights alone: less cannot be right, whatever was measured."""
    files = [path, *(path.parent / name for name in graph.external)]
    return 1 + sum(file.stat().st_size for file in files) // 2**20


def has_length_one(raw: Array) -> bool:
    return bool(np.allclose(np.linalg.norm(raw.astype(np.float64), axis=1), 1, atol=1e-2))
