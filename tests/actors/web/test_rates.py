from hypothesis import given
from hypothesis import strategies as st

from actors.messages import CatalogStatus, QueueStatus
from actors.web.rates import LEAST_S, WINDOW_S, Pace, Rates


def status(decodes, embeds, *, ready=0, to_embed=0, scanning=False):
    return CatalogStatus(
        queues=[
            QueueStatus("decode", ready, 0, decodes, 0),
            QueueStatus("embed", to_embed, 0, embeds, 0),
        ],
        scanning=scanning,
        scanned=not scanning,
        scan_error="",
        feed_seq=0,
        decodes=decodes,
        embeds=embeds,
        settled=False,
    )


def test_one_sample_is_no_rate():
    assert Rates().step(status(100, 100), 0) == Pace()


def test_a_short_span_is_no_rate():
    rates = Rates()
    rates.step(status(0, 0), 0)
    assert rates.step(status(50, 50), LEAST_S / 2) == Pace()


def test_a_steady_pace_is_told_with_the_time_that_is_left():
    rates = Rates()
    rates.step(status(0, 0, ready=100), 0)
    pace = rates.step(status(20, 10, ready=80, to_embed=10), 2)
    assert pace == Pace(decode=10.0, embed=5.0, eta_seconds=18)  # 90 still to embed


def test_nothing_left_is_no_eta():
    rates = Rates()
    rates.step(status(0, 0), 0)
    assert rates.step(status(20, 20), 2).eta_seconds is None


def test_a_stage_that_stands_still_has_no_eta():
    rates = Rates()
    rates.step(status(0, 0, ready=100), 0)
    pace = rates.step(status(20, 0, ready=80, to_embed=20), 2)
    assert (pace.decode, pace.embed, pace.eta_seconds) == (10.0, 0.0, None)


def test_while_folders_are_walked_nobody_knows_how_long_it_takes():
    rates = Rates()
    rates.step(status(0, 0, ready=100, scanning=True), 0)
    assert rates.step(status(20, 20, ready=80, scanning=True), 2).eta_seconds is None


def test_a_restarted_catalog_counts_anew():
    rates = Rates()
    rates.step(status(500, 500), 0)
    assert rates.step(status(3, 3), 5) == Pace()
    assert rates.step(status(23, 23), 7).decode == 10.0


def test_a_catalog_that_is_away_has_no_pace_and_no_past():
    rates = Rates()
    rates.step(status(0, 0), 0)
    assert rates.step(None, 1) == Pace()
    assert rates.step(status(90, 90), 2) == Pace()


def test_only_the_window_counts():
    rates = Rates()
    rates.step(status(0, 0), 0)
    rates.step(status(1000, 1000), WINDOW_S)
    assert rates.step(status(1000, 1000), WINDOW_S * 2).decode == 0.0


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 1000), st.integers(0, 1000))))
def test_rates_are_never_negative_and_the_memory_is_bounded(steps):
    rates, now = Rates(), 0.0
    for after, decodes, embeds in steps:
        now += after
        pace = rates.step(status(decodes, embeds, ready=5), now)
        assert (pace.decode or 0) >= 0
        assert (pace.embed or 0) >= 0
        assert rates._samples[0].at >= now - WINDOW_S
