"""Captions and their specs: the words, reading them back, and counting what is wrong."""

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.sketch.captions import canonical, paraphrase
from models.sketch.drawing import draw, draw_marked
from models.sketch.pen import PAPER
from models.sketch.render import choose_specs
from models.sketch.spec import random_spec
from models.sketch.telling.measure import measure_captions
from models.sketch.telling.middles import GRID, middles
from models.sketch.telling.reading import read_back
from models.sketch.telling.words import LONGEST, STOP, WORDS, ids_of, text_of, tokenizer

seeds = st.integers(0, 2**32)


@given(seeds)
def test_a_canonical_caption_is_read_back_as_its_spec(seed):
    spec = random_spec(Random(seed))
    assert read_back(canonical(spec)) == spec


@pytest.mark.parametrize(
    "text",
    [
        "",
        "zebra",
        "one red",
        "red one small circle on a plain green background",
        "one small red circle on a plain green background at sunset",
        "two small red circle on a plain green background",
        "one small red circle on a plain green background and",
        "a small red circle above on a plain green background",
    ],
)
def test_what_the_grammar_would_not_say_is_read_as_nothing(text):
    assert read_back(text) is None


@given(seeds)
def test_other_words_for_a_drawing_are_no_canonical_caption(seed):
    rng = Random(seed)
    spec = random_spec(rng)
    text = paraphrase(rng, spec).text
    assert read_back(text) in {None, spec}


@given(st.lists(st.sampled_from(WORDS[3:]), max_size=16))
def test_no_order_of_words_breaks_reading(words):
    text = " ".join(words)
    spec = read_back(text)
    assert spec is None or canonical(spec) == text


def test_every_word_of_the_grammar_has_an_id():
    captions = [canonical(spec) for spec in choose_specs(3000, 4)]
    assert {word for caption in captions for word in caption.split()} == set(WORDS[3:])
    assert max(len(ids_of(caption)) for caption in captions) <= LONGEST


@given(seeds)
def test_ids_become_the_words_they_came_from(seed):
    caption = canonical(random_spec(Random(seed)))
    ids = ids_of(caption)
    assert ids[-1] == STOP
    assert text_of(ids) == text_of([*ids, 5, 6, 7]) == caption
    assert tokenizer().encode(caption).ids == ids[:-1]
    assert tokenizer().decode(ids) == caption


def test_captions_are_counted_right_and_their_mistakes_by_column():
    right = [
        "one small red circle on a plain green background",
        "two red cars on the beach",
        "an empty scene at sunset",
        "one blue tent in the snow",
    ]
    told = [
        "one small red circle on a plain green background",
        "three red houses on the beach",
        "an empty scene in the desert",
        "blue one tent",
    ]
    figures = measure_captions(told, right)
    assert figures.caption_exact == 0.25
    assert figures.wrong == {"count": 1, "noun": 1, "scene": 1}
    assert figures.unreadable == 1
    assert str(figures).startswith("exact 0.250 of 4, wrong: ")


def test_figures_of_nothing_are_not_a_number():
    figures = measure_captions([], [])
    assert figures.caption_exact != figures.caption_exact


def test_a_caption_to_compare_with_must_be_canonical():
    with pytest.raises(ValueError, match="'a zebra'"):
        measure_captions(["a zebra"], ["a zebra"])


@given(seeds)
def test_a_drawing_notes_each_shape_once_where_it_stands(seed):
    spec = random_spec(Random(seed))
    picture, marks = draw_marked(spec, Random(seed), 64, fineness=1)
    assert picture.tobytes() == draw(spec, Random(seed), 64, fineness=1).tobytes()
    halves = [(spec.noun, spec.colour)] * spec.count + [(spec.noun2, spec.colour2)] * spec.count2
    assert sorted((mark.noun, mark.colour) for mark in marks) == sorted(halves)
    assert all(0 < mark.x < PAPER > mark.y > 0 for mark in marks)


def test_what_stands_at_a_place_is_asked_where_a_moved_picture_shows_it():
    marks = np.zeros((3, 5, 4), np.float32)
    marks[0, 0] = (7, 3, 20, 36)  # units of 128
    marks[1, :2] = [(1, 2, 127, 127), (4, 5, 2, 2)]
    marks[2, :2] = [(1, 2, 64, 64), (4, 5, 65, 66)]  # the second is drawn over the first
    moves = np.array([[0, 3], [3, -3], [0, 0]])  # pixels of 64, down and to the right
    nouns, colours = (field.reshape(3, GRID, GRID) for field in middles(marks, moves))
    assert nouns.shape == (3, GRID, GRID)
    assert np.argwhere(nouns[0]).tolist() == [[2, 1]]
    assert (nouns[0, 2, 1], colours[0, 2, 1]) == (7, 3)
    assert np.argwhere(nouns[1]).tolist() == [[0, 0], [7, 7]]
    assert np.argwhere(nouns[2]).tolist() == [[4, 4]]
    assert (nouns[2, 4, 4], colours[2, 4, 4]) == (4, 5)
