"""Several captions side by side, as the reference searches."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.captions.beam import BeamSearch, best
from models.captions.greedy import Greedy
from tests.models.captions.tables import STOP, Table, rules, tell

NEVER = -1e9


def reference(table, picture, told, beams):
    """The search of transformers' `generate` in its own terms, for one picture.

    All beams are there from the start, the first alone with a chance; finished captions and
    running ones are two lists of fixed length; what must not win has a large negative score.
    """
    ids = len(table.logits(picture, ()))
    running: list[tuple[tuple[int, ...], float]]
    running = [((), 0.0 if beam == 0 else NEVER) for beam in range(beams)]
    finished: list[tuple[tuple[int, ...], float, bool]] = [((), NEVER, False)] * beams
    possible = True
    for length in range(1, told.longest + 1):
        rows = []
        for written, total in running:
            row = table.logits(picture, written).astype(np.float64)
            row -= np.log(np.exp(row).sum())
            told.forbid(row, written)
            rows.append(row + total)
        flat = np.concatenate(rows)
        top = np.argsort(-flat, kind="stable")[: 2 * beams]
        found = [((*running[i // ids][0], int(i % ids)), float(flat[i])) for i in top]
        ends = [each[0][-1] == told.stop or length == told.longest for each in found]
        after = [
            (written, total + NEVER * end)
            for (written, total), end in zip(found, ends, strict=True)
        ]
        running = sorted(after, key=lambda each: -each[1])[:beams]
        new = [
            (written, total / length + NEVER * (not possible) + NEVER * (not counts), counts)
            for rank, ((written, total), end) in enumerate(zip(found, ends, strict=True))
            for counts in [end and rank < beams]
        ]
        finished = sorted(finished + new, key=lambda each: -each[1])[:beams]
        worst = [min(each[1] for each in finished) if each[2] else NEVER for each in finished]
        possible = possible and any(running[0][1] / length > each for each in worst)
        if not possible or all(ends):
            break
    written, score, _ = finished[0]
    return tuple(each for each in written if each != told.stop), score


@settings(max_examples=150)
@given(
    seed=st.integers(0, 10_000),
    pictures=st.lists(st.integers(0, 90), min_size=1, max_size=4),
    beams=st.integers(2, 4),
    longest=st.integers(1, 9),
    shortest=st.integers(0, 4),
    no_repeat=st.sampled_from([0, 0, 2, 3]),
    eager=st.sampled_from([0.0, 1.5, 4.0]),
)
def test_the_search_finds_what_the_reference_finds(
    *, seed, pictures, beams, longest, shortest, no_repeat, eager
):
    table = Table(seed, ids=9, eager=eager)
    limits = rules(longest=longest, shortest=min(shortest, longest - 1), no_repeat=no_repeat)
    told = tell(BeamSearch(len(pictures), limits, beams=beams), table, pictures)
    for picture, each in zip(pictures, told, strict=True):
        ids, score = reference(table, picture, limits, beams)
        assert each.ids == ids
        assert each.score == pytest.approx(score, abs=1e-9)


@given(seed=st.integers(0, 10_000), longest=st.integers(1, 8))
def test_one_beam_is_greedy(seed, longest):
    table, limits = Table(seed, eager=1.5), rules(longest=longest)
    beam = tell(BeamSearch(2, limits, beams=1), table, [5, 50])
    greedy = tell(Greedy(2, limits), table, [5, 50])
    # A single beam may go on behind its stop, for something better; it never finds worse.
    assert all(one.score >= other.score - 1e-9 for one, other in zip(beam, greedy, strict=True))


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), spoil=st.dictionaries(st.integers(0, 2), st.integers(0, 3)))
def test_a_row_that_is_no_number_is_given_up_alone(seed, spoil):
    pictures, table, limits = [3, 14, 92], Table(seed, ids=9), rules(shortest=7)
    told = tell(BeamSearch(3, limits, beams=3), table, pictures, spoil)
    for row, each in enumerate(told):
        if row in spoil:
            assert each is None
        else:
            assert each.ids == reference(table, pictures[row], limits, 3)[0]


def test_padding_rows_leave_after_the_first_step():
    search = BeamSearch(3, rules(), beams=2, real=1)
    step = search.step(np.stack([Table(1).logits(row, ()) for row in range(3)]))
    assert set(step.pictures.tolist()) == {0}
    assert search.written(0) == (step.ids[0],)


@pytest.mark.parametrize("ids", [4, 5])
def test_a_vocabulary_smaller_than_the_search_is_no_matter(ids):
    table = Table(11, ids=ids)
    told = tell(BeamSearch(1, rules(longest=4), beams=4), table, [7])
    assert told[0].ids == reference(table, 7, rules(longest=4), 4)[0]


def test_the_best_are_in_order_and_of_equals_the_first():
    scores = np.array([1.0, 3, -np.inf, 3, 2, 3, 0])
    assert best(scores, 2).tolist() == [1, 3]
    assert best(scores, 4).tolist() == [1, 3, 5, 4]
    assert best(scores, 9).tolist() == [1, 3, 5, 4, 0, 6]


def test_a_caption_that_ends_does_not_count_its_end_as_a_word():
    logits = np.full((1, 7), -9, np.float32)
    logits[0, STOP] = 9
    search = BeamSearch(1, rules(longest=1), beams=2)
    assert search.step(logits).over
    (told,) = search.told()
    assert told is not None
    assert told.ids == search.written(0) == ()
