"""Captioners that read the caption off the picture.

The first eight values of a picture are ids.  In step t the decoder gives the t-th of them ten
points, so that what it will write is known; *noise* adds points that depend on all ids it has read,
so that a cache that lost something or was mixed up writes something else.  A NaN in the picture is
a NaN in the logits of its step.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.captions.captioner import Captioner
from models.pack import Caption, CaptionGraph, Manifest, Pack, pack_of

SIZE, SCRIPT = 4, 8
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "dog", "##gy", "'", "s", "."]
PAD, STOP, A, RED, DOG, GY, QUOTE, S, DOT, DEC = 0, 3, 5, 6, 7, 8, 9, 10, 11, 12
IDS = len(WORDS) + 2
FLOAT, HALF, INT64, BOOL = (
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.INT64,
    TensorProto.BOOL,
)
node = helper.make_node


def picture(*ids: float) -> np.ndarray:
    """A tensor of one picture that is told with *ids*, then stops."""
    tensor = np.zeros((1, 3, SIZE, SIZE), np.float32)
    tensor.reshape(-1)[:SCRIPT] = [*ids, *[STOP] * (SCRIPT - len(ids))]
    return tensor


def save(path: Path, nodes, inputs, outputs, weights) -> None:
    graph = helper.make_graph(
        nodes,
        "captions",
        [helper.make_tensor_value_info(*each) for each in inputs],
        [helper.make_tensor_value_info(*each) for each in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def encoder(path: Path, outputs: dict[str, list[int]], kind: int, batch: Any = "b") -> None:
    """Gives the script in the shape [b, *shape] of each of *outputs*."""
    weights = {"flat": np.array([0, 3 * SIZE * SIZE]), "zero": [0], "end": [SCRIPT], "one": [1]}
    nodes = [
        node("Reshape", ["pixel_values", "flat"], ["row"]),
        node("Slice", ["row", "zero", "end", "one"], ["script"]),
    ]
    for number, (name, shape) in enumerate(outputs.items()):
        weights[f"shape{number}"] = np.array([0, *shape])
        nodes.append(node("Reshape", ["script", f"shape{number}"], [name]))
    save(
        path,
        nodes,
        [("pixel_values", kind, (batch, 3, SIZE, SIZE))],
        [(name, kind, ("b", *shape)) for name, shape in outputs.items()],
        {name: np.asarray(value, np.int64) for name, value in weights.items()},
    )


def decoder(
    path: Path,
    layout: str,
    *,
    kind: int = FLOAT,
    noise: float = 0.0,
    heads: Any = 1,
    rename: dict[str, str] | None = None,
    more: tuple[str, ...] = (),
) -> None:
    """The decoder of *layout*: "blip", "vit-gpt2", "florence2", or "pastless"."""
    merged, florence = layout in {"vit-gpt2", "florence2"}, layout == "florence2"
    names = {
        "past": "past_key_values.0.decoder." if florence else "past_key_values.0.",
        "present": "present.0.decoder." if florence else "present.0.",
    }
    if layout == "blip":
        names["past"] = "past.0."
    words = ("inputs_embeds", kind, ("b", "s", 1)) if florence else ("input_ids", INT64, ("b", "s"))
    inputs: list[Any] = [words]
    outputs: list[Any] = [("logits", kind, ("b", IDS) if layout == "blip" else ("b", "s", IDS))]
    nodes = [
        node("Reshape", [words[0], "column"], ["words"]),
        node("Cast", ["words"], ["new.key"], to=kind),
        node("Neg", ["new.key"], ["new.value"]),
    ]
    for part in ("key", "value"):
        if layout == "pastless":
            nodes.append(node("Identity", [f"new.{part}"], [f"now.{part}"]))
            continue
        past, present = names["past"] + part, names["present"] + part
        inputs.append((past, kind, ("b", heads, "p", 1)))
        outputs.append((present, kind, ("b", 1, "t", 1)))
        if merged:
            with_past = node("Concat", [past, f"new.{part}"], ["both"], axis=2)
            nodes.append(choice("use_cache_branch", with_past, f"new.{part}", f"now.{part}", kind))
        else:
            nodes.append(node("Concat", [past, f"new.{part}"], [f"now.{part}"], axis=2))
        nodes.append(node("Identity", [f"now.{part}"], [present]))
    if merged:
        inputs.append(("use_cache_branch", BOOL, (1,)))
    if layout == "blip":
        inputs += [(f"cross.0.{part}", kind, ("b", 1, SCRIPT, 1)) for part in ("key", "value")]
        inputs.append(("past_len", INT64, ()))
        seen = "cross.0.key"
        nodes += [
            node("Shape", ["new.key"], ["now"], start=2, end=3),
            node("Add", ["now", "past_len"], ["read"]),
        ]
    else:
        inputs.append(("encoder_hidden_states", kind, ("b", "seen", 1)))
        seen = "encoder_hidden_states"
        nodes.append(node("Shape", ["now.key"], ["read"], start=2, end=3))
    if florence:
        # What stands in the branch with a past is nothing that anybody should feed again.
        inputs.append(("encoder_attention_mask", INT64, ("b", "seen")))
        for part in ("key", "value"):
            past, present = f"past_key_values.0.encoder.{part}", f"present.0.encoder.{part}"
            inputs.append((past, kind, ("b", 1, "e", 1)))
            outputs.append((present, kind, ("b", 1, "e2", 1)))
            nodes += [
                node("Unsqueeze", ["encoder_hidden_states", "one"], [f"computed.{part}"]),
                choice(
                    "use_cache_branch",
                    node("Identity", [past], ["given"]),
                    f"computed.{part}",
                    f"eyes.{part}",
                    kind,
                ),
                choice(
                    "use_cache_branch",
                    node("Sub", [past, past], ["given"]),
                    f"computed.{part}",
                    present,
                    kind,
                ),
            ]
        seen = "eyes.key"
    nodes += [
        node("Reshape", [seen, "rows"], ["script"]),
        node("Sub", ["read", "began"], ["next"]),
        node("Min", ["next", "last"], ["place"]),
        node("Gather", ["script", "place"], ["point"], axis=1),
        node("Cast", ["point"], ["wide"], to=FLOAT),
        node("Cast", ["point"], ["id"], to=INT64),
        node("Squeeze", ["id", "one"], ["ids"]),
        node("OneHot", ["ids", "count", "points"], ["likely"]),
        node("Cast", ["now.value"], ["told"], to=FLOAT),
        node("ReduceSum", ["told", "inner"], ["sum"], keepdims=0),
        node("Cast", ["sum"], ["total"], to=INT64),
        node("Mod", ["total", "count1"], ["history"]),
        node("Gather", ["noise", "history"], ["noisy"]),
        node("Add", ["likely", "noisy"], ["added"]),
        node("Mul", ["wide", "nothing"], ["spoilt"]),  # NaN stays NaN
        node("Add", ["added", "spoilt"], ["exact"]),
        node("Cast", ["exact"], ["one_row"], to=kind),
    ]
    if layout == "blip":
        nodes.append(node("Identity", ["one_row"], ["logits"]))
    else:
        nodes += [
            node("Unsqueeze", ["one_row", "one"], ["row"]),
            node("Mul", ["new.key", "none"], ["nought"]),
            node("Squeeze", ["nought", "one"], ["empty"]),
            node("Add", ["row", "empty"], ["logits"]),
        ]
    table = np.random.default_rng(3).normal(0, noise, (IDS, IDS)) if noise else np.zeros((IDS, IDS))
    whole = {
        "column": [0, 1, -1, 1],
        "one": [1],
        "rows": [0, -1],
        "began": [2 if florence else 1],
        "last": [SCRIPT - 1],
        "inner": [1, 2, 3],
        "count1": [IDS],
    }
    weights = {name: np.array(value, np.int64) for name, value in whole.items()} | {
        "count": np.array(IDS, np.int64),
        "points": np.array([0, 10], np.float32),
        "noise": table.astype(np.float32),
        "nothing": np.array(0, np.float32),
        "none": np.array(0, np.float16 if kind == HALF else np.float32),
    }
    names = rename or {}
    for each in nodes:
        each.input[:] = [names.get(name, name) for name in each.input]
        each.output[:] = [names.get(name, name) for name in each.output]
    inputs = [(names.get(name, name), *rest) for name, *rest in inputs]
    inputs += [(name, FLOAT, (1,)) for name in more]
    outputs = [(names.get(name, name), *rest) for name, *rest in outputs]
    used = {name for each in nodes for name in each.input} | {
        name
        for each in nodes
        for attribute in each.attribute
        for inner in attribute.g.node
        for name in inner.input
    }
    save(path, nodes, inputs, outputs, {k: v for k, v in weights.items() if k in used})


def choice(condition: str, then: Any, otherwise: str, output: str, kind: int) -> Any:
    """*then* where *condition* holds, else the value *otherwise*."""
    value = helper.make_tensor_value_info
    result = then.output[0]
    return node(
        "If",
        [condition],
        [output],
        then_branch=helper.make_graph([then], "then", [], [value(result, kind, None)]),
        else_branch=helper.make_graph(
            [node("Identity", [otherwise], ["plain"])], "else", [], [value("plain", kind, None)]
        ),
    )


def captioner_pack(
    path: Path,
    layout: str = "blip",
    *,
    dtype: int = FLOAT,
    batch: Any = "b",
    noise: float = 0.0,
    heads: Any = 1,
    rename: dict[str, str] | None = None,
    more: tuple[str, ...] = (),
    **changes: Any,
) -> Pack:
    """A pack of a captioner of *layout*; *changes* are those of its section."""
    path.mkdir(parents=True, exist_ok=True)
    decoder(
        path / "decoder.onnx",
        layout,
        kind=dtype,
        noise=noise,
        heads=heads,
        rename=rename,
        more=more,
    )
    kind = "vit-gpt2" if layout == "pastless" else layout
    names = ["encoder", "decoder"]
    begin: tuple[int, ...] = (DEC,)
    if kind == "blip":
        shapes = {f"cross.0.{part}": [1, SCRIPT, 1] for part in ("key", "value")}
        encoder(path / "encoder.onnx", shapes, dtype, batch)
    elif kind == "vit-gpt2":
        encoder(path / "encoder.onnx", {"last_hidden_state": [SCRIPT, 1]}, dtype, batch)
    else:
        names = ["vision", "embed", "encoder", "decoder"]
        begin = (DEC, A)
        encoder(path / "vision.onnx", {"image_features": [SCRIPT, 1]}, dtype, batch)
        save(
            path / "embed.onnx",
            [
                node("Cast", ["input_ids"], ["wide"], to=dtype),
                node("Unsqueeze", ["wide", "last"], ["inputs_embeds"]),
            ],
            [("input_ids", INT64, ("b", "s"))],
            [("inputs_embeds", dtype, ("b", "s", 1))],
            {"last": np.array([2])},
        )
        save(
            path / "encoder.onnx",
            [
                node("Cast", ["attention_mask"], ["mask"], to=dtype),
                node("Unsqueeze", ["mask", "last"], ["each"]),
                node("Mul", ["inputs_embeds", "each"], ["last_hidden_state"]),
            ],
            [("inputs_embeds", dtype, ("b", "s", 1)), ("attention_mask", INT64, ("b", "s"))],
            [("last_hidden_state", dtype, ("b", "s", 1))],
            {"last": np.array([2])},
        )
    (path / "vocab.txt").write_text("\n".join(WORDS) + "\n", "utf-8")

    def sha256(file: str) -> str:
        return hashlib.sha256((path / file).read_bytes()).hexdigest()

    told: dict[str, Any] = {
        "kind": kind,
        "space": "tiny-words",
        "precision": "fp16" if dtype == HALF else "fp32",
        "graphs": {name: CaptionGraph(f"{name}.onnx", sha256(f"{name}.onnx")) for name in names},
        "buckets": (1, 2, 4),
        "size": SIZE,
        "resize": "squash",
        "resample": "bicubic",
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "colour": "RGB",
        "preprocess": "1",
        "tokenizer": "vocab.txt",
        "tokenizer_sha256": sha256("vocab.txt"),
        "vocabulary": "wordpiece",
        "begin": begin,
        "stop": STOP,
        "pad": PAD,
        "longest": 7,
        "prompt": "a red dog" if kind == "florence2" else "",
    }
    manifest = Manifest("tiny", "1", "Apache-2.0", "for tests", caption=Caption(**(told | changes)))
    return pack_of(manifest, path)


def captioner(path: Path, layout: str = "blip", **changes: Any) -> Any:
    """An open one; untyped, as tests know which answers are none."""
    return Captioner.open(captioner_pack(path, layout, **changes), threads=1)
