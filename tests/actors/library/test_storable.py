from hypothesis import given
from hypothesis import strategies as st

from actors.library.storable import INT64, REASON, STDERR, clamped, cleaned, line, tail

anything = st.text(st.characters(codec=None, exclude_categories=()))


@given(anything)
def test_whatever_a_camera_wrote_can_be_encoded(text):
    cleaned(text).encode()
    assert "\0" not in cleaned(text)


@given(st.text())
def test_ordinary_text_stays_as_it_is(text):
    if "\0" not in text:
        assert cleaned(text) == text


def test_a_reason_becomes_one_bounded_line():
    assert line("cannot\n  read\tthis\0") == "cannot read this"
    assert len(line("x" * 10_000)) == REASON


def test_of_a_long_last_word_the_end_is_kept():
    assert tail("a" * STDERR + "why") == "a" * (STDERR - 3) + "why"


@given(st.integers())
def test_a_time_beyond_64_bits_is_clamped(value):
    assert -INT64 - 1 <= clamped(value) <= INT64
    assert clamped(value) == value or abs(value) > INT64
