"""Drawn people: the same from the same seed, and where the told boxes and landmarks say."""

import json
import math
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from models.sketch.__main__ import main
from models.sketch.faces.dataset import (
    CROP,
    PER_PERSON,
    SIDE,
    STREAM,
    draw_crops,
    training_crop,
    training_scene,
)
from models.sketch.faces.head import Turn
from models.sketch.faces.person import CLASSES, Person, person_of
from models.sketch.faces.portrait import draw_portrait, random_sitting
from models.sketch.faces.render import cast_of, render_faces, render_scene
from models.sketch.faces.scene import LEAST_SEEN, MOST_FACES, draw_scene

seeds = st.integers(0, 2**32)
STILL = random_sitting(Random(0))._replace(turn=Turn(), smile=0, gaze=0, light=0, gain=1, body=True)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    directory = tmp_path_factory.mktemp("people")
    render_faces(16, 5, directory)
    return directory


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("faces --n 0 --out x", "'0'"),
        ("faces --n 3 --seed one --out x", "--seed"),
        ("faces --n 3", "--out"),
        ("train-faces --minutes -1 --work x", "'-1'"),
        ("export-faces", "--work"),
    ],
)
def test_a_bad_argument_costs_one_line_that_names_it(line, complaint, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(line.split())
    said = capsys.readouterr().err
    assert stopped.value.code == 2
    assert complaint in said
    assert said.count("\n") == 1


def test_a_folder_that_cannot_be_made_costs_one_line_that_names_it(tmp_path, capsys):
    (tmp_path / "taken").write_text("a file")
    assert main(["faces", "--n", "1", "--out", str(tmp_path / "taken")]) == 1
    assert str(tmp_path / "taken") in capsys.readouterr().err


def test_the_same_seed_gives_the_same_files(rendered, tmp_path):
    assert main(["faces", "--n", "16", "--seed", "5", "--out", str(tmp_path)]) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in rendered.iterdir())
    for path in rendered.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes()


def test_processes_draw_what_one_alone_would(rendered, tmp_path, monkeypatch):
    monkeypatch.setattr("models.sketch.faces.render._WORTH_PROCESSES", 1)
    render_faces(16, 5, tmp_path)
    for path in rendered.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes()


def test_a_line_for_every_picture_says_where_and_who(rendered):
    lines = [json.loads(line) for line in (rendered / "faces.jsonl").read_text().splitlines()]
    assert [line["file"] for line in lines] == sorted(p.name for p in rendered.glob("*.jpg"))
    for line in lines:
        with Image.open(rendered / line["file"]) as picture:
            width, height = picture.size
        for face in line["faces"]:
            left, top, right, bottom = face["box"]
            assert 0 <= left < right <= width
            assert 0 <= top < bottom <= height
            assert len(face["landmarks"]) == 5
            assert face["identity"] in cast_of(16, 5)


def test_two_seeds_have_nobody_in_common_and_training_meets_neither():
    assert set(cast_of(300, 5)).isdisjoint(cast_of(20_000, 6))
    assert all(person_of(i) != person_of(i, STREAM) for i in range(300))


def test_people_come_back_in_a_set():
    who = [face.identity for i in range(30) for face in render_scene(i, 3, cast_of(30, 3)).faces]
    assert len(who) > 1.5 * len(set(who))


@given(seeds)
def test_a_person_is_one_class_of_every_column(identity):
    person = person_of(identity)
    assert len(person) == len(CLASSES) == len(Person._fields)
    assert all(0 <= value < number for value, number in zip(person, CLASSES, strict=True))
    assert person == person_of(identity)


def test_five_thousand_people_are_all_different():
    assert len({person_of(i) for i in range(5000)}) == 5000


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(10, 120))
def test_landmarks_lie_in_the_box_and_in_order(seed, radius):
    portrait = draw_portrait(person_of(seed), random_sitting(Random(seed)), radius)
    left, top, right, bottom = portrait.box
    assert all(left <= x <= right and top <= y <= bottom for x, y in portrait.landmarks)
    eye, other, nose, mouth, corner = portrait.landmarks
    assert eye[0] < other[0]
    assert mouth[0] < corner[0]
    assert max(eye[1], other[1]) < nose[1] + 0.3 * radius
    assert (eye[1] + other[1]) / 2 < nose[1] < (mouth[1] + corner[1]) / 2


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_the_box_holds_the_head_and_no_more(seed):
    portrait = draw_portrait(person_of(seed), random_sitting(Random(seed)), 60)
    rows, columns = np.nonzero(np.asarray(portrait.head))
    found = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert found == pytest.approx(portrait.box, abs=2)


def test_eyes_are_drawn_where_their_landmarks_are():
    person = person_of(3)._replace(glasses=0, eye_size=3, eye_shape=0, hat=0, iris=5)
    portrait = draw_portrait(person, STILL._replace(lids=1), 80)
    pixels = np.asarray(portrait.layer)
    for x, y in portrait.landmarks[:2]:
        assert pixels[round(y), round(x), :3].max() < 60  # the pupil


def test_a_head_that_turns_shows_its_nose_on_that_side():
    def nose(yaw):
        portrait = draw_portrait(person_of(3), STILL._replace(turn=Turn(yaw=yaw)), 80)
        return portrait.landmarks[2][0]

    assert nose(-0.4) < nose(0) < nose(0.4)


def test_a_head_that_leans_takes_its_eyes_along():
    portrait = draw_portrait(person_of(3), STILL._replace(turn=Turn(roll=0.3)), 80)
    (x, y), (a, b) = portrait.landmarks[:2]
    assert math.atan2(b - y, a - x) == pytest.approx(0.3, abs=1e-6)


def test_whoever_is_told_is_seen_well_enough():
    faces = [face for i in range(40) for face in render_scene(i, 8, cast_of(40, 8)).faces]
    assert all(LEAST_SEEN - 0.01 <= face.seen <= 1.01 for face in faces)
    assert any(face.seen < 0.95 for face in faces)  # some are hidden in part
    assert sum(face.seen > 0.95 for face in faces) > len(faces) / 2


@settings(max_examples=15, deadline=None)
@given(seeds)
def test_nobody_is_told_who_was_not_asked_for(seed):
    rng = Random(seed)
    people = [(i, person_of(i)) for i in range(rng.randint(0, MOST_FACES))]
    scene = draw_scene(rng, (320, 240), people, fineness=1)
    identities = [face.identity for face in scene.faces]
    assert set(identities) <= set(range(len(people)))
    assert len(set(identities)) == len(identities)
    assert all(0 < x < 320 and 0 < y < 240 for face in scene.faces for x, y in face.landmarks)
    assert scene.picture.size == (320, 240)


def test_there_are_pictures_with_nobody_and_with_five():
    counts = {len(render_scene(i, 4, cast_of(60, 4)).faces) for i in range(60)}
    assert {0, 1, 2} <= counts <= set(range(MOST_FACES + 1))
    assert max(counts) >= 4


def test_training_sees_squares_with_boxes_in_them():
    rng = Random(1)
    for _ in range(12):
        pixels, told = training_scene(rng)
        assert pixels.shape == (SIDE, SIDE, 3)
        assert pixels.dtype == np.uint8
        boxes = told[told[:, 14] > 0, :4]
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        assert boxes.min(initial=0) >= 0
        assert boxes.max(initial=0) <= SIDE


def test_training_sees_aligned_crops():
    ground = Image.new("RGB", (256, 256), (90, 120, 150))
    crop = training_crop(Random(2), person_of(1), ground)
    assert crop.shape == (CROP, CROP, 3)
    assert crop.dtype == np.uint8


def test_what_training_needs_is_drawn_once(tmp_path):
    draw_crops(tmp_path, 1, 1)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert set(before) == {"crops.npy", "persons.npy"}
    persons = np.load(tmp_path / "persons.npy").reshape(-1, PER_PERSON, len(Person._fields))
    assert (persons == persons[:, :1]).all()
    assert len(np.load(tmp_path / "crops.npy")) == persons.shape[0] * PER_PERSON
    draw_crops(tmp_path, 1, 1)
    assert before == {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
