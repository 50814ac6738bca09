import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.dotenv import Malformed, parse


def values(text: str) -> dict[str, str]:
    return {each.name: each.value for each in parse(text)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("\n\n  \n# A=1\n   # B=2\n", {}),
        ("A=1", {"A": "1"}),
        ("A=1\n", {"A": "1"}),
        ("A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        ("  A =  1  ", {"A": "1"}),
        ("export A=1", {"A": "1"}),
        ("export\tA=1", {"A": "1"}),
        ("exported=1", {"exported": "1"}),
        ("A=", {"A": ""}),
        ("A= # nothing", {"A": ""}),
        ("A=a b  # c", {"A": "a b"}),
        ("A=a#b", {"A": "a#b"}),
        ("A=#b", {"A": "#b"}),
        ("A='a # b'  # c", {"A": "a # b"}),
        ("A='a\\nb'", {"A": "a\\nb"}),
        ("A='a\nb'\nB=2", {"A": "a\nb", "B": "2"}),
        ('A="a\\nb\\t\\"c\\"\\\\\\$"', {"A": 'a\nb\t"c"\\$'}),
        ('A="C:\\photos"', {"A": "C:\\photos"}),
        ('A="a\nb" # c\nB=2', {"A": "a\nb", "B": "2"}),
        ("A=it's", {"A": "it's"}),
        ("A=a=b", {"A": "a=b"}),
        ("A=1\nA=2", {"A": "2"}),
        ("A\nB=2", {"B": "2"}),
        ("export A", {}),
        ("a.b=1", {"a.b": "1"}),
        ("A=ü", {"A": "ü"}),
    ],
)
def test_a_line_means_what_other_readers_say(text, expected):
    assert values(text) == expected


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("A=1\n=2", 2),
        ("A B", 1),
        ("1A=2", 1),
        ("\nA='x", 2),
        ('A="x', 1),
        ("A='x' y", 1),
        ("A='a\nb'\n?", 3),
        ("A: 1", 1),
    ],
)
def test_what_is_no_assignment_is_named_by_its_line(text, line):
    with pytest.raises(Malformed, match=f"^line {line} is not NAME=value$"):
        list(parse(text))


@pytest.mark.parametrize(
    ("text", "expands"),
    [
        ("A=${B}", True),
        ('A="x${B}"', True),
        ("A='${B}'", False),
        ('A="\\${B}"', False),
        ("A=$B", False),
    ],
)
def test_a_value_that_others_would_expand_is_marked(text, expands):
    assert [each.expands for each in parse(text)] == [expands]


@given(st.text())
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(Malformed):
        list(parse(text))


@given(st.text(st.characters(exclude_characters="\r", codec="utf-8")))
def test_a_double_quoted_value_comes_back(value):
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    assert values(f'A="{escaped}"\nB=1') == {"A": value, "B": "1"}
