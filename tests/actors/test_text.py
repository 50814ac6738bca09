"""The text tower: one process, as many models as are asked for."""

import numpy as np
import pytest

from actors import text as module
from actors.messages import EncodeText
from actors.settings import TextSettings
from actors.text import Text
from models.errors import PackNotFound
from models.pack import BUILT_IN
from tests.packs import turned

pytestmark = pytest.mark.anyio


@pytest.fixture
async def text(tmp_path):
    turned(tmp_path, "turned")
    folders = [str(tmp_path), str(BUILT_IN)]
    actor = Text(TextSettings(str(BUILT_IN / "sketch"), folders=folders))
    await actor.on_start()
    return actor


async def say(text, *words, pack=""):
    return await text.handle(EncodeText(list(words), pack), None)


async def test_an_answer_is_by_the_pack_that_was_asked_for_and_names_it(text):
    one, other = await say(text, "a red circle"), await say(text, "a red circle", pack="turned")
    assert (one.space, one.model, one.demo) == ("sketch-1", "sketch", True)
    assert (other.space, other.model, other.demo) == ("turned-1", "turned", True)
    first, second = (np.frombuffer(each.data, "<f4") for each in (one, other))
    assert np.allclose(np.sort(np.abs(first)), np.sort(np.abs(second)), atol=1e-6)
    assert abs(first @ second) < 0.3
    assert (await say(text, "a red circle", pack="sketch")).data == one.data


async def test_a_pack_that_is_not_there_is_refused_and_the_others_go_on(text):
    with pytest.raises(PackNotFound):
        await say(text, "boat", pack="nothing")
    assert (await say(text, "boat")).model == "sketch"


async def test_a_tower_that_nobody_asks_for_is_dropped(text):
    await say(text, "boat", pack="turned")
    assert text._towers.keys() == {"sketch", "turned"}
    text._towers["sketch"].used_at -= module.SPARE_S
    await say(text, "boat", pack="turned")
    assert text._towers.keys() == {"turned"}
    assert (await say(text, "boat")).model == "sketch"  # comes again when it is wanted
