"""The faces of the built-in pack: whole, small, and good at people it has never met."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from models.faces.alignment import align
from models.faces.detector import FaceDetector
from models.faces.recogniser import FaceRecogniser
from models.pack import BUILT_IN, load_pack
from models.sketch.faces.measure import FoundFace, ToldFace, measure_faces
from models.sketch.faces.render import cast_of, render_scene
from models.sketch.render import choose_specs, render_picture

UNSEEN_SEED = 77_077


@pytest.fixture(scope="module")
def pack():
    return load_pack(BUILT_IN / "sketch")


@pytest.fixture(scope="module")
def detector(pack):
    return FaceDetector.open(pack)


@pytest.fixture(scope="module")
def recogniser(pack):
    return FaceRecogniser.open(pack)


def as_photo(picture):
    file = BytesIO()
    picture.save(file, "JPEG", quality=90)
    with Image.open(file) as photo:
        return np.asarray(photo.convert("RGB"))


def test_the_graphs_are_small(pack):
    assert pack.path(pack.faces.detect.file).stat().st_size <= 1_000_000
    assert pack.path(pack.faces.recognise.file).stat().st_size <= 4_000_000


def test_the_detector_has_the_outputs_of_yunet(pack):
    graph = pack.faces.detect
    assert (graph.kind, graph.colour, graph.input) == ("yunet", "BGR", "input")
    parts = [f"{part}_{s}" for part in ("cls", "obj", "bbox", "kps") for s in (8, 16, 32)]
    assert list(graph.outputs) == parts


def test_a_vector_has_512_entries_in_a_space_of_its_own(recogniser):
    assert (recogniser.space, recogniser.dimensions, recogniser.size) == ("sketch-face-1", 512, 112)


def test_it_finds_faces_and_tells_apart_people_it_has_never_met(detector, recogniser):
    found, told = [], []
    landmarks = []
    for number in range(40):
        scene = render_scene(number, UNSEEN_SEED, cast_of(40, UNSEEN_SEED))
        picture = as_photo(scene.picture)
        faces = detector.detect(picture)
        crops = [align(picture, face) for face in faces]
        vectors = recogniser.embed(np.stack(crops)) if crops else ()
        found.append(
            [
                FoundFace((face.left, face.top, face.right, face.bottom), face.score, vector)
                for face, vector in zip(faces, vectors, strict=True)
            ]
        )
        told.append([ToldFace(face.box, face.identity) for face in scene.faces])
        landmarks += [
            np.abs(np.array(one.landmarks) - np.array(other.landmarks)).mean() / one.height
            for one in faces
            for other in scene.faces
            if abs(one.left - other.box[0]) + abs(one.bottom - other.box[3]) < one.height / 4
        ]
    figures = measure_faces(found, told)
    assert figures.face_ap50 >= 0.85
    assert figures.face_auc >= 0.95
    assert np.median(landmarks) < 0.03


def test_it_sees_few_faces_in_drawings_without_people(detector):
    specs = choose_specs(30, UNSEEN_SEED)
    pictures = [render_picture(spec, UNSEEN_SEED, i) for i, spec in enumerate(specs)]
    assert sum(len(detector.detect(np.asarray(picture))) for picture in pictures) <= 3


def test_a_face_that_fills_the_picture_is_found(detector):
    for seed in range(4):
        scene = render_scene(seed * 2, 3, cast_of(8, 3))
        for face in scene.faces[-1:]:
            crop = np.asarray(scene.picture.crop(face.box))
            assert len(detector.detect(crop)) == 1
