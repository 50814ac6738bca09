"""Real files that nobody here made: every one ends well, and what it says is what it said."""

import csv
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from actors.photo.errors import BadPhoto, NotAPhoto, Unread
from actors.photo.reading import Photo, read_photo
from actors.photo.thumbnails import LARGE, thumbnail_path

pytestmark = pytest.mark.corpus

FOLDERS = ["exif", "faces", "general", "heic", "malformed", "names", "orientation", "raw", "video"]

#: photo, not a photo, bad photo
COUNTS = {
    "exif": (71, 4, 0),  # four XMP sidecars
    "faces": (127, 0, 0),
    "general": (60, 1, 0),  # an icon
    "heic": (28, 0, 0),
    "malformed": (19, 18, 22),
    "names": (2, 0, 0),
    "orientation": (32, 0, 0),
    "raw": (3, 0, 3),  # heads of raw files, cut after 128 bytes to 128 KB
    "video": (0, 14, 0),
}

#: damaged, and shown nevertheless
DAMAGED = {
    "malformed/Pillow/truncated_image.png",
    "malformed/Pillow/truncated_jpeg.jpg",
    "malformed/image-test-suite/m1-66ac49ef3f48ac9482049e1ab57a53e9.png",
    "malformed/image-test-suite/m2-71915ab0b1cc7350091ef7073a312d16.png",
}


@pytest.fixture(scope="module")
def derived(tmp_path_factory):
    return tmp_path_factory.mktemp("derived")


@pytest.fixture(scope="module")
def outcomes(corpus, derived) -> dict[str, Photo | Unread]:
    """What each file became, by its path below the corpus."""
    ended: dict[str, Photo | Unread] = {}
    for folder in FOLDERS:
        for path in sorted((corpus / folder).rglob("*")):
            if path.is_file():
                name = str(path.relative_to(corpus))
                try:
                    ended[name] = read_photo(os.fsencode(path), derived)
                except Unread as error:
                    ended[name] = error
    return ended


def photos(outcomes: dict[str, Photo | Unread]) -> dict[str, Photo]:
    return {name: end for name, end in outcomes.items() if isinstance(end, Photo)}


def large(derived: Path, photo: Photo) -> Image.Image:
    with Image.open(thumbnail_path(derived, photo.digest, LARGE)) as image:
        return image.convert("RGB")


def difference(one: Image.Image, other: Image.Image) -> float:
    a, b = (np.asarray(image).astype(int) for image in (one, other))
    return float(np.abs(a - b).mean())


def test_every_file_ends_as_expected(outcomes):
    ended = Counter((name.split("/")[0], type(end)) for name, end in outcomes.items())
    kinds = (Photo, NotAPhoto, BadPhoto)
    assert {folder: tuple(ended[folder, kind] for kind in kinds) for folder in FOLDERS} == COUNTS
    assert sum(ended.values()) == sum(map(sum, COUNTS.values()))


def test_every_reason_is_one_line_for_a_user(outcomes, corpus):
    for name, end in outcomes.items():
        if isinstance(end, Unread):
            assert end.reason, name
            assert end.reason.isprintable(), name
            assert len(end.reason) < 120, name
            for leak in (str(corpus), Path(name).name, "Error", "0x", "<", "object at"):
                assert leak not in end.reason, (name, end.reason)


def test_damaged_files_are_marked_and_no_others(outcomes):
    marked = {name for name, photo in photos(outcomes).items() if photo.facts.damaged}
    assert marked == DAMAGED


def test_every_thumbnail_has_the_shape_of_its_photo(outcomes, derived):
    for name, photo in photos(outcomes).items():
        image = large(derived, photo)
        longest = max(photo.facts.width, photo.facts.height)
        if photo.facts.format == "raw":
            longest = max(image.size)  # a preview may be smaller than the sensor
        assert max(image.size) == min(longest, LARGE), name
        shape = photo.facts.width / photo.facts.height
        assert abs(image.width / image.height - shape) < 0.02 * shape + 0.02, name


def test_a_second_reading_tells_the_same(outcomes, derived, corpus):
    for name, photo in photos(outcomes).items():
        assert read_photo(os.fsencode(corpus / name), derived) == photo, name


def test_facts_can_be_written_as_json(outcomes):
    for photo in photos(outcomes).values():
        facts = {field: getattr(photo.facts, field) for field in photo.facts.__struct_fields__}
        json.dumps(facts, allow_nan=False)


#: grey levels by which a mirrored or upside-down sibling differs at least
WRONG_TURN = 40

EXIF = "exif/metadata-extractor-images/"

#: where we deliberately differ from the source's statement, what we say, and why
DIFFERENCES: dict[tuple[str, str], tuple[object, str]] = {
    (EXIF + "FujiFilm DX-5.jpg", "taken"): (None, "the clock was not set: blanks and colons"),
    (EXIF + "Nikon E885.jpg", "taken"): (None, "the clock was not set: zeros"),
    (EXIF + "Issue 609.jpg", "taken"): (
        "2023-04-05T09:06:56",
        "the original date is zeros, the date of the last save is not",
    ),
    (EXIF + "Issue 600 (2).jpg", "taken"): (
        "2009-09-09T17:00:00",
        "EXIF has only the date of the last save; XMP knows when it was created",
    ),
    (EXIF + "Multiple ICC segments.jpg", "taken"): ("2014-12-18T17:36:40", "the same"),
    (EXIF + "Photoshop (3).jpg", "taken"): ("2015-06-29T18:15:36", "the same"),
    (EXIF + "Samsung GT-I9000 (Galaxy S).jpg", "latitude"): (None, "(0, 0) is no fix"),
    (EXIF + "Samsung GT-I9000 (Galaxy S).jpg", "longitude"): (None, "(0, 0) is no fix"),
    ("orientation/exif-orientation-examples/Landscape_0.jpg", "orientation"): (1, "0 says nothing"),
    ("orientation/exif-orientation-examples/Portrait_0.jpg", "orientation"): (1, "0 says nothing"),
}

#: stated facts of files that give no photo
NO_PHOTO = {
    "malformed/image-test-suite/m3-63c8b14ea08a18c884d05a3431716047.tif",
    "malformed/image-test-suite/m7-42c19f8e79e582bef107f372f18a074b.tif",
}


def stated(expected: dict[str, Any]) -> dict[str, object]:
    """The manifest's words as our fields."""
    fields: dict[str, object] = {
        ours: expected[theirs]
        for theirs, ours in {
            "make": "make",
            "model": "model",
            "lat": "latitude",
            "lon": "longitude",
            "orientation": "orientation",
        }.items()
        if theirs in expected
    }
    date = expected.get("datetime_original") or expected.get("datetime")
    if date:
        fields["taken"] = date.replace(":", "-", 2).replace(" ", "T")
        if int(expected.get("subsec") or 0):
            fields["taken"] = f"{fields['taken']}.{expected['subsec'].ljust(3, '0')}"
    elif "datetime_local" in expected:
        fields["taken"] = expected["datetime_local"] + ":00"
    if "upright" in expected:
        fields["size"] = tuple(expected["upright"])
    elif "width" in expected:
        size = expected["width"], expected["height"]
        fields["size"] = size if (expected.get("orientation") or 1) < 5 else size[::-1]
    return fields


def test_facts_are_what_the_sources_state(outcomes, corpus):
    compared, different = Counter[str](), {}
    with (corpus / "MANIFEST.csv").open(encoding="utf-8", newline="") as manifest:
        for row in csv.DictReader(manifest):
            end = outcomes.get(row["path"])
            expected = stated(json.loads(row["expected_json"] or "{}"))
            if end is None or not expected or row["path"] in NO_PHOTO:
                continue
            assert isinstance(end, Photo), row["path"]
            facts = end.facts
            size = facts.width, facts.height
            for field, value in expected.items():
                said = {"taken": facts.taken_at, "size": size}.get(
                    field, getattr(facts, field, None)
                )
                compared[field] += 1
                same = said == value
                if isinstance(value, float) and isinstance(said, float):
                    same = abs(value - said) < 2e-6  # the manifest rounds to six digits
                if not same:
                    different[row["path"], field] = said
    assert different == {key: said for key, (said, _) in DIFFERENCES.items()}
    assert compared.keys() == {
        "make", "model", "latitude", "longitude", "orientation", "taken", "size",
    }  # fmt: skip
    assert sum(compared.values()) > 250


def test_the_priorities_of_dates_are_kept(outcomes):
    end = outcomes["exif/test-assets/date-priority-test.jpg"]
    assert isinstance(end, Photo)
    assert end.facts.taken_at == "2023-02-02T02:00:00"


@pytest.mark.parametrize("shape", ["Landscape", "Portrait"])
@pytest.mark.parametrize("orientation", [0, 2, 3, 4, 5, 6, 7, 8])
def test_the_orientation_examples_are_the_same_picture(shape, orientation, outcomes, derived):
    folder = "orientation/exif-orientation-examples/"
    one, other = (photos(outcomes)[f"{folder}{shape}_{number}.jpg"] for number in (1, orientation))
    assert difference(large(derived, one), large(derived, other)) < WRONG_TURN / 10


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
@pytest.mark.parametrize("orientation", range(2, 9))
def test_the_hoppers_are_the_same_picture(suffix, orientation, outcomes, derived):
    one = photos(outcomes)[f"general/Pillow/hopper.{suffix}"]
    other = photos(outcomes)[f"orientation/Pillow/hopper_orientation_{orientation}.{suffix}"]
    assert difference(large(derived, one), large(derived, other)) < WRONG_TURN / 5


@pytest.mark.parametrize(
    "name", ["metadata-extractor-images/Issue 263 dotnet.heic", "pillow_heif/arrow.heic"]
)
def test_heic_is_turned_once(name, outcomes, derived, corpus):
    photo = photos(outcomes)[f"heic/{name}"]
    assert photo.facts.orientation == 6
    assert (photo.facts.width, photo.facts.height) == (3024, 4032)
    from pi_heif import open_heif

    decoded = open_heif(corpus / "heic" / name).to_pillow().resize((768, 1024))
    # Display P3 became sRGB, hence not nearer
    assert difference(large(derived, photo), decoded) < 12


def test_wide_colours_become_srgb(outcomes, derived, corpus):
    from pi_heif import open_heif

    path = corpus / "heic/exifr/heic-iphone7.heic"
    decoded = open_heif(path).to_pillow()
    assert decoded.info["icc_profile"]
    plain = decoded.resize((1024, 768))
    converted = large(derived, photos(outcomes)["heic/exifr/heic-iphone7.heic"])
    assert 0.5 < difference(converted, plain) < 12


def test_animated_pictures_show_their_first_frame(outcomes, derived, corpus):
    for name in ("general/sharp/rotating-squares.gif", "general/Pillow/iss634.webp"):
        with Image.open(corpus / name) as image:
            first = Image.new("RGB", image.size, "white")
            first.paste(image.convert("RGB"), mask=image.convert("RGBA").getchannel("A"))
        assert difference(large(derived, photos(outcomes)[name]), first) < 6


def test_broken_files_print_nothing(corpus, tmp_path):
    """In a process of its own, because native libraries write past Python's stderr."""
    program = """
import pathlib, sys
from actors.photo.errors import Unread
from actors.photo.reading import read_photo
for path in sorted(pathlib.Path(sys.argv[1]).rglob("*.*")):
    try:
        read_photo(str(path), pathlib.Path(sys.argv[2]))
    except Unread:
        pass
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(corpus / "malformed"), str(tmp_path)],
        capture_output=True,
        check=False,
        cwd=Path(__file__).parents[3],
        timeout=100,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
