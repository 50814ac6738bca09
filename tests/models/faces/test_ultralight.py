"""Ultra-Light: the published graph, and its twin that leaves boxes raw."""

import numpy as np
import pytest

from models.errors import ModelBroken
from models.faces.detector import FaceDetector

SHAPE = (1, 3, 240, 320)


def rows(count=4420):
    scores = np.tile([0.99, 0.01], (1, count, 1))
    corners = np.random.default_rng(2).uniform(0, 0.4, (1, count, 2))
    return {"scores": scores, "boxes": np.concatenate([corners, corners + 0.2], axis=2)}


@pytest.mark.corpus
def test_obama_s_face_is_where_it_is(photos, real):
    (face,) = FaceDetector.open(real.ultralight).detect(photos.one("/obama.jpg"))
    box = (face.left, face.top, face.right, face.bottom)
    assert box == pytest.approx((382, 81.5, 603, 399.3), abs=4)
    assert face.landmarks == ()


@pytest.mark.corpus
def test_its_pack_is_read_from_the_graph(real):
    graph = real.ultralight.require_detect()
    assert (graph.kind, graph.size, graph.colour) == ("ultralight", 320, "RGB")


def test_a_box_is_a_part_of_the_picture(tmp_path, made):
    outputs = rows()
    outputs["scores"][0, 7] = (0.1, 0.9)
    outputs["boxes"][0, 7] = (0.1, 0.2, 0.3, 0.6)
    graph = made.constants(tmp_path / "det.onnx", outputs, SHAPE)
    pack = made.detect_pack(graph, outputs, kind="ultralight", size=320)
    (face,) = FaceDetector.open(pack).detect(np.zeros((400, 500, 3), np.uint8))
    assert (face.left, face.top, face.right, face.bottom) == pytest.approx((50, 80, 150, 240))
    assert face.score == pytest.approx(0.9)


def test_raw_boxes_are_refused_and_not_misread(tmp_path, made):
    outputs = rows()
    outputs["boxes"] = np.random.default_rng(1).normal(0, 2, (1, 4420, 4))
    graph = made.constants(tmp_path / "det.onnx", outputs, SHAPE)
    with pytest.raises(ModelBroken, match="these are raw boxes"):
        FaceDetector.open(made.detect_pack(graph, outputs, kind="ultralight", size=320))


def test_two_outputs_of_other_shapes_are_refused(tmp_path, made):
    outputs = rows()
    outputs["boxes"] = outputs["boxes"][:, :9]
    graph = made.constants(tmp_path / "det.onnx", outputs, SHAPE)
    with pytest.raises(ModelBroken, match=r"expected the outputs \[rows, 2\] and \[rows, 4\]"):
        FaceDetector.open(made.detect_pack(graph, outputs, kind="ultralight", size=320))
