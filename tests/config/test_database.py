from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url

from config.database import async_url, sqlite_url

BASE = Path("/base")
NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=12
).filter(lambda name: name not in (".", ".."))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:///./metadata.sqlite", "sqlite+aiosqlite:////base/metadata.sqlite"),
        ("sqlite:///a/../b.sqlite", "sqlite+aiosqlite:////base/b.sqlite"),
        ("sqlite:////x/y.sqlite", "sqlite+aiosqlite:////x/y.sqlite"),
        ("sqlite:///~/y.sqlite", "sqlite+aiosqlite:////home/me/y.sqlite"),
        ("sqlite+aiosqlite:////x/a b%20.sqlite", "sqlite+aiosqlite:////x/a b .sqlite"),
        ("sqlite+pysqlite:///y", "sqlite+aiosqlite:////base/y"),
        ("postgresql+psycopg://u:p@db:5432/x", "postgresql+asyncpg://u:p@db:5432/x"),
        ("postgresql+psycopg2://db/x", "postgresql+asyncpg://db/x"),
        ("postgresql+asyncpg://db/x", "postgresql+asyncpg://db/x"),
        ("postgresql://db/x", "postgresql+asyncpg://db/x"),
        ("postgres://db/x", "postgresql+asyncpg://db/x"),
    ],
)
def test_a_url_is_given_its_asynchronous_driver(url, expected):
    assert async_url(url, BASE, "/home/me") == expected


@given(NAMES)
def test_the_database_layer_opens_the_path_that_was_meant(name):
    assert make_url(sqlite_url(Path("/x", name))).database == f"/x/{name}"


@given(NAMES)
def test_a_url_of_ours_stays_as_it_is(name):
    url = sqlite_url(Path("/x", name))
    assert async_url(url, BASE, "/home/me") == url


@pytest.mark.parametrize("url", ["", "x", "sqlite:x", "sqlite://host/x", "mysql://u:secret@h/x"])
def test_any_other_url_is_refused_without_repeating_it(url):
    with pytest.raises(ValueError, match=r"URL|slashes") as caught:
        async_url(url, BASE, "/home/me")
    assert "secret" not in str(caught.value)
