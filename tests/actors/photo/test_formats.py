"""The walk's choice by names alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.photo.formats import (
    PHOTO_SUFFIXES,
    RAW_SUFFIXES,
    VIDEO_SUFFIXES,
    skip_reason,
    suffix_of,
)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (b"IMG_0001.MOV", "video: not indexed yet"),
        (b"clip.mts", "video: not indexed yet"),
        (b"IMG_0001.jpg.xmp", "sidecar: data about another file"),
        (b"IMG_0001.AAE", "sidecar: data about another file"),
        (b"IMG_0001.jpg.json", "sidecar: data about another file"),
        (b"photo.jxl", "JPEG XL: no decoder for it"),
        (b"logo.svg", "drawing, not a photo"),
        (b"favicon.ico", "icon, not a photo"),
        (b"voice.m4a", "sound, not a photo"),
        (b"letter.pdf", "document, not a photo"),
        (b"holiday.zip", "archive: unpack it to have its photos indexed"),
        (b"photo.jpg.part", "unfinished download"),
        (b"lib.so", "program or program data"),
        (b"._IMG_0001.jpg", "AppleDouble: attributes of another file"),
        (b".hidden.jpg", "hidden file"),
        (b"Thumbs.db", "made by the desktop, not a photo"),
    ],
)
def test_what_is_left_out_says_why(name, reason):
    assert skip_reason(name) == reason


@pytest.mark.parametrize(
    "name",
    [
        b"IMG_0001.JPG",
        b"IMG_0001.HeIc",
        b"scan.tiff",
        b"raw.NEF",
        b"no suffix at all",
        b"2019.03.21",
        b"IMG_0001.jpg_original",
        b"caf\xe9.jpg",  # Latin-1, not UTF-8
        b"trailing dot.",
        "中文.jpg".encode(),
    ],
)
def test_what_may_be_a_photo_is_sent_on(name):
    assert skip_reason(name) == ""


def test_no_suffix_is_both_a_photo_and_something_else():
    assert not PHOTO_SUFFIXES & RAW_SUFFIXES
    for suffix in PHOTO_SUFFIXES | RAW_SUFFIXES:
        assert skip_reason(b"a." + suffix) == ""
    for suffix in VIDEO_SUFFIXES:
        assert skip_reason(b"a." + suffix).startswith("video")


@given(st.binary(max_size=40))
def test_any_name_gets_one_line(name):
    reason = skip_reason(name)
    assert "\n" not in reason
    assert suffix_of(name) == suffix_of(name).lower()


@pytest.mark.corpus
def test_no_photo_of_the_corpus_is_left_out_by_its_name(corpus):
    folders = ["exif", "faces", "general", "heic", "names", "orientation", "raw"]
    for folder in folders:
        for path in (corpus / folder).rglob("*.*"):
            if path.is_file() and skip_reason(path.name.encode()):
                assert path.suffix in (".xmp", ".ico"), path.name
