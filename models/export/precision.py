"""The same graph in fewer bits.

    fp16   onnxruntime's own converter; inputs and outputs stay float32.  For GPUs: a CPU computes
           it through float32 and gains nothing.
    int8   weights of MatMul and Gemm, activations quantised as they come.  About twice as fast on
           processors with 8-bit dot products.

Rejected: onnxconverter-common, whose fp16 graphs of traced exports with casts inside do not load;
and int8 convolutions, which run slower than float32 ones on every CPU that was tried.
"""

import logging
from pathlib import Path

import onnx

from models.pack import Precision


def reduce(source: Path, target: Path, precision: Precision) -> None:
    """Write the float32 graph at *source* to *target* with fewer bits.

    Raises:
        ValueError: there is no way to that precision.
    """
    if precision == "fp16":
        from onnxruntime.transformers import float16  # noqa: PLC0415 - slow, and only for this

        onnx.save(float16.convert_float_to_float16(onnx.load(source), keep_io_types=True), target)
    elif precision == "int8":
        from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: PLC0415

        root = logging.getLogger()
        level = root.level
        root.setLevel(logging.ERROR)  # it recommends a step that changes nothing here
        try:
            quantize_dynamic(
                source,
                target,
                op_types_to_quantize=["MatMul", "Gemm"],
                weight_type=QuantType.QInt8,
            )
        finally:
            root.setLevel(level)
    else:
        raise ValueError(f"a graph is reduced to fp16 or int8, not to {precision}")
