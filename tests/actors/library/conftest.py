"""Fixtures of the library's tests: everything runs on a real file."""

from pathlib import Path

import pytest

from tests.actors.library.catalogs import Catalog, empty_catalog


@pytest.fixture
def anyio_backend() -> str:
    """The drivers of both databases know asyncio only."""
    return "asyncio"


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Where no catalog is yet."""
    return f"sqlite+aiosqlite:///{tmp_path}/catalog.sqlite"


@pytest.fixture
def made(tmp_path: Path) -> None:
    """A catalog in the folder of the test."""
    (tmp_path / "catalog.sqlite").write_bytes(empty_catalog())


@pytest.fixture
async def catalog(made: None, url: str, anyio_backend: str):
    catalog = Catalog(url)
    await catalog.open()
    yield catalog
    # Whatever a test did: the counters are right, and every file is counted in one way.
    assert await catalog.reader.miscounted() == []
    await catalog.totals()
    await catalog.close()
