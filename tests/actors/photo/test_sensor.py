"""Raw photos: preview first, sensor second, upright either way."""

import numpy as np
import pytest
from PIL import Image

from actors.photo import sensor
from actors.photo.errors import BadPhoto
from actors.photo.exif import read_text
from actors.photo.limits import DEFAULT_LIMITS, Limits
from actors.photo.raster import pillow_alone
from actors.photo.sensor import read_raw
from actors.photo.tiff import read_directories

BACK = {
    3: Image.Transpose.ROTATE_180,
    6: Image.Transpose.ROTATE_90,
    8: Image.Transpose.ROTATE_270,
}


def read(data, *, side=200, limits=DEFAULT_LIMITS, **options):
    with pillow_alone(limits):
        return read_raw(data, side=side, limits=limits, **options)


def dark_corner(image):
    """Which corner of *image* is the scene's dark one: (right, bottom)."""
    grey = np.asarray(image.convert("L")).astype(int)
    half, wide = grey.shape[0] // 4, grey.shape[1] // 4
    corners = {
        (0, 0): grey[:half, :wide].mean(),
        (1, 0): grey[:half, -wide:].mean(),
        (0, 1): grey[-half:, :wide].mean(),
        (1, 1): grey[-half:, -wide:].mean(),
    }
    return min(corners, key=lambda corner: corners[corner])


def as_stored(image, orientation):
    return image.transpose(BACK[orientation]) if orientation in BACK else image


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_preview_is_turned_as_the_sensor_was(orientation, scene, dng):
    stored = as_stored(scene(1200, 900), orientation)
    picture = read(dng(as_stored(scene(2000, 1500), orientation), stored, orientation=orientation))
    assert (picture.width, picture.height) == (2000, 1500)
    assert picture.orientation == orientation
    assert picture.image.size == (200, 150)
    assert dark_corner(picture.image) == (0, 0)


@pytest.mark.parametrize("orientation", [6, 8])
def test_a_preview_that_is_upright_already_is_left_alone(orientation, scene, dng):
    upright = scene(900, 1200)
    picture = read(dng(scene(2000, 1500), upright, orientation=orientation))
    assert (picture.width, picture.height) == (1500, 2000)
    assert picture.image.size == (150, 200)
    assert dark_corner(picture.image) == (0, 0)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_without_a_preview_the_sensor_is_developed(orientation, scene, dng):
    picture = read(dng(as_stored(scene(800, 600), orientation), None, orientation=orientation))
    assert (picture.width, picture.height) == (800, 600)
    assert picture.image.size == (200, 150)
    assert dark_corner(picture.image) == (0, 0)


def test_a_preview_smaller_than_the_thumbnail_is_not_enough(scene, dng):
    red = Image.new("RGB", (160, 120), "red")
    picture = read(dng(scene(800, 600), red))
    assert picture.image.size == (200, 150)
    assert dark_corner(picture.image) == (0, 0)


def test_a_small_preview_is_better_than_a_sensor_cut_short(scene, dng):
    picture = read(dng(scene(800, 600), scene(160, 120), cut=True))
    assert picture.image.size == (160, 120)


def test_a_sensor_cut_short_does_not_matter_behind_a_preview(scene, dng):
    assert read(dng(scene(800, 600), scene(400, 300), cut=True)).image.size == (200, 150)


def test_a_sensor_cut_short_without_a_preview_is_refused(scene, dng):
    with pytest.raises(BadPhoto, match=r"^damaged: the raw photo is cut short or broken"):
        read(dng(scene(800, 600), None, cut=True))


def test_facts_come_from_the_directories(scene, dng):
    picture = read(dng(scene(), scene()), with_pixels=False)
    assert (picture.said.make, picture.said.model) == ("Obscura", "Test Camera")
    assert picture.said.taken.iso() == "2020-02-02T20:20:20"
    assert picture.image is None


def test_developing_is_bound_by_memory(scene, dng):
    tight = Limits(memory=1024 * 1024)
    with pytest.raises(BadPhoto, match=r"^too large"):
        read(dng(scene(800, 600), None), limits=tight)


def test_a_tiff_that_is_called_raw_is_read_as_tiff(scene, encoded):
    picture = read(encoded(scene(), "TIFF"))
    assert (picture.width, picture.height) == (400, 300)


def test_what_neither_decoder_knows_is_refused_in_one_line():
    with pytest.raises(BadPhoto, match=r"^damaged: neither the raw nor the TIFF decoder"):
        read(b"II*\0\x08\0\0\0\0\0\0\0\0\0" * 9)
    with pytest.raises(BadPhoto, match=r"^unsupported: no camera"):
        read(b"\x93\x12\0\xff" * 99)


@pytest.mark.parametrize("magic", [b"IIRO", b"IIU\0", b"II*\0"])
def test_vendors_magic_bytes_hide_no_facts(magic, exif_block):
    block = exif_block({0x010F: (2, b"OLYMPUS\0")})[6:]
    assert sensor._find_directories(magic + block[4:]).main[0x010F] == b"OLYMPUS\0"


def test_canons_boxes_hold_one_directory_each(exif_block):
    def box(name, body):
        return (len(body) + 8).to_bytes(4, "big") + name + body

    main = exif_block({0x010F: (2, b"Canon\0")})[6:]
    details = exif_block({0x9003: (2, b"2019:03:21 16:04:22\0")})[6:]
    gps = exif_block({1: (2, b"N\0"), 2: (5, [(48, 1), (0, 1), (0, 1)])})[6:]
    data = box(b"ftyp", b"crx ") + box(b"CMT1", main) + box(b"CMT2", details) + box(b"CMT4", gps)
    directories = sensor._find_directories(data)
    assert directories.main[0x010F] == b"Canon\0"
    assert directories.exif[0x9003] == b"2019:03:21 16:04:22\0"
    assert directories.gps[1] == b"N\0"
    assert sensor._find_directories(data[:30]) == ({}, {}, {})


@pytest.mark.corpus
def test_the_head_of_a_real_cr3_tells_its_camera(corpus):
    data = (corpus / "raw/file-type/fixture.cr3").read_bytes()
    directories = sensor._find_directories(data)
    assert read_text(directories.main[0x010F]) == "Canon"
    assert read_text(directories.exif[0x9003]) == "2019:12:05 13:32:49"
    assert read_directories(data).main == {}


@pytest.mark.parametrize(("size", "orientation"), [((400, 300), 1), ((300, 400), 6)])
def test_a_preview_of_plain_pixels_is_taken_as_well(size, orientation, scene, dng, monkeypatch):
    monkeypatch.setattr(sensor, "_find_preview", lambda raw: scene(*size))
    picture = read(dng(scene(800, 600), None, orientation=orientation))
    assert max(picture.image.size) == 200
    assert dark_corner(picture.image) == (0, 0)


@pytest.mark.parametrize("cut", [20, 4000])
def test_a_broken_preview_is_passed_over(cut, scene, encoded, dng, monkeypatch):
    monkeypatch.setattr(sensor, "_find_preview", lambda raw: encoded(scene(400, 300))[:cut])
    picture = read(dng(scene(800, 600), None))
    assert (picture.image.size, picture.damaged) == ((200, 150), False)
    assert dark_corner(picture.image) == (0, 0)


def test_half_a_preview_is_better_than_nothing(scene, encoded, dng, monkeypatch):
    monkeypatch.setattr(sensor, "_find_preview", lambda raw: encoded(scene(400, 300))[:4000])
    picture = read(dng(scene(800, 600), None, cut=True))
    assert (picture.image.size, picture.damaged) == ((200, 150), True)


@pytest.mark.parametrize(
    ("error", "told"),
    [("LibRawTooBigError", BadPhoto), ("LibRawUnsufficientMemoryError", MemoryError)],
)
def test_the_raw_decoders_limits_are_told_apart_from_damage(error, told, monkeypatch):
    import rawpy

    def fail(data):
        raise getattr(rawpy, error)

    monkeypatch.setattr(rawpy, "imread", fail)
    with pytest.raises(told):
        read(b"FUJIFILMCCD-RAW")
