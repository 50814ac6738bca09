"""EXIF, XMP, IPTC and the rest weighed against each other."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.photo import iptc, xmp
from actors.photo.metadata import Blocks, understand
from actors.photo.tiff import Directories

XMP = b"""<?xpacket?><x:xmpmeta><rdf:Description photoshop:DateCreated="2009-06-24"
 xap:CreateDate="2010-07-12T16:42:31-05:00" tiff:Make="A &amp; B" exif:GPSLatitude="38,53.4142N"
 exif:GPSLongitude="77,2,30W"><tiff:Model>Model 1</tiff:Model>
 <exif:DateTimeOriginal>2009-06-24T09:41:07.72+01:00</exif:DateTimeOriginal></rdf:Description>"""


def dataset(number: int, value: bytes) -> bytes:
    return b"\x1c\x02" + bytes([number]) + len(value).to_bytes(2, "big") + value


IPTC = dataset(5, b"title") + dataset(55, b"20071119") + dataset(60, b"101112-0800")


def taken(**blocks: Any) -> tuple[str, int | None] | None:
    moment = understand(Blocks(**blocks)).taken
    return None if moment is None else (moment.iso(), moment.offset)


def test_xmp_is_read_as_attributes_and_as_elements():
    said = understand(Blocks(xmp=XMP))
    assert taken(xmp=XMP) == ("2009-06-24T09:41:07.720", 60)
    assert (said.make, said.model) == ("A & B", "Model 1")
    assert said.place is not None
    assert (said.place.latitude, said.place.longitude) == (38.8902367, -77.0416667)


def test_exif_wins_over_xmp():
    directories = Directories(
        {0x010F: b"NIKON\0", 0x0132: b"2022:02:02 02:02:02\0"},
        {0x9003: b"2009:06:24 09:41:08\0"},
        {1: b"S\0", 2: ((1, 1),), 3: b"E\0", 4: ((2, 1),)},
    )
    said = understand(Blocks(directories, xmp=XMP))
    assert (said.make, said.model) == ("NIKON", "Model 1")
    assert said.place is not None
    assert said.place.latitude == -1.0
    assert taken(directories=directories, xmp=XMP) == ("2009-06-24T09:41:08", None)


def test_the_date_of_the_last_save_comes_last():
    directories = Directories({0x0132: b"2022:02:02 02:02:02\0"}, {}, {})
    assert taken(directories=directories, iptc=IPTC) == ("2007-11-19T10:11:12", -480)
    assert taken(directories=directories) == ("2022-02-02T02:02:02", None)


def test_a_date_outside_the_standards_is_better_than_none():
    assert taken(date="2001.12.19.11:20") == ("2001-12-19T11:20:00", None)


def test_iptc_may_have_a_date_only():
    assert taken(iptc=dataset(55, b"20071119")) == ("2007-11-19T00:00:00", None)


@pytest.mark.parametrize("record", [b"", b"\x1c\x02", b"\x1c\x02\x37\xff\xffabc", b"junk"])
def test_broken_iptc_says_nothing(record):
    assert iptc.read_created(record) == ""


@pytest.mark.parametrize(
    "text", ["", "N", "41,12.5", "x,yN", "1,2,3,4N", "41,12.5E", "nan,0N", "inf,0N"]
)
def test_broken_xmp_coordinates_are_no_place(text):
    degrees = xmp.read_degrees(text, "N", "S")
    packet = f'<a exif:GPSLatitude="{text}" exif:GPSLongitude="1,2E"/>'.encode()
    assert degrees is None or not abs(degrees) <= 90
    assert understand(Blocks(xmp=packet)).place is None


def test_gaps_are_filled_from_elsewhere():
    first = understand(Blocks(Directories({0x010F: b"NIKON\0"}, {}, {})))
    both = first.or_else(understand(Blocks(xmp=XMP)))
    assert (both.make, both.model) == ("NIKON", "Model 1")
    assert both.taken is not None


@given(st.binary(max_size=300), st.binary(max_size=100), st.text(max_size=30))
def test_any_blocks_are_understood_without_an_error(packet, record, date):
    understand(Blocks(xmp=packet, iptc=record, date=date))
    understand(Blocks(xmp=XMP[:50] + packet + XMP[50:], iptc=IPTC[:9] + record))
