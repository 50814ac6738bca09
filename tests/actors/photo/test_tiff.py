"""Directories of TIFF structures, whole and broken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.photo.tiff import NOTHING, read_directories

ASCII, SHORT, RATIONAL = 2, 3, 5
MAKE, ORIENTATION, LATITUDE, DATE = 0x010F, 0x0112, 2, 0x9003


@pytest.mark.parametrize("order", ["<", ">"])
def test_all_three_directories_are_read_in_both_byte_orders(order, exif_block):
    block = exif_block(
        {MAKE: (ASCII, b"A long maker's name\0"), ORIENTATION: (SHORT, [6])},
        {DATE: (ASCII, b"2019:03:21 16:04:22\0")},
        {LATITUDE: (RATIONAL, [(48, 1), (53, 1), (0, 0)])},
        order=order,
    )
    directories = read_directories(block)
    assert directories.main[MAKE] == b"A long maker's name\0"
    assert directories.main[ORIENTATION] == (6,)
    assert directories.exif[DATE] == b"2019:03:21 16:04:22\0"
    assert directories.gps[LATITUDE] == ((48, 1), (53, 1), (0, 0))


def test_a_prefix_written_twice_is_taken_off(exif_block):
    block = exif_block({ORIENTATION: (SHORT, [3])})
    assert read_directories(b"Exif\0\0" + block).main[ORIENTATION] == (3,)


def test_an_entry_outside_the_block_costs_only_itself(exif_block):
    block = exif_block(
        {MAKE: (ASCII, b"A long maker's name\0"), ORIENTATION: (SHORT, [6])},
        {},
        {LATITUDE: (RATIONAL, [(48, 1), (53, 1), (0, 1)])},
    )
    directories = read_directories(block[:-20])
    assert directories.main[ORIENTATION] == (6,)
    assert LATITUDE not in directories.gps


@pytest.mark.parametrize("block", [b"", b"Exif\0\0", b"II", b"II*\0\xff\xff\xff\xff", b"junk" * 9])
def test_what_is_no_tiff_has_no_directories(block):
    assert read_directories(block) == NOTHING


def test_a_directory_that_points_to_itself_ends(exif_block):
    block = bytearray(exif_block({}, {}, {})[6:])
    at = block.index(b"\x69\x87")
    block[at + 8 : at + 12] = (8).to_bytes(4, "little")
    read_directories(bytes(block))


@given(st.binary(max_size=300))
def test_any_bytes_give_directories(garbage):
    read_directories(b"II*\0\x08\0\0\0" + garbage)
    read_directories(b"MM\0*\0\0\0\x08" + garbage)


@given(st.data())
def test_a_block_with_flipped_bytes_gives_directories(exif_block, data):
    block = bytearray(
        exif_block(
            {MAKE: (ASCII, b"maker of cameras\0"), ORIENTATION: (SHORT, [6])},
            {DATE: (ASCII, b"2019:03:21 16:04:22\0")},
            {LATITUDE: (RATIONAL, [(48, 1), (53, 1), (0, 0)])},
        )
    )
    for _ in range(data.draw(st.integers(1, 8))):
        block[data.draw(st.integers(6, len(block) - 1))] = data.draw(st.integers(0, 255))
    read_directories(bytes(block))
