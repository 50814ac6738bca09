"""Rates, totals and times that are left: what is shown is true.  Nobody waits here."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.messages import (
    CatalogStatus,
    ClassStatus,
    IndexStatus,
    QueueStatus,
    SchedulerStatus,
    SpaceState,
    Totals,
)
from actors.progress import LEAST_S, WINDOW_S, Course, Meter, Pace, Stage, pace


def catalog(decoded, embedded, *, to_decode=0, to_embed=0, **more):
    given = {"scanning": False, "scanned": True, "paused": False} | more
    return CatalogStatus(
        queues=[
            QueueStatus("decode", to_decode, 0, decoded, 0),
            QueueStatus("embed", to_embed, 0, embedded, 0),
        ],
        scan_error="",
        feed_seq=embedded,
        decodes=decoded,
        embeds=embedded,
        settled=False,
        **given,
    )


def index(vectors, seq=None):
    return IndexStatus("space", vectors, vectors if seq is None else seq)


def totals(files):
    return Totals(files, 0, 0, 0, 0, files)


@pytest.fixture
def course():
    return Course()


@pytest.fixture
def step(course):
    """One status after the other → what the page shows."""
    return lambda status, now: pace(course.step(status, None, None, now))


# ── rates ──


def test_one_sample_is_no_rate(step):
    assert step(catalog(100, 100), 0) == Pace()


def test_a_short_span_is_no_rate(step):
    step(catalog(0, 0), 0)
    assert step(catalog(50, 50), LEAST_S / 2) == Pace()


def test_a_steady_pace_is_told_with_the_time_that_is_left(step):
    step(catalog(0, 0, to_decode=100), 0)
    now = step(catalog(20, 10, to_decode=80, to_embed=10), 2)
    assert now == Pace(decode=10.0, embed=5.0, eta_seconds=18)  # 90 still to embed


def test_what_earlier_runs_did_is_no_pace(step):
    step(catalog(100_000, 100_000), 0)
    assert step(catalog(100_010, 100_000), 2) == Pace(5.0, 0.0)


def test_a_stage_that_stands_still_has_no_eta(step):
    step(catalog(0, 0, to_decode=100), 0)
    now = step(catalog(20, 0, to_decode=80, to_embed=20), 2)
    assert now == Pace(decode=10.0, embed=0.0, eta_seconds=None)


def test_only_the_window_counts(step):
    step(catalog(0, 0), 0)
    step(catalog(1000, 1000), WINDOW_S)
    assert step(catalog(1000, 1000), WINDOW_S * 2).decode == 0.0


def test_who_looks_rarely_sees_the_rate_since_the_last_look(step):
    step(catalog(0, 0), 0)
    assert step(catalog(600, 600), 60).decode == 10.0
    assert step(catalog(1800, 1800), 120).decode == 20.0


def test_a_photo_that_is_to_be_read_again_is_no_negative_pace(step):
    step(catalog(100, 100), 0)
    step(catalog(99, 99, to_decode=1), 2)
    assert step(catalog(109, 99), 4).decode == 2.5


def test_a_catalog_that_is_away_has_no_pace_and_no_past(step):
    step(catalog(0, 0), 0)
    assert step(None, 1) == Pace()
    assert step(catalog(90, 90), 2) == Pace()


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(0, 1000)), max_size=60))
def test_a_rate_is_never_negative_and_never_above_what_was_gained(steps):
    meter, now, last, gained = Meter(), 0.0, None, 0
    for after, count in steps:
        now += after
        gained += max(0, count - (count if last is None else last))
        last = count
        rate = meter.step(count, now)
        assert rate is None or 0 <= rate <= gained / LEAST_S + 0.05
        assert all(at > now - WINDOW_S for at, _ in list(meter._samples)[2:])


# ── stages ──


def test_the_stages_follow_the_way_of_a_photo(course):
    status = catalog(40, 30, to_decode=60, to_embed=8)
    assert course.step(status, index(25), totals(120), 0) == [
        Stage("found", 120, 0, "all"),
        Stage("decode", 40, 60, "all"),
        Stage("embed", 30, 68, "about"),
        Stage("searchable", 25, 73, "about"),
    ]


def test_when_everything_is_done_the_totals_are_exact(course):
    stages = course.step(catalog(100, 90), index(90), totals(120), 0)
    assert [(each.done, each.total, each.known) for each in stages] == [
        (120, 120, "all"),
        (100, 100, "all"),
        (90, 90, "all"),
        (90, 90, "all"),
    ]


@pytest.mark.parametrize("walking", [{"scanning": True}, {"scanned": False}])
def test_while_folders_are_walked_totals_are_lower_bounds_and_there_is_no_eta(course, walking):
    course.step(catalog(0, 0, to_decode=100, **walking), index(0), totals(100), 0)
    status = catalog(20, 10, to_decode=180, to_embed=10, **walking)
    stages = course.step(status, index(10), totals(200), 2)
    assert {each.known for each in stages} == {"at least"}
    assert {each.eta_seconds for each in stages} == {None}
    assert [each.rate for each in stages] == [50.0, 10.0, 5.0, 5.0]
    assert stages[2].total == 20  # of those to be decoded any may be a duplicate
    assert pace(stages).eta_seconds is None


def test_a_paused_library_promises_nothing(course):
    course.step(catalog(0, 0, to_decode=100), None, None, 0)
    stages = course.step(catalog(20, 20, to_decode=80, paused=True), None, None, 2)
    assert [each.eta_seconds for each in stages] == [None, None]


def test_an_index_that_lags_behind_the_feed_is_not_done(course):
    (*_, searchable) = course.step(catalog(10, 10), index(6, seq=6), None, 0)
    assert searchable == Stage("searchable", 6, 4, "about")


def test_nothing_left_is_no_eta(course):
    course.step(catalog(0, 0), index(0), None, 0)
    stages = course.step(catalog(20, 20), index(20), None, 2)
    assert [each.eta_seconds for each in stages] == [None, None, None]


def test_whoever_is_away_is_missing_from_the_stages(course):
    assert [each.name for each in course.step(catalog(1, 1), None, None, 0)] == ["decode", "embed"]
    assert course.step(None, index(3), totals(3), 1) == []


# ── faces and captions ──

BOTH = pytest.mark.parametrize(("name", "kind"), [("faces", "face"), ("captions", "caption")])


def looking(kind, ready, done, **more):
    status = catalog(done, done, **more)
    space = SpaceState("theirs", "people", "r", "fp32", "active", done, kind=kind)
    queues = [*status.queues, QueueStatus(kind, ready, 0, done, 0)]
    return msgspec.structs.replace(status, spaces=[space], queues=queues)


def scheduling(kind, reason):
    return SchedulerStatus([ClassStatus(kind, 0, 0, not reason, reason)], 0, 0.0)


def test_where_no_model_does_it_there_is_no_such_stage(course):
    stages = course.step(catalog(1, 1), None, None, 0)
    assert not {"faces", "captions"} & {each.name for each in stages}
    assert (pace(stages).faces_left, pace(stages).captions_left) == (0, 0)


@BOTH
def test_it_has_a_rate_and_a_time_that_is_left(course, name, kind):
    course.step(looking(kind, 100, 0), None, None, 0)
    stages = course.step(looking(kind, 80, 20), None, None, 2)
    stage = stages[-1]
    assert (stage.name, stage.done, stage.left) == (name, 20, 80)
    assert (stage.rate, stage.eta_seconds, stage.known) == (10.0, 8, "all")
    now = msgspec.structs.asdict(pace(stages))
    assert (now[name], now[f"{name}_left"], now[f"{name}_eta_seconds"]) == (10.0, 80, 8)


@BOTH
def test_while_it_waits_the_reason_is_told_and_no_time(course, name, kind):
    why = scheduling(kind, "embeddings first")
    course.step(looking(kind, 100, 0), None, None, 0, why)
    stages = course.step(looking(kind, 80, 20), None, None, 2, why)
    assert (stages[-1].waits, stages[-1].eta_seconds) == ("embeddings first", None)
    assert getattr(pace(stages), f"{name}_wait") == "embeddings first"
    done = course.step(looking(kind, 0, 100), None, None, 3, why)
    assert done[-1].waits == ""


@BOTH
def test_what_is_still_to_be_decoded_is_looked_at_after(course, name, kind):
    stage = course.step(looking(kind, 5, 1, to_decode=7), None, None, 0)[-1]
    assert (stage.name, stage.left, stage.known) == (name, 12, "about")
