"""One file to facts and thumbnails."""

import os

import numpy as np
import pytest
from blake3 import blake3
from PIL import Image

from actors.photo import reading
from actors.photo.containers import risky
from actors.photo.errors import BadPhoto, Busy, HostAway, NotAPhoto
from actors.photo.facts import Facts
from actors.photo.original import read_original
from actors.photo.reading import decode_photo, read_photo
from actors.photo.thumbnails import thumbnail_path

ASCII, SHORT, RATIONAL = 2, 3, 5


@pytest.fixture
def block(exif_block):
    return exif_block(
        {0x010F: (ASCII, b"Canon\0"), 0x0110: (ASCII, b"EOS\0garbage"), 0x0112: (SHORT, [6])},
        {
            0x9003: (ASCII, b"2019:03:21 16:04:22\0"),
            0x9291: (ASCII, b"348\0"),
            0x9011: (ASCII, b"-05:00\0"),
        },
        {
            1: (ASCII, b"N\0"),
            2: (RATIONAL, [(41, 1), (13, 1), (1308, 100)]),
            3: (ASCII, b"W\0"),
            4: (RATIONAL, [(96, 1), (4, 1), (1785, 100)]),
            5: (1, b"\0"),
            6: (RATIONAL, [(3305, 10)]),
        },
    )


@pytest.fixture
def photo(tmp_path, scene, encoded, block):
    path = tmp_path / "photos" / "a.jpg"
    path.parent.mkdir()
    path.write_bytes(encoded(scene(2000, 1500), quality=92, exif=block))
    return path


@pytest.fixture
def derived(tmp_path):
    return tmp_path / "derived"


def test_a_photo_becomes_facts_and_two_thumbnails(photo, derived, scene):
    read = read_photo(os.fsencode(photo), derived)
    assert read.digest == blake3(photo.read_bytes()).digest()
    assert read.facts == Facts(
        format="jpeg",
        width=1500,
        height=2000,
        orientation=6,
        taken_at="2019-03-21T16:04:22.348",
        taken_offset=-300,
        make="Canon",
        model="EOS",
        latitude=41.2203,
        longitude=-96.071625,
        altitude=330.5,
    )
    large, small = (thumbnail_path(derived, read.digest, side) for side in (1024, 256))
    assert read.thumb_1024_bytes == large.stat().st_size
    assert read.thumb_256_bytes == small.stat().st_size
    with Image.open(large) as image:
        upright = scene(2000, 1500).transpose(Image.Transpose.ROTATE_270).resize((768, 1024))
        assert image.size == (768, 1024)
        assert np.abs(np.asarray(image).astype(int) - np.asarray(upright)).mean() < 3


def test_a_duplicate_costs_no_decode_and_tells_the_same(photo, derived, monkeypatch):
    first = read_photo(str(photo), derived)
    monkeypatch.setattr(reading, "write_pair", None)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", None)
    assert read_photo(str(photo), derived) == first


def test_a_torn_thumbnail_is_made_again(photo, derived):
    first = read_photo(str(photo), derived)
    path = thumbnail_path(derived, first.digest, 256)
    path.write_bytes(path.read_bytes()[:100])
    assert read_photo(str(photo), derived) == first
    assert path.stat().st_size == first.thumb_256_bytes


def test_a_damaged_photo_is_marked_each_time_it_is_read(photo, derived):
    photo.write_bytes(photo.read_bytes()[:-9000])
    first = read_photo(str(photo), derived)
    assert first.facts.damaged
    assert read_photo(str(photo), derived) == first


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "AVIF"])
def test_a_duplicate_of_any_format_tells_the_same(kind, photo, derived, encoded, scene):
    with Image.open(photo) as image:
        block = image.info["exif"]
    photo.write_bytes(encoded(scene(), kind, exif=block))
    first = read_photo(str(photo), derived)
    assert (first.facts.width, first.facts.height) == (300, 400)
    assert first.facts.taken_offset == -300
    assert read_photo(str(photo), derived) == first


def test_raw_photos_are_read_through_the_same_door(tmp_path, derived, scene, dng):
    path = tmp_path / "a.dng"
    path.write_bytes(dng(scene(800, 600), scene(1200, 900), orientation=6))
    first = read_photo(str(path), derived)
    assert (first.facts.format, first.facts.width, first.facts.height) == ("raw", 600, 800)
    assert first.facts.make == "Obscura"
    assert read_photo(str(path), derived) == first


def test_content_decides_over_the_name(tmp_path, derived, scene, encoded):
    for name in ("wrong.heic", "wrong.nef", "wrong.png", "wrong", "wrong.txt"):
        path = tmp_path / name
        path.write_bytes(encoded(scene()))
        assert read_photo(str(path), derived).facts.format == "jpeg"


def test_a_text_called_jpg_is_named(tmp_path, derived):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(NotAPhoto, match="Git LFS pointer"):
        read_photo(str(path), derived)
    assert not derived.exists()


def test_a_read_only_tree_is_enough(photo, derived):
    photo.chmod(0o444)
    photo.parent.chmod(0o555)
    try:
        assert read_photo(str(photo), derived).facts.make == "Canon"
    finally:
        photo.parent.chmod(0o755)
    assert [path.name for path in photo.parent.iterdir()] == ["a.jpg"]


def test_the_two_halves_leave_room_to_announce_the_risk(photo, derived):
    original = read_original(str(photo))
    assert not risky(original.name, original.data)
    assert decode_photo(original, derived) == read_photo(str(photo), derived)


def test_thumbnails_that_cannot_be_written_are_the_hosts_fault(photo, derived):
    derived.write_bytes(b"a file where the folder should be")
    with pytest.raises(HostAway, match=r"^the thumbnails could not be written: not a directory"):
        read_photo(str(photo), derived)


def test_short_memory_is_not_the_photos_fault(photo, derived, monkeypatch):
    def fail(*args, **options):
        raise MemoryError

    monkeypatch.setattr(reading, "read_picture", fail)
    with pytest.raises(Busy, match=r"^not enough memory"):
        read_photo(str(photo), derived)


def test_no_other_error_escapes(photo, derived, monkeypatch):
    def fail(*args, **options):
        raise RuntimeError(f"something in {photo}")

    monkeypatch.setattr(reading, "read_picture", fail)
    with pytest.raises(BadPhoto) as told:
        read_photo(str(photo), derived)
    assert told.value.reason == "damaged: the JPEG cannot be decoded"
