"""From pixels of any kind to a small upright picture in sRGB."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from actors.photo.pixels import drawn_share, fitting_size, shrink, to_srgb, turn, upright_size


def difference(one: Image.Image, other: Image.Image) -> float:
    """Mean absolute difference in grey levels."""
    a, b = (np.asarray(image.convert("RGB")).astype(int) for image in (one, other))
    return float(np.abs(a - b).mean())


@given(st.integers(1, 70_000), st.integers(1, 70_000), st.integers(1, 2000))
def test_the_long_side_fits_and_nothing_is_enlarged(width, height, side):
    fitted = fitting_size((width, height), side)
    assert max(fitted) == min(side, max(width, height))
    assert min(fitted) >= 1
    assert fitted[0] <= width
    assert fitted[1] <= height


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turning_is_what_exif_means(orientation, scene, encoded):
    image = scene(40, 30)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.open(io.BytesIO(encoded(image, "PNG", exif=exif)))
    assert turn(image, orientation).tobytes() == ImageOps.exif_transpose(stored).tobytes()
    assert turn(image, orientation).size == upright_size((40, 30), orientation)


def test_a_small_picture_is_not_touched(scene):
    image = scene()
    assert shrink(image, 1024) is image


def test_shrinking_looks_like_the_picture(scene):
    image = scene(2000, 1500)
    small = shrink(image, 256)
    assert small.size == (256, 192)
    assert difference(small, image.resize((256, 192), Image.Resampling.LANCZOS)) < 1


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV"]
)
def test_every_mode_becomes_rgb_that_looks_the_same(mode, scene):
    image = scene()
    small = to_srgb(image.convert("RGB").convert(mode) if mode != "LAB" else lab(image), 200)
    assert (small.mode, small.size) == ("RGB", (200, 150))
    grey = mode in ("1", "L", "LA")
    like = shrink(image.convert("L") if grey else image, 200)
    assert difference(small, like) < {"1": 30, "P": 12}.get(mode, 4)


def lab(image: Image.Image) -> Image.Image:
    transform = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None
    return converted


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P"])
def test_transparent_parts_are_white(mode, encoded):
    image = Image.new("RGBA", (40, 20), (200, 10, 10, 0))
    image.paste((0, 0, 0, 255), (0, 0, 20, 20))
    if mode == "P":
        image = Image.open(io.BytesIO(encoded(image.quantize(), "PNG")))
    small = to_srgb(image.convert(mode), 20)
    assert small.getpixel((2, 5)) == (0, 0, 0)
    assert small.getpixel((17, 5)) == (255, 255, 255)


def test_a_colour_key_is_transparent(scene):
    image = Image.new("RGB", (40, 20), (1, 2, 3))
    image.info["transparency"] = (1, 2, 3)
    assert to_srgb(image, 20).getpixel((5, 5)) == (255, 255, 255)


def test_sixteen_bits_keep_their_brightness():
    values = np.linspace(0, 65535, 300).astype(np.uint16)[None, :].repeat(100, 0)
    small = np.asarray(to_srgb(Image.fromarray(values), 300))[0, :, 0]
    assert abs(int(small[150]) - 127) <= 2
    assert small[0] == 0
    assert small[-1] == 255


def test_twelve_bits_in_sixteen_are_not_black():
    values = np.linspace(0, 4095, 300).astype(np.uint16)[None, :].repeat(100, 0)
    small = np.asarray(to_srgb(Image.fromarray(values), 300))[0, :, 0]
    assert small[-1] == 255


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_numbers_without_a_white_are_stretched(kind):
    values = np.linspace(-5, 7000, 300).astype(kind)[None, :].repeat(100, 0)
    small = np.asarray(to_srgb(Image.fromarray(values), 300))[0, :, 0]
    assert (small[0], small[-1]) == (0, 255)


@pytest.mark.parametrize("value", [np.nan, np.inf, 3.0])
def test_flat_and_endless_numbers_make_a_picture(value):
    small = to_srgb(Image.fromarray(np.full((10, 20), value, np.float32)), 20)
    assert small.size == (20, 10)


def test_an_embedded_profile_is_applied(scene):
    image = lab(scene())
    image.info["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    assert difference(to_srgb(image, 400), scene()) < 4


def test_the_profile_of_srgb_changes_nothing(scene):
    image = scene()
    plain = to_srgb(image, 200).tobytes()
    image.info["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert to_srgb(image, 200).tobytes() == plain


@pytest.mark.parametrize("profile", [b"junk", b"\0" * 500])
def test_a_broken_profile_costs_no_photo(profile, scene):
    image = scene()
    plain = to_srgb(image, 200).tobytes()
    image.info["icc_profile"] = profile
    assert to_srgb(image, 200).tobytes() == plain


def test_no_metadata_survive(scene):
    image = scene()
    image.info |= {"comment": b"secret", "exif": b"secret", "dpi": (300, 300)}
    assert to_srgb(image, 200).info == {}


def test_the_drawn_share_ends_where_the_rest_is_flat(scene):
    image = scene(100, 100)
    assert drawn_share(image) == 1.0
    image.paste((128, 128, 128), (0, 40, 100, 100))
    assert drawn_share(image) == 0.4
    assert drawn_share(Image.new("RGB", (5, 5))) == 0.0
