"""One box a face: the pure core of every detector."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.faces.candidates import Candidates
from models.faces.face import Face, covered, iou
from models.faces.suppression import overlaps, suppress

numbers = st.integers(0, 60)
boxes = st.lists(st.tuples(numbers, numbers, st.integers(1, 40), st.integers(1, 40)), max_size=30)


def candidates(rows):
    corners = np.array([(x, y, x + w, y + h) for x, y, w, h in rows], float).reshape(-1, 4)
    scores = np.linspace(0.9, 0.1, len(rows))
    return Candidates(corners, scores, np.zeros((len(rows), 0, 2)))


@given(boxes, st.sampled_from([0.0, 0.3, 0.5]))
def test_no_two_that_stay_share_more_than_allowed(rows, overlap):
    found = candidates(rows)
    kept = suppress(found, overlap)
    for n, box in enumerate(kept.boxes):
        assert (overlaps(box, kept.boxes[n + 1 :]) <= overlap).all()
    for box in found.boxes:  # and what went had a better one over it, or is there
        shares = overlaps(box, kept.boxes)
        assert (shares > overlap).any() or (kept.boxes == box).all(axis=1).any()


@given(boxes)
def test_the_best_stays_and_comes_first(rows):
    found = candidates(rows[::-1])
    kept = suppress(found, 0.3)
    assert list(kept.scores) == sorted(kept.scores, reverse=True)
    assert (len(kept.scores) > 0) == (len(rows) > 0)


@given(boxes)
def test_arrays_and_faces_share_alike(rows):
    found = candidates(rows)
    faces = [Face(x, y, right, low, 1.0) for x, y, right, low in found.boxes.tolist()]
    for face, box in zip(faces, found.boxes, strict=True):
        shares = [iou(face, other) for other in faces]
        assert np.allclose(shares, overlaps(box, found.boxes))


def test_a_box_without_an_area_shares_nothing():
    nothing = Face(5, 5, 5, 5, 1.0)
    assert iou(nothing, nothing) == covered(nothing, nothing) == 0
    assert overlaps(np.full(4, 5.0), np.full((1, 4), 5.0)) == [0]


def test_a_part_is_covered_by_its_whole():
    assert covered(Face(0, 0, 100, 100, 1.0), Face(10, 10, 30, 50, 1.0)) == 1


def test_whole_pixels_are_opencv_s():
    rows = np.array([[0.9, 0.9, 2.8, 2.8], [0.0, 0.0, 1.0, 1.0]])  # the first becomes 0,0,1,1
    found = Candidates(rows, np.array([0.9, 0.8]), np.zeros((2, 0, 2)))
    assert len(suppress(found, 0.3).scores) == 2
    assert len(suppress(found, 0.3, whole_pixels=True).scores) == 1
