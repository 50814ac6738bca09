"""The filter of faces against a plain look at everything."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.library.faces import MOST
from actors.messages import Neighbours
from actors.web import narrowing
from actors.web.errors import Refusal
from actors.web.narrowing import FaceFilter, face_filter, narrowed


class World:
    """Photos with scores, and how many faces they have; None where nobody looked."""

    def __init__(self, photos):
        self.photos = photos  # content → (score, faces)
        self.asked = []

    def _best(self, some):
        return sorted(some, key=lambda each: (-self.photos[each][0], each))

    async def nearest(self, k, among):
        chosen = self.photos
        if among:
            chosen = set(struct.unpack(f"<{len(among) // 8}q", among)) & self.photos.keys()
        self.asked.append((k, len(among) // 8))
        best = self._best(chosen)[:k]
        return Neighbours([best], [[self.photos[each][0] for each in best]], 7)

    async def face_counts(self, contents):
        return {each: n for each in contents if (n := self.photos[each][1]) is not None}

    async def with_faces(self, least, most, after, limit):
        rows = sorted((n, each) for each, (_, n) in self.photos.items() if n is not None)
        return [row for row in rows if least <= row[0] <= most and row > after][:limit]

    def plainly(self, wanted, k):
        fits = [each for each, (_, n) in self.photos.items() if wanted.passes(n)]
        return self._best(fits)[:k]


photos = st.dictionaries(
    st.integers(1, 300),
    st.tuples(st.integers(0, 5), st.none() | st.integers(0, 4)),
    max_size=60,
)


def run(steps):
    """An answer of neighbours that never wait."""
    try:
        steps.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waited")


@pytest.mark.parametrize(("few", "widest"), [(1, 4096), (1, 8), (5, 16), (4096, 4096)])
@given(
    photos=photos,
    bounds=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    k=st.integers(1, 20),
)
def test_there_are_k_hits_where_there_are_k_such_photos(few, widest, photos, bounds, k):
    world, wanted = World(photos), FaceFilter(min(bounds), max(bounds))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(narrowing, "FEW", few)
        patch.setattr(narrowing, "WIDEST", widest)
        patch.setattr(narrowing, "PART", 7)
        found = run(narrowed(world.nearest, world, wanted, k))
    assert found.contents[0] == world.plainly(wanted, k)
    assert found.scores[0] == [photos[each][0] for each in found.contents[0]]


def test_a_few_such_photos_among_many_are_named_and_nothing_else_is_asked():
    world = World({each: (each, 5 if each in {3, 9} else 0) for each in range(1, 10_000)})
    assert run(narrowed(world.nearest, world, FaceFilter(1, MOST), 20)).contents == [[9, 3]]
    assert world.asked == [(20, 2)]


def test_a_filter_that_most_photos_pass_is_answered_from_the_nearest():
    world = World({each: (each, 1) for each in range(1, 10_000)})
    assert len(run(narrowed(world.nearest, world, FaceFilter(1, MOST), 20)).contents[0]) == 20
    assert world.asked == [(160, 0)]


@pytest.mark.parametrize(
    ("has_faces", "faces", "filter_"),
    [
        (None, 0, None),
        (True, 0, (1, MOST)),
        (True, 3, (3, MOST)),
        (None, 2, (2, MOST)),
        (False, 0, (0, 0)),
    ],
)
def test_what_a_search_may_ask_of_faces(has_faces, faces, filter_):
    assert face_filter(has_faces=has_faces, faces=faces) == filter_


@pytest.mark.parametrize(("has_faces", "faces"), [(False, 1), (None, -1), (None, MOST + 1)])
def test_what_no_photo_can_have_is_refused(has_faces, faces):
    with pytest.raises(Refusal):
        face_filter(has_faces=has_faces, faces=faces)


def test_a_photo_that_nobody_looked_at_is_neither_with_nor_without():
    assert not FaceFilter(0, 0).passes(None)
    assert not FaceFilter(1, MOST).passes(None)
