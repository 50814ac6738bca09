"""A captioner of which a test can foretell every word: two graphs in BLIP's layout.

encoder    how bright the picture is, as the only key of the only layer
decoder    "a picture that is WORD", by the number of the step, and WORD by the brightness
"""

import hashlib
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from models.pack import Caption, CaptionGraph, Manifest, Pack, load_pack, to_toml

NAME = "teller"
SIDE = 32
PAD, BEGIN, STOP = 0, 1, 2
BRIGHT = ("black", "dark", "grey", "light", "white")
WORDS = ("[PAD]", "[BEGIN]", "[STOP]", "a", "picture", "that", "is", *BRIGHT)
SENTENCE = ("a", "picture", "that", "is")


def caption_of(path: Path) -> str:
    """What it says of the picture at *path*, or just as well of its thumbnail."""
    with Image.open(path) as picture:
        small = picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    brightness = np.asarray(small, np.float64).mean() / 255
    return " ".join([*SENTENCE, BRIGHT[round(brightness * (len(BRIGHT) - 1))]])


def teller(folder: Path, name: str = NAME, *, mib: int = 0) -> Pack:
    """The pack *name* in *folder*/*name*; its graphs hold *mib* MiB of weights for nothing."""
    target = folder / name
    target.mkdir(parents=True)
    onnx.save(_encoder(mib), target / "encoder.onnx")
    onnx.save(_decoder(), target / "decoder.onnx")
    words = Tokenizer(WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="[PAD]"))
    words.pre_tokenizer = Whitespace()
    words.add_special_tokens(list(WORDS[:3]))
    words.save(str(target / "tokenizer.json"))
    sums = {each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in target.iterdir()}
    manifest = Manifest(
        name=name,
        revision="1",
        licence="none needed",
        summary="tells how bright a picture is",
        caption=Caption(
            kind="blip",
            space=f"{name}-1",
            precision="fp32",
            graphs={
                part: CaptionGraph(f"{part}.onnx", sums[f"{part}.onnx"])
                for part in ("encoder", "decoder")
            },
            buckets=(1, 4),
            size=SIDE,
            resize="squash",
            resample="bilinear",
            mean=(0.5,) * 3,
            std=(0.5,) * 3,
            colour="RGB",
            preprocess="1",
            tokenizer="tokenizer.json",
            tokenizer_sha256=sums["tokenizer.json"],
            vocabulary="tokenizers",
            begin=(BEGIN,),
            stop=STOP,
            pad=PAD,
            longest=12,
        ),
    )
    (target / "pack.toml").write_text(to_toml(manifest))
    return load_pack(target)


def _encoder(mib: int) -> onnx.ModelProto:
    nodes = [
        helper.make_node("ReduceMean", ["pixel_values"], ["mean"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Identity", ["mean"], ["cross.0.value"]),
    ]
    weights = []
    if mib:
        # Weights that do something, or they would be folded away: they add a hair's breadth.
        pixels = 3 * SIDE * SIDE
        some = np.random.default_rng(0).random((pixels, mib * 2**18 // pixels), np.float32)
        weights = [
            numpy_helper.from_array(some, "some"),
            numpy_helper.from_array(np.array([0, -1], np.int64), "flat"),
            numpy_helper.from_array(np.array([-1, 1, 1, 1], np.int64), "square"),
            numpy_helper.from_array(np.array(1e-9, np.float32), "hair"),
        ]
        nodes += [
            helper.make_node("Reshape", ["pixel_values", "flat"], ["row"]),
            helper.make_node("MatMul", ["row", "some"], ["product"]),
            helper.make_node("ReduceMean", ["product"], ["little"], axes=[1], keepdims=1),
            helper.make_node("Mul", ["little", "hair"], ["less"]),
            helper.make_node("Reshape", ["less", "square"], ["breadth"]),
            helper.make_node("Add", ["mean", "breadth"], ["cross.0.key"]),
        ]
    else:
        nodes.append(helper.make_node("Identity", ["mean"], ["cross.0.key"]))
    return _model(
        nodes,
        [_value("pixel_values", "n", 3, SIDE, SIDE)],
        [_value(f"cross.0.{each}", "n", 1, 1, 1) for each in ("key", "value")],
        weights,
    )


def _decoder() -> onnx.ModelProto:
    steps = np.full((len(SENTENCE) + 2, len(WORDS)), -20, np.float32)
    for at, word in enumerate(SENTENCE):
        steps[at, WORDS.index(word)] = 20
    steps[-1, STOP] = 20
    tells = np.zeros((len(steps), 1), np.float32)
    tells[len(SENTENCE)] = 1  # the step at which brightness counts
    # The nearer a word's place on the scale is to the brightness, the likelier it is.
    first = len(WORDS) - len(BRIGHT)
    places = np.full(len(WORDS), 1e3, np.float32)
    places[first:] = np.linspace(-1, 1, len(BRIGHT))
    weights = [
        numpy_helper.from_array(steps, "steps"),
        numpy_helper.from_array(tells, "tells"),
        numpy_helper.from_array(places, "places"),
        numpy_helper.from_array(np.array(-40, np.float32), "sharply"),
        numpy_helper.from_array(np.array(1, np.int64), "one"),
        numpy_helper.from_array(np.array(len(steps) - 1, np.int64), "last"),
        numpy_helper.from_array(np.array([1, 3], np.int64), "heads"),
        numpy_helper.from_array(np.array([-1, 1], np.int64), "column"),
    ]
    nodes = [
        helper.make_node("Shape", ["input_ids"], ["new"], start=1, end=2),
        helper.make_node("Squeeze", ["new"], ["fresh"]),
        helper.make_node("Add", ["past_len", "fresh"], ["written"]),
        helper.make_node("Sub", ["written", "one"], ["after"]),
        helper.make_node("Min", ["after", "last"], ["step"]),
        helper.make_node("Gather", ["steps", "step"], ["usual"]),
        helper.make_node("Gather", ["tells", "step"], ["counts"]),
        helper.make_node("Reshape", ["cross.0.key", "column"], ["brightness"]),
        helper.make_node("Sub", ["brightness", "places"], ["apart"]),
        helper.make_node("Abs", ["apart"], ["distance"]),
        helper.make_node("Mul", ["distance", "sharply"], ["likely"]),
        helper.make_node("Mul", ["likely", "counts"], ["told"]),
        helper.make_node("Add", ["told", "usual"], ["logits"]),
        helper.make_node("Cast", ["input_ids"], ["seen"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["seen", "heads"], ["kept"]),
        *(
            helper.make_node("Concat", [f"past.0.{each}", "kept"], [f"present.0.{each}"], axis=2)
            for each in ("key", "value")
        ),
    ]
    return _model(
        nodes,
        [
            helper.make_tensor_value_info("input_ids", TensorProto.INT64, ("n", "s")),
            helper.make_tensor_value_info("past_len", TensorProto.INT64, ()),
            *(_value(f"past.0.{each}", "n", 1, "p", 1) for each in ("key", "value")),
            *(_value(f"cross.0.{each}", "n", 1, 1, 1) for each in ("key", "value")),
        ],
        [
            _value("logits", "n", len(WORDS)),
            *(_value(f"present.0.{each}", "n", 1, "t", 1) for each in ("key", "value")),
        ],
        weights,
    )


def _value(name: str, *shape: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    weights: list[onnx.TensorProto],
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "teller", inputs, outputs, weights)
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8)
