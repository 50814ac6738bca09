"""What a file is, told from its bytes."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from actors.photo.containers import (
    HEAD_BYTES,
    declared_pixels,
    expects_photo,
    name_other,
    risky,
    sniff,
)

KINDS: dict[str, tuple[str, dict[str, object]]] = {
    "jpeg": ("JPEG", {}),
    "png": ("PNG", {}),
    "gif": ("GIF", {}),
    "webp": ("WEBP", {}),
    "bmp": ("BMP", {}),
    "tiff": ("TIFF", {}),
    "avif": ("AVIF", {}),
    "jp2": ("JPEG2000", {}),
    "pnm": ("PPM", {}),
}


def ftyp(*brands: bytes) -> bytes:
    body = brands[0] + b"\0\0\0\0" + b"".join(brands[1:])
    return struct.pack(">I", len(body) + 8) + b"ftyp" + body + b"\0" * 64


@pytest.mark.parametrize("container", KINDS)
def test_a_format_is_known_by_its_bytes_under_any_name(container, scene, encoded):
    kind, options = KINDS[container]
    data = encoded(scene(), kind, **options)
    for name in (b"a.jpg", b"a.txt", b"", b"a"):
        assert sniff(name, data) == container
    assert sniff(b"a.nef", data) == ("raw" if container == "tiff" else container)


@pytest.mark.parametrize(
    ("data", "container"),
    [
        (ftyp(b"heic", b"mif1"), "heif"),
        (ftyp(b"mif1", b"heic"), "heif"),
        (ftyp(b"mif1", b"miaf", b"avif"), "avif"),
        (ftyp(b"avis", b"avif", b"msf1"), "avif"),
        (ftyp(b"crx ", b"isom"), "raw"),
        (ftyp(b"isom", b"mp42"), None),
        (ftyp(b"qt  "), None),
        (ftyp(b"mp42", b"mif1", b"heic"), None),  # a video with a cover picture
        (b"FUJIFILMCCD-RAW 0201", "raw"),
        (b"IIRO\x08\0\0\0", "raw"),
        (b"IIU\0\x18\0\0\0", "raw"),
        (b"II*\0\x10\0\0\0CR\x02\0", "raw"),
        (b"8BPS\0\x01", "psd"),
    ],
)
def test_magic_bytes_and_brands(data, container):
    assert sniff(b"a.jpg", data) == container


def test_a_dng_named_tif_is_raw(scene, dng):
    data = dng(scene(), scene(200, 150))
    assert sniff(b"a.tif", data) == "raw"
    assert sniff(b"a", data[:HEAD_BYTES]) == "raw"


def test_a_raw_name_lets_the_raw_decoder_try_unknown_bytes_but_not_text():
    assert sniff(b"a.bay", b"\x93\x12\0\xff" * 99) == "raw"
    assert sniff(b"a.jpg", b"\x93\x12\0\xff" * 99) is None
    assert sniff(b"a.nef", b"version https://git-lfs.github.com/spec/v1\n") is None
    assert sniff(b"a.nef", b"\0" * 99) is None


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid", "a Git LFS pointer"),
        (b"just a note", "a text file"),
        ("schöne Grüße".encode(), "a text file"),
        (b'{"a": 1}', "a JSON file"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"\xef\xbb\xbf<?xml version='1.0'?><svg/>", "an SVG drawing"),
        (b"<?xpacket begin", "an XML file"),
        (b"%PDF-1.7", "a PDF document"),
        (b"PK\x03\x04", "a ZIP archive"),
        (ftyp(b"isom"), "a video or sound"),
        (b"RIFF\0\0\0\0AVI LIST", "a video"),
        (b"\xff\x0a\x00", "a JPEG XL picture"),
        (b"\0\0\x01\0\x01\0", "an icon"),
    ],
)
def test_what_is_no_picture_is_called_by_its_name(data, words):
    said = name_other(data)
    assert said is not None
    assert said.startswith(words)
    assert sniff(b"a.jpg", data) is None


def test_bytes_nobody_knows_have_no_name():
    assert name_other(b"\x93\x12\0\xff\xfe\x01\x02" * 9) is None
    assert name_other(b"") is None


def test_a_text_cut_inside_a_character_is_still_a_text():
    assert name_other("ä".encode() * 3000) == "a text file"  # cut at an even byte
    assert name_other(b"x" + "ä".encode() * 3000) == "a text file"  # cut at an odd one


@given(st.binary(max_size=200), st.sampled_from([b"a.jpg", b"a.nef", b"a", b"a.mp4"]))
def test_any_bytes_are_judged_without_an_error(data, name):
    container = sniff(name, data)
    name_other(data)
    risky(name, data)
    if container is not None:
        declared_pixels(container, data)


@given(st.sampled_from(sorted(KINDS)), st.binary(max_size=60))
def test_cut_and_garbled_heads_are_judged_without_an_error(container, tail):
    heads = {"jpeg": b"\xff\xd8\xff", "png": b"\x89PNG\r\n\x1a\n", "webp": b"RIFFaaaaWEBP"}
    declared_pixels(container, heads.get(container, b"") + tail)


@pytest.mark.parametrize(
    ("kind", "options", "container"),
    [
        ("JPEG", {}, "jpeg"),
        ("JPEG", {"progressive": True}, "jpeg"),
        ("PNG", {}, "png"),
        ("GIF", {}, "gif"),
        ("BMP", {}, "bmp"),
        ("WEBP", {"quality": 50}, "webp"),
        ("WEBP", {"lossless": True}, "webp"),
        ("WEBP", {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"}, "webp"),
        ("PPM", {}, "pnm"),
    ],
)
def test_the_declared_size_is_read_from_the_head(kind, options, container, scene, encoded):
    data = encoded(scene(321, 123), kind, **options)
    assert declared_pixels(container, data[:4096]) == 321 * 123


def test_a_size_behind_long_metadata_is_found_or_admitted_to_be_unknown(scene, encoded):
    block = b"Exif\0\0" + b"\0" * 60_000
    data = encoded(scene(), "JPEG", exif=block)
    assert declared_pixels("jpeg", data[:HEAD_BYTES]) == 400 * 300
    assert declared_pixels("jpeg", data[:30_000]) is None


def test_an_ordinary_photo_is_not_risky(scene, encoded):
    assert not risky(b"a.jpg", encoded(scene(), "JPEG"))
    assert not risky(b"a.png", encoded(scene(), "PNG"))
    assert not risky(b"a.heic", encoded(scene(), "JPEG"))  # content decides


@pytest.mark.parametrize("kind", ["AVIF", "TIFF", "JPEG2000"])
def test_formats_of_fragile_decoders_are_risky(kind, scene, encoded):
    assert risky(b"a.jpg", encoded(scene(), kind))


def test_raw_heif_and_videos_are_risky(scene, dng):
    assert risky(b"a", dng(scene(), None))
    assert risky(b"a.jpg", ftyp(b"heic"))
    assert risky(b"a.mp4", ftyp(b"isom"))
    assert not risky(b"a.mp4", b"")


def test_more_than_fifty_megapixels_are_risky():
    def png(width: int, height: int) -> bytes:
        return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height)

    assert not risky(b"a.png", png(10_000, 5_000))
    assert risky(b"a.png", png(10_000, 5_001))


def test_an_unknown_size_is_risky(encoded):
    whole = encoded(Image.new("RGB", (9, 9)), "JPEG")
    assert risky(b"a.jpg", whole[:20])


def test_text_is_not_risky():
    assert not risky(b"a.jpg", b"just a note")


def test_names_that_promise_a_photo():
    assert expects_photo(b"A.JPG")
    assert expects_photo(b"a.nef")
    assert not expects_photo(b"a.txt")
    assert not expects_photo(b"jpg")
