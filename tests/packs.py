"""A second pack for the price of a copy."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from models.pack import BUILT_IN, load_pack


def turned(folder: Path, name: str, seed: int = 1) -> Path:
    """The built-in pack as another one, with a space of its own, in *folder*/*name*.

    Both its towers end in the same permutation and change of signs.  So each picture finds what
    it did, at the same cosine; a vector of one pack compared with one of the other gives noise.
    """
    target = folder / name
    shutil.copytree(BUILT_IN / "sketch", target)
    # Without faces and captions: their spaces would be the same, under the name of another pack.
    manifest = (target / "pack.toml").read_text().partition("[faces.")[0]
    for other in (*target.glob("face-*"), *target.glob("caption-*")):
        other.unlink()
    manifest = manifest.replace('name = "sketch"', f'name = "{name}"')
    manifest = manifest.replace('space = "sketch-1"', f'space = "{name}-1"')
    dimensions = load_pack(target).require_embed().dimensions
    for file in ("image.onnx", "text.onnx"):
        before = hashlib.sha256((target / file).read_bytes()).hexdigest()
        _turn(target / file, dimensions, seed)
        after = hashlib.sha256((target / file).read_bytes()).hexdigest()
        manifest = manifest.replace(before, after)
    (target / "pack.toml").write_text(manifest)
    return target


def _turn(path: Path, size: int, seed: int) -> None:
    model = onnx.load(path)
    graph = model.graph
    (output,) = graph.output
    rng = np.random.default_rng(seed)
    order = rng.permutation(size).astype(np.int64)
    signs = rng.choice([-1.0, 1.0], size).astype(np.float32)
    for node in graph.node:
        for number, each in enumerate(node.output):
            if each == output.name:
                node.output[number] = "unturned"
        for number, each in enumerate(node.input):
            if each == output.name:
                node.input[number] = "unturned"
    graph.initializer.append(numpy_helper.from_array(order, "turn_order"))
    graph.initializer.append(numpy_helper.from_array(signs, "turn_signs"))
    graph.node.append(helper.make_node("Gather", ["unturned", "turn_order"], ["permuted"], axis=1))
    graph.node.append(helper.make_node("Mul", ["permuted", "turn_signs"], [output.name]))
    onnx.checker.check_model(model)
    onnx.save(model, path)
