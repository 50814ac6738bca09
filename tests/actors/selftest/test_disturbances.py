"""What a seed says: everything once, then on and on, the same each time."""

import itertools
from pathlib import Path
from random import Random
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from actors.messages import Class
from actors.selftest.disturbances import (
    HANGS,
    PAUSE_S,
    POINTS,
    SORE,
    TICK,
    Kind,
    following,
    opening,
)
from runtime.faults import ACTS

ROOT = Path(__file__).resolve().parents[3]
NAMES = ("catalog", "index", "scheduler", "embed", "ingest", "decode.0", "text", "gateway")
seeds = st.integers(0, 2**32 - 1)


def drawn(seed, number=200):
    rng = Random(seed)
    return [*opening(rng, NAMES), *itertools.islice(following(rng, NAMES), number)]


@given(seeds)
def test_each_kind_but_the_orderly_stop_comes_once_at_the_beginning(seed):
    kinds = [each.kind for each in opening(Random(seed), NAMES)]
    assert sorted(kinds) == sorted(set(Kind) - {Kind.STOP})


@given(seeds)
def test_what_hangs_at_the_beginning_is_left_alone_meanwhile(seed):
    first = opening(Random(seed), NAMES)
    begin = next(number for number, each in enumerate(first) if each.kind.hang)
    hanging = [each.victim for each in first if each.kind.hang]
    assert len(set(hanging)) == len(HANGS)
    for each in first[begin + len(HANGS) :]:
        assert each.victim not in hanging
        assert not each.kind.of_all


@given(seeds)
def test_the_same_seed_says_the_same(seed):
    assert drawn(seed) == drawn(seed)


def test_in_the_long_run_every_kind_strikes_everybody():
    seen = {(each.kind, each.victim) for each in drawn(1, 4000)}
    for kind in Kind:
        victims = {victim for each, victim in seen if each is kind}
        assert victims == ({""} if kind.of_all or kind is Kind.PAUSE else set(NAMES)), kind


@given(seeds)
def test_acts_are_those_there_are_and_pauses_are_short(seed):
    for each in drawn(seed):
        assert not each.act or each.act.partition(":")[0] in ACTS
        assert PAUSE_S[0] <= each.after_s <= PAUSE_S[1]
        # an exception in a message is answered, and ingest gets none
        assert each.point == TICK or (each.act != "raise" and each.victim != "ingest")


def test_every_sore_point_is_one_that_somebody_passes():
    """A point that was renamed would be waited for in vain."""
    code = "".join(each.read_text() for each in ROOT.glob("[ar]*/**/*.py"))
    for kind in get_args(Class):
        code += code.replace('f"{self.kind}.', f'"{kind}.')
    for point in {*POINTS, *(point for points in SORE.values() for point in points)}:
        assert f'fault("{point}")' in code, point


def test_a_disturbance_tells_what_happens():
    told = {str(each) for each in drawn(3, 2000)}
    assert "text is killed" in told
    assert "index spins with the GIL" in told
    assert "catalog dies by kill at actor.handled" in told
    assert "decode.0 dies by exit:1 at decode.begun" in told
    assert "the system is stopped in order" in told
