"""What settings become in the tree of processes."""

from pathlib import Path

import msgspec
import pytest

from actors.packs import captions_of, faces_of
from actors.settings import EmbedSettings, IndexSettings, SchedulerSettings
from config.loading import load
from models.pack import load_pack
from runtime.spec import ChildSpec
from supervisor import PACKS, tree


def children(group):
    for each in group.children:
        yield from [each] if isinstance(each, ChildSpec) else children(each)


def told(flags):
    """Child → its spec, for a system with *flags*."""
    settings = load(flags, environ={"HOME": "/nowhere"}, cwd=Path("/nowhere"))
    pack = load_pack(PACKS / "sketch")
    others = [each for each in (faces_of(pack), captions_of(pack)) if each is not None]
    return {each.name: each for each in children(tree(settings, pack, others, port=0, once=False))}


@pytest.mark.parametrize(("gpu", "device"), [(-1, "cpu:0"), (0, "cuda:0"), (2, "cuda:2")])
def test_the_gpu_is_the_one_that_was_named(gpu, device):
    specs = told({"device.gpu": gpu})
    embed = msgspec.msgpack.decode(specs["embed"].settings, type=EmbedSettings)
    scheduler = msgspec.msgpack.decode(specs["scheduler"].settings, type=SchedulerSettings)
    assert (embed.device, scheduler.device) == (device, device)


def test_nobody_may_use_up_more_than_half_of_the_time_for_the_stop():
    assert {each.drain_s for each in told({"runtime.shutdown": 8.0}).values()} == {4.0}


def test_the_index_is_told_when_to_build_a_graph():
    index = told({"profile": "P2", "vectors.seal_rows": 500, "device.threads": 3})["index"]
    settings = msgspec.msgpack.decode(index.settings, type=IndexSettings)
    assert (settings.backend, settings.seal_rows, settings.build_threads) == ("hnswlib", 500, 3)


def test_the_device_is_for_embeddings_first_and_nobody_else_before_it_has_been_quiet():
    flags = {
        "embed.buckets": (1, 4),
        "faces.buckets": (2,),
        "captions.buckets": (1,),
        "scheduler.settle": 3.0,
    }
    scheduler = told(flags)["scheduler"]
    settings = msgspec.msgpack.decode(scheduler.settings, type=SchedulerSettings)
    assert list(settings.classes.items()) == [("embed", [1, 4]), ("face", [2]), ("caption", [1])]
    assert settings.settle_s == 3.0
    assert {"catalog", "embed", "face", "caption"} <= set(scheduler.peers)
