"""Dates as cameras and programs write them."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.photo.dates import Moment, read_moment, read_offset


@pytest.mark.parametrize(
    ("text", "iso", "offset"),
    [
        ("2019:03:21 16:04:22", "2019-03-21T16:04:22", None),
        ("2019-03-21T16:04:22.348+01:00", "2019-03-21T16:04:22.348", 60),
        ("2019-03-21T16:04:22Z", "2019-03-21T16:04:22", 0),
        ("2005.09.15 16:28:54", "2005-09-15T16:28:54", None),
        ("2002/08/29 17:31:40", "2002-08-29T17:31:40", None),
        ("2001.12.19.11:20", "2001-12-19T11:20:00", None),
        ("2024-04-22T14:38:09GMT+2", "2024-04-22T14:38:09", 120),
        ("20090624", "2009-06-24T00:00:00", None),
        ("20090624 09:41:07-0500", "2009-06-24T09:41:07", -300),
        ("2009-06-24", "2009-06-24T00:00:00", None),
        (" 1997:1:8  2:13:30 ", "1997-01-08T02:13:30", None),
        ("2019-03-21T16:04:22.120382", "2019-03-21T16:04:22.120382", None),
    ],
)
def test_known_forms_are_read(text, iso, offset):
    moment = read_moment(text)
    assert moment is not None
    assert (moment.iso(), moment.offset) == (iso, offset)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0000:00:00 00:00:00",
        "    :  :     :  :  ",
        ":  :     :  :",
        "2019:13:01 00:00:00",
        "2019:02:30 12:00:00",
        "2019:03:21 24:00:00",
        "2019:03:21 12:60:00",
        "1970:01:01 00:00:00",
        "1601:01:01 00:00:00",
        "9999:12:31 23:59:59",
        "2019321",
        "yesterday",
        "21.03.2019",
    ],
)
def test_unset_and_impossible_dates_say_nothing(text):
    assert read_moment(text) is None


def test_the_fraction_and_offset_of_other_tags_are_added():
    moment = read_moment("2019:03:21 16:04:22", fraction="08 ", offset="-05:00")
    assert moment == Moment(datetime(2019, 3, 21, 16, 4, 22, 80_000), -300)  # noqa: DTZ001


def test_an_offset_inside_the_date_wins_over_the_tag():
    moment = read_moment("2019-03-21T16:04:22+02:00", offset="-05:00")
    assert moment is not None
    assert moment.offset == 120


@pytest.mark.parametrize("garbage", ["", "   ", "abc", "½", "-1"])
def test_a_broken_fraction_is_left_out(garbage):
    moment = read_moment("2019:03:21 16:04:22", fraction=garbage)
    assert moment is not None
    assert moment.iso() == "2019-03-21T16:04:22"


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("+03:00", 180),
        ("-05:00", -300),
        ("+0530", 330),
        ("Z", 0),
        ("+14:00", 840),
        ("+15:00", None),
        ("-13:00", None),
        ("+01:75", None),
        ("   :  ", None),
        ("", None),
    ],
)
def test_offsets_are_minutes_of_a_zone_on_earth(text, minutes):
    assert read_offset(text) == minutes


@given(st.text(max_size=40), st.text(max_size=8), st.text(max_size=8))
def test_any_text_is_read_without_an_error(text, fraction, offset):
    moment = read_moment(text, fraction=fraction, offset=offset)
    assert moment is None or datetime.fromisoformat(moment.iso()) == moment.local


@given(st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2100, 1, 1)))  # noqa: DTZ001
def test_what_is_written_as_iso_is_read_back(local):
    assert read_moment(Moment(local).iso()) == Moment(local)
