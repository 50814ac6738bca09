"""The two figures of faces, on cases worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.sketch.faces.measure import (
    FoundFace,
    ToldFace,
    average_precision,
    measure_faces,
    overlap,
    verification_auc,
)

HERE, THERE = (0.0, 0.0, 10.0, 10.0), (50.0, 50.0, 60.0, 60.0)
NOWHERE = (200.0, 200.0, 210.0, 210.0)


def vector(*values):
    return np.array(values, np.float32)


def test_nothing_told_gives_no_precision():
    assert math.isnan(average_precision([[FoundFace(HERE, 0.9)]], [[]]))


def test_nothing_found_gives_none_of_it():
    assert average_precision([[]], [[HERE]]) == 0


def test_all_found_gives_all_of_it_whatever_comes_after():
    found = [[FoundFace(NOWHERE, 0.1), FoundFace(HERE, 0.9), FoundFace(THERE, 0.8)]]
    assert average_precision(found, [[HERE, THERE]]) == 1


def test_a_wrong_face_before_the_right_one_halves_it():
    found = [[FoundFace(NOWHERE, 0.9), FoundFace(HERE, 0.8)]]
    assert average_precision(found, [[HERE]]) == 0.5


def test_a_face_found_twice_is_right_once():
    found = [[FoundFace(HERE, 0.9), FoundFace(HERE, 0.8), FoundFace(THERE, 0.7)]]
    assert average_precision(found, [[HERE, THERE]]) == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_a_face_belongs_to_its_own_picture():
    assert average_precision([[FoundFace(HERE, 0.9)], []], [[], [HERE]]) == 0


def test_precision_falls_over_pictures_together():
    found = [[FoundFace(HERE, 0.9)], [FoundFace(NOWHERE, 0.8)], [FoundFace(HERE, 0.7)]]
    assert average_precision(found, [[HERE], [], [HERE]]) == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_half_is_enough_and_less_is_not():
    assert overlap(HERE, (0.0, 0.0, 10.0, 5.0)) == 0.5
    assert average_precision([[FoundFace((0.0, 0.0, 10.0, 5.0), 1)]], [[HERE]]) == 1
    assert average_precision([[FoundFace((0.0, 0.0, 10.0, 4.9), 1)]], [[HERE]]) == 0


def test_boxes_apart_and_boxes_of_nothing_do_not_overlap():
    assert overlap(HERE, THERE) == 0
    assert overlap((1.0, 1.0, 1.0, 1.0), (1.0, 1.0, 1.0, 1.0)) == 0


def test_vectors_that_tell_people_apart_give_one():
    vectors = np.stack([vector(1, 0), vector(2, 0.1), vector(0, 1), vector(0.1, 3)])
    assert verification_auc(vectors, np.array([1, 1, 2, 2])) == 1
    assert verification_auc(vectors, np.array([1, 2, 1, 2])) == pytest.approx(0.25)


def test_vectors_that_are_all_the_same_are_worth_a_guess():
    assert verification_auc(np.ones((4, 3), np.float32), np.array([1, 1, 2, 2])) == 0.5


@given(st.integers(0, 2**32))
def test_the_area_is_the_share_of_pairs_in_the_right_order(seed):
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((9, 3)).astype(np.float32)
    owners = np.array([0, 0, 0, 1, 1, 1, 2, 2, 3])
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = [
        (round(float(unit[i] @ unit[j]), 6), owners[i] == owners[j])
        for i in range(9)
        for j in range(i)
    ]
    genuine = [score for score, same in scores if same]
    impostor = [score for score, same in scores if not same]
    right = sum((g > i) + (g == i) / 2 for g in genuine for i in impostor)
    expected = right / len(genuine) / len(impostor)
    assert verification_auc(vectors, owners) == pytest.approx(expected, abs=0.01)


def test_both_figures_come_from_what_was_found():
    told = [[ToldFace(HERE, 1), ToldFace(THERE, 2)], [ToldFace(HERE, 1)], [ToldFace(HERE, 2)]]
    found = [
        [FoundFace(HERE, 0.9, vector(1, 0)), FoundFace(THERE, 0.9, vector(0, 1))],
        [FoundFace(HERE, 0.9, vector(1, 0.1)), FoundFace(NOWHERE, 0.2, vector(5, 5))],
        [],
    ]
    figures = measure_faces(found, told)
    assert figures.face_ap50 == pytest.approx(3 / 4)
    assert figures.face_auc == 1
    assert (figures.told, figures.matched, figures.genuine, figures.impostor) == (4, 3, 1, 2)


def test_without_two_faces_of_one_person_there_is_no_area():
    figures = measure_faces([[FoundFace(HERE, 1, vector(1, 0))], []], [[ToldFace(HERE, 1)], []])
    assert math.isnan(figures.face_auc)
    assert figures.face_ap50 == 1
