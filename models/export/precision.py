"""The same graph in fewer bits.

    fp16   onnxruntime's own converter; inputs and outputs stay float32, unless told otherwise.
           For GPUs: a CPU computes it through float32 and gains nothing.  Norms and softmax are
           single operators, whose kernels add up in float32.
    int8   weights of MatMul and Gemm, activations quantised as they come.  About twice as fast on
           processors with 8-bit dot products.

A matrix that two operators share, as a captioner's words are read and written with one table, is
given to each before 8 bits: the quantiser turns it round in place, for one of them.

Graphs with branches (`If`) are not taken: converters leave their inner graphs half done.  Whoever
has one reduces the branches before they are joined.

Rejected: onnxconverter-common, whose fp16 graphs of traced exports with casts inside do not load;
and int8 convolutions, which run slower than float32 ones on every CPU that was tried.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx

from models.pack import Precision


def reduce(
    source: Path, target: Path, precision: Precision, keep: Sequence[str] | None = None
) -> None:
    """Write the float32 graph at *source* to *target* with fewer bits.

    In 16 bits the inputs and outputs named by *keep* stay float32, by default all of them.  What
    only goes from one run into the next is better left in 16.

    Raises:
        ValueError: there is no way to that precision, or the graph has branches.
    """
    if precision not in {"fp16", "int8"}:
        raise ValueError(f"a graph is reduced to fp16 or int8, not to {precision}")
    model = onnx.load(source)
    if any(node.op_type == "If" for node in model.graph.node):
        raise ValueError("a graph with branches is not reduced: reduce each before they are joined")
    if precision == "fp16":
        from onnxruntime.transformers import float16  # noqa: PLC0415 - slow, and only for this

        kept = True if keep is None else list(keep)
        onnx.save(float16.convert_float_to_float16(model, keep_io_types=kept), target)
    else:
        from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: PLC0415

        _part(model)
        root = logging.getLogger()
        level = root.level
        root.setLevel(logging.ERROR)  # it recommends a step that changes nothing here
        try:
            quantize_dynamic(
                model,
                target,
                op_types_to_quantize=["MatMul", "Gemm"],
                weight_type=QuantType.QInt8,
            )
        finally:
            root.setLevel(level)


def _part(model: Any) -> None:
    """Give each Gemm of *model* that shares its matrix one of its own."""
    graph = model.graph
    uses = Counter(name for node in graph.node for name in node.input)
    tables = {each.name: each for each in graph.initializer}
    for number, node in enumerate(graph.node):
        if node.op_type == "Gemm" and uses[node.input[1]] > 1 and node.input[1] in tables:
            own = graph.initializer.add()
            own.CopyFrom(tables[node.input[1]])
            own.name = f"{own.name}.{number}"
            node.input[1] = own.name
