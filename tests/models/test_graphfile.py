"""What a graph file says before it is loaded: whole, torn, and weights beside it."""

import contextlib

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from models.errors import ModelBroken
from models.graphfile import FLOAT, FLOAT16, GraphFile, read_graph


@pytest.fixture
def beside(graphs, tmp_path):
    """A graph with its weights in a file of their own."""
    path = graphs.image(tmp_path / "model.onnx")
    onnx.save_model(
        onnx.load(path),
        path,
        save_as_external_data=True,
        location="model.onnx.data",
        size_threshold=0,
    )
    return path


def test_every_cut_of_a_graph_is_refused_with_its_name(graphs, tmp_path):
    path = graphs.image(tmp_path / "model.onnx")
    whole = path.read_bytes()
    for keep in (0, 1, 5, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:keep])
        with pytest.raises(ModelBroken, match=r"model\.onnx: expected (a whole|an) ONNX graph"):
            read_graph(path)


@pytest.mark.parametrize("content", [b"\x00" * 64, b"<html>not found</html>", b"\xff" * 40])
def test_a_file_that_is_no_graph_is_refused(tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelBroken, match=r"model\.onnx: expected"):
        read_graph(path)


def test_a_missing_graph_is_named(tmp_path):
    with pytest.raises(ModelBroken, match=r"absent\.onnx: .*No such file"):
        read_graph(tmp_path / "absent.onnx")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_graph_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "model.onnx"
    path.write_bytes(content)
    with contextlib.suppress(ModelBroken):
        assert isinstance(read_graph(path), GraphFile)


def test_weights_in_the_graph_are_counted(graphs, tmp_path):
    found = read_graph(graphs.image(tmp_path / "model.onnx"))
    assert found.external == {}
    assert found.elements[FLOAT] == 3 * 8 * 8 * 4
    assert found.precision == "fp32"


def test_weights_of_constants_and_branches_are_counted(tmp_path):
    half = numpy_helper.from_array(np.zeros((5, 7), np.float16), "half")
    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["inner"], value=half)],
        "branch",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT16, [5, 7])],
    )
    node = helper.make_node("If", ["choice"], ["y"], then_branch=branch, else_branch=branch)
    graph = helper.make_graph(
        [node],
        "test",
        [helper.make_tensor_value_info("choice", TensorProto.BOOL, [])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT16, [5, 7])],
    )
    path = tmp_path / "model.onnx"
    path.write_bytes(helper.make_model(graph).SerializeToString())
    found = read_graph(path)
    assert found.elements == {FLOAT16: 70}
    assert found.precision == "fp16"


def test_weights_beside_the_graph_are_named_with_their_length(beside):
    size = (beside.parent / "model.onnx.data").stat().st_size
    found = read_graph(beside)
    assert list(found.external) == ["model.onnx.data"]
    assert 0 < found.external["model.onnx.data"] <= size
    assert found.precision == "fp32"


def test_weights_that_are_missing_or_short_are_named(beside):
    weights = beside.parent / "model.onnx.data"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    with pytest.raises(
        ModelBroken, match=r"data: expected at least \d+ bytes of weights"
    ) as caught:
        read_graph(beside)
    assert caught.value.file == weights
    weights.unlink()
    with pytest.raises(ModelBroken, match=r"data: expected the weights of model\.onnx: No such"):
        read_graph(beside)


@pytest.mark.parametrize("place", ["../secret", "/etc/passwd"])
def test_weights_elsewhere_are_refused(graphs, tmp_path, place):
    path = graphs.image(tmp_path / "model.onnx")
    model = onnx.load(path)
    for weight in model.graph.initializer:
        del weight.external_data[:]
        weight.data_location = TensorProto.EXTERNAL
        entry = weight.external_data.add()
        entry.key, entry.value = "location", place
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelBroken, match="which is not beside it"):
        read_graph(path)


@pytest.mark.corpus
def test_published_graphs_are_whole(corpus):
    for path in sorted((corpus / "onnx").rglob("*.onnx")):
        assert sum(read_graph(path).elements.values()) > 10_000
