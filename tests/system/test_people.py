"""Faces through the running system: real people on real photos."""

import contextlib
import csv
import itertools
import json
import os
import shutil
import sqlite3
import struct
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from actors.client import BlockingClient, PeerRefused
from actors.library.faces import vector_of
from actors.photo.spool import spooled
from bench.system import command, index_once, running
from models.pack import BUILT_IN, Manifest, load_pack, to_toml
from tests.people import NAME, people

pytestmark = [pytest.mark.corpus, pytest.mark.timeout(300)]

SETTINGS = f"""
[faces]
pack = "{NAME}"

[runtime]
restarts = 50
period = 600.0
backoff = 0.05
backoff_cap = 0.2
"""
DIMENSIONS = 256


def prepared(data, corpus):
    (data / "packs").mkdir(parents=True)
    people(corpus, data / "packs")
    (data / "obscura.toml").write_text(SETTINGS)
    return data


def found(data):
    """File, below its root → the faces in it: rows with their vectors."""
    query = """
        SELECT files.name, directories.path, faces.*, vectors.vector
        FROM faces JOIN files ON files.content = faces.content
        JOIN directories ON directories.id = files.directory
        JOIN vectors ON vectors.content = faces.content AND vectors.space = faces.space
        ORDER BY faces.score DESC
    """
    rows = defaultdict(list)
    with contextlib.closing(sqlite3.connect(data / "catalog.sqlite")) as database:
        database.row_factory = sqlite3.Row
        for row in database.execute(query):
            vector = vector_of(row["vector"], row["number"], DIMENSIONS)
            assert vector is not None
            file = os.path.join(row["path"], row["name"]).decode()
            rows[file].append((row, np.frombuffer(vector, "<f4")))
    return dict(rows)


@pytest.fixture(scope="module")
def known(corpus, tmp_path_factory):
    data = prepared(tmp_path_factory.mktemp("people") / "data", corpus)
    summary = index_once(corpus / "faces" / "face_recognition", data)
    return data, summary


def test_every_photo_is_looked_at_and_nothing_is_left_behind(known):
    data, summary = known
    assert summary["dead"] == 0
    assert summary["inferences"]["face"] == summary["indexed"] == summary["inferences"]["embed"]
    assert not any(summary["restarts"].values())
    assert spooled(data / "derived") == {}
    again = index_once(Path(known_folder(data)), data)
    assert (again["decodes"], again["inferences"]) == (0, {"embed": 0, "face": 0, "caption": 0})


def known_folder(data):
    with contextlib.closing(sqlite3.connect(data / "catalog.sqlite")) as database:
        return os.fsdecode(database.execute("SELECT path FROM roots").fetchone()[0])


def test_one_person_is_told_from_another(known, corpus):
    faces = found(known[0])
    with (corpus / "MANIFEST.csv").open(newline="") as file:
        said = {
            row["path"]: json.loads(row["expected_json"] or "{}") for row in csv.DictReader(file)
        }
    who = {}
    for name in faces:
        expected = said[f"faces/face_recognition/{name}"]
        if expected["faces"] == 1:
            (who[name],) = expected["identity"]
    assert len(who) >= 18
    assert len(set(who.values())) == 6
    genuine: list[float] = []
    impostor: list[float] = []
    for one, other in itertools.combinations(sorted(who), 2):
        cosine = float(largest(faces[one]) @ largest(faces[other]))
        (genuine if who[one] == who[other] else impostor).append(cosine)
    assert len(genuine) > 20
    assert np.mean([a > b for a in genuine for b in impostor]) >= 0.99


def test_one_person_is_found_by_one_face_and_photos_by_how_many_they_show(known):
    data, summary = known
    faces, root = found(data), Path(known_folder(data))

    def name(hit):
        return str(Path(hit.path).relative_to(root))

    with running(root, data), BlockingClient.connect(data) as library:
        everything = library.search("people", k=100)
        shown = {name(hit): hit for hit in everything.hits}
        assert len(shown) == summary["indexed"]
        for each, hit in shown.items():
            assert hit.faces == len(faces.get(each, []))
        for least in (1, 2, 3):
            some = library.search("people", k=100, faces=least)
            wanted = {each for each, hit in shown.items() if (hit.faces or 0) >= least}
            assert {name(hit) for hit in some.hits} == wanted
            assert some.unlooked == 0
        nobody = library.search("people", k=100, has_faces=False)
        assert {hit.faces for hit in nobody.hits} <= {0}
        (obama,) = library.faces(shown["obama.jpg"].content).faces
        like = library.faces_like(obama.id, k=3)
        by = [hit.face.id for hit in like.hits if hit.face is not None]
        assert len(by) == len(like.hits) > 1
        assert obama.id not in by
        assert "obama" in name(like.hits[0])
        with pytest.raises(PeerRefused, match="there is no face"):
            library.faces_like(obama.id + 1)
        checked = command("check", "--data", data)
        assert checked.returncode == 0, checked.stdout
        listed = command("search", "--face", obama.id, "-k", 1, "--data", data, "--json")
        assert json.loads(listed.stdout)[0]["face"]["id"] == by[0]


def largest(faces):
    return max(faces, key=lambda each: each[0]["size"])[1]


def test_boxes_and_points_lie_where_the_faces_are(known):
    faces = found(known[0])
    assert len(faces["two_people.jpg"]) == 2
    ((row, _),) = faces["obama.jpg"]
    with Image.open(next(path for path in paths(known[0]) if path.endswith("/obama.jpg"))) as image:
        width, height = image.size
    box = [row["left"] * width, row["top"] * height, row["right"] * width, row["bottom"] * height]
    assert np.abs(np.subtract(box, [372.7, 87.6, 607.0, 421.8])).max() < 5
    points = np.array(struct.unpack("<10f", row["landmarks"])).reshape(5, 2) * (width, height)
    assert np.abs(points[:2] - [(437.8, 210.3), (544.3, 204.8)]).max() < 5
    assert row["size"] == pytest.approx(min(box[2] - box[0], box[3] - box[1]), rel=0.02)


def paths(data):
    root = known_folder(data)
    return [os.path.join(each, name) for each, _, names in os.walk(root) for name in names]


def test_a_library_with_odd_pictures_is_looked_at_whole(corpus, tmp_path, drawings):
    """Crowds, landscapes, grey, CMYK, alpha, 16 bits, animations, faces on their heads."""
    photos, data = tmp_path / "photos", prepared(tmp_path / "data", corpus)
    photos.mkdir()
    crowd = next((corpus / "faces" / "Ultra-Light-Fast-Generic-Face-Detector-1MB").rglob("1.jpg"))
    shutil.copyfile(crowd, photos / "crowd.jpg")
    with Image.open(corpus / "faces" / "face_recognition" / "obama.jpg") as image:
        face = image.convert("RGB")
    face.convert("L").save(photos / "grey.jpg")
    face.convert("CMYK").save(photos / "cmyk.jpg")
    face.convert("RGBA").save(photos / "alpha.png")
    face.convert("L").convert("I").point(lambda value: value * 257).convert("I;16").save(
        photos / "deep.png"
    )
    face.save(photos / "moving.gif", save_all=True, append_images=[face.rotate(9)])
    face.rotate(180).save(photos / "headstand.jpg")
    face.crop((372, 200, 900, 1100)).save(photos / "cut.jpg")
    for drawing in sorted(drawings.glob("*.jpg"))[:2]:
        shutil.copyfile(drawing, photos / drawing.name)
    summary = index_once(photos, data)
    assert summary["inferences"]["face"] == len(list(photos.iterdir()))
    assert summary["dead"] == 0
    faces = found(data)
    assert len(faces.pop("crowd.jpg")) >= 50
    assert faces.keys() == {path.name for path in photos.iterdir()} - {
        "crowd.jpg",
        *(each.name for each in sorted(drawings.glob("*.jpg"))[:2]),
    }
    same = [largest(faces[name]) for name in ("grey.jpg", "cmyk.jpg", "alpha.png", "moving.gif")]
    assert min(float(one @ other) for one, other in itertools.combinations(same, 2)) > 0.7


def test_a_worker_that_is_killed_in_the_middle_leaves_no_half_photo(known, corpus, tmp_path):
    data = prepared(tmp_path / "data", corpus)
    struck = tmp_path / "struck"
    struck.mkdir()
    plan = "face.begun=kill@2 face.done=kill@1 index.applied=kill@1"
    done = command(
        *("--originals", corpus / "faces" / "face_recognition", "--data", data, "--once"),
        env={"RUNTIME_FAULTS": plan, "RUNTIME_FAULTS_ONCE": str(struck)},
    )
    assert done.returncode == 0, done.stderr
    assert {each.name for each in struck.iterdir()} >= {"face.begun", "face.done"}
    assert boxes(data) == boxes(known[0])
    assert spooled(data / "derived") == {}


def boxes(data):
    return {
        name: sorted((row["number"], row["left"], row["score"]) for row, _ in faces)
        for name, faces in found(data).items()
    }


def test_a_library_that_knew_no_faces_learns_them_later(corpus, tmp_path):
    """Nothing larger than a thumbnail was left of its photos: that is made again, once."""
    photos, data = tmp_path / "photos", tmp_path / "data"
    photos.mkdir()
    with Image.open(corpus / "faces" / "face_recognition" / "two_people.jpg") as image:
        image.resize((900, 900 * image.height // image.width)).save(photos / "small.jpg")
        image.resize((1800, 1800 * image.height // image.width)).save(photos / "large.jpg")
    (data / "packs").mkdir(parents=True)
    only_pictures(data / "packs")
    assert index_once(photos, data)["inferences"] == {"embed": 2, "face": 0, "caption": 0}
    people(corpus, data / "packs")
    done = command("models", "use", NAME, "--data", data, "--json")
    assert done.returncode == 0, done.stderr
    summary = index_once(photos, data)
    assert (summary["decodes"], summary["inferences"]) == (
        1,
        {"embed": 0, "face": 2, "caption": 0},
    )
    assert [len(each) for each in found(data).values()] == [2, 2]
    assert spooled(data / "derived") == {}


def only_pictures(folder):
    """The built-in pack without what it knows of faces and in words, in its place."""
    target = folder / "sketch"
    shutil.copytree(BUILT_IN / "sketch", target)
    pack = load_pack(target)
    fields = {name: getattr(pack, name) for name in Manifest.__struct_fields__}
    (target / "pack.toml").write_text(
        to_toml(Manifest(**{**fields, "faces": None, "caption": None}))
    )
