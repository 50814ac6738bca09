"""The five points onto the template, beside Umeyama's way and OpenCV's."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from models.errors import PictureBroken
from models.faces.alignment import TEMPLATE, align, similarity
from models.faces.face import Face

coordinates = st.floats(-500, 500, allow_nan=False, width=32)
fives = arrays.arrays(np.float64, (5, 2), elements=coordinates)


def umeyama(source, target):
    """Umeyama 1991, equations 40–42, by a singular value decomposition."""
    from_, to = source.mean(axis=0), target.mean(axis=0)
    start, end = source - from_, target - to
    u, d, vt = np.linalg.svd(end.T @ start / len(source))
    sign = np.array([1, 1 if np.linalg.det(u) * np.linalg.det(vt) > 0 else -1])
    turn = u @ np.diag(sign) @ vt
    scale = (d * sign).sum() / start.var(axis=0).sum()
    return np.column_stack([scale * turn, to - scale * turn @ from_])


@given(fives)
def test_it_equals_umeyama(points):
    assume(np.ptp(points, axis=0).max() > 1)
    assert similarity(points, TEMPLATE) == pytest.approx(umeyama(points, TEMPLATE), abs=1e-6)


@given(st.floats(0, 2 * math.pi), st.floats(0.05, 20), coordinates, coordinates)
def test_a_similarity_is_found_again(angle, scale, x, y):
    turn = scale * np.array(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    )
    matrix = similarity(TEMPLATE, TEMPLATE @ turn.T + (x, y))
    assert matrix == pytest.approx(np.column_stack([turn, (x, y)]), abs=1e-6)


def test_points_that_are_one_have_none():
    for points in (np.zeros((5, 2)), np.full((5, 2), np.nan)):
        with pytest.raises(ValueError, match="not all the same"):
            similarity(points, TEMPLATE)


def face_at(matrix, score=1.0):
    """A face whose landmarks *matrix* takes from the template."""
    points = TEMPLATE @ matrix[:, :2].T + matrix[:, 2]
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    return Face(left, top, right, bottom, score, tuple(map(tuple, points.tolist())))


def smooth(height, width):
    y, x = np.mgrid[:height, :width]
    planes = [127 + 120 * np.sin(x / 9 + n) * np.cos(y / 11 - n) for n in range(3)]
    return np.stack(planes, axis=-1).astype(np.uint8)


@pytest.mark.parametrize("angle", [0, 0.3, math.pi / 2, math.pi])
@pytest.mark.parametrize("scale", [0.5, 1, 1.9])
def test_pixels_are_opencv_s(angle, scale):
    import cv2

    picture = smooth(400, 500)
    turn = scale * np.array(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    )
    face = face_at(np.column_stack([turn, np.array([250, 200]) - turn @ (56, 56)]))
    matrix = similarity(np.array(face.landmarks), TEMPLATE)
    expected = cv2.warpAffine(picture, matrix, (112, 112), flags=cv2.INTER_LINEAR)
    assert np.abs(align(picture, face).astype(int) - expected).max() <= 2


def test_a_large_face_is_averaged_and_not_sampled():
    random = np.random.default_rng(1)
    picture = random.integers(0, 256, (1200, 1200, 3), np.uint8)
    face = face_at(np.array([[8.0, 0, 100], [0, 8, 100]]))
    assert align(picture, face).std() < 20  # of 74 for noise that is sampled


def test_a_large_face_stays_where_it_is():
    picture = np.zeros((1000, 1000, 3), np.uint8)
    face = face_at(np.array([[6.0, 0, 100], [0, 6, 100]]))
    for x, y in face.landmarks:
        picture[int(y) - 9 : int(y) + 10, int(x) - 9 : int(x) + 10] = 255
    crop = align(picture, face)
    for x, y in TEMPLATE:
        assert crop[round(y), round(x)].min() > 200


def test_outside_the_picture_is_black():
    picture = np.full((100, 100, 3), 200, np.uint8)
    face = face_at(np.array([[1.0, 0, 60], [0, 1, 60]]))
    crop = align(picture, face)
    assert (crop[:38, :38] == 200).all()
    assert not crop[45:].any()
    assert not crop[:, 45:].any()
    assert not align(picture, face_at(np.array([[1.0, 0, 900], [0, 1, 0]]))).any()


@pytest.mark.parametrize("landmarks", [(), ((50.0, 50.0),) * 5])
def test_without_landmarks_it_is_the_square_around_the_box(landmarks):
    picture = np.zeros((300, 300, 3), np.uint8)
    picture[100:200, 120:180] = 255
    crop = align(picture, Face(120, 100, 180, 200, 1.0, landmarks))
    assert crop.shape == (112, 112, 3)
    assert crop[60, 56].min() == 255
    assert not crop[60, :15].any()
    assert crop[30:, 40:70].min() == 255


@pytest.mark.parametrize("size", [32, 112, 160])
def test_other_sizes_show_the_same(size):
    crop = align(smooth(300, 300), face_at(np.array([[1.0, 0, 90], [0, 1, 90]])), size)
    assert crop.shape == (size, size, 3)


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1)])
def test_the_smallest_pictures_give_a_crop(shape):
    picture = np.full((*shape, 3), 9, np.uint8)
    assert align(picture, Face(0, 0, shape[1], shape[0], 1.0)).shape == (112, 112, 3)


@pytest.mark.parametrize(
    "picture", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3)), np.zeros((0, 9, 3), np.uint8)]
)
def test_what_is_no_picture_is_refused(picture):
    with pytest.raises(PictureBroken, match=r"expected uint8 \[h, w, 3\]"):
        align(picture, Face(0, 0, 5, 5, 1.0))
