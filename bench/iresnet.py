"""IResNet-50, the network behind most ArcFace recognisers, with random weights: no download.

Node by node as InsightFace's exporter writes it: a normalisation before each pair of convolutions
stays one, those behind a convolution are folded into its bias.  43.6 million parameters and
174 MB, as the published file.
"""

from typing import Any

import numpy as np
from onnx import TensorProto

from bench.towers import Graph

SIDE, DIMENSIONS = 112, 512
#: channels and blocks of the four stages; each halves the side
STAGES = ((64, 3), (128, 4), (256, 14), (512, 3))


def iresnet50(seed: int = 3) -> Any:
    """Aligned faces [n, 3, 112, 112] → vectors [n, 512], not normalised."""
    graph = Graph(seed)
    x = _prelu(graph, _conv(graph, "face", 3, 64, kernel=3, stride=1), 64)
    wide = 64
    for out, blocks in STAGES:
        for number in range(blocks):
            stride = 1 if number else 2
            inner = _conv(graph, _norm(graph, x, wide), wide, out, kernel=3, stride=1)
            inner = _conv(graph, _prelu(graph, inner, out), out, out, kernel=3, stride=stride)
            beside = x if number else _conv(graph, x, wide, out, kernel=1, stride=stride)
            x = graph("Add", inner, beside)
            wide = out
    side = SIDE >> len(STAGES)
    flat = graph("Flatten", _norm(graph, x, wide), axis=1)
    vector = graph.linear(flat, wide * side * side, DIMENSIONS)
    return graph.finish(
        _norm(graph, vector, DIMENSIONS),
        ("face", TensorProto.FLOAT, ("n", 3, SIDE, SIDE)),
        ("vector", TensorProto.FLOAT, ("n", DIMENSIONS)),
    )


def _conv(graph: Graph, x: str, wide: int, out: int, *, kernel: int, stride: int) -> str:
    weight = graph.weight(out, wide, kernel, kernel, scale=(wide * kernel * kernel) ** -0.5)
    bias = graph.weight(out, scale=0.02)
    pad = kernel // 2
    return graph("Conv", x, weight, bias, strides=[stride] * 2, pads=[pad] * 4)


def _norm(graph: Graph, x: str, wide: int) -> str:
    one = graph.constant(np.ones(wide, np.float32))
    bias, mean = (graph.weight(wide, scale=0.02) for _ in range(2))
    return graph("BatchNormalization", x, one, bias, mean, one, epsilon=1e-5)


def _prelu(graph: Graph, x: str, wide: int) -> str:
    return graph("PRelu", x, graph.constant(np.full((wide, 1, 1), 0.25, np.float32)))
