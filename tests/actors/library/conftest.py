"""Fixtures of the library's tests: everything runs on a real file."""

import asyncio
import shutil
from pathlib import Path

import pytest

from tests.actors.library.catalogs import CLIP, Catalog


@pytest.fixture
def anyio_backend() -> str:
    """The drivers of both databases know asyncio only."""
    return "asyncio"


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog with one space and nothing else; to be copied, because making one takes 0.2 s."""
    path = tmp_path_factory.mktemp("empty") / "catalog.sqlite"

    async def make() -> None:
        catalog = Catalog(f"sqlite+aiosqlite:///{path}")
        await catalog.open()
        await catalog.writer.register_space(CLIP, catalog.now)
        await catalog.close()

    asyncio.run(make())
    return path


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Where no catalog is yet."""
    return f"sqlite+aiosqlite:///{tmp_path}/catalog.sqlite"


@pytest.fixture
async def catalog(url: str, empty: Path, tmp_path: Path, anyio_backend: str):
    shutil.copy(empty, tmp_path / "catalog.sqlite")
    catalog = Catalog(url)
    await catalog.open()
    yield catalog
    # Whatever a test did: the counters are right, and every file is counted in one way.
    assert await catalog.reader.miscounted() == []
    await catalog.totals()
    await catalog.close()
