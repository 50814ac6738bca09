"""What the caption worker makes of a batch, with a model that does what it is told."""

from types import SimpleNamespace
from typing import cast

import anyio
import anyio.to_thread
import numpy as np
import pytest
from PIL import Image

from actors.caption import Caption
from actors.describer import Describer
from actors.messages import ASKS, Captioned, EmbedTask, Failed, Saying, ThumbnailLost
from actors.photo.thumbnails import thumbnail_path
from actors.settings import CaptionSettings
from actors.worker import Ready
from models.captions.captioner import Written
from models.errors import PictureBroken, RanTooLong
from models.pack import BUILT_IN
from runtime.node import Line, Node

pytestmark = pytest.mark.anyio

BATCH_S = 5.0


@pytest.fixture
def anyio_backend():
    return "asyncio"


class Model:
    """Each row says its number; those above 90 never end."""

    space, size, batch_s = "words", 8, BATCH_S

    def __init__(self):
        self.runs = []

    def prepare(self, picture, original):
        assert original == (64, 48)
        return np.asarray(picture.resize((1, 1)), np.float32)[:, :, 0]

    def describe(self, tensor, said):
        rows = [int(each) for each in tensor[:, 0]]
        self.runs.append(rows)
        if any(each > 90 for each in rows):
            raise RanTooLong(BUILT_IN, 1.0)
        told: list[Written | PictureBroken] = []
        for row, number in enumerate(rows):
            if number == 0:
                told.append(PictureBroken("its caption came out as NaN or infinity"))
                continue
            said(row, "number")
            told.append(Written(f"number {number}", (1, number), -0.5))
        return told


class Watched(Caption):
    """One whose page and whose words to the scheduler can be read."""

    def __init__(self, settings):
        super().__init__(settings)
        self.pages: list[tuple[str, list[int], float]] = []
        self.told: list[Saying] = []
        page = SimpleNamespace(executing=lambda *words: self.pages.append(words))
        self.node = cast("Node", page)
        self._asker = cast("Line", SimpleNamespace(tell=self.told.append))


@pytest.fixture
def worker(tmp_path):
    return Watched(CaptionSettings(str(BUILT_IN / "sketch"), str(tmp_path), [1, 4]))


async def compute(worker, model, *numbers, first=1):
    tasks = [
        EmbedTask(first + at, 10 * number, bytes(32), 64, 48) for at, number in enumerate(numbers)
    ]
    tensor = np.array([[number] for number in numbers], np.float32)
    ready = Ready(tasks, tensor, cast("Describer", model))
    return await anyio.to_thread.run_sync(worker.compute, ready)


async def test_each_picture_gets_its_caption_in_the_order_of_the_tasks(worker):
    assert await compute(worker, Model(), 7, 8) == [
        Captioned(1, 70, "words", "number 7", -0.5),
        Captioned(2, 80, "words", "number 8", -0.5),
    ]
    assert worker.told == []


async def test_who_never_ends_is_found_one_by_one_and_the_others_get_their_captions(worker):
    model = Model()
    results = await compute(worker, model, 7, 99, 8)
    assert model.runs == [[7, 99, 8], [7], [99], [8]]
    assert [type(each) for each in results] == [Captioned, Failed, Captioned]
    assert results[1].fault == "worker"
    # Should one of them take the process down, it was the only one in hand.
    assert worker.pages == [("caption", [number], BATCH_S) for number in (1, 2, 3)]


async def test_who_never_ends_alone_is_not_tried_twice(worker):
    model = Model()
    (result,) = await compute(worker, model, 99)
    assert (result.task, result.fault, model.runs) == (1, "worker", [[99]])


async def test_a_picture_without_a_caption_is_to_blame_alone(worker):
    bad, good = await compute(worker, Model(), 0, 7)
    assert bad == Failed(1, "photo", "its caption came out as NaN or infinity")
    assert isinstance(good, Captioned)


async def test_who_asked_hears_each_word_and_the_end_and_the_library_nothing(worker):
    assert await compute(worker, Model(), 7, first=ASKS + 5) == []
    assert worker.told == [
        Saying(ASKS + 5, "number"),
        Saying(ASKS + 5, "number 7", done=True),
    ]


async def test_a_torn_thumbnail_is_made_again_and_the_rest_of_the_batch_goes_on(worker, tmp_path):
    tasks = [EmbedTask(number, number, bytes([number]) * 32, 64, 48) for number in (1, 2, 3)]
    for task in tasks[:2]:
        path = thumbnail_path(tmp_path, task.digest, 256)
        path.parent.mkdir(parents=True)
        Image.new("RGB", (64, 48), (task.id, 0, 0)).save(path, "JPEG", quality=100)
    torn = thumbnail_path(tmp_path, tasks[1].digest, 256)
    torn.write_bytes(torn.read_bytes()[:300])
    failed, ready = worker.read(cast("Describer", Model()), tasks)
    assert failed == [ThumbnailLost(2, 2), ThumbnailLost(3, 3)]
    assert not torn.exists()
    assert ready.tasks == tasks[:1]
    assert len(ready.data) == 1
