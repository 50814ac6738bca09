"""Opening pictures from memory, whole and broken."""

import struct
import warnings
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from actors.photo.errors import BadPhoto
from actors.photo.limits import DEFAULT_LIMITS, Limits
from actors.photo.raster import LABELS, explain, pillow_alone, read_picture


@pytest.fixture(autouse=True)
def _alone():
    with pillow_alone(DEFAULT_LIMITS):
        yield


def read(container, data, *, side=1024, limits=DEFAULT_LIMITS, **options):
    return read_picture(container, data, side=side, limits=limits, **options)


def difference(one, other):
    return np.abs(np.asarray(one).astype(int) - np.asarray(other).astype(int)).mean()


FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    "jpeg": ("JPEG", {"quality": 95}),
    "png": ("PNG", {}),
    "webp": ("WEBP", {"quality": 90}),
    "gif": ("GIF", {}),
    "bmp": ("BMP", {}),
    "tiff": ("TIFF", {"compression": "tiff_lzw"}),
    "avif": ("AVIF", {"quality": 90}),
    "jp2": ("JPEG2000", {}),
    "pnm": ("PPM", {}),
}


@pytest.mark.parametrize("container", FORMATS)
def test_each_format_is_read_upright_and_small(container, scene, encoded):
    kind, options = FORMATS[container]
    picture = read(container, encoded(scene(), kind, **options), side=200)
    assert (picture.width, picture.height, picture.orientation) == (400, 300, 1)
    assert picture.image.size == (200, 150)
    assert difference(picture.image, scene().resize((200, 150), 5)) < 8
    assert not picture.damaged


@pytest.mark.parametrize("container", ["jpeg", "png", "webp", "tiff", "avif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_exactly_once(container, orientation, scene, encoded):
    exif = Image.Exif()
    exif[0x0112] = orientation
    kind, options = FORMATS[container]
    stored = scene().transpose(BACK[orientation]) if orientation > 1 else scene()
    picture = read(container, encoded(stored, kind, exif=exif, **options))
    assert (picture.width, picture.height) == (400, 300)
    assert picture.orientation == orientation
    assert difference(picture.image, scene()) < 4


#: what a camera does to the scene before it writes that orientation
BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def test_the_caller_may_know_the_orientation_better(scene, encoded):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = read("jpeg", encoded(scene(), exif=exif), turn=1)
    assert picture.image.size == (400, 300)


def test_metadata_are_read_without_pixels(scene, encoded, exif_block):
    block = exif_block({0x010F: (2, b"NIKON\0\xffjunk")}, {0x9003: (2, b"2019:03:21 16:04:22\0")})
    for kind, container in (("JPEG", "jpeg"), ("WEBP", "webp"), ("PNG", "png")):
        picture = read(container, encoded(scene(), kind, exif=block), with_pixels=False)
        assert picture.image is None
        assert picture.said.make == "NIKON"
        assert picture.said.taken.iso() == "2019-03-21T16:04:22"


def test_old_png_keeps_exif_as_hexadecimal_text(scene, encoded, exif_block):
    from PIL import PngImagePlugin

    texts = PngImagePlugin.PngInfo()
    block = exif_block({0x0112: (3, [6])}, {0x9003: (2, b"2019:03:21 16:04:22\0")})
    texts.add_text("Raw profile type exif", f"\nexif\n{len(block)}\n{block.hex()}\n")
    picture = read("png", encoded(scene(), "PNG", pnginfo=texts))
    assert (picture.width, picture.height) == (300, 400)
    assert picture.said.taken.iso() == "2019-03-21T16:04:22"


def test_png_may_tell_its_date_as_text(scene, encoded):
    from PIL import PngImagePlugin

    texts = PngImagePlugin.PngInfo()
    texts.add_text("Creation Time", "2019:03:21 16:04:22")
    picture = read("png", encoded(scene(), "PNG", pnginfo=texts))
    assert picture.said.taken.iso() == "2019-03-21T16:04:22"


def test_casio_of_1997_tells_its_date_in_a_segment_of_its_own(scene, encoded):
    segment = b"QVCI\0".ljust(0x4D, b"\x07") + b"1997.12.19.11:20:01\0" + b"\x09" * 40
    data = encoded(scene())
    marker = b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment
    picture = read("jpeg", data[:2] + marker + data[2:])
    assert picture.said.taken.iso() == "1997-12-19T11:20:01"


def test_a_photoshop_document_tells_its_facts_in_resources(scene, exif_block):
    block = exif_block({0x010F: (2, b"NIKON\0")}, {0x9003: (2, b"2019:03:21 16:04:22\0")})[6:]

    def resource(number, value):
        padding = b"\0" * (len(value) % 2)
        head = b"8BIM" + struct.pack(">H", number) + b"\0\0" + struct.pack(">I", len(value))
        return head + value + padding

    resources = resource(1058, block) + resource(1028, b"\x1c\x02\x37\0\x0820071119")
    pixels = np.asarray(scene(20, 10)).transpose(2, 0, 1).tobytes()
    data = (
        b"8BPS\0\x01" + b"\0" * 6 + struct.pack(">HIIHH", 3, 10, 20, 8, 3) + b"\0\0\0\0"
        + struct.pack(">I", len(resources)) + resources + b"\0\0\0\0" + b"\0\0" + pixels
    )  # fmt: skip
    picture = read("psd", data)
    assert (picture.width, picture.height, picture.said.make) == (20, 10, "NIKON")
    assert picture.said.taken.iso() == "2019-03-21T16:04:22"
    assert difference(picture.image, scene(20, 10)) == 0


def test_the_first_frame_of_an_animation_is_the_picture(scene, encoded):
    frames = [Image.new("RGB", (400, 300), colour) for colour in ("red", "blue")]
    for kind, container in (("GIF", "gif"), ("WEBP", "webp"), ("PNG", "png")):
        data = encoded(scene(), kind, save_all=True, append_images=frames)
        assert difference(read(container, data).image, scene()) < 8


def test_a_jpeg_is_drafted(scene, encoded, monkeypatch):
    loaded = []
    original = ImageFile.ImageFile.load

    def load(self):
        loaded.append(self.size)
        return original(self)

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    picture = read("jpeg", encoded(scene(4000, 3000)), side=900)
    assert loaded[0] == (1000, 750)
    assert (picture.width, picture.height, picture.image.size) == (4000, 3000, (900, 675))


@pytest.mark.parametrize(
    ("size", "found"), [((4032, 3024), (2016, 1512)), ((3900, 2925), (2048, 1536))]
)
def test_a_jpeg_whose_half_will_do_is_not_decoded_whole(size, found, scene, encoded):
    picture = read("jpeg", encoded(scene(*size)), side=2048, least=2000)
    assert picture.image.size == found


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_a_jpeg_cut_in_its_second_half_is_shown_and_marked(options, scene, encoded):
    data = encoded(scene(800, 600), quality=95, **options)
    picture = read("jpeg", data[: int(len(data) * 0.8)])
    assert picture.damaged
    assert (picture.width, picture.height) == (800, 600)
    top = (0, 0, 800, 240)
    assert difference(picture.image.crop(top), scene(800, 600).crop(top)) < 6


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_what_is_left_is_measured_before_turning(orientation, scene, encoded):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(scene(800, 600), quality=95, exif=exif)
    assert read("jpeg", data[: len(data) // 2]).damaged
    with pytest.raises(
        BadPhoto, match=r"^cut short: the JPEG ends before its picture does; \d+% of"
    ):
        read("jpeg", data[: len(data) // 6])


def test_a_png_with_a_broken_end_is_shown_and_marked(encoded):
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 255, (300, 400, 3), np.uint8))
    data = encoded(noise, "PNG")
    picture = read("png", data[: len(data) // 2])
    assert picture.damaged
    assert picture.image.size == (400, 300)


def test_leniency_ends_with_the_photo_that_needed_it(scene, encoded):
    data = encoded(scene(800, 600))
    read("jpeg", data[: len(data) // 2])
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.parametrize("container", ["webp", "avif", "jp2", "tiff"])
def test_other_formats_cut_short_are_refused(container, scene, encoded):
    kind, options = FORMATS[container]
    data = encoded(scene(), kind, **options)
    with pytest.raises(BadPhoto, match=r"^(damaged|cut short)"):
        read(container, data[: len(data) // 2])


@pytest.mark.parametrize("container", sorted(set(LABELS) - {"raw"}))
def test_bytes_that_only_begin_like_a_picture_are_refused(container):
    with pytest.raises(BadPhoto) as refused:
        read(container, b"\xff\xd8\xff\xe0 nothing that any decoder takes")
    assert "\n" not in refused.value.reason
    assert refused.value.reason.startswith(("damaged", "cut short"))


def png_header(width, height):
    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + chunk(b"IEND", b"")
    )


def test_a_bomb_is_refused_by_its_declared_size():
    with pytest.raises(
        BadPhoto,
        match=r"^too large: declares 65536 x 65536 pixels, and the limit is 512 megapixels",
    ):
        read("png", png_header(65536, 65536))


def test_what_cannot_be_decoded_at_a_smaller_scale_is_bound_by_memory():
    with pytest.raises(BadPhoto, match=r"^too large: decoding would take 3,052 MiB of memory"):
        read("png", png_header(20_000, 20_000))


def test_a_jpeg_is_bound_by_what_its_draft_takes(scene, encoded):
    tight = Limits(memory=16 * 1024 * 1024)
    data = encoded(scene(4000, 3000))
    assert read("jpeg", data, limits=tight).width == 4000
    with pytest.raises(BadPhoto, match=r"^too large: decoding would take"):
        read("jpeg", encoded(scene(4000, 3000), progressive=True), limits=tight)


def test_a_webp_bomb_is_refused_before_its_canvas_exists():
    canvas = (16_382).to_bytes(3, "little")
    body = b"WEBPVP8X\x0a\0\0\0\x10\0\0\0" + canvas + canvas
    with pytest.raises(BadPhoto, match=r"^too large: decoding would take"):
        read("webp", b"RIFF" + struct.pack("<I", len(body)) + body)


def test_a_heif_with_names_that_are_no_text_never_reaches_the_decoder():
    entry = b"\0\0\0\x15infe\x02\0\0\0\0\x01\0\0\xd6xif\0"
    items = b"iinf\0\0\0\0\0\x01" + entry
    data = b"\0\0\0\x18ftypheic" + b"\0" * 12 + struct.pack(">I", len(items) + 4) + items
    with pytest.raises(BadPhoto, match=r"^damaged: the HEIF's list of its parts is broken"):
        read("heif", data)


@pytest.mark.parametrize(
    ("error", "beginning"),
    [
        (OSError("image file is truncated (12 bytes not processed)"), "cut short"),
        (EOFError("x"), "cut short"),
        (SyntaxError("cannot handle 12-bit layers"), "unsupported"),
        (KeyError((3, 16)), "unsupported"),
        (OSError("decoder error -2"), "damaged"),
        (Image.DecompressionBombError("x"), "too large"),
        (ValueError("/home/somebody/secret.jpg"), "damaged: the JPEG cannot be decoded"),
    ],
)
def test_errors_are_told_in_our_words(error, beginning):
    assert explain("jpeg", error).startswith(beginning)
    assert "secret" not in explain("jpeg", error)


def test_pillow_is_silent_and_left_as_it_was(scene, encoded, exif_block, capfd):
    before = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    broken = exif_block({0x010F: (2, b"NIKON CORPORATION\0")})[:-9]
    read("jpeg", encoded(scene(), exif=broken))
    with pytest.raises(BadPhoto):
        read("tiff", b"II*\0\x08\0\0\0\x02\0\0\x01\x04\0\xff\xff\xff\xff\xff\xff\xff\xff" * 4)
    assert (Image.MAX_IMAGE_PIXELS, list(warnings.filters)) == before
    assert capfd.readouterr() == ("", "")
