"""Questions under way: each ends once, by its answer, its deadline or a death."""

from typing import Any

import anyio
import pytest

from runtime.pending import Pending, PendingStatistics

pytestmark = pytest.mark.anyio


async def test_an_answer_reaches_whoever_asked():
    pending: Pending[Any] = Pending()
    id_, question = pending.open("peer", 10.0)
    assert pending.close(id_) is question
    question.answer.resolve("yes")
    assert await question.answer.wait() == "yes"


async def test_an_error_is_raised_where_the_answer_is_awaited():
    pending: Pending[Any] = Pending()
    _, question = pending.open("peer", 10.0)
    question.answer.fail(ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        await question.answer.wait()


async def test_what_comes_second_is_ignored():
    pending: Pending[Any] = Pending()
    _, question = pending.open("peer", 10.0)
    question.answer.resolve(1)
    question.answer.resolve(2)
    question.answer.fail(ValueError("too late"))
    assert await question.answer.wait() == 1


async def test_a_question_given_up_may_still_be_answered_without_harm():
    pending: Pending[Any] = Pending()
    _, question = pending.open("peer", 10.0)
    with anyio.move_on_after(0.01):
        await question.answer.wait()
    question.answer.resolve(1)
    question.answer.fail(ValueError("too late"))


async def test_questions_run_out_at_their_deadlines():
    pending: Pending[Any] = Pending()
    _, early = pending.open("a", 1.0)
    _, late = pending.open("b", 1.1)
    assert pending.expire(0.99) == []
    assert pending.expire(1.0) == [early]
    assert pending.expire(2.0) == [late]
    assert pending.statistics() == PendingStatistics(open=0, highest=2, asked=2, expired=2)


async def test_an_answered_question_leaves_nothing_behind():
    pending: Pending[Any] = Pending()
    for _ in range(1000):
        id_, _ = pending.open("peer", 60.0)
        pending.close(id_)
        assert pending.close(id_) is None
    assert not len(pending)
    assert pending.expire(100.0) == []


async def test_a_death_ends_the_questions_to_the_dead_and_no_others():
    pending: Pending[Any] = Pending()
    _, dead = pending.open("dead", 10.0)
    _, alive = pending.open("alive", 10.0)
    assert pending.of("dead") == [dead]
    assert pending.close_all() == [alive]
