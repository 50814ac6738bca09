import msgspec

from actors.library.paths import absolute, printable


def test_a_file_in_the_root_has_no_empty_directory_in_its_path():
    assert absolute(b"/photos", b"", b"a.jpg") == b"/photos/a.jpg"
    assert absolute(b"/photos", b"2019/x", b"a.jpg") == b"/photos/2019/x/a.jpg"


def test_a_name_that_is_not_utf8_can_be_shown_and_sent():
    shown = printable(b"/photos/\xe4rger \xc3\xa4.jpg")
    assert shown == "/photos/\\xe4rger ä.jpg"
    assert msgspec.json.decode(msgspec.json.encode(shown)) == shown
