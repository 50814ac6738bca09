"""From pixels to the tensor that the graphs of faces take."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from models.pack import DetectGraph, RecogniseGraph


def tensor(
    pixels: NDArray[np.uint8], graph: DetectGraph | RecogniseGraph, dtype: DTypeLike
) -> NDArray[Any]:
    """*pixels* RGB [n, h, w, 3] as *graph* takes them, (x / 255 - mean) / std in *dtype*.

    uint8 stays what it is, for graphs that do this arithmetic themselves.
    """
    rows = pixels[..., ::-1] if graph.colour == "BGR" else pixels
    std = np.array(graph.std, np.float64)
    scale = (1 / (255 * std)).astype(np.float32)
    bias = (-np.array(graph.mean, np.float64) / std).astype(np.float32)
    if not (isinstance(graph, RecogniseGraph) and graph.layout == "NHWC"):
        rows = rows.transpose(0, 3, 1, 2)
        scale, bias = scale[:, None, None], bias[:, None, None]
    if dtype == np.uint8:
        return np.ascontiguousarray(rows)
    made = np.empty(rows.shape, np.float32)
    if bias.any() or np.abs(scale - 1).max() > 1e-6:
        np.multiply(rows, scale, out=made, dtype=np.float32)
        made += bias
    else:  # bare pixels, which is half of what YuNet takes beside its graph
        np.copyto(made, rows)
    return made.astype(dtype, copy=False)
