"""Faces in the library: their numbers, their vectors, and what becomes of them."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.library.faces import MOST, face_id, joined, number, parts_of, vector_of
from actors.library.space import Space
from actors.messages import ThumbnailLost
from models.faces.face import Face, iou
from tests.actors.library.catalogs import FACES, Catalog, decoded, embedded, faced, found

pytestmark = pytest.mark.anyio
NEWER = Space("faces-2", "people-2", "r1", "p1", "fp32", 3, "face")

side = st.floats(0, 1, width=32)
boxes = st.builds(
    lambda x, y, w, h: Face(x, y, x + w, y + h, 0.9),
    side,
    side,
    st.floats(0.01, 1),
    st.floats(0.01, 1),
)


@given(st.integers(0, 2**40), st.integers(0, MOST - 1))
def test_a_face_is_one_number_and_says_of_which_photo_it_is(content, n):
    assert parts_of(face_id(content, n)) == (content, n)


@given(
    st.lists(boxes, max_size=8), st.dictionaries(st.integers(0, 20), st.lists(boxes, max_size=2))
)
def test_no_two_faces_of_a_photo_have_one_number(some, known):
    numbers = number(some, {n: of for n, of in known.items() if of})
    assert len(set(numbers)) == len(numbers) == len(some)


@given(st.lists(boxes, max_size=8, unique_by=lambda box: (box.left, box.top)))
def test_faces_that_are_seen_again_keep_their_numbers(some):
    apart = [each for each in some if sum(iou(each, one) > 0.5 for one in some) == 1]
    known = {n + 3: [each] for n, each in enumerate(apart)}
    again = list(reversed(apart))
    assert number(again, known) == list(reversed(known))


def test_the_vector_of_a_face_is_found_by_its_number():
    value = joined([4, 9], [found(fill=1), found(fill=2)])
    assert vector_of(value, 9, 2) == struct.pack("<2f", 2, 2)
    assert vector_of(value, 5, 2) is None


async def looked_at(catalog: Catalog, *names: bytes):
    await catalog.index(*names)
    await catalog.writer.register_space(FACES, catalog.now)
    await catalog.writer.backfill("faces", 100, catalog.now)
    return sorted(await catalog.looks(), key=lambda task: task.content)


async def test_photos_that_came_before_and_after_the_model_are_looked_at(catalog: Catalog):
    (old,) = await looked_at(catalog, b"a.jpg")
    await catalog.index(b"b.jpg")
    (new,) = await catalog.looks()
    await catalog.settle(faced(old, found(0.1), found(0.6)), faced(new))
    assert await catalog.counts("face") == (0, 0, 2, 0)
    faces = await catalog.reader.faces([old.content, new.content])
    assert [each.id for each in faces[old.content]] == [face_id(old.content, n) for n in (0, 1)]
    assert new.content not in faces
    assert await catalog.fed("faces") == [("add", old.content), ("add", new.content)]
    assert await catalog.reader.miscounted() == []


async def test_a_result_that_comes_twice_counts_once(catalog: Catalog):
    (task,) = await looked_at(catalog, b"a.jpg")
    assert await catalog.settle(faced(task, found())) == [task.id]
    assert await catalog.settle(faced(task, found(), found(0.5))) == [task.id]
    assert len((await catalog.reader.faces([task.content]))[task.content]) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: found(space=NEWER),
        lambda: found(left=float("nan")),
        lambda: found(left=float("inf")),
    ],
)
async def test_a_face_that_is_none_costs_one_task_and_not_the_batch(catalog: Catalog, wrong):
    bad, good = await looked_at(catalog, b"a.jpg", b"b.jpg")
    await catalog.settle(faced(bad, wrong()), faced(good, found()))
    assert await catalog.counts("face") == (1, 0, 1, 0)
    assert list(await catalog.reader.faces([bad.content, good.content])) == [good.content]


async def test_another_model_finds_the_same_faces_under_the_same_numbers(catalog: Catalog):
    (task,) = await looked_at(catalog, b"a.jpg")
    await catalog.settle(faced(task, found(0.1), found(0.6)))
    await catalog.writer.use_space(NEWER, catalog.now)
    await catalog.writer.backfill("faces-2", 100, catalog.now)
    (again,) = await catalog.looks()
    there = [found(left, space=NEWER) for left in (0.62, 0.35, 0.09)]
    await catalog.settle(faced(again, *there, space=NEWER))
    assert await catalog.reader.serving("face") == ("faces", "people")
    await catalog.writer.backfill("faces-2", 100, catalog.now)
    assert await catalog.writer.switch_space("faces-2", catalog.now)
    faces = (await catalog.reader.faces([task.content]))[task.content]
    assert {round(each.left, 2): parts_of(each.id)[1] for each in faces} == {
        0.62: 1,
        0.35: 2,
        0.09: 0,
    }
    # … and going back finds what was there
    await catalog.writer.use_space(FACES, catalog.now)
    assert await catalog.looks() == []
    assert await catalog.reader.serving() == (
        "clip",
        "clip-b32",
    )


async def test_it_is_known_which_photos_have_how_many_faces_and_which_were_not_looked_at(
    catalog: Catalog,
):
    reader = catalog.reader
    await catalog.index(b"old.jpg")
    assert await reader.looking() is None
    none, one, two, later = (await looked_at(catalog, b"0.jpg", b"1.jpg", b"2.jpg", b"3.jpg"))[1:]
    await catalog.settle(faced(none), faced(one, found()), faced(two, found(0.1), found(0.5)))
    counts = {none.content: 0, one.content: 1, two.content: 2}
    assert await reader.face_counts([*counts, later.content, 99]) == counts
    assert await reader.with_faces(1, 9, (0, 0), 10) == [(1, one.content), (2, two.content)]
    assert await reader.with_faces(1, 9, (1, one.content), 10) == [(2, two.content)]
    assert await reader.with_faces(0, 0, (0, 0), 10) == [(0, none.content)]
    assert await reader.with_faces(0, 9, (0, 0), 2) == [(0, none.content), (1, one.content)]
    assert await reader.looking() == ("faces", "people", 2, 3, 2)
    await catalog.fail([later], "photo")  # given up: nobody will look at it
    looking = await reader.looking()
    assert looking is not None
    assert looking.unlooked == 1


async def test_what_lacks_its_look_is_found_and_looked_at_again(catalog: Catalog):
    (task,) = await looked_at(catalog, b"a.jpg")
    assert await catalog.reader.unembedded(0, 10, "face") == []
    await catalog.settle(faced(task, found()))
    assert await catalog.writer.backfill("faces", 100, catalog.now) == 0
    async with catalog.writer._transaction(catalog.now) as tx:
        await tx.connection.exec_driver_sql("DELETE FROM vectors WHERE faces IS NOT NULL")
    await catalog.writer.recount(catalog.now)
    assert await catalog.reader.unembedded(0, 10, "face") == [task.content]
    assert await catalog.reader.unembedded(0, 10) == []
    assert await catalog.writer.look_again("face", [task.content], catalog.now) == 1
    (again,) = await catalog.looks()
    await catalog.settle(faced(again, found(0.11)))
    (face,) = (await catalog.reader.faces([task.content]))[task.content]
    assert parts_of(face.id) == (task.content, 0)


async def test_a_photo_that_is_forgotten_takes_its_faces_along(catalog: Catalog):
    (task,) = await looked_at(catalog, b"a.jpg")
    await catalog.settle(faced(task, found()))
    assert await catalog.reader.face_vector(face_id(task.content, 0)) == (
        "faces",
        struct.pack("<2f", 1, 1),
    )
    await catalog.writer.forget(b"/photos/a.jpg", 10, catalog.now)
    assert await catalog.reader.faces([task.content]) == {}
    assert await catalog.reader.face_vector(face_id(task.content, 0)) is None
    assert await catalog.reader.miscounted() == []


async def test_a_lost_picture_is_made_again_and_then_looked_at(catalog: Catalog):
    (task,) = await looked_at(catalog, b"a.jpg")
    await catalog.settle(ThumbnailLost(task.id, task.content))
    assert await catalog.looks() == []
    (decode,) = await catalog.decodes()
    assert decode.spool == "lost"
    await catalog.settle(decoded(decode))
    assert [each.id for each in await catalog.looks()] == [task.id]
    assert await catalog.counts("embed") == (0, 0, 1, 0)


async def test_larger_pictures_are_left_only_where_faces_are_looked_for(catalog: Catalog):
    await catalog.see(b"a.jpg")
    (decode,) = await catalog.decodes()
    assert decode.spool == ""
    await catalog.writer.register_space(FACES, catalog.now)
    await catalog.see(b"b.jpg")
    (decode,) = await catalog.decodes()
    assert decode.spool == "new"


async def test_a_larger_picture_may_go_once_nobody_is_about_to_look_at_it(catalog: Catalog):
    (task,) = await looked_at(catalog, b"a.jpg")
    assert await catalog.reader.looked_through([task.digest]) == []
    await catalog.settle(faced(task))
    assert await catalog.reader.looked_through([task.digest]) == [task.digest]
    assert catalog.writer.take_looked_through() == [task.digest]
    assert catalog.writer.take_looked_through() == []


async def test_an_old_model_is_dropped_with_what_it_found(catalog: Catalog):
    (task,) = await looked_at(catalog, b"a.jpg")
    await catalog.settle(faced(task, found()))
    await catalog.writer.use_space(NEWER, catalog.now, at_once=True)
    assert await catalog.writer.drop_space("faces", 0, 10, catalog.now) == [task.content]
    await catalog.writer.use_space(FACES, catalog.now, at_once=True)
    assert await catalog.reader.faces([task.content]) == {}
    assert await catalog.reader.miscounted() == []


async def test_what_was_embedded_is_not_looked_at_for_it(catalog: Catalog):
    await catalog.writer.register_space(FACES, catalog.now)
    await catalog.see(b"a.jpg")
    await catalog.settle(*[decoded(task) for task in await catalog.decodes()])
    (look,) = await catalog.looks()
    (embed,) = await catalog.embeds()
    await catalog.settle(embedded(embed), faced(embed))
    assert await catalog.counts("embed") == (0, 0, 1, 0)
    assert await catalog.counts("face") == (0, 1, 0, 0)
    assert look.pack == "people"
