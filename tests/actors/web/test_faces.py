"""Faces at the edge: over HTTP, the websocket and ZeroMQ."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from actors.library.faces import face_id
from actors.messages import AskFaces, FacesLike, Search
from actors.web.crops import ENLARGED, SIDE, Box, cut, square
from runtime.errors import HandlerFailed
from tests.actors.web.stage import code_of, stage

pytestmark = pytest.mark.anyio
FIRST, SECOND = (0.4, 0.4, 0.6, 0.6), (0.0, 0.0, 0.2, 0.3)


@pytest.fixture
def anyio_backend():
    return "asyncio"


def looked(it):
    """Photo 1 with two faces, 2 with none, 3 with one, 4 not looked at."""
    it.library.add(4)
    it.library.look(1, FIRST, SECOND)
    it.library.look(2)
    it.library.look(3, FIRST)


async def contents(http, query):
    answer = (await http.get(f"/api/search?q=x&{query}")).json()
    return [hit["content"] for hit in answer["hits"]], answer["unlooked"]


async def test_photos_are_found_by_how_many_faces_they_have():
    async with stage(before=looked) as it, it.client() as http:
        assert await contents(http, "") == ([1, 2, 3, 4], 0)
        assert await contents(http, "has_faces=true") == ([1, 3], 1)
        assert await contents(http, "has_faces=false") == ([2], 1)
        assert await contents(http, "faces=2") == ([1], 1)
        assert await contents(http, "faces=9") == ([], 1)
        found = await it.ask(Search("x", has_faces=False))
        assert [(hit.content, hit.faces) for hit in found.hits] == [(2, 0)]
        found = await it.ask(Search("x"))
        assert [hit.faces for hit in found.hits] == [2, 0, 1, None]


@pytest.mark.parametrize("query", ["has_faces=yes", "faces=-1", "faces=9999", "faces=x"])
async def test_a_filter_that_says_nothing_is_refused(query):
    async with stage(before=looked) as it, it.client() as http:
        answer = await http.get(f"/api/search?q=x&{query}")
        assert (answer.status_code, code_of(answer)) == (400, "bad_request")


async def test_without_a_face_model_whatever_is_asked_of_faces_says_so():
    async with stage() as it:
        for question in (Search("x", faces=1), AskFaces(1), FacesLike(face_id(1, 0))):
            with pytest.raises(HandlerFailed, match="no model looks for faces in this library"):
                await it.ask(question)
        assert len((await it.ask(Search("x"))).hits) == 3


async def test_the_faces_of_a_photo_are_told_with_their_pictures():
    async with stage(before=looked) as it, it.client() as http:
        found = await it.ask(AskFaces(1))
        assert [face.id for face in found.faces] == [face_id(1, 0), face_id(1, 1)]
        assert (found.looked, found.model, found.faces[0].left) == (True, "people", 0.4)
        assert (await it.ask(AskFaces(2))).looked
        assert not (await it.ask(AskFaces(4))).looked
        answer = await http.get(found.faces[0].picture)
        assert answer.headers["content-type"] == "image/jpeg"
        assert "immutable" in answer.headers["cache-control"]
        assert Image.open(io.BytesIO(answer.content)).size == (218, 218)  # 1.7 × 64, doubled
        again = {"if-none-match": answer.headers["etag"]}
        assert (await http.get(found.faces[0].picture, headers=again)).status_code == 304
        without = (await http.get(f"/faces/{face_id(1, 0)}.jpg")).headers["cache-control"]
        assert "no-cache" in without


@pytest.mark.parametrize("face", [face_id(1, 7), face_id(2, 0), 0, 2**63, 2**80])
async def test_a_face_that_is_none_has_no_picture(face):
    async with stage(before=looked) as it, it.client() as http:
        answer = await http.get(f"/faces/{face}.jpg")
        assert (answer.status_code, code_of(answer)) == (404, "not_found")


async def test_faces_are_nobodys_without_the_token():
    async with stage(before=looked) as it, it.client(token=False) as http:
        assert (await http.get(f"/faces/{face_id(1, 0)}.jpg")).status_code == 401


async def test_faces_like_one_are_shown_as_photos_each_once_without_the_face_itself():
    async with stage(before=looked) as it:
        found = await it.ask(FacesLike(face_id(1, 0)))
        assert [(hit.content, hit.face.id) for hit in found.hits] == [
            (1, face_id(1, 1)),
            (3, face_id(3, 0)),
        ]
        assert (found.model, found.indexed, found.unlooked) == ("people", 3, 1)
        found = await it.ask(FacesLike(face_id(3, 0)))
        assert [(hit.content, hit.face.id) for hit in found.hits] == [(1, face_id(1, 0))]
        assert (await it.ask(FacesLike(face_id(3, 0), least=0.9))).hits == []


@pytest.mark.parametrize(
    ("face", "why"),
    [
        (face_id(1, 9), "there is no face"),
        (face_id(77, 0), "there is no face"),
        (-5, "there is no face -5"),
        (2**63 - 1, "there is no face"),
        (face_id(4, 0), "faces are still to be looked for in photo 4"),
    ],
)
async def test_a_face_that_is_unknown_is_refused_in_one_clear_line(face, why):
    async with stage(before=looked) as it:
        with pytest.raises(HandlerFailed, match=why):
            await it.ask(FacesLike(face))


part = st.floats(0, 1, width=32)


@given(st.tuples(part, part, part, part), st.integers(1, 1024), st.integers(1, 1024))
def test_what_is_cut_is_a_square_within_the_picture(sides, width, height):
    a, b, c, d = sides
    box = Box(min(a, b), min(c, d), max(a, b), max(c, d))
    left, top, right, bottom = square(box, width, height)
    assert left >= 0
    assert top >= 0
    assert right <= width + 1e-6
    assert bottom <= height + 1e-6
    assert right - left == pytest.approx(bottom - top)
    assert right - left > 0


@pytest.mark.parametrize(
    ("box", "side"),
    [((0.49, 0.49, 0.51, 0.51), 70), ((0.1, 0.1, 0.9, 0.9), SIDE), ((0, 0, 1, 1), SIDE)],
)
def test_a_face_is_never_enlarged_more_than_twice(box, side):
    out = io.BytesIO()
    Image.new("RGB", (1024, 1024), (10, 200, 30)).save(out, "JPEG")
    picture = Image.open(io.BytesIO(cut(out.getvalue(), Box(*box))))
    assert picture.size == (side, side)
    assert side <= SIDE
    assert side <= round(1024 * (box[2] - box[0]) * 1.7 * ENLARGED) + 1


def test_a_thumbnail_that_is_no_picture_is_refused():
    with pytest.raises(OSError, match="cannot identify"):
        cut(b"no picture", Box(0, 0, 1, 1))
