"""The catalog's own database, as the edge reads it."""

import pytest

from actors.web.errors import Refusal
from actors.web.library import LARGEST_ID, CatalogLibrary, Photos
from tests.actors.library.catalogs import Catalog, digest_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def url(tmp_path):
    return f"sqlite+aiosqlite:///{tmp_path}/catalog.sqlite"


@pytest.fixture
async def library(url, anyio_backend):
    library = CatalogLibrary(url)
    yield library
    await library.close()


async def test_before_the_catalog_has_made_it_every_question_is_refused(library):
    for question in (library.rows([1]), library.photo(1), library.totals()):
        with pytest.raises(Refusal, match="library_away"):
            await question


async def test_a_file_that_is_no_database_is_refused_in_words(library, tmp_path):
    (tmp_path / "catalog.sqlite").write_bytes(b"not a database, but long enough for one" * 100)
    with pytest.raises(Refusal, match=r"damaged.*library_away"):
        await library.totals()


async def test_it_is_opened_as_soon_as_it_is_there_and_answers(library, url):
    with pytest.raises(Refusal):
        await library.totals()
    catalog = Catalog(url)
    await catalog.open()
    await catalog.index(b"a.jpg", b"b\xff.jpg")
    rows = await library.rows([2, 1, 99])
    assert {content: row.path for content, row in rows.items()} == {
        1: b"/photos/a.jpg",
        2: b"/photos/b\xff.jpg",
    }
    row = rows[1]
    assert (row.digest, row.width, row.height) == (digest_of(b"a.jpg"), 40, 30)
    assert row.taken_at == "2019-03-21T11:04:22"
    photo = await library.photo(1)
    assert photo is not None
    assert (photo.format, photo.thumb_256, photo.thumb_1024) == ("jpeg", 256, 1024)
    assert await library.photo(99) is None
    assert (await library.totals()).files == 2
    await catalog.close()


async def test_a_photo_whose_files_are_gone_is_not_found_any_more(library, url):
    catalog = Catalog(url)
    await catalog.open()
    await catalog.index(b"a.jpg")
    photos = Photos(library)
    assert (await photos.now(1)).paths == [b"/photos/a.jpg"]
    assert photos.remembered(1) is not None
    await catalog.lose(b"a.jpg")
    with pytest.raises(Refusal, match="not_found"):
        await photos.now(1)
    assert photos.remembered(1) is None
    assert await library.rows([1]) == {}
    await catalog.close()


async def test_a_number_beyond_what_a_database_holds_is_not_found(library):
    with pytest.raises(Refusal, match="not_found"):
        await Photos(library).now(LARGEST_ID + 1)
