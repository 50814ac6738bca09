"""Folders of faces that say nothing: what their graphs tell."""

import shutil

import numpy as np
import pytest
from onnx import TensorProto, helper

from models.errors import ModelBroken, PackBroken
from models.faces.detector import FaceDetector
from models.faces.recogniser import FaceRecogniser
from models.graphfile import read_graph
from models.importing import import_pack
from models.pack import load_pack, verify
from models.supply.known import find_known
from tests.models.faces.test_recogniser import graph as recogniser
from tests.models.faces.test_scrfd import KNOWN, nine


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "faces"
    folder.mkdir()
    return folder


@pytest.fixture
def packs(tmp_path):
    return tmp_path / "packs"


def test_a_detector_and_a_recogniser_are_told_apart_by_their_outputs(source, packs, made):
    made.constants(source / "b.onnx", nine(KNOWN))
    recogniser(source / "a.onnx", made)
    pack = import_pack(source, packs, licence="MIT")
    verify(pack)
    assert pack.kinds == ("detect", "recognise")
    detect, recognise = pack.require_faces()
    assert (detect.file, detect.kind, detect.size, detect.colour) == ("b.onnx", "scrfd", 640, "RGB")
    assert detect.mean == (0.5, 0.5, 0.5)
    assert detect.std == pytest.approx((128 / 255,) * 3)
    assert (recognise.file, recognise.size, recognise.dimensions) == ("a.onnx", 8, 4)
    assert recognise.buckets == (1, 4, 16, 32)
    assert (recognise.mean, recognise.std) == ((0.5,) * 3, (0.5,) * 3)
    assert len(FaceDetector.open(pack).detect(np.zeros((640, 640, 3), np.uint8))) == 3
    assert FaceRecogniser.open(pack).space == recognise.space
    assert load_pack(pack.directory) == pack


@pytest.mark.parametrize("scale", ["Mul", "Div"])
def test_a_graph_that_begins_with_scaling_gets_the_bare_pixels(source, packs, made, scale):
    recogniser(source / "a.onnx", made, head=[("Sub", 127.5), (scale, 0.0078125)])
    told = import_pack(source, packs).require_recognise()
    assert told.mean == (0, 0, 0)
    assert told.std == pytest.approx((1 / 255,) * 3)


def test_the_head_of_a_graph_is_its_first_operators(source, made):
    path = recogniser(source / "a.onnx", made, head=[("Sub", 127.5), ("Mul", 0.0078125)])
    found = read_graph(path)
    assert found.head == ("Sub", "Mul", "Flatten", "MatMul", "Identity")
    assert found.scales_itself
    assert not read_graph(recogniser(source / "b.onnx", made)).scales_itself


def test_a_scrfd_of_a_rank_more_and_of_other_names_is_one(source, packs, made):
    outputs = {str(448 + 3 * n): rows[None] for n, rows in enumerate(nine(KNOWN).values())}
    made.constants(source / "det_10g.onnx", outputs)
    detect = import_pack(source, packs).require_detect()
    assert (detect.kind, list(detect.outputs)) == ("scrfd", list(outputs))


def test_two_of_one_role_are_refused(source, packs, made):
    for name in ("a.onnx", "b.onnx"):
        recogniser(source / name, made)
    with pytest.raises(PackBroken, match=r"one graph for recognition, found a\.onnx and b\.onnx"):
        import_pack(source, packs)
    recogniser(source / "c.onnx", made)
    with pytest.raises(PackBroken, match=r"or one or two \.onnx of faces; found 3 \.onnx"):
        import_pack(source, packs)


def test_raw_boxes_are_refused_with_what_to_do(source, packs, made):
    random = np.random.default_rng(4)
    outputs = {
        "scores": np.tile([0.9, 0.1], (1, 4420, 1)),
        "boxes": random.normal(0, 2, (1, 4420, 4)),
    }
    made.constants(source / "det.onnx", outputs, (1, 3, 240, 320))
    with pytest.raises(ModelBroken, match="raw boxes, which need the graph's own anchors"):
        import_pack(source, packs)


def test_a_graph_of_two_odd_outputs_is_refused(source, packs, made):
    made.save(
        source / "a.onnx",
        [helper.make_node("Identity", ["data"], [name]) for name in ("one", "two")],
        [("data", (1, 3, 8, 8))],
        [(name, (1, 3, 8, 8)) for name in ("one", "two")],
        {"unused": np.zeros(1, np.float32)},
    )
    with pytest.raises(ModelBroken, match=r"2 \(Ultra-Light\), found \[1, 3, 8, 8\] and 2: "):
        import_pack(source, packs)


def test_a_torn_graph_is_refused_with_its_name(source, packs, made):
    path = recogniser(source / "a.onnx", made)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ModelBroken, match="expected a whole ONNX graph"):
        import_pack(source, packs)
    assert not list(packs.iterdir())


def test_a_manifest_from_before_thresholds_is_still_read(source, packs, made):
    made.constants(source / "b.onnx", nine(KNOWN))
    pack = import_pack(source, packs)
    toml = pack.directory / "pack.toml"
    assert "threshold" not in toml.read_text()
    text = toml.read_text().replace("\n[faces.detect]\n", "\n[faces.detect]\nthreshold = 0.7\n")
    toml.write_text(text)
    assert load_pack(pack.directory).require_detect().threshold == 0.7
    toml.write_text(text.replace("0.7", "1.7"))
    with pytest.raises(PackBroken, match="< 1"):
        load_pack(pack.directory)


@pytest.mark.parametrize("name", ["buffalo_s", "buffalo_l", "auraface"])
def test_a_known_pack_of_faces_becomes_one(source, packs, made, name):
    for file in find_known(name).files:
        path = source / file.path
        path.parent.mkdir(exist_ok=True)
        if "detection" in file.path:
            made.constants(path, nine(KNOWN))
        else:
            recogniser(path, made)
    expected = ("recognise",) if name == "auraface" else ("detect", "recognise")
    assert import_pack(source, packs, name).kinds == expected


@pytest.mark.corpus
def test_the_known_yunet_becomes_a_pack(corpus, source, packs):
    (file,) = find_known("yunet").files
    shutil.copyfile(next(corpus.rglob("yunet_s_640_640.onnx")), source / file.path)
    pack = import_pack(source, packs, "yunet", licence="MIT")
    detect = pack.require_detect()
    assert (detect.kind, detect.size, detect.colour) == ("yunet", 640, "BGR")
    assert detect.memory_mib
    assert detect.memory_mib < 200


@pytest.mark.corpus
def test_real_recognisers_scale_themselves(real):
    told = real.both.require_recognise()
    assert (told.dimensions, told.size, told.mean) == (256, 112, (0, 0, 0))
    assert told.std == pytest.approx((1 / 255,) * 3)
    assert told.memory_mib


def test_half_precision_is_taken_as_it_is(source, packs, made):
    made.save(
        source / "a.onnx",
        [
            helper.make_node("Flatten", ["data"], ["flat"]),
            helper.make_node("MatMul", ["flat", "matrix"], ["vector"]),
        ],
        [("data", ("n", 3, 8, 8))],
        [("vector", ("n", 4))],
        {"matrix": np.random.default_rng(1).standard_normal((192, 4)).astype(np.float16)},
        kind=TensorProto.FLOAT16,
    )
    pack = import_pack(source, packs)
    assert pack.require_recognise().precision == "fp16"
    assert FaceRecogniser.open(pack).embed(np.ones((3, 8, 8, 3), np.uint8)).shape == (3, 4)
