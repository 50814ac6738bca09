"""Captions and their specs: the words, reading them back, and counting what is wrong."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.sketch.captions import canonical, paraphrase
from models.sketch.render import choose_specs
from models.sketch.spec import random_spec
from models.sketch.telling.measure import measure_captions
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
