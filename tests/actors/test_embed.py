"""The models of the embedder: the one that serves, and one that is built beside it."""

import anyio
import pytest

from actors.embed import CPU, Embed
from actors.packs import Packs
from actors.settings import EmbedSettings
from models.errors import PackNotFound
from models.pack import BUILT_IN, load_pack
from supervisor import PACKS
from tests.packs import turned


def test_a_gpu_that_is_not_there_is_replaced_by_the_cpu(tmp_path):
    settings = EmbedSettings(str(PACKS / "sketch"), str(tmp_path), [1], "cuda:99")
    tower = Embed(settings)._open(load_pack(PACKS / "sketch"), "cuda:99")
    assert tower._session.device == CPU


@pytest.mark.anyio
async def test_a_second_model_is_loaded_when_it_is_needed_and_a_broken_one_not_tried_all_the_time(
    tmp_path,
):
    embed = Embed(EmbedSettings(str(BUILT_IN / "sketch"), "", [1]))
    embed._packs = Packs([str(tmp_path), str(BUILT_IN)], embed.settings.pack, "")
    embed._first, embed._towers, embed._refused = "sketch", {}, {}
    embed._loading, embed._running, embed._batch_s = anyio.Lock(), anyio.Lock(), 1.0
    assert (await embed._tower_for("")).space == "sketch-1"
    with pytest.raises(PackNotFound):
        await embed._tower_for("turned")
    turned(tmp_path, "turned")
    with pytest.raises(PackNotFound):
        await embed._tower_for("turned")
    assert (await embed._tower_for("sketch")).space == "sketch-1"
    refused_at, error = embed._refused["turned"]
    embed._refused["turned"] = refused_at - 3600, error
    assert (await embed._tower_for("turned")).space == "turned-1"
