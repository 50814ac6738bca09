"""One graph on one device: what is refused, and what a run gives."""

import itertools
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from models import session
from models.errors import (
    DeviceLost,
    DeviceUnusable,
    ModelBroken,
    OutOfMemory,
    RanTooLong,
    TwoRuntimes,
)
from models.packages import check_one_runtime
from models.session import CUDA, Session, devices, plan, runtime

buckets = st.lists(st.integers(1, 64), min_size=1, max_size=5, unique=True).map(sorted)


def in_a_fresh_process(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


def pixels(rows: int) -> np.ndarray:
    return np.random.default_rng(rows).random((rows, 3, 8, 8), np.float32)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelBroken, match=r"absent\.onnx: .* no such file"):
        Session.open(tmp_path / "absent.onnx")


@pytest.mark.parametrize("keep", [0, 1, 100, -1])
def test_a_torn_graph_is_named_and_nothing_is_logged(graphs, tmp_path, capfd, keep):
    path = graphs.image(tmp_path / "torn.onnx")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ModelBroken, match=r"torn\.onnx: expected an ONNX graph") as caught:
        Session.open(path)
    assert caught.value.file == path
    assert caught.value.fault == "worker"
    assert capfd.readouterr() == ("", "")


def test_a_graph_of_unknown_operators_is_named(graphs, tmp_path):
    path = graphs.image(tmp_path / "new.onnx")
    path.write_bytes(path.read_bytes().replace(b"MatMul", b"MutMal"))
    with pytest.raises(ModelBroken, match=r"new\.onnx: expected an ONNX graph.*MutMal"):
        Session.open(path)


def test_a_tensor_numpy_cannot_hold_is_named(graphs, tmp_path):
    path = graphs.save(
        tmp_path / "words.onnx",
        [helper.make_node("Identity", ["x"], ["y"])],
        [("x", TensorProto.STRING, [1])],
        [("y", TensorProto.STRING, [1])],
        {},
    )
    with pytest.raises(ModelBroken, match=r"'x' is a tensor\(string\)"):
        Session.open(path)


@pytest.mark.parametrize("device", ["", "gpu", "cuda", "cuda:", "cuda:x", "cuda:-1", "cpu:1"])
def test_a_device_without_a_proper_name_is_refused(graphs, tmp_path, device):
    with pytest.raises(DeviceUnusable, match="the name of a device is"):
        Session.open(graphs.image(tmp_path / "image.onnx"), device=device)


def test_a_gpu_that_is_not_there_is_refused_and_not_replaced(graphs, tmp_path):
    path = graphs.image(tmp_path / "image.onnx")
    unusable = [device for device in devices() if not device.usable]
    name = unusable[0].name if unusable else f"cuda:{len(devices()) - 1}"
    with pytest.raises(DeviceUnusable) as caught:
        Session.open(path, device=name)
    assert caught.value.fault == "host"


def test_the_cpu_is_the_first_device_and_what_is_unusable_says_why():
    first, *others = devices()
    assert (first.name, first.usable) == ("cpu:0", True)
    assert all(device.usable != bool(device.reason) for device in others)


def test_the_probe_is_a_real_computation():
    inner = session._runtime().InferenceSession(session.PROBE)
    product = inner.run(None, {"x": np.array([[1, 2], [3, 4]], np.float32)})[0]
    assert product.tolist() == [[7, 10], [15, 22]]
    assert CUDA not in inner.get_providers()


def test_two_runtimes_in_one_place_are_refused(tmp_path):
    for package in ("onnxruntime", "onnxruntime_gpu"):
        metadata = tmp_path / f"{package}-1.31.1.dist-info"
        metadata.mkdir()
        name = package.replace("_", "-")
        (metadata / "METADATA").write_text(f"Name: {name}\nVersion: 1.31.1\n")
        if package == "onnxruntime":
            check_one_runtime([str(tmp_path)])
    with pytest.raises(TwoRuntimes, match="onnxruntime and onnxruntime-gpu are both") as caught:
        check_one_runtime([str(tmp_path)])
    assert caught.value.fault == "host"


def test_a_missing_runtime_is_told_with_its_remedy():
    told = in_a_fresh_process(
        "import sys; sys.modules['onnxruntime'] = None\n"
        "from models.errors import NoRuntime\n"
        "from models.session import devices\n"
        "try: devices()\n"
        "except NoRuntime as error: print(error.fault, error)"
    )
    assert told.startswith("host onnxruntime cannot be imported")
    assert "exactly one of the extras" in told


def test_onnxruntime_is_imported_by_the_first_session_only():
    assert (
        in_a_fresh_process("import sys, models.clip; print('onnxruntime' in sys.modules)")
        == "False"
    )


def test_names_dtypes_and_shapes_are_read_from_the_graph(graphs, tmp_path):
    opened = Session.open(graphs.image(tmp_path / "image.onnx", dtype=TensorProto.FLOAT16))
    port = opened.inputs["pixels"]
    assert (port.dtype.name, port.shape) == ("float16", (None, 3, 8, 8))
    assert opened.outputs["embedding"].shape == (None, 4)


def test_a_graph_fed_wrongly_says_so(graphs, tmp_path):
    opened = Session.open(graphs.image(tmp_path / "image.onnx"))
    with pytest.raises(ModelBroken, match=r"image\.onnx: did not run: .*dimensions"):
        opened.run({"pixels": np.zeros((1, 3, 9, 9), np.float32)})
    with pytest.raises(ModelBroken, match="did not run"):
        opened.run({"image": pixels(1)})


def test_too_large_a_batch_is_no_fault_of_the_model(graphs, tmp_path):
    path = graphs.save(
        tmp_path / "greedy.onnx",
        [
            helper.make_node("ConstantOfShape", ["n"], ["zeros"]),
            helper.make_node("ReduceSum", ["zeros"], ["sum"]),
        ],
        [("n", TensorProto.INT64, [1])],
        [("sum", TensorProto.FLOAT, [1])],
        {},
    )
    opened = Session.open(path)
    assert opened.run({"n": np.array([3])})["sum"].tolist() == [0]
    with pytest.raises(OutOfMemory, match="no memory for a batch") as caught:
        opened.run({"n": np.array([10**15])})
    assert caught.value.fault == "busy"


def test_a_run_that_takes_too_long_is_broken_off(graphs, tmp_path):
    names = ["x", *(f"x{n}" for n in range(100)), "y"]
    path = graphs.save(
        tmp_path / "slow.onnx",
        [
            helper.make_node("MatMul", [one, "square"], [other])
            for one, other in itertools.pairwise(names)
        ],
        [("x", TensorProto.FLOAT, [500, 500])],
        [("y", TensorProto.FLOAT, [500, 500])],
        {"square": np.eye(500, dtype=np.float32)},
    )
    x = {"x": np.zeros((500, 500), np.float32)}
    opened = Session.open(path, threads=1, limit_s=0.02)
    begin = time.monotonic()
    with pytest.raises(RanTooLong, match=r"slow\.onnx: a run did not end within 0\.02 s") as caught:
        opened.run(x)
    with pytest.raises(RanTooLong, match="did not end within"):
        opened.run_kept(x, fetched=[], kept=["y"])
    assert time.monotonic() - begin < 4
    assert caught.value.fault == "worker"
    opened.limit_s = 60
    assert opened.run(x)["y"].shape == (500, 500)


class Broken:
    """Stands in for onnxruntime's session on a GPU that is not well."""

    def __init__(self, inner: Any, error: str = "", factor: float = 1.0) -> None:
        self._inner = inner
        self._error = error
        self._factor = factor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def run(self, names: Any, feeds: Any, options: Any = None) -> Any:
        if self._error:
            raise RuntimeError(self._error)
        first, *others = self._inner.run(names, feeds, options)
        return [first * np.where(np.arange(first.shape[1]) % 2, self._factor, 1), *others]


def unwell(graphs, tmp_path, **how) -> Session:
    opened = Session.open(graphs.image(tmp_path / "image.onnx"))
    return Session(Broken(opened._inner, **how), opened.path, "cuda:0")


@pytest.mark.parametrize(
    "message",
    [
        "CUDA failure 700: an illegal memory access was encountered ; GPU=0 ; hostname=x",
        "CUDA error 719: unspecified launch failure",
        "CUDA failure 716: misaligned address",
        "CUDNN failure 8: CUDNN_STATUS_EXECUTION_FAILED: device-side assert triggered",
        "CUDA failure 702: the launch timed out and was terminated",
        "CUDA failure 214: uncorrectable ECC error encountered",
    ],
)
def test_a_sticky_cuda_error_is_told_from_all_others(graphs, tmp_path, message):
    with pytest.raises(DeviceLost, match="the GPU is lost to this process") as caught:
        unwell(graphs, tmp_path, error=message).run({"pixels": pixels(1)})
    assert caught.value.fault == "worker"


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("CUDA failure 2: out of memory ; GPU=0", OutOfMemory),
        ("CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED", OutOfMemory),
        ("CUDA failure 701: too many resources requested for launch", ModelBroken),
        ("input of 700 rows", ModelBroken),
    ],
)
def test_an_error_that_is_not_sticky_leaves_the_process_alive(graphs, tmp_path, message, kind):
    with pytest.raises(kind):
        unwell(graphs, tmp_path, error=message).run({"pixels": pixels(1)})


@pytest.mark.parametrize("factor", [-1.0, 0.5, np.nan])
def test_a_gpu_that_computes_otherwise_than_the_cpu_is_refused(graphs, tmp_path, factor):
    with pytest.raises(DeviceUnusable, match=r"otherwise than the CPU: cosine") as caught:
        unwell(graphs, tmp_path, factor=factor).check_against_cpu("pixels", pixels(2), "embedding")
    assert caught.value.device == "cuda:0"


def test_a_gpu_that_rounds_otherwise_is_taken(graphs, tmp_path):
    session = unwell(graphs, tmp_path, factor=1.001)
    session.check_against_cpu("pixels", pixels(2), "embedding")


def adder(graphs, path, dtype=TensorProto.FLOAT):
    """y = x + x, for whatever rows and columns."""
    return graphs.save(
        path,
        [helper.make_node("Add", ["x", "x"], ["y"]), helper.make_node("Neg", ["x"], ["z"])],
        [("x", dtype, ("n", "m"))],
        [("y", dtype, ("n", "m")), ("z", dtype, ("n", "m"))],
        {},
    )


@pytest.mark.parametrize(
    ("element", "dtype"), [(TensorProto.FLOAT, np.float32), (TensorProto.FLOAT16, np.float16)]
)
def test_what_is_kept_is_fed_again_and_rows_of_it_are_taken(graphs, tmp_path, element, dtype):
    session = Session.open(adder(graphs, tmp_path / "add.onnx", element))
    x = np.arange(6, dtype=dtype).reshape(3, 2)
    fetched, kept = session.run_kept({"x": x}, fetched=["z"], kept=["y"])
    assert np.array_equal(fetched["z"], -x)
    assert kept["y"].shape == (3, 2)
    taken = session.take(kept, np.array([2, 0, 2, 2]))
    fetched, nothing = session.run_kept({"x": taken["y"]}, fetched=["y"], kept=[])
    assert np.array_equal(fetched["y"], 4 * x[[2, 0, 2, 2]])
    assert nothing == {}


def test_what_is_kept_outlives_what_it_was_computed_of(graphs, tmp_path):
    session = Session.open(adder(graphs, tmp_path / "add.onnx"))
    values = [
        session.run_kept({"x": np.full((50, 40), float(each), np.float32)}, fetched=[], kept=["y"])
        for each in range(20)
    ]
    del session
    for each, (_, kept) in enumerate(values):
        assert (kept["y"].value.numpy() == 2 * each).all()


def test_nothing_wide_is_something_to_keep(graphs, tmp_path):
    session = Session.open(adder(graphs, tmp_path / "add.onnx"))
    _, kept = session.run_kept({"x": np.zeros((3, 0), np.float32)}, fetched=[], kept=["y"])
    assert session.take(kept, np.array([1]))["y"].shape == (1, 0)


def test_rows_that_are_not_there_cannot_be_taken(graphs, tmp_path):
    session = Session.open(adder(graphs, tmp_path / "add.onnx"))
    _, kept = session.run_kept({"x": np.zeros((3, 2), np.float32)}, fetched=[], kept=["y"])
    with pytest.raises(ModelBroken, match=r"add\.onnx: did not run: .*idx=7"):
        session.take(kept, np.array([7]))


def test_no_run_begins_after_its_time(graphs, tmp_path):
    session = Session.open(adder(graphs, tmp_path / "add.onnx"))
    x = np.zeros((1, 1), np.float32)
    session.until = time.monotonic() - 1
    with pytest.raises(RanTooLong):
        session.run({"x": x})
    with pytest.raises(RanTooLong):
        session.run_kept({"x": x}, fetched=["y"], kept=[])
    session.until = time.monotonic() + 60
    assert session.run({"x": x})["y"].tolist() == [[0]]


def test_only_what_is_wanted_comes_back(graphs, tmp_path):
    path = graphs.save(
        tmp_path / "two.onnx",
        [
            helper.make_node("Identity", ["x"], ["y"]),
            helper.make_node("Neg", ["x"], ["z"]),
        ],
        [("x", TensorProto.FLOAT, [1])],
        [("y", TensorProto.FLOAT, [1]), ("z", TensorProto.FLOAT, [1])],
        {},
    )
    x = {"x": np.ones(1, np.float32)}
    assert list(Session.open(path).run(x)) == ["y", "z"]
    assert list(Session.open(path).run(x, ["z"])) == ["z"]


def test_what_is_installed_is_told():
    told = runtime()
    assert told.version
    assert "CPUExecutionProvider" in told.providers


@given(st.integers(0, 300), buckets)
def test_a_plan_takes_every_row_once_and_pads_at_most_half(rows, sizes):
    runs = plan(rows, sizes)
    assert sum(taken for taken, _ in runs) == rows
    for taken, bucket in runs:
        assert bucket in sizes
        assert 0 < taken <= bucket
        assert 2 * taken >= bucket or bucket == sizes[0]
    assert all(taken == bucket for taken, bucket in runs[:-1])


@pytest.mark.parametrize(
    ("rows", "runs"),
    [
        (0, []),
        (1, [(1, 1)]),
        (3, [(1, 1), (1, 1), (1, 1)]),
        (5, [(5, 8)]),
        (9, [(8, 8), (1, 1)]),
        (20, [(20, 32)]),
        (70, [(32, 32), (32, 32), (6, 8)]),
    ],
)
def test_a_plan_prefers_full_buckets(rows, runs):
    assert plan(rows, (1, 8, 32)) == runs


@pytest.mark.parametrize("rows", [1, 3, 4, 5, 11])
@pytest.mark.parametrize("batch", ["n", 1, 4])
def test_rows_come_back_in_order_whatever_the_batch(graphs, tmp_path, rows, batch):
    path = graphs.image(tmp_path / "image.onnx", shape=(batch, 3, 8, 8), output=(batch, 4))
    opened = Session.open(path)
    tensor = pixels(rows)
    together = opened.run_rows("pixels", tensor, "embedding", (1, 4))
    alone = [opened.run_rows("pixels", row[None], "embedding", (1,))[0] for row in tensor]
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-5)


def test_a_graph_that_loses_rows_is_refused(graphs, tmp_path):
    path = graphs.save(
        tmp_path / "sum.onnx",
        [helper.make_node("ReduceMax", ["x"], ["y"], axes=[0], keepdims=1)],
        [("x", TensorProto.FLOAT, ["n", 2])],
        [("y", TensorProto.FLOAT, ["m", 2])],
        {},
    )
    with pytest.raises(ModelBroken, match=r"expected 4 rows in 'y', found the shape \(1, 2\)"):
        Session.open(path).run_rows("x", np.zeros((4, 2), np.float32), "y", (4,))


def test_warming_up_runs_every_bucket(graphs, tmp_path, monkeypatch):
    opened = Session.open(graphs.image(tmp_path / "image.onnx"))
    seen = []
    run = opened.run

    def watched(feeds, wanted=None):
        seen.append(len(feeds["pixels"]))
        return run(feeds, wanted)

    monkeypatch.setattr(opened, "run", watched)
    opened.warm_up("pixels", pixels(1), "embedding", (1, 4, 9))
    assert seen == [1, 4, 9]


@pytest.mark.corpus
def test_published_graphs_open_and_tell_what_they_take(corpus):
    graphs = sorted((corpus / "onnx").rglob("*.onnx"))
    assert graphs
    for path in graphs:
        (port,) = Session.open(path, threads=1).inputs.values()
        assert (port.dtype.name, port.shape[1]) == ("float32", 3)


@pytest.mark.corpus
def test_a_published_graph_gives_the_same_rows_in_any_bucket(corpus):
    opened = Session.open(corpus / "onnx" / "MobileFace" / "mobileface_v2_112_256d.onnx", threads=1)
    faces = np.random.default_rng(5).integers(0, 256, (5, 3, 112, 112)).astype(np.float32)
    padded = opened.run_rows("data", faces, "fc5_bn", (8,))
    alone = opened.run_rows("data", faces, "fc5_bn", (1,))
    assert padded.shape == (5, 256)
    np.testing.assert_allclose(padded, alone, rtol=1e-3, atol=1e-4)
