"""Two rankings as one."""

from hypothesis import given
from hypothesis import strategies as st

from actors.library.reads import Match
from actors.web.fusion import Fused, fused, told_best

rankings = st.lists(st.integers(1, 60), max_size=40, unique=True)
many = st.integers(1, 80)


@given(rankings, many)
def test_where_no_caption_has_the_words_the_vectors_stand_as_they_are(vectors, k):
    assert fused(vectors, [], k) == [Fused(each, "vector") for each in vectors[:k]]


@given(rankings, many)
def test_where_no_photo_has_a_vector_the_captions_stand_as_they_are(captions, k):
    assert fused([], captions, k) == [Fused(each, "caption") for each in captions[:k]]


@given(rankings, rankings, many)
def test_there_are_k_photos_where_there_are_so_many_and_each_once(vectors, captions, k):
    contents = [each.content for each in fused(vectors, captions, k)]
    assert len(contents) == min(k, len({*vectors, *captions}))
    assert len(set(contents)) == len(contents)


@given(rankings, rankings)
def test_the_reason_says_in_which_list_a_photo_was(vectors, captions):
    for content, reason in fused(vectors, captions, 100):
        assert (content in vectors, content in captions) == {
            "vector": (True, False),
            "caption": (False, True),
            "both": (True, True),
        }[reason]


@given(rankings, rankings)
def test_a_photo_of_both_lists_is_before_one_at_the_same_place_of_only_one(vectors, captions):
    contents = [each.content for each in fused(vectors, captions, 100)]
    for mine, other in ((vectors, captions), (captions, vectors)):
        for place, content in enumerate(mine):
            if content in other and place < len(other) and other[place] not in mine:
                assert contents.index(content) < contents.index(other[place])


@given(rankings, rankings)
def test_photos_of_one_list_alone_keep_their_order(vectors, captions):
    contents = [each.content for each in fused(vectors, captions, 100)]
    for mine, other in ((vectors, captions), (captions, vectors)):
        alone = [each for each in mine if each not in other]
        assert [each for each in contents if each in alone] == alone


@given(rankings, rankings, many)
def test_fewer_are_the_first_of_more(vectors, captions, k):
    assert fused(vectors, captions, k) == fused(vectors, captions, 100)[:k]


def test_what_comes_out_equal_stands_in_the_order_of_the_vectors():
    assert [each.content for each in fused([1, 2], [3, 4], 4)] == [1, 3, 2, 4]


def test_captions_that_are_equal_are_told_apart_by_their_pictures():
    matches = [Match(1, -2.0), Match(2, -3.0), Match(3, -2.0), Match(4, -2.0)]
    assert told_best(matches, {1: 0.1, 2: -0.5, 3: 0.4}) == [2, 3, 1, 4]
