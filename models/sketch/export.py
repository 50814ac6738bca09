"""From a checkpoint to a model pack: two ONNX graphs, the subwords, a pack.toml.

The graphs compute in float32 but store their matrices in float16, each behind a Cast that
onnxruntime folds when it loads: half the size, no other graph to tune, and a loss no ranking shows.
Rejected, with the figures in `models.sketch`: computing in float16, no faster on a CPU; and int8, a
quarter faster at the same size, but rounded differently by processors with and without 8-bit dot
products, where vectors of one space must agree.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from models.clip import ImageTower, TextTower
from models.pack import MANIFEST, Manifest, load_pack, to_toml, verify
from models.sketch.network import DIMENSIONS, Sketch
from models.sketch.recall import measure_recall
from models.sketch.reduction import SIDE
from models.sketch.subwords import CONTEXT, PAD, learn_subwords
from models.sketch.train import CHECKPOINT, Evaluation, as_tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_OPSET: Final = 17
#: Elements below which a tensor is left alone: scalars and norms save nothing.
_WORTH_HALVING: Final = 1024
_LEAST_COSINE: Final = 0.9999

#: First line of a pack.toml written here.
HEADER: Final = "# Written by `python -m models.sketch` export, export-faces and export-captions.\n"

_MANIFEST: Final = """\
name = "sketch"
revision = "1"
licence = "Apache-2.0"
summary = "demo model: understands drawings only"
demo = true

[embed]
dimensions = {dimensions}
space = "sketch-1"

[embed.image]
file = "image.onnx"
sha256 = "{image}"
precision = "fp16-weights"
memory_mib = 40
buckets = [1, 8, 32]
size = {side}
resize = "shortest"
resample = "bicubic"
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]
colour = "RGB"
layout = "NCHW"
preprocess = "1"
input = "pixels"
output = "embedding"
normalised = true

[embed.text]
file = "text.onnx"
sha256 = "{text}"
tokenizer = "tokenizer.json"
tokenizer_sha256 = "{tokenizer}"
kind = "tokenizers"
context = {context}
pad = {pad}
input = "ids"
output = "embedding"
normalised = true
causal = false
canonical = false
precision = "fp16-weights"
memory_mib = 20
"""


class _Unit(nn.Module):  # type: ignore[misc, unused-ignore]
    """A tower that ends in an L2 norm."""

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, x: Tensor) -> Tensor:
        return functional.normalize(self.tower(x), dim=1)


def export(work: Path, directory: Path) -> None:
    """Write the pack of the last checkpoint in `work` into `directory`, read it back, measure it.

    What else the pack in `directory` knows, faces and captions, stays as it is.

    Raises:
        ValueError: the graphs do not compute what the checkpoint does.
    """
    tokenizer = learn_subwords()
    model = Sketch(tokenizer.get_vocab_size())
    model.load_state_dict(torch.load(work / CHECKPOINT)["weights"])
    model.eval()
    directory.mkdir(parents=True, exist_ok=True)
    image, text = _Unit(model.image).eval(), _Unit(model.text).eval()
    pixels = torch.zeros(2, 3, SIDE, SIDE)
    ids = torch.ones(2, CONTEXT, dtype=torch.int64)
    write_graph(image, pixels, "pixels", {0: "n"}, directory / "image.onnx")
    write_graph(text, ids, "ids", {0: "n", 1: "t"}, directory / "text.onnx")
    tokenizer.save(str(directory / "tokenizer.json"), pretty=False)
    files = ("image.onnx", "text.onnx", "tokenizer.json")
    sums = {
        Path(name).stem: hashlib.sha256((directory / name).read_bytes()).hexdigest()
        for name in files
    }
    told = _MANIFEST.format(**sums, dimensions=DIMENSIONS, side=SIDE, context=CONTEXT, pad=PAD)
    manifest = msgspec.toml.decode(told, type=Manifest)
    if (directory / MANIFEST).exists():
        there = load_pack(directory)
        manifest = msgspec.structs.replace(manifest, faces=there.faces, caption=there.caption)
    (directory / MANIFEST).write_text(HEADER + to_toml(manifest), encoding="utf-8")
    _check(directory, Evaluation(tokenizer), image, text)


def write_graph(  # noqa: PLR0917 - a module, what it takes, where to
    module: nn.Module,
    example: Tensor,
    name: str,
    open_axes: dict[int, str],
    path: Path,
    outputs: Sequence[str] = ("embedding",),
) -> None:
    """Export *module* with *name* as its input; of input and outputs *open_axes* may vary.

    Of the outputs only the first axis does.
    """
    first = {0: open_axes[0]} if open_axes else {}
    axes = {name: open_axes} | dict.fromkeys(outputs, first) if open_axes else {}
    trace_graph(module, (example,), path, inputs=(name,), outputs=outputs, open_axes=axes)


def trace_graph(
    module: nn.Module,
    examples: tuple[Tensor, ...],
    path: Path,
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
    open_axes: dict[str, dict[int, str]],
) -> None:
    """Export *module*, called with *examples*; *open_axes* are, by tensor, those that may vary."""
    # The older exporter, traced: it folds batch norms into convolutions and needs no onnxscript.
    torch.onnx.export(
        module,
        examples,
        str(path),
        input_names=list(inputs),
        output_names=list(outputs),
        dynamic_axes=open_axes or None,
        opset_version=_OPSET,
        dynamo=False,
    )
    graph = onnx.load(path)
    _halve_weights(graph.graph)
    onnx.checker.check_model(graph)
    onnx.save(graph, path)


def _halve_weights(graph: onnx.GraphProto) -> None:
    """Store large float32 constants as float16, each followed by a Cast back."""
    casts = []
    for weight in graph.initializer:
        values = numpy_helper.to_array(weight)
        if values.dtype != np.float32 or values.size < _WORTH_HALVING:
            continue
        name, stored = weight.name, f"{weight.name}.half"
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), stored))
        casts.append(helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _check(directory: Path, evaluation: Evaluation, image: nn.Module, text: nn.Module) -> None:
    """Load the pack as the program does and compare it with the checkpoint."""
    pack = load_pack(directory)
    verify(pack)
    eyes, words = ImageTower.open(pack), TextTower.open(pack)
    pictures = eyes.embed(eyes.prepare(list(evaluation.pixels)))
    captions = words.encode(evaluation.captions)
    with torch.no_grad():
        cosines = {
            "image": _cosine(pictures, image(as_tensor(evaluation.pixels)).numpy()),
            "text": _cosine(captions, text(evaluation.ids).numpy()),
        }
    print(f"smallest cosine to torch: {cosines}")
    if min(cosines.values()) < _LEAST_COSINE:
        raise ValueError(f"{directory} differs from the checkpoint: smallest cosine {cosines}")
    print(measure_recall(evaluation.captions, captions, pictures))
    size = sum(path.stat().st_size for path in directory.iterdir())
    print(f"{directory}: {size:,} bytes")


def _cosine(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    return float((ours * theirs).sum(1).min())
