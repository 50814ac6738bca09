"""Vector spaces side by side."""

import msgspec
import pytest

from actors.library.errors import SpaceConflict, UnknownSpace
from actors.library.space import Space
from actors.library.spaces import holds_enough
from tests.actors.library.catalogs import CLIP, Catalog, decoded, embedded

pytestmark = pytest.mark.anyio

SIGLIP = msgspec.structs.replace(CLIP, name="siglip", pack="siglip-b16", dimensions=8)


async def states(catalog: Catalog) -> dict[str, tuple[str, bool]]:
    return {
        status.space.name: (status.state, status.complete)
        for status in await catalog.reader.spaces()
    }


async def fill(catalog: Catalog, name: str, n: int = 2) -> list[int]:
    """Slices until nothing is left; how many contents each of them looked at."""
    slices = []
    while looked_at := await catalog.writer.backfill(name, n, catalog.now):
        slices.append(looked_at)
    return slices


async def test_an_unknown_space_is_refused(catalog: Catalog):
    for verb in (
        catalog.writer.backfill("none", 1, catalog.now),
        catalog.writer.activate_space("none", catalog.now),
        catalog.writer.retire_space("none", catalog.now),
        catalog.embeds(space="none"),
    ):
        with pytest.raises(UnknownSpace, match="'none'"):
            await verb


@pytest.mark.parametrize("part", ["pack", "revision", "preprocess", "precision", "dimensions"])
async def test_a_name_that_stands_for_other_vectors_is_refused(catalog: Catalog, part: str):
    other = msgspec.structs.replace(CLIP, **{part: 7 if part == "dimensions" else "other"})
    with pytest.raises(SpaceConflict, match="clip"):
        await catalog.writer.register_space(other, catalog.now)
    assert [status.space for status in await catalog.reader.spaces()] == [CLIP]


async def test_a_space_may_be_registered_at_every_start(catalog: Catalog):
    first = await catalog.writer.register_space(CLIP, catalog.now)
    assert await catalog.writer.register_space(CLIP, catalog.now) == first
    assert await states(catalog) == {"clip": ("active", False)}


async def test_the_first_space_is_active_and_the_second_is_built_beside_it(catalog: Catalog):
    await catalog.writer.register_space(SIGLIP, catalog.now)
    assert await states(catalog) == {"clip": ("active", False), "siglip": ("building", False)}


async def test_an_empty_catalog_is_complete_at_once(catalog: Catalog):
    assert await fill(catalog, "clip") == []
    assert await states(catalog) == {"clip": ("active", True)}


async def test_contents_that_were_there_before_are_embedded_newest_first_in_slices(
    catalog: Catalog,
):
    await catalog.index(*[b"%d" % i for i in range(5)])
    await catalog.writer.register_space(SIGLIP, catalog.now)
    assert await fill(catalog, "siglip") == [2, 2, 1]
    tasks = await catalog.embeds(space="siglip")
    assert [task.content for task in tasks] == [5, 4, 3, 2, 1]
    assert await states(catalog) == {"clip": ("active", False), "siglip": ("building", True)}


async def test_a_backfill_goes_on_where_it_was_after_a_restart(catalog: Catalog):
    await catalog.index(*[b"%d" % i for i in range(5)])
    await catalog.writer.register_space(SIGLIP, catalog.now)
    await catalog.writer.backfill("siglip", 2, catalog.now)
    await catalog.restart()
    await catalog.writer.register_space(SIGLIP, catalog.now)
    assert await fill(catalog, "siglip") == [2, 1]
    assert len(await catalog.embeds()) == 5


async def test_a_photo_that_comes_during_a_backfill_is_embedded_once(catalog: Catalog):
    await catalog.index(b"0", b"1", b"2")
    await catalog.writer.register_space(SIGLIP, catalog.now)
    await catalog.see(b"new before")
    await catalog.settle(*[decoded(task) for task in await catalog.decodes()])
    await catalog.writer.backfill("siglip", 2, catalog.now)
    await catalog.see(b"new between")
    await catalog.settle(*[decoded(task) for task in await catalog.decodes()])
    await fill(catalog, "siglip")
    tasks = await catalog.embeds(space="siglip")
    assert [task.content for task in tasks] == [4, 5, 3, 2, 1]


async def test_a_backfill_asks_for_nothing_that_is_there_already(catalog: Catalog):
    await catalog.index(b"0", b"1")
    assert await fill(catalog, "clip") == [2]
    assert await catalog.embeds() == []


async def test_what_is_new_is_embedded_in_every_open_space(catalog: Catalog):
    await catalog.writer.register_space(SIGLIP, catalog.now)
    await catalog.see(b"a.jpg")
    await catalog.settle(*[decoded(task) for task in await catalog.decodes()])
    (clip,) = await catalog.embeds(space="clip")
    (siglip,) = await catalog.embeds(space="siglip")
    await catalog.settle(embedded(clip), embedded(siglip, SIGLIP))
    assert await catalog.fed("clip") == [("add", 1)]
    assert await catalog.fed("siglip") == [("add", 1)]
    await catalog.lose(b"a.jpg")
    assert await catalog.fed("siglip") == [("add", 1), ("remove", 1)]


async def test_totals_speak_of_the_active_space(catalog: Catalog):
    await catalog.index(b"a.jpg", b"b.jpg")
    await catalog.writer.register_space(SIGLIP, catalog.now)
    await fill(catalog, "siglip")
    await catalog.settle(*[embedded(task, SIGLIP) for task in await catalog.embeds(n=1)])
    assert (await catalog.totals()).indexed == 2
    await catalog.writer.activate_space("siglip", catalog.now)
    totals = await catalog.totals()
    assert (totals.indexed, totals.pending) == (1, 1)


async def test_switching_retires_the_old_space_and_its_waiting_tasks(catalog: Catalog):
    await catalog.see(b"a.jpg", b"b.jpg")
    await catalog.settle(*[decoded(task) for task in await catalog.decodes()])
    await catalog.embeds(n=1)
    await catalog.writer.register_space(SIGLIP, catalog.now)
    await catalog.writer.activate_space("siglip", catalog.now)
    assert await catalog.embeds() == []
    assert await states(catalog) == {"clip": ("retired", False), "siglip": ("active", False)}
    assert await catalog.writer.backfill("clip", 10, catalog.now) == 0


async def test_a_vector_that_was_on_its_way_when_its_space_retired_is_kept(catalog: Catalog):
    await catalog.see(b"a.jpg")
    await catalog.settle(*[decoded(task) for task in await catalog.decodes()])
    (task,) = await catalog.embeds()
    await catalog.writer.register_space(SIGLIP, catalog.now)
    await catalog.writer.activate_space("siglip", catalog.now)
    await catalog.settle(embedded(task))
    assert await catalog.fed("clip") == [("add", 1)]


async def test_one_can_go_back_and_what_came_meanwhile_is_embedded(catalog: Catalog):
    await catalog.see(b"a.jpg")
    await catalog.settle(*[decoded(task) for task in await catalog.decodes()])
    await fill(catalog, "clip")
    await catalog.writer.register_space(SIGLIP, catalog.now)
    await catalog.writer.activate_space("siglip", catalog.now)
    await catalog.see(b"meanwhile.jpg")
    await catalog.settle(*[decoded(task) for task in await catalog.decodes()])
    await catalog.writer.activate_space("clip", catalog.now)
    await fill(catalog, "clip")
    assert [task.content for task in await catalog.embeds(space="clip")] == [1, 2]
    assert (await states(catalog))["siglip"] == ("retired", False)


async def test_a_retired_space_that_is_registered_again_is_built_again(catalog: Catalog):
    await catalog.writer.register_space(SIGLIP, catalog.now)
    await catalog.see(b"a.jpg")
    await catalog.settle(*[decoded(task) for task in await catalog.decodes()])
    await catalog.writer.retire_space("siglip", catalog.now)
    assert await catalog.embeds(space="siglip") == []
    await catalog.writer.register_space(SIGLIP, catalog.now)
    assert len(await catalog.embeds(space="siglip")) == 1


async def test_making_the_active_space_active_changes_nothing(catalog: Catalog):
    await catalog.index(b"a.jpg")
    await fill(catalog, "clip")
    await catalog.writer.activate_space("clip", catalog.now)
    assert await states(catalog) == {"clip": ("active", True)}


async def test_a_dead_letter_of_a_retired_space_is_retried_when_it_is_open_again(
    catalog: Catalog,
):
    await catalog.see(b"a.jpg")
    await catalog.settle(*[decoded(task) for task in await catalog.decodes()])
    (task,) = await catalog.embeds()
    await catalog.fail([task], "photo")
    await catalog.writer.register_space(SIGLIP, catalog.now)
    await catalog.writer.activate_space("siglip", catalog.now)
    await catalog.writer.retry([task.id], catalog.now)
    assert task.id not in [ready.id for ready in await catalog.embeds()]
    await catalog.writer.activate_space("clip", catalog.now)
    assert [ready.id for ready in await catalog.embeds(space="clip")] == [task.id]


# ── the owner's choice ──────────────────────────────────────────────────────────────────────


async def embed_all(catalog: Catalog, name: str, space: Space) -> int:
    await fill(catalog, name)
    tasks = await catalog.embeds(space=name)
    await catalog.settle(*[embedded(task, space) for task in tasks])
    return len(tasks)


async def switch(catalog: Catalog, name: str) -> bool:
    return await catalog.writer.switch_space(name, catalog.now)


async def test_the_pack_of_a_setting_serves_a_new_library_only(catalog: Catalog):
    await catalog.writer.begin_with(SIGLIP, catalog.now)
    assert await states(catalog) == {"clip": ("active", False)}
    await catalog.writer.begin_with(CLIP, catalog.now)
    assert await states(catalog) == {"clip": ("active", False)}


async def test_a_pack_that_was_replaced_takes_over_from_what_nobody_can_ask_any_more(
    catalog: Catalog,
):
    newer = msgspec.structs.replace(CLIP, name="clip-2", revision="r2")
    await catalog.writer.begin_with(newer, catalog.now)
    assert await states(catalog) == {"clip": ("retired", False), "clip-2": ("active", False)}


async def test_what_the_owner_wants_is_built_beside_and_serves_when_it_lacks_nothing(
    catalog: Catalog,
):
    await catalog.index(b"a.jpg", b"b.jpg")
    await catalog.writer.use_space(SIGLIP, catalog.now)
    assert not await switch(catalog, "siglip")  # not even looked at
    await fill(catalog, "siglip")
    assert not await switch(catalog, "siglip")  # two are waiting
    one, two = await catalog.embeds()
    await catalog.settle(embedded(one, SIGLIP))
    assert not await switch(catalog, "siglip")  # one is in hand
    await catalog.settle(embedded(two, SIGLIP))
    assert await switch(catalog, "siglip")
    found = await catalog.reader.spaces()
    assert {each.space.name: (each.state, each.vectors) for each in found} == {
        "clip": ("retired", 2),
        "siglip": ("active", 2),
    }
    assert await catalog.reader.serving() == ("siglip", "siglip-b16")
    assert not await switch(catalog, "siglip")  # it serves


async def test_a_photo_that_came_a_moment_ago_is_waited_for(catalog: Catalog):
    await catalog.index(b"a.jpg")
    await catalog.writer.use_space(SIGLIP, catalog.now)
    await embed_all(catalog, "siglip", SIGLIP)
    await catalog.see(b"b.jpg")
    await catalog.settle(*[decoded(task) for task in await catalog.decodes()])
    assert not await switch(catalog, "siglip")
    packs = [task.pack for task in await catalog.embeds()]
    assert packs == ["clip-b32", "siglip-b16"]  # the one that serves comes first


async def test_the_way_back_finds_every_vector_and_makes_no_task(catalog: Catalog):
    await catalog.index(b"a.jpg", b"b.jpg")
    await fill(catalog, "clip")
    await catalog.writer.use_space(SIGLIP, catalog.now)
    assert await embed_all(catalog, "siglip", SIGLIP) == 2
    assert await switch(catalog, "siglip")
    await catalog.writer.use_space(CLIP, catalog.now)
    assert await embed_all(catalog, "clip", CLIP) == 0
    assert await switch(catalog, "clip")
    assert await states(catalog) == {"clip": ("active", True), "siglip": ("retired", True)}


async def test_another_wish_ends_the_building_of_the_first(catalog: Catalog):
    await catalog.index(b"a.jpg")
    await catalog.writer.use_space(SIGLIP, catalog.now)
    await fill(catalog, "siglip")
    third = msgspec.structs.replace(SIGLIP, name="third", pack="third")
    await catalog.writer.use_space(third, catalog.now)
    assert (await states(catalog))["siglip"][0] == "retired"
    assert await catalog.embeds() == []  # its task is parked
    await catalog.writer.use_space(CLIP, catalog.now)
    assert {name: state for name, (state, _) in (await states(catalog)).items()} == {
        "clip": "active",
        "siglip": "retired",
        "third": "retired",
    }


async def test_a_model_that_fails_at_every_photo_never_serves(catalog: Catalog):
    await catalog.index(b"a.jpg", b"b.jpg")
    await catalog.writer.use_space(SIGLIP, catalog.now)
    await fill(catalog, "siglip")
    await catalog.fail(await catalog.embeds(), "photo")
    assert not await catalog.reader.waits(SIGLIP)
    assert not await switch(catalog, "siglip")


async def test_a_library_that_cannot_be_searched_as_it_is_changes_at_once(catalog: Catalog):
    await catalog.index(b"a.jpg")
    await catalog.writer.use_space(SIGLIP, catalog.now, at_once=True)
    assert await catalog.reader.serving() == ("siglip", "siglip-b16")
    assert await embed_all(catalog, "siglip", SIGLIP) == 1


@pytest.mark.parametrize(
    ("vectors", "before", "enough"),
    [
        (0, 0, True),
        (0, 1, False),
        (1, 11, True),
        (1, 12, False),
        (990_000, 1_000_000, True),
        (989_999, 1_000_000, False),
        (20, 10, True),
    ],
)
def test_a_space_may_lack_a_few_photos_and_not_many(vectors: int, before: int, enough: bool):
    assert holds_enough(vectors, before) is enough


async def test_vectors_that_nobody_uses_can_be_forgotten_and_built_anew(catalog: Catalog):
    await catalog.index(b"a.jpg", b"b.jpg", b"c.jpg")
    await catalog.writer.use_space(SIGLIP, catalog.now)
    await embed_all(catalog, "siglip", SIGLIP)
    for state in ("building", "active"):
        with pytest.raises(SpaceConflict, match=state):
            await catalog.writer.drop_space("siglip", 0, 2, catalog.now)
        assert await switch(catalog, "siglip") is (state == "building")
    await catalog.writer.use_space(CLIP, catalog.now)
    await fill(catalog, "clip")
    assert await switch(catalog, "clip")
    await catalog.lose(b"c.jpg")
    steps = [
        await catalog.writer.drop_space("siglip", after, 2, catalog.now) for after in (0, 2, 3)
    ]
    assert steps == [[1, 2], [3], []]
    out = [content for op, content in await catalog.fed("siglip") if op == "remove"]
    assert sorted(out) == [1, 2, 3]
    await catalog.writer.use_space(SIGLIP, catalog.now)
    assert await embed_all(catalog, "siglip", SIGLIP) == 3
