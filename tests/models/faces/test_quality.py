"""Size, sharpness and pose, on faces where they are known."""

import math

import numpy as np
import pytest
from PIL import Image, ImageFilter

from models.faces.alignment import TEMPLATE, align
from models.faces.face import Face
from models.faces.quality import quality

PICTURE = np.random.default_rng(3).integers(0, 256, (300, 300, 3), np.uint8)


def face(points):
    return Face(20, 30, 120, 150, 1.0, tuple(map(tuple, np.asarray(points, float).tolist())))


def turned(degrees):
    angle = math.radians(degrees)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return face((TEMPLATE - 56) @ turn.T + 150)


def seen(degrees):
    """Eyes one unit from the middle, a nose that stands out by one, the head turned."""
    angle = math.radians(degrees)
    nose = 100 + 30 * math.sin(angle)
    near = 30 * math.cos(angle)
    return face([(100 - near, 80), (100 + near, 80), (nose, 100), (90, 120), (110, 120)])


@pytest.mark.parametrize("degrees", [-170, -90, -20, 0, 5, 45, 135])
def test_roll_is_the_angle_of_the_eyes(degrees):
    one = turned(degrees)
    assert quality(PICTURE, one, align(PICTURE, one)).roll == pytest.approx(degrees, abs=0.5)


@pytest.mark.parametrize("degrees", [-60, -30, 0, 10, 45])
def test_yaw_is_told_by_the_nose(degrees):
    one = seen(degrees)
    assert quality(PICTURE, one, align(PICTURE, one)).yaw == pytest.approx(degrees, abs=0.5)


def test_size_is_that_of_the_shorter_side_within_the_picture():
    crop = np.zeros((112, 112, 3), np.uint8)
    assert quality(PICTURE, Face(20, 30, 120, 150, 1.0), crop).size == 100
    assert quality(PICTURE, Face(-60, 30, 40, 150, 1.0), crop).size == 40
    assert quality(PICTURE, Face(400, 0, 500, 90, 1.0), crop).size == 0


def test_a_blurred_crop_is_less_sharp():
    crop = PICTURE[:112, :112]
    blurred = np.asarray(Image.fromarray(crop).filter(ImageFilter.GaussianBlur(3)))
    one = Face(0, 0, 112, 112, 1.0)
    sharp, dull = (quality(PICTURE, one, each).sharpness for each in (crop, blurred))
    assert sharp > 100 * dull
    assert quality(PICTURE, one, np.full_like(crop, 7)).sharpness == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("points", [[], [(50.0, 50.0)] * 5])
def test_without_landmarks_there_is_no_pose(points):
    found = quality(PICTURE, face(points) if points else Face(0, 0, 9, 9, 1.0), PICTURE[:112, :112])
    assert (found.yaw, found.roll) == (0, 0)
