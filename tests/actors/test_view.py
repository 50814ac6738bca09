"""One space of the index beside a real catalog."""

import contextlib

import anyio
import msgspec
import numpy as np
import pytest

from actors.library.faces import face_id
from actors.settings import IndexSettings
from actors.view import CATCHING_UP, View
from tests.actors.library.catalogs import CLIP, FACES, Catalog, decoded, embedded, faced, found

pytestmark = pytest.mark.anyio

OTHER = msgspec.structs.replace(CLIP, name="other", pack="other", dimensions=8)


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
async def catalog(tmp_path):
    catalog = Catalog(f"sqlite+aiosqlite:///{tmp_path}/catalog.sqlite")
    await catalog.open()
    await catalog.writer.register_space(CLIP, catalog.now)
    yield catalog
    await catalog.close()


@pytest.fixture
def settings(tmp_path):
    return IndexSettings("", str(tmp_path / "index"), "", 0)


@contextlib.asynccontextmanager
async def followed(catalog, settings, space):
    """A view of *space* that has read everything once; it ends in order."""
    view = View(settings, space.name, space.dimensions, space.kind)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(view.run, catalog.reader)
        with anyio.fail_after(10):
            await view.wait_whole(10)
        yield view
        await view.end()


async def test_a_view_holds_its_own_space_and_follows_it(catalog, settings):
    await catalog.index(b"a.jpg", b"b.jpg")
    await catalog.writer.use_space(OTHER, catalog.now)
    while await catalog.writer.backfill("other", 10, catalog.now):
        pass
    async with (
        followed(catalog, settings, CLIP) as clip,
        followed(catalog, settings, OTHER) as other,
    ):
        assert (clip.shared.vectors, other.shared.vectors) == (2, 0)
        await catalog.settle(*[embedded(task, OTHER) for task in await catalog.embeds()])
        head = await catalog.reader.feed_head()
        with anyio.fail_after(10):
            while other.seq < head or clip.seq < head:
                for each in (clip, other):
                    each.move(head)
                await anyio.sleep(0.01)
        assert (clip.shared.vectors, other.shared.vectors) == (2, 2)
        ids, _ = await other.shared.search(np.ones((1, 8), np.float32), 5)
        assert sorted(ids.tolist()[0]) == [1, 2]


async def test_a_photo_without_faces_adds_none_and_does_not_disturb_the_others(catalog, settings):
    await catalog.writer.register_space(FACES, catalog.now)
    async with followed(catalog, settings, FACES) as view:
        await catalog.index(b"none.jpg", b"two.jpg", b"none-either.jpg")
        none, two, neither = sorted(await catalog.looks(), key=lambda each: each.content)
        await catalog.settle(
            faced(none), faced(two, found(0.1, fill=1), found(0.6, fill=2)), faced(neither)
        )
        head = await catalog.reader.feed_head()
        with anyio.fail_after(10):
            while view.seq < head:
                view.move(head)
                await anyio.sleep(0.01)
        ids, _ = await view.shared.search(np.ones((1, 2), np.float32), 5)
        assert ids.tolist() == [[face_id(two.content, 1), face_id(two.content, 0)]]
        ids, _ = await view.shared.search_among(
            np.ones((1, 2), np.float32), np.array([face_id(two.content, 0), 5]), 5
        )
        assert ids.tolist() == [[face_id(two.content, 0)]]


async def test_before_it_has_read_everything_it_says_so_and_can_be_waited_for(catalog, settings):
    await catalog.index(b"a.jpg")
    view = View(settings, "clip", 4)
    assert (view.whole, view.degraded) == (False, CATCHING_UP)
    await view.wait_whole(0.01)
    assert not view.whole
    async with followed(catalog, settings, CLIP) as read:
        assert read.degraded != CATCHING_UP


async def test_what_was_put_away_is_taken_up_where_it_was(catalog, settings):
    await catalog.index(b"a.jpg", b"b.jpg")
    async with followed(catalog, settings, CLIP):
        pass
    await catalog.see(b"c.jpg")
    await catalog.settle(*[decoded(task) for task in await catalog.decodes()])
    await catalog.settle(*[embedded(task) for task in await catalog.embeds()])
    await catalog.lose(b"a.jpg")
    async with followed(catalog, settings, CLIP) as again:
        assert sorted(again.shared.index.ids().tolist()) == [2, 3]
