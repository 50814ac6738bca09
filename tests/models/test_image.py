"""From pictures to tensors: sizes, channels, and the reference's arithmetic."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from models.errors import PictureBroken, ThumbnailBroken
from models.image import fit, open_thumbnail, prepare, thumbnail_for
from models.pack import ImageGraph

CLIP = {
    "mean": (0.48145466, 0.4578275, 0.40821073),
    "std": (0.26862954, 0.26130258, 0.27577711),
}


def graph(**changes) -> ImageGraph:
    fields: dict[str, Any] = {
        "file": "image.onnx",
        "sha256": "0" * 64,
        "precision": "fp32",
        "memory_mib": 1,
        "buckets": (1,),
        "size": 32,
        "resize": "shortest",
        "resample": "bicubic",
        "mean": (0.0, 0.0, 0.0),
        "std": (1.0, 1.0, 1.0),
        "colour": "RGB",
        "layout": "NCHW",
        "preprocess": "1",
        "input": "pixels",
        "output": "embedding",
        "normalised": True,
    }
    return ImageGraph(**(fields | changes))


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """Soft blobs, as photographs are made of."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((3, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_an_array_that_is_no_rgb_picture_is_refused(array):
    with pytest.raises(PictureBroken) as caught:
        prepare([array], graph())
    assert caught.value.fault == "photo"


def test_a_picture_without_pixels_is_refused():
    with pytest.raises(PictureBroken, match="0 x 7 pixels"):
        prepare([Image.new("RGB", (0, 7))], graph())


@pytest.mark.parametrize("size", [(0, 10), (10, 0), (-1, 5)])
def test_a_photo_without_pixels_has_no_thumbnail(size):
    with pytest.raises(PictureBroken):
        thumbnail_for(64, *size)


@pytest.mark.parametrize(
    ("size", "width", "height", "thumbnail"),
    [
        (64, 4000, 3000, 256),
        (64, 3000, 4000, 256),
        (224, 4000, 3000, 1024),
        (224, 4000, 4000, 256),
        (224, 230, 225, 256),  # smaller than the thumbnail, which never enlarges
        (224, 200, 200, 1024),  # nothing has the pixels: the best there is
        (64, 1024, 256, 256),  # exactly enough
        (64, 1025, 256, 1024),  # not quite
        (64, 30000, 10, 1024),
    ],
)
def test_the_smallest_thumbnail_with_enough_pixels_is_read(size, width, height, thumbnail):
    assert thumbnail_for(size, width, height) == thumbnail


@given(st.integers(1, 512), st.integers(1, 20000), st.integers(1, 20000))
def test_a_small_thumbnail_is_read_only_where_pillow_makes_it_large_enough(size, width, height):
    if thumbnail_for(size, width, height) == 256:
        shorter, longer = sorted((width, height))
        assert min(256, longer) * shorter / longer >= size


def reference(image: Image.Image, size: int) -> np.ndarray:
    """torchvision's Resize and CenterCrop behind CLIP, written out: float64 [3, size, size]."""
    image = image.convert("RGB")
    width, height = image.size
    other = int(size * max(image.size) / min(image.size))
    wide, high = (size, other) if width <= height else (other, size)
    left, top = round((wide - size) / 2), round((high - size) / 2)
    middle = image.resize((wide, high), Image.Resampling.BICUBIC).crop(
        (left, top, left + size, top + size)
    )
    tensor: np.ndarray = (np.asarray(middle) / 255 - CLIP["mean"]) / CLIP["std"]
    return tensor.transpose(2, 0, 1)


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    a, b = one.ravel().astype(np.float64), other.ravel().astype(np.float64)
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


@settings(max_examples=60, deadline=None)
@given(st.integers(5, 300), st.integers(5, 300), st.integers(0, 9))
def test_a_picture_becomes_the_tensor_of_the_reference(width, height, seed):
    image = photo(width, height, seed)
    np.testing.assert_allclose(prepare([image], graph(**CLIP))[0], reference(image, 32), atol=2e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.integers(0, 9))
def test_the_middle_of_a_strip_is_what_the_whole_strip_would_give(height, seed):
    strip = photo(height * 32 * 3, height, seed)
    difference = reference(strip, 32) - prepare([strip], graph(**CLIP))[0]
    # Pillow rounds between its two passes, whose order depends on the sizes.
    assert np.abs(difference).max() <= 8 / 255 / min(CLIP["std"])


def test_a_thumbnail_is_cut_where_its_original_would_be():
    image = photo(1025, 900, 3).resize((1025, 900)).effect_spread(2)
    expected = reference(image, 224)
    thumbnail = image.resize((256, 225), Image.Resampling.LANCZOS)
    (alone,) = prepare([thumbnail], graph(size=224, **CLIP))
    (known,) = prepare([thumbnail], graph(size=224, **CLIP), originals=[image.size])
    assert cosine(known, expected) > cosine(alone, expected)


def test_a_preview_of_other_proportions_is_not_stretched():
    preview = photo(160, 120)
    np.testing.assert_array_equal(
        prepare([preview], graph(), originals=[(6000, 4000)]), prepare([preview], graph())
    )


@pytest.mark.parametrize("upright", [(0, 10), (10, 0)])
def test_an_original_without_pixels_is_refused(upright):
    with pytest.raises(PictureBroken):
        prepare([photo(8, 8)], graph(), originals=[upright])


def test_a_panorama_never_becomes_a_strip():
    strip = np.zeros((2, 60_000, 3), np.uint8)
    strip[:, 29_990:30_010] = 255
    assert prepare([strip], graph(size=224))[0].mean() > 0.9


def test_shrinking_averages_what_it_leaves_out():
    checks = (np.indices((640, 640)).sum(axis=0) % 2 * 255).astype(np.uint8)
    image = Image.fromarray(np.stack([checks] * 3, axis=-1))
    assert abs(np.asarray(fit(image, graph())).astype(float) - 127.5).max() <= 2


def test_squashing_takes_no_notice_of_the_original():
    wide = photo(300, 100)
    np.testing.assert_array_equal(
        prepare([wide], graph(resize="squash"), originals=[(900, 300)])[0],
        np.asarray(wide.resize((32, 32), Image.Resampling.BICUBIC), np.float32).transpose(2, 0, 1)
        * np.float32(1 / 255),
    )


def test_squashing_keeps_both_ends_of_the_picture():
    image = Image.new("RGB", (300, 100), "black")
    image.paste((255, 0, 0), (0, 0, 60, 100))
    image.paste((0, 0, 255), (240, 0, 300, 100))
    squashed = np.asarray(fit(image, graph(resize="squash")))
    cropped = np.asarray(fit(image, graph()))
    assert squashed[16, 1].tolist() == [255, 0, 0]
    assert squashed[16, 30].tolist() == [0, 0, 255]
    assert cropped.max() == 0


def test_the_tensor_is_the_reference_arithmetic():
    image = photo(32, 32)
    expected = (np.asarray(image) / 255 - CLIP["mean"]) / CLIP["std"]
    tensor = prepare([image], graph(**CLIP))
    assert (tensor.dtype.name, tensor.shape) == ("float32", (1, 3, 32, 32))
    np.testing.assert_allclose(tensor[0], expected.transpose(2, 0, 1), atol=2e-6)


def test_bgr_takes_mean_and_std_in_its_own_order():
    image = photo(32, 32)
    rgb = prepare([image], graph(**CLIP))
    backwards = {name: values[::-1] for name, values in CLIP.items()}
    bgr = prepare([image], graph(colour="BGR", **backwards))
    np.testing.assert_array_equal(bgr[:, ::-1], rgb)


@pytest.mark.parametrize("colour", ["RGB", "BGR"])
def test_nhwc_holds_the_same_values(colour):
    pictures = [photo(40, 50), photo(60, 33)]
    planar = prepare(pictures, graph(colour=colour, **CLIP))
    packed = prepare(pictures, graph(colour=colour, layout="NHWC", **CLIP))
    np.testing.assert_array_equal(packed.transpose(0, 3, 1, 2), planar)


def test_float16_is_rounded_once_and_uint8_is_bare_pixels():
    pictures = [photo(40, 50)]
    single = prepare(pictures, graph(**CLIP))
    np.testing.assert_array_equal(
        prepare(pictures, graph(**CLIP), np.float16), single.astype(np.float16)
    )
    raw = prepare(pictures, graph(layout="NHWC", **CLIP), np.uint8)
    assert raw.dtype == np.uint8
    np.testing.assert_array_equal(raw[0], np.asarray(fit(pictures[0], graph())))


def test_arrays_and_images_of_other_modes_are_pictures_too():
    grey = photo(40, 40).convert("L")
    rgb = grey.convert("RGB")
    expected = prepare([rgb], graph())
    for picture in (grey, np.asarray(rgb), rgb.convert("RGBA")):
        np.testing.assert_array_equal(prepare([picture], graph()), expected)


def test_no_pictures_are_an_empty_tensor():
    assert prepare([], graph()).shape == (0, 3, 32, 32)


@pytest.mark.parametrize("content", [None, b"", b"\xff\xd8\xff", b"GIF89a" + bytes(99)])
def test_a_thumbnail_that_is_none_is_named(tmp_path, content):
    path = tmp_path / "ab.256.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ThumbnailBroken, match=r"ab\.256\.jpg: thumbnail cannot be read") as caught:
        open_thumbnail(path, 64)
    assert caught.value.file == path
    assert caught.value.fault == "worker"


def test_a_torn_thumbnail_is_named_and_not_filled_with_grey(tmp_path):
    path = tmp_path / "torn.1024.jpg"
    photo(1024, 700).save(path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ThumbnailBroken, match="truncated"):
        open_thumbnail(path, 224)


@pytest.mark.parametrize(
    ("size", "shown"), [(64, (256, 176)), (100, (512, 352)), (224, (1024, 704))]
)
def test_a_jpeg_is_decoded_with_twice_the_pixels_wanted(tmp_path, size, shown):
    path = tmp_path / "ab.1024.jpg"
    photo(1024, 704).save(path, quality=90)
    thumbnail = open_thumbnail(path, size)
    assert (thumbnail.size, thumbnail.mode) == (shown, "RGB")


@pytest.mark.parametrize("form", ["JPEG", "WEBP"])
def test_a_thumbnail_prepares_as_the_full_decode_does(tmp_path, form):
    path = tmp_path / "ab.1024"
    photo(1024, 704).save(path, form, quality=90)
    with Image.open(path) as full:
        expected = prepare([full], graph(size=64, **CLIP)).ravel()
    found = prepare([open_thumbnail(path, 64)], graph(size=64, **CLIP)).ravel()
    cosine = found @ expected / np.linalg.norm(found) / np.linalg.norm(expected)
    assert cosine > 0.999
