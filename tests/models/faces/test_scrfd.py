"""SCRFD's nine outputs, with faces whose place is known."""

from typing import Any

import numpy as np
import pytest
from onnx import helper

from models.errors import ModelBroken
from models.faces.detector import FaceDetector

SIZE = 640
STRIDES = (8, 16, 32)

#: stride, column, row, half a side, score
KNOWN = [(8, 10, 20, 12, 0.95), (16, 30, 10, 40, 0.9), (32, 14, 15, 100, 0.8)]


def points_of(x, y, half):
    """Five points around (x, y)."""
    offsets = [(-0.4, -0.3), (0.4, -0.3), (0, 0), (-0.3, 0.4), (0.3, 0.4)]
    return [(x + half * dx, y + half * dy) for dx, dy in offsets]


def nine(known, anchors=2, size=SIZE):
    """Score, box and points of each stride, as the network gives them."""
    outputs = []
    for what, width in (("score", 1), ("bbox", 4), ("kps", 10)):
        for stride in STRIDES:
            rows = np.zeros(((size // stride) ** 2 * anchors, width))
            for at, column, row, half, score in known:
                if at != stride:
                    continue
                for anchor in range(anchors):  # both anchors of the cell, the second less sure
                    index = (row * (size // stride) + column) * anchors + anchor
                    offsets = points_of(0, 0, half / stride)
                    rows[index] = {
                        "score": [score - 0.1 * anchor],
                        "bbox": [half / stride] * 4,
                        "kps": [each for point in offsets for each in point],
                    }[what]
            outputs.append((f"{what}_{stride}", rows))
    return dict(outputs)


def check(faces, scale=1.0):
    assert len(faces) == len(KNOWN)
    for face, (stride, column, row, half, score) in zip(faces, KNOWN, strict=True):
        x, y = column * stride * scale, row * stride * scale
        reach = half * scale
        box = (face.left, face.top, face.right, face.bottom)
        assert box == pytest.approx((x - reach, y - reach, x + reach, y + reach), abs=0.01)
        assert face.score == pytest.approx(score)
        assert np.array(face.landmarks) == pytest.approx(np.array(points_of(x, y, reach)), abs=0.01)


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("order", ["published", "turned", "shuffled"])
@pytest.mark.parametrize("names", ["told", "numbers"])
def test_known_faces_are_found_whatever_outputs_are_called(tmp_path, made, rank, order, names):
    outputs = list(nine(KNOWN).items())
    if order == "turned":
        outputs.reverse()
    if order == "shuffled":
        outputs = [outputs[n] for n in np.random.default_rng(5).permutation(9)]
    if names == "numbers":
        outputs = [(str(448 + 3 * n), rows) for n, (_, rows) in enumerate(outputs)]
    if rank == 3:
        outputs = [(name, rows[None]) for name, rows in outputs]
    graph = made.constants(tmp_path / "det.onnx", dict(outputs))
    detector = FaceDetector.open(made.detect_pack(graph, dict(outputs)))
    check(detector.detect(np.zeros((640, 640, 3), np.uint8)))


def test_one_row_a_cell_is_read_as_well(tmp_path, made):
    graph = made.constants(tmp_path / "det.onnx", nine(KNOWN, anchors=1))
    detector = FaceDetector.open(made.detect_pack(graph, nine(KNOWN)))
    check(detector.detect(np.zeros((640, 640, 3), np.uint8)))


def test_boxes_are_told_in_pixels_of_the_picture(tmp_path, made):
    graph = made.constants(tmp_path / "det.onnx", nine(KNOWN))
    detector = FaceDetector.open(made.detect_pack(graph, nine(KNOWN)))
    check(detector.detect(np.zeros((1200, 1200, 3), np.uint8)), scale=1200 / 640)


def test_a_graph_without_landmarks_gives_none(tmp_path, made):
    outputs = {name: rows for name, rows in nine(KNOWN).items() if "kps" not in name}
    graph = made.constants(tmp_path / "det.onnx", outputs)
    faces = FaceDetector.open(made.detect_pack(graph, outputs)).detect(
        np.zeros((640, 640, 3), np.uint8)
    )
    assert [face.landmarks for face in faces] == [(), (), ()]


def test_a_threshold_of_the_pack_s_own_is_kept(tmp_path, made):
    graph = made.constants(tmp_path / "det.onnx", nine(KNOWN))
    detector = FaceDetector.open(made.detect_pack(graph, nine(KNOWN), threshold=0.85))
    assert len(detector.detect(np.zeros((640, 640, 3), np.uint8))) == 2


def test_outputs_of_another_number_of_cells_are_refused(tmp_path, made):
    outputs = nine(KNOWN)
    outputs["bbox_16"] = outputs["bbox_16"][:-2]
    graph = made.constants(tmp_path / "det.onnx", outputs)
    with pytest.raises(ModelBroken, match=r"for cells of 16 pixels in 640 x 640"):
        FaceDetector.open(made.detect_pack(graph, outputs))


def test_nan_for_the_test_picture_is_the_model_s_fault(tmp_path, made):
    outputs = nine(KNOWN)
    outputs["score_16"][7] = np.nan
    graph = made.constants(tmp_path / "det.onnx", outputs)
    with pytest.raises(ModelBroken, match="gave NaN or infinity for an ordinary test picture"):
        FaceDetector.open(made.detect_pack(graph, outputs))


# ── a graph that really looks ───────────────────────────────────────────────────────────────


def seeing(path, made):
    """Finds a face at each cell of 32 pixels that is white, three cells wide, in any frame."""
    nodes: list[Any] = []
    numbers = {"zero": 0, "one": 1, "two": 2, "three": 3}
    weights: dict[str, Any] = {name: np.array([x], np.float32) for name, x in numbers.items()}
    weights["rows"] = np.array([-1, 1], np.int64)
    nodes.append(helper.make_node("ReduceMean", ["input.1"], ["grey"], axes=[1]))
    outputs = []
    for stride in STRIDES:
        nodes.append(
            helper.make_node(
                "AveragePool",
                ["grey"],
                [f"mean_{stride}"],
                kernel_shape=[stride] * 2,
                strides=[stride] * 2,
            )
        )
        nodes.append(helper.make_node("Reshape", [f"mean_{stride}", "rows"], [f"flat_{stride}"]))
        scale = "one" if stride == 32 else "zero"
        nodes.append(helper.make_node("Mul", [f"flat_{stride}", scale], [f"score_{stride}"]))
        nodes.append(helper.make_node("Mul", [f"flat_{stride}", "zero"], [f"none_{stride}"]))
        nodes.append(helper.make_node("Add", [f"none_{stride}", "three"], [f"some_{stride}"]))
        nodes.append(helper.make_node("Div", [f"some_{stride}", "two"], [f"half_{stride}"]))
        nodes.append(helper.make_node("Concat", [f"half_{stride}"] * 4, [f"bbox_{stride}"], axis=1))
        nodes.append(
            helper.make_node(
                "Concat", [f"half_{stride}", f"none_{stride}"] * 5, [f"kps_{stride}"], axis=1
            )
        )
        outputs += [
            (f"score_{stride}", ("rows", 1)),
            (f"bbox_{stride}", ("rows", 4)),
            (f"kps_{stride}", ("rows", 10)),
        ]
    made.save(path, nodes, [("input.1", (1, 3, "h", "w"))], outputs, weights)
    return [name for name, _ in outputs]


def white(size, left, top, side):
    picture = np.zeros((size, size, 3), np.uint8)
    picture[top : top + side, left : left + side] = 255
    return picture


def test_a_graph_of_open_sides_also_looks_at_128_pixels(tmp_path, made):
    outputs = seeing(tmp_path / "det.onnx", made)
    detector = FaceDetector.open(made.detect_pack(tmp_path / "det.onnx", outputs))
    small = detector.detect(white(640, 320, 320, 32))
    assert [(face.left, face.right) for face in small] == [pytest.approx((272, 368))]
    large = detector.detect(white(640, 320, 320, 160))  # one cell of 32 in a frame of 128
    assert max(face.width for face in large) == pytest.approx(480)


def test_a_graph_whose_sides_are_not_as_open_as_it_says_looks_once(tmp_path, made):
    graph = made.constants(tmp_path / "det.onnx", nine(KNOWN), (1, 3, "h", "w"))
    detector = FaceDetector.open(made.detect_pack(graph, nine(KNOWN)))
    check(detector.detect(np.zeros((640, 640, 3), np.uint8)))
