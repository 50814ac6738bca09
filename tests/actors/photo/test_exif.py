"""EXIF read the way cameras mean it."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.photo.exif import (
    make_place,
    read_camera,
    read_changed,
    read_orientation,
    read_place,
    read_taken,
    read_text,
)
from actors.photo.tiff import Directories

NORTH, EAST, SOUTH, WEST = b"N\0", b"E\0", b"S\0", b"W\0"
LATITUDE, LONGITUDE = ((48, 1), (53, 1), (194, 10)), ((21, 1), (2, 1), (357, 10))


def gps(
    latitude: Any = LATITUDE,
    longitude: Any = LONGITUDE,
    north: bytes = NORTH,
    east: bytes = EAST,
    **more: Any,
) -> Directories:
    tags = {1: north, 2: latitude, 3: east, 4: longitude}
    return Directories({}, {}, tags | {int(key[1:]): value for key, value in more.items()})


def main(**tags: Any) -> Directories:
    return Directories({int(key[1:], 16): value for key, value in tags.items()}, {}, {})


def dated(tags: dict[int, Any]) -> Directories:
    return Directories({}, tags, {})


@pytest.mark.parametrize(
    ("stored", "text"),
    [
        (b"NIKON\0", "NIKON"),
        (b"Trust.\0\xff\x12garbage", "Trust."),
        (b"  FUJIFILM   ", "FUJIFILM"),
        ("Łódź".encode() + b"\0", "Łódź"),
        (b"M\xfcnchen", "München"),
        (b"", None),
        (b"\0\0\0", None),
        (b"   ", None),
        (b"a\x01b\nc", "abc"),
        (b"x" * 500, "x" * 100),
        ((1, 2), None),
        (None, None),
    ],
)
def test_text_ends_at_the_first_nul_and_is_printable(stored, text):
    assert read_text(stored) == text


def test_make_and_model():
    assert read_camera(main(x10F=b"Canon\0", x110=b"Canon EOS 7D\0")) == ("Canon", "Canon EOS 7D")
    assert read_camera(main()) == (None, None)


@pytest.mark.parametrize(
    ("stored", "orientation"),
    [((6,), 6), ((0,), 1), ((9,), 1), (b"6", 1), ((), 1), (((6, 1),), 1), (None, 1)],
)
def test_nonsense_for_an_orientation_is_upright(stored, orientation):
    tags = {} if stored is None else {"x112": stored}
    assert read_orientation(main(**tags)) == orientation


def test_the_original_date_wins_over_the_digitized_one():
    taken = read_taken(dated({0x9003: b"2019:03:21 16:04:22\0", 0x9004: b"2020:01:01 10:00:00\0"}))
    assert taken is not None
    assert taken.iso() == "2019-03-21T16:04:22"


def test_an_unset_original_date_leaves_the_digitized_one():
    taken = read_taken(
        dated(
            {
                0x9003: b"0000:00:00 00:00:00\0",
                0x9004: b"2020:01:01 10:00:00\0",
                0x9292: b"5\0",
                0x9012: b"+02:00\0",
            }
        )
    )
    assert taken is not None
    assert (taken.iso(), taken.offset) == ("2020-01-01T10:00:00.500", 120)


def test_sub_seconds_and_offset_come_from_tags_of_their_own():
    taken = read_taken(
        dated({0x9003: b"2019:03:21 16:04:22\0", 0x9291: b"348\0", 0x9011: b"-05:00\0"})
    )
    assert taken is not None
    assert (taken.iso(), taken.offset) == ("2019-03-21T16:04:22.348", -300)


def test_the_whole_hours_of_tiff_ep_are_an_offset():
    taken = read_taken(dated({0x9003: b"2019:03:21 16:04:22\0", 0x882A: (-6,)}))
    assert taken is not None
    assert taken.offset == -360


def test_a_dng_keeps_its_date_in_the_main_directory():
    taken = read_taken(main(x9003=b"2017:01:05 17:54:40\0"))
    assert taken is not None
    assert taken.iso() == "2017-01-05T17:54:40"


def test_the_date_of_change_is_told_apart():
    directories = main(x132=b"2021:01:01 00:00:01\0")
    assert read_taken(directories) is None
    changed = read_changed(directories)
    assert changed is not None
    assert changed.iso() == "2021-01-01T00:00:01"


def test_a_place_is_signed_by_its_letters():
    place = read_place(gps())
    assert place is not None
    assert (place.latitude, place.longitude) == (48.8887222, 21.0432500)
    place = read_place(gps(north=SOUTH, east=WEST))
    assert place is not None
    assert (place.latitude, place.longitude) == (-48.8887222, -21.0432500)


def test_seconds_of_zero_over_zero_leave_degrees_and_minutes():
    place = read_place(gps(((48, 1), (533235, 10000), (0, 0)), ((21, 1), (25950, 10000), (0, 0))))
    assert place is not None
    assert (place.latitude, place.longitude) == (48.888725, 21.04325)


@pytest.mark.parametrize(
    "directories",
    [
        gps(((0, 0), (0, 0), (0, 0)), ((0, 0), (0, 0), (0, 0))),
        gps(((0, 1), (0, 1), (0, 1)), ((0, 1), (0, 1), (0, 1))),
        gps(((91, 1), (0, 1), (0, 1))),
        gps(longitude=((181, 1), (0, 1), (0, 1))),
        gps(north=b"\0"),
        gps(north=b"?\0"),
        gps(latitude=()),
        gps(latitude=b"48.88"),
        gps(latitude=(48, 53, 19)),
        Directories({}, {}, {}),
        Directories({}, {}, {2: LATITUDE, 4: LONGITUDE}),
    ],
)
def test_unset_and_impossible_places_are_none(directories):
    assert read_place(directories) is None


def test_a_place_on_the_equator_or_the_meridian_is_one():
    zero = ((0, 1), (0, 1), (0, 1))
    assert read_place(gps(latitude=zero)) is not None
    assert read_place(gps(longitude=zero)) is not None


@pytest.mark.parametrize(
    ("reference", "metres", "altitude"),
    [
        (b"\0", ((217, 1),), 217.0),
        (b"\x01", ((848, 1),), -848.0),
        (b"\0", ((0, 0),), None),
        (b"\0", ((4294967295, 1),), None),
        (b"\0", b"217", None),
    ],
)
def test_altitude_knows_below_and_unset(reference, metres, altitude):
    place = read_place(gps(_5=reference, _6=metres))
    assert place is not None
    assert place.altitude == altitude


pairs = st.tuples(st.integers(-(2**31), 2**32), st.integers(-(2**31), 2**32))
values = st.one_of(st.binary(max_size=9), st.lists(pairs, max_size=4).map(tuple))


@given(st.dictionaries(st.integers(1, 6), values), st.sampled_from([b"N", b"S"]))
def test_no_gps_directory_gives_a_number_that_json_cannot_write(tags, letter):
    place = read_place(Directories({}, {}, tags | {1: letter, 3: b"E"}))
    if place is not None:
        assert abs(place.latitude) <= 90
        assert abs(place.longitude) <= 180
        assert place.altitude is None or math.isfinite(place.altitude)


def test_not_a_number_is_no_place():
    assert make_place(math.nan, 1.0) is None
    assert make_place(1.0, math.inf) is None
