"""What a watch tells of a folder, whatever names are in it."""

import os
from contextlib import aclosing

import anyio
import pytest

from actors.ingest import _changes

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def heard(changes, touch):
    """What is told first after *touch*, repeated until something is."""
    async with anyio.create_task_group() as tasks:

        async def repeat():
            while True:
                touch()
                await anyio.sleep(0.3)

        tasks.start_soon(repeat)
        with anyio.fail_after(20):
            found = await anext(changes)
        tasks.cancel_scope.cancel()
    return found


async def test_a_name_that_is_no_text_does_not_end_a_watch(tmp_path):
    root = os.fsencode(tmp_path)
    odd, plain = os.path.join(root, b"caf\xe9.jpg"), tmp_path / "plain.jpg"
    async with aclosing(_changes(root)) as changes:
        assert await heard(changes, lambda: open(odd, "ab").close()) is None
        # it is watched anew, and who listens has to walk
        found = await heard(changes, plain.touch)
        assert str(plain) in {name for _, name in found}


async def test_a_folder_that_is_not_there_cannot_be_watched(tmp_path):
    with pytest.raises(FileNotFoundError):
        await anext(_changes(os.fsencode(tmp_path / "nothing")))
