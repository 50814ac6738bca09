import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.web.access import CODE_S, COOKIE_S, MOST_CODES, Access, check_host
from actors.web.errors import Refusal

TOKEN = "s3cret" * 8


@pytest.fixture
def access():
    return Access(TOKEN)


def knows(access, authorization=None, cookies=None, wall_s=1000.0):
    return access.knows(authorization=authorization, cookies=cookies, wall_s=wall_s)


def cookie_of(access, wall_s=1000.0):
    return f"{access.cookie}={access.new_cookie(wall_s)}"


# ── token ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Basic {TOKEN}",
        TOKEN,
        "Bearer 日本",
        "Bearer \udc80",
    ],
)
def test_nothing_but_the_token_is_the_token(access, header):
    assert not knows(access, header)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_token_is_known(access, scheme):
    assert knows(access, f"{scheme} {TOKEN}")


def test_a_wrong_token_is_not_made_good_by_a_cookie(access):
    assert not knows(access, "Bearer wrong", cookie_of(access))


def test_without_authentication_everybody_is_known_and_no_token_is():
    access = Access(None)
    assert knows(access)
    assert not access.knows_token("")


# ── cookie ──────────────────────────────────────────────────────────────────────────────────


def test_a_cookie_is_known_until_it_ends_and_after_a_restart(access):
    cookie = cookie_of(access)
    assert knows(Access(TOKEN), None, cookie)
    assert knows(access, None, cookie, 1000.0 + COOKIE_S - 1)
    assert not knows(access, None, cookie, 1000.0 + COOKIE_S)


def test_a_new_token_ends_all_sessions(access):
    value = access.new_cookie(1000.0)
    other = Access("another" * 8)
    assert not knows(other, None, f"{other.cookie}={value}")


def test_two_libraries_on_one_host_do_not_share_a_cookie_name(access):
    assert access.cookie != Access("another" * 8).cookie


@pytest.mark.parametrize("other", ['bad="', "a=b; c", "=", "x={json:1}", "\x00=1", "session=1,2"])
def test_the_cookies_of_other_programs_do_no_harm(access, other):
    assert knows(access, None, f"{other}; {cookie_of(access)}; {other}")


def test_a_cookie_cannot_be_prolonged(access):
    _, _, rest = access.new_cookie(1000.0).partition(".")
    assert not knows(access, None, f"{access.cookie}=99999999999.{rest}", 1e10)


@given(st.text())
def test_no_other_text_is_a_cookie(text):
    access = Access(TOKEN)
    assert not knows(access, None, f"{access.cookie}={text}")
    assert not knows(access, None, text)


# ── one-time codes ──────────────────────────────────────────────────────────────────────────


def test_a_code_is_good_once(access):
    code = access.new_code(0)
    assert access.use_code(code, 1)
    assert not access.use_code(code, 1)


def test_a_code_ends_with_its_minute(access):
    code = access.new_code(0)
    assert not access.use_code(code, CODE_S)


@pytest.mark.parametrize("code", ["", "x", TOKEN, "\udc80"])
def test_what_is_no_code_is_refused(access, code):
    access.new_code(0)
    assert not access.use_code(code, 1)


def test_beyond_the_limit_the_oldest_code_is_forgotten(access):
    codes = [access.new_code(0) for _ in range(MOST_CODES + 1)]
    assert not access.use_code(codes[0], 1)
    assert all(access.use_code(code, 1) for code in codes[1:])


# ── host and origin ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:8765",
        "localhost:8765",
        "LOCALHOST:1",
        "[::1]:8765",
        "127.0.0.2:80",
    ],
)
def test_this_machine_is_a_host_and_its_pages_an_origin(host):
    check_host([host], [])
    check_host([host], [f"http://{host}"])


@pytest.mark.parametrize(
    "hosts",
    [
        [],
        [""],
        ["example.org"],
        ["example.org:8765"],
        ["localhost.example.org"],
        ["127.0.0.1.example.org:8765"],
        ["127.0.0.1@example.org"],
        ["example.org@127.0.0.1"],
        ["192.168.1.2:8765"],
        ["0.0.0.0:8765"],
        ["localhost:0"],
        ["localhost:99999"],
        ["localhost:x"],
        ["localhost/"],
        ["localhost?"],
        ["[::1"],
        ["[fe80::1]:80"],
        ["127.0.0.1", "127.0.0.1"],
        ["127.0.0.1", "example.org"],
    ],
)
def test_any_other_host_is_foreign(hosts):
    with pytest.raises(Refusal) as caught:
        check_host(hosts, [])
    assert (caught.value.code, caught.value.status) == ("foreign_host", 403)


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "http://example.org",
        "https://127.0.0.1:8765",
        "http://127.0.0.1",
        "http://127.0.0.1:3000",
        "http://localhost:8765",
        "http://127.0.0.1:8765/",
        "http://127.0.0.1:8765.example.org",
        "file://",
    ],
)
def test_any_other_origin_is_foreign(origin):
    with pytest.raises(Refusal) as caught:
        check_host(["127.0.0.1:8765"], [origin])
    assert caught.value.code == "foreign_origin"


def test_one_foreign_origin_among_two_is_enough():
    with pytest.raises(Refusal):
        check_host(["localhost:1"], ["http://localhost:1", "http://example.org"])


@given(st.text())
def test_no_text_as_host_is_worse_than_a_refusal(text):
    with contextlib.suppress(Refusal):
        check_host([text], [])
