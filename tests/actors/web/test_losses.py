"""The catalog hears of a lost thumbnail soon, once, and of few at a time."""

from actors.web.losses import AGAIN_S, MOST, REMEMBERED, Losses


def test_a_loss_is_told_once_however_often_it_is_noticed():
    losses = Losses()
    losses.note(7)
    losses.note(7)
    assert losses.take(0) == [7]
    losses.note(7)
    assert losses.take(1) == []


def test_it_is_told_again_after_a_while():
    losses = Losses()
    losses.note(7)
    losses.take(0)
    losses.note(7)
    assert losses.take(AGAIN_S) == [7]


def test_a_page_full_of_them_comes_in_portions():
    losses = Losses()
    for content in range(MOST + 3):
        losses.note(content)
    assert len(losses.take(0)) == MOST
    assert losses.take(1) == [MOST, MOST + 1, MOST + 2]
    assert losses.take(2) == []


def test_memory_is_bounded():
    losses = Losses()
    for content in range(2 * REMEMBERED):
        losses.note(content)
    now = 0.0
    while losses.take(now):
        now += 0.001
    assert len(losses._new) == 0
    assert len(losses._told) <= REMEMBERED
