"""What of the export runs without torch: its command line, fewer bits, the vocabulary."""

import importlib.util
import json

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from models.errors import ModelBroken
from models.export.__main__ import main
from models.export.precision import reduce
from models.export.vocabulary import write_tokenizer
from models.graphfile import read_graph
from models.session import Session
from models.tokenizer import CLIP_MERGES, Tokenizer, clip_merges


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("clip --into x", "name a checkpoint, or --random-weights"),
        ("clip somewhere --random-weights --into x", "name a checkpoint, or --random-weights"),
        ("clip --random-weights --into x", "--vocabulary: expected a file"),
        ("clip --random-weights --vocabulary nowhere.gz --into x", "nowhere.gz"),
        ("clip nowhere --into x", "nowhere/tokenizer.json"),
        ("florence2 --random-weights --into x", "'florence2'"),
        ("blip nowhere --into x", "nowhere/vocab.txt"),
        ("vit-gpt2 nowhere --into x", "nowhere/tokenizer.json"),
        ("blip somewhere --large --into x", "--large: only for blip --random-weights"),
        ("vit-gpt2 --random-weights --large --into x", "--large: only for blip"),
        ("blip somewhere --layout optimum --into x", "--layout optimum: only clip has it"),
        ("clip --random-weights", "--into"),
        ("clip c --into x --layout immich --precision int8", "these folders are fp32"),
    ],
)
def test_a_bad_argument_costs_one_line_that_names_it(line, complaint, capsys):
    with pytest.raises(SystemExit) as caught:
        main(line.split())
    assert caught.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.skipif(importlib.util.find_spec("optimum") is not None, reason="the extra is here")
@pytest.mark.parametrize("model", ["clip", "blip", "vit-gpt2"])
def test_a_missing_extra_is_named_with_where_it_goes(tmp_path, capsys, model):
    vocabulary = tmp_path / "merges.gz"
    vocabulary.write_bytes(b"")
    line = f"{model} --random-weights --vocabulary {vocabulary} --into {tmp_path}"
    assert main(line.split()) == 78
    assert "install the `export` extra in an environment of its own" in capsys.readouterr().err


@pytest.fixture
def mixed(tmp_path):
    """A convolution, then a matrix."""
    random = np.random.default_rng(3)
    weights = {
        "kernel": random.standard_normal((8, 3, 3, 3)),
        "matrix": random.standard_normal((8 * 36, 16)),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "kernel"], ["map"]),
            helper.make_node("Flatten", ["map"], ["flat"]),
            helper.make_node("MatMul", ["flat", "matrix"], ["y"]),
        ],
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 16])],
        [
            numpy_helper.from_array(value.astype(np.float32), name)
            for name, value in weights.items()
        ],
    )
    path = tmp_path / "whole.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(("precision", "least"), [("fp16", 0.99999), ("int8", 0.999)])
def test_fewer_bits_give_nearly_the_same_from_the_same_inputs(mixed, tmp_path, precision, least):
    target = tmp_path / "small.onnx"
    reduce(mixed, target, precision)
    assert read_graph(target).precision == precision
    x = {"x": np.random.default_rng(1).standard_normal((4, 3, 8, 8)).astype(np.float32)}
    whole, small = (Session.open(path, threads=1).run(x)["y"] for path in (mixed, target))
    assert small.dtype == np.float32
    cosines = (whole * small).sum(1) / np.linalg.norm(whole, axis=1) / np.linalg.norm(small, axis=1)
    assert cosines.min() > least


def test_convolutions_are_never_quantised(mixed, tmp_path):
    target = tmp_path / "small.onnx"
    reduce(mixed, target, "int8")
    assert b"ConvInteger" not in target.read_bytes()
    assert b"MatMulInteger" in target.read_bytes()


@pytest.fixture
def tied(tmp_path):
    """A table that words are read from and written with."""
    table = np.random.default_rng(3).standard_normal((50, 16)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "ids"], ["x"]),
            helper.make_node("Gemm", ["x", "table"], ["y"], transB=1),
        ],
        "test",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 50])],
        [numpy_helper.from_array(table, "table")],
    )
    path = tmp_path / "whole.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_table_that_is_read_and_multiplied_with_stays_right(tied, tmp_path, precision):
    target = tmp_path / "small.onnx"
    reduce(tied, target, precision)
    feeds = {"ids": np.arange(50)}
    whole, small = (Session.open(path, threads=1).run(feeds)["y"] for path in (tied, target))
    assert np.corrcoef(whole.ravel(), small.ravel())[0, 1] > 0.999
    assert (b"MatMulInteger" in target.read_bytes()) == (precision == "int8")


def test_what_is_not_kept_is_sixteen_bits_outside_too(mixed, tmp_path):
    target = tmp_path / "small.onnx"
    reduce(mixed, target, "fp16", keep=["x"])
    session = Session.open(target, threads=1)
    assert session.inputs["x"].dtype == np.float32
    assert session.outputs["y"].dtype == np.float16


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_graph_with_branches_is_not_reduced(tmp_path, precision):
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    branch = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "branch", [], [value])
    graph = helper.make_graph(
        [helper.make_node("If", ["which"], ["y"], then_branch=branch, else_branch=branch)],
        "test",
        [
            helper.make_tensor_value_info("which", TensorProto.BOOL, [1]),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"]),
        ],
        [value],
    )
    path = tmp_path / "whole.onnx"
    path.write_bytes(helper.make_model(graph, ir_version=8).SerializeToString())
    with pytest.raises(ValueError, match="reduce each before they are joined"):
        reduce(path, tmp_path / "small.onnx", precision)


def test_there_is_no_way_to_other_precisions(mixed, tmp_path):
    with pytest.raises(ValueError, match="not to fp32"):
        reduce(mixed, tmp_path / "x.onnx", "fp32")


@pytest.mark.parametrize("content", [b"", b"no gzip"])
def test_a_file_that_does_not_hold_the_merges_is_named(tmp_path, content):
    path = tmp_path / "merges.gz"
    path.write_bytes(content)
    with pytest.raises(ModelBroken, match=r"merges\.gz: expected"):
        write_tokenizer(path, tmp_path / "tokenizer.json")


@pytest.mark.corpus
def test_the_vocabulary_is_written_as_it_is_published(corpus, tmp_path):
    merges = corpus / "tokenizer" / "bpe_simple_vocab_16e6.txt.gz"
    path = tmp_path / "tokenizer.json"
    write_tokenizer(merges, path)
    library, ours = Tokenizer.library(path, context=77, pad=0), Tokenizer.clip(merges)
    for example in json.loads((merges.parent / "expected_tokens.json").read_bytes()):
        assert library.encode(example["text"]) == example["ids"]
    assert library.encode("word " * 100) == ours.encode("word " * 100)
    again = clip_merges(path)
    assert again is not None
    (tmp_path / "merges.gz").write_bytes(again)
    assert Tokenizer.clip(tmp_path / "merges.gz").encode("猫 & a “dog”") == ours.encode(
        "猫 & a “dog”"
    )
    assert CLIP_MERGES == 48894
