"""Who works on what, and what a failure costs."""

import pytest

from actors.library import queue
from actors.library.backoff import HOST_AWAY_NS, wait_ns
from actors.library.queue import ATTEMPTS, CRASHES, LOST, REMAKE_NS, REMAKES, UNCLEAN_STOP
from actors.messages import EmbedTask, Failed, ThumbnailLost
from tests.actors.library.catalogs import SECOND, Catalog, decoded, embedded

pytestmark = pytest.mark.anyio


async def crash(catalog: Catalog, times: int, owner: str = "decode.0") -> None:
    for _ in range(times):
        tasks = await catalog.decodes(owner=owner)
        await catalog.writer.charge(
            [task.id for task in tasks], "signal 11", "Segmentation fault", catalog.now
        )


# ── leases ──────────────────────────────────────────────────────────────────────────────────


async def test_there_is_nothing_to_lease_in_an_empty_catalog(catalog: Catalog):
    assert await catalog.decodes() == []
    assert await catalog.embeds() == []


async def test_nobody_gets_more_than_it_asked_for(catalog: Catalog):
    await catalog.see(*[b"%d" % i for i in range(10)])
    assert len(await catalog.decodes(n=3)) == 3
    assert await catalog.decodes(n=0) == []
    assert await catalog.counts("decode") == (7, 3, 0, 0)


async def test_a_leased_task_is_not_leased_again(catalog: Catalog):
    await catalog.see(b"a", b"b", b"c")
    ids = [task.id for n in (2, 2, 2) for task in await catalog.decodes(n=n)]
    assert ids == [1, 2, 3]


async def test_watched_folders_come_first(catalog: Catalog):
    await catalog.see(b"old")
    await catalog.see(b"urgent", priority=5)
    await catalog.see(b"newer")
    assert [task.path for task in await catalog.decodes()] == [
        b"/photos/urgent",
        b"/photos/old",
        b"/photos/newer",
    ]


async def test_an_embed_task_inherits_the_urgency_of_its_file(catalog: Catalog):
    await catalog.see(b"old")
    await catalog.see(b"urgent", priority=5)
    tasks = await catalog.decodes()
    await catalog.settle(*[decoded(task) for task in reversed(tasks)])
    urgent, old = await catalog.embeds()
    assert urgent.digest == decoded(tasks[0]).digest
    assert old.digest == decoded(tasks[1]).digest


async def test_suspects_come_after_ordinary_work_however_urgent(catalog: Catalog):
    await catalog.see(b"poison", priority=9)
    await crash(catalog, 1)
    await catalog.see(b"fine")
    tasks = await catalog.decodes()
    assert [(task.path, task.suspect) for task in tasks] == [
        (b"/photos/fine", False),
        (b"/photos/poison", True),
    ]


async def test_an_embed_task_says_what_the_worker_has_to_know(catalog: Catalog):
    await catalog.see(b"a.jpg")
    (task,) = await catalog.decodes()
    await catalog.settle(decoded(task))
    (embed,) = await catalog.embeds()
    assert (embed.content, embed.digest, embed.width, embed.height, embed.suspect) == (
        1,
        decoded(task).digest,
        40,
        30,
        False,
    )


async def test_what_a_dead_incarnation_held_goes_back_uncharged(catalog: Catalog):
    await catalog.see(b"a", b"b", b"c", b"d")
    for owner, epoch in (("decode.0", 1), ("decode.0", 2), ("decode.0", 3), ("decode.1", 1)):
        await catalog.writer.lease("decode", 1, owner, epoch, catalog.now)
    assert await catalog.writer.give_back("decode.0", 2, catalog.now) == 2
    assert await catalog.writer.give_back("decode.0", 2, catalog.now) == 0
    assert await catalog.counts("decode") == (2, 2, 0, 0)
    assert [(task.id, task.suspect) for task in await catalog.decodes()] == [
        (1, False),
        (2, False),
    ]


async def test_what_was_lost_on_the_way_to_its_owner_goes_back(catalog: Catalog):
    await catalog.see(b"a", b"b", b"c", b"d")
    lost, kept = await catalog.decodes(n=2, owner="decode.0")
    (others,) = await catalog.decodes(n=1, owner="decode.1")
    ids = [lost.id, others.id, 4, 999]
    assert await catalog.writer.give_back_some(ids, "decode.0", catalog.now) == 1
    assert await catalog.counts("decode") == (2, 2, 0, 0)
    assert [task.id for task in await catalog.decodes()] == [lost.id, 4]
    assert kept.id not in (lost.id, 4)


async def test_only_unsettled_tasks_can_be_executing(catalog: Catalog):
    await catalog.see(b"a", b"b")
    first, second = await catalog.decodes()
    await catalog.settle(decoded(first))
    ids = [first.id, second.id, 999]
    assert await catalog.writer.executing(ids, catalog.now) == [second.id]


# ── deaths ──────────────────────────────────────────────────────────────────────────────────


async def test_three_crashes_end_in_the_dead_letters_with_the_last_words(catalog: Catalog):
    await catalog.see(b"poison.jpg")
    await crash(catalog, CRASHES)
    assert await catalog.decodes() == []
    (letter,) = await catalog.reader.dead_letters()
    assert letter.path == b"/photos/poison.jpg"
    assert letter.crash_attempts == CRASHES
    assert (letter.reason, letter.stderr_tail) == ("signal 11", "Segmentation fault")
    assert letter.when_ns == catalog.now


async def test_a_task_that_crashed_twice_may_still_succeed(catalog: Catalog):
    await catalog.see(b"a.jpg")
    await crash(catalog, CRASHES - 1)
    await catalog.settle(*[decoded(task) for task in await catalog.decodes()])
    assert await catalog.counts("decode") == (0, 0, 1, 0)


async def test_a_death_after_the_result_was_committed_charges_nobody(catalog: Catalog):
    await catalog.see(b"a.jpg")
    (task,) = await catalog.decodes()
    await catalog.settle(decoded(task))
    assert await catalog.writer.charge([task.id, 999], "signal 9", "", catalog.now) == 0
    assert await catalog.counts("decode") == (0, 0, 1, 0)


async def test_a_death_that_is_announced_twice_is_charged_once(catalog: Catalog):
    await catalog.see(b"a.jpg")
    (task,) = await catalog.decodes()
    assert await catalog.writer.charge([task.id, task.id], "signal 9", "", catalog.now) == 1
    assert await catalog.writer.charge([task.id], "signal 9", "", catalog.now) == 0


async def test_a_death_is_not_charged_to_a_task_that_another_holds_by_now(catalog: Catalog):
    await catalog.see(b"a.jpg")
    (task,) = await catalog.decodes(owner="decode.1")
    charged = await catalog.writer.charge([task.id], "signal 9", "", catalog.now, owner="decode.0")
    assert charged == 0
    assert await catalog.counts("decode") == (0, 1, 0, 0)


async def test_a_result_that_was_on_its_way_when_the_worker_was_charged_counts(catalog: Catalog):
    await catalog.see(b"a.jpg")
    (task,) = await catalog.decodes()
    for _ in range(CRASHES):
        await catalog.writer.charge([task.id], "signal 11", "", catalog.now)
        await catalog.decodes()
    assert await catalog.counts("decode") == (0, 0, 0, 1)
    await catalog.settle(decoded(task))
    assert await catalog.counts("decode") == (0, 0, 1, 0)


# ── turns in quarantine ─────────────────────────────────────────────────────────────────────


async def test_suspects_take_turns_so_that_a_killer_keeps_no_innocent_waiting(catalog: Catalog):
    await catalog.see(b"killer", b"beside", b"also")
    batch = await catalog.decodes()
    await catalog.writer.charge([task.id for task in batch], "signal 11", "", catalog.now)
    (killer,) = await catalog.decodes(n=1)
    await catalog.writer.charge([killer.id], "signal 11", "", catalog.now)
    order = [task.path for task in await catalog.decodes()]
    assert order == [b"/photos/beside", b"/photos/also", b"/photos/killer"]


async def test_among_suspects_with_as_many_deaths_the_urgent_come_first_then_the_old(
    catalog: Catalog,
):
    await catalog.see(b"old", b"older")
    await catalog.see(b"urgent", priority=5)
    await crash(catalog, 1)
    assert [task.path for task in await catalog.decodes(n=2)] == [b"/photos/urgent", b"/photos/old"]
    assert [task.path for task in await catalog.decodes(n=2)] == [b"/photos/older"]


async def test_an_owner_gets_suspects_only_for_what_ordinary_work_leaves(catalog: Catalog):
    await catalog.see(b"suspect")
    await crash(catalog, 1)
    await catalog.see(b"a", b"b")
    assert [task.suspect for task in await catalog.decodes(n=2)] == [False, False]
    assert [task.suspect for task in await catalog.decodes(n=2)] == [True]


# ── refunds ─────────────────────────────────────────────────────────────────────────────────


async def test_what_was_charged_is_taken_back_as_often_as_it_was(catalog: Catalog):
    await catalog.see(b"a", b"b")
    await crash(catalog, 2)
    assert await catalog.writer.refund([1, 2, 1, 999], catalog.now) == 2
    await crash(catalog, 1)
    assert await catalog.counts("decode") == (2, 0, 0, 0)
    await crash(catalog, 1)
    assert await catalog.counts("decode") == (1, 0, 0, 1)  # b had one death left to be charged
    await crash(catalog, 1)
    assert await catalog.counts("decode") == (0, 0, 0, 2)


async def test_who_died_of_charges_that_are_taken_back_is_tried_again_but_stays_suspect(
    catalog: Catalog,
):
    await catalog.see(b"a.jpg")
    await crash(catalog, CRASHES)
    assert await catalog.writer.refund([1] * CRASHES, catalog.now) == 1
    assert await catalog.reader.dead_letters() == []
    (task,) = await catalog.decodes()
    assert task.suspect
    assert await state_of(catalog, "decode") == ("leased", 0, None)


async def test_a_refund_leaves_a_lease_and_what_is_executing_alone(catalog: Catalog):
    await catalog.see(b"a.jpg")
    await crash(catalog, 1)
    (task,) = await catalog.decodes()
    await catalog.writer.executing([task.id], catalog.now)
    await catalog.writer.refund([task.id], catalog.now)
    assert await catalog.counts("decode") == (0, 1, 0, 0)
    await catalog.restart(run="run-2")
    await crash(catalog, CRASHES - 2)
    assert await catalog.counts("decode") == (1, 0, 0, 0)  # one by the run, the rest by crashes


async def test_a_refund_that_comes_twice_takes_back_no_more_than_there_is(catalog: Catalog):
    await catalog.see(b"a.jpg")
    await crash(catalog, 1)
    for refunded in (1, 0):
        assert await catalog.writer.refund([1, 1], catalog.now) == refunded
    assert await catalog.counts("decode") == (1, 0, 0, 0)


async def test_a_refund_does_not_undo_a_verdict_on_the_photo(catalog: Catalog):
    await catalog.see(b"a.jpg", b"b.jpg", b"c.jpg")
    await crash(catalog, 1)
    bad, done, dropped = await catalog.decodes()
    await catalog.fail([bad, dropped], "photo")
    await catalog.settle(decoded(done))
    await catalog.writer.drop([dropped.id], catalog.now)
    assert await catalog.writer.refund([bad.id, done.id, dropped.id], catalog.now) == 1
    (letter,) = await catalog.reader.dead_letters()
    assert (letter.reason, letter.crash_attempts) == ("photo is at fault", 0)
    assert await catalog.counts("decode") == (0, 0, 1, 1)


async def test_a_refunded_letter_whose_file_is_away_waits_for_it(catalog: Catalog):
    await catalog.see(b"a.jpg")
    await crash(catalog, CRASHES)
    await catalog.lose(b"a.jpg")
    await catalog.writer.refund([1], catalog.now)
    assert await catalog.counts("decode") == (0, 0, 0, 0)
    await catalog.see(b"a.jpg")
    assert len(await catalog.decodes()) == 1


# ── too many dead letters ───────────────────────────────────────────────────────────────────


async def details(catalog: Catalog) -> list[tuple[bytes, str, str, str]]:
    letters = await catalog.reader.dead_letters(limit=20_000)
    return [(each.path, each.reason, each.exit_reason, each.stderr_tail) for each in letters]


async def test_a19_the_letter_above_the_cap_takes_the_details_from_the_oldest(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
):
    assert queue.LETTERS == 10_000
    monkeypatch.setattr(queue, "LETTERS", 2)
    for number in (3, 1, 2):
        await catalog.see(b"%d" % number)
        await crash(catalog, CRASHES)
        catalog.now += SECOND
        assert await catalog.reader.trimmed() == (number == 2)
    kept = ("signal 11", "signal 11", "Segmentation fault")
    assert await details(catalog) == [
        (b"/photos/3", "signal 11", "", ""),
        (b"/photos/1", *kept),
        (b"/photos/2", *kept),
    ]
    assert await catalog.writer.recount(catalog.now) == 0
    assert await catalog.reader.trimmed() == 1


async def test_a19_a_verdict_on_a_suspect_is_a_letter_with_details_too(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(queue, "LETTERS", 1)
    await catalog.see(b"a", b"b")
    await crash(catalog, 1)
    for task in await catalog.decodes():
        await catalog.fail([task], "photo")
    await catalog.see(b"c")
    await catalog.fail(await catalog.decodes(), "photo")  # one that never had any
    assert [exit_reason for *_, exit_reason, _ in await details(catalog)] == ["", "signal 11", ""]
    assert await catalog.reader.trimmed() == 1


async def test_a19_the_10001st_dead_letter(catalog: Catalog):
    await catalog.see(*[b"%05d" % number for number in range(10_001)])
    async with catalog.writer._engine.begin() as connection:
        twice = f"UPDATE tasks SET crash_attempts = {CRASHES - 1}, suspect = 1"
        await connection.exec_driver_sql(twice)
    first = await catalog.decodes(n=10_000)
    await catalog.writer.charge([task.id for task in first], "signal 11", "x", catalog.now)
    assert await catalog.reader.trimmed() == 0
    await crash(catalog, 1)
    assert await catalog.reader.trimmed() == 1
    found = await details(catalog)
    assert len(found) == 10_001
    assert [path for path, _, exit_reason, _ in found if not exit_reason] == [b"/photos/00000"]
    assert {reason for _, reason, *_ in found} == {"signal 11"}


# ── restarts ────────────────────────────────────────────────────────────────────────────────


async def test_when_only_the_catalog_dies_nobody_is_charged(catalog: Catalog):
    await catalog.see(b"a", b"b")
    tasks = await catalog.decodes()
    await catalog.writer.executing([tasks[0].id], catalog.now)
    await catalog.restart()
    assert await catalog.counts("decode") == (2, 0, 0, 0)
    assert [task.suspect for task in await catalog.decodes()] == [False, False]


async def test_when_the_whole_system_dies_what_was_executing_is_charged(catalog: Catalog):
    await catalog.see(b"a", b"b")
    tasks = await catalog.decodes()
    await catalog.writer.executing([tasks[0].id], catalog.now)
    await catalog.restart(run="run-2")
    fine, suspect = await catalog.decodes()
    assert (fine.path, fine.suspect) == (b"/photos/b", False)
    assert (suspect.path, suspect.suspect) == (b"/photos/a", True)


async def test_a_photo_takes_the_machine_down_thrice_at_most(catalog: Catalog):
    await catalog.see(b"bomb.jpg")
    for run in range(CRASHES):
        (task,) = await catalog.decodes()
        await catalog.writer.executing([task.id], catalog.now)
        await catalog.restart(run=f"after {run}")
    assert await catalog.decodes() == []
    (letter,) = await catalog.reader.dead_letters()
    assert letter.reason == UNCLEAN_STOP


async def test_a_worker_keeps_what_it_holds_over_a_restart_of_the_catalog(catalog: Catalog):
    await catalog.see(b"a", b"b", b"c")
    done, held, other = await catalog.decodes(owner="decode.0")
    await catalog.restart()
    await catalog.settle(decoded(done))
    (taken,) = await catalog.decodes(n=1, owner="decode.1")
    assert taken.id == held.id
    ids = [done.id, held.id, other.id, 999]
    assert await catalog.writer.adopt(ids, "decode.0", 1, catalog.now) == [other.id]
    assert await catalog.decodes() == []
    assert await catalog.writer.give_back("decode.0", 1, catalog.now) == 1


async def test_a_photo_that_takes_the_catalog_along_first_is_charged_all_the_same(
    catalog: Catalog,
):
    await catalog.see(b"bomb.jpg")
    for run in range(CRASHES):
        (task,) = await catalog.decodes()
        await catalog.writer.executing([task.id], catalog.now)
        await catalog.restart()
        if run:
            await catalog.writer.adopt([task.id], "decode.0", 1, catalog.now)
        await catalog.restart(run=f"after {run}")
    assert await catalog.counts("decode") == (0, 0, 0, 1)


async def test_a_worker_that_died_together_with_the_catalog_is_charged_once(catalog: Catalog):
    await catalog.see(b"a.jpg")
    (task,) = await catalog.decodes()
    await catalog.writer.executing([task.id], catalog.now)
    await catalog.restart()
    for charged in (1, 0):
        assert await catalog.writer.charge([task.id], "signal 9", "", catalog.now) == charged
    await catalog.restart(run="run-2")
    await crash(catalog, 1)
    assert await catalog.counts("decode") == (1, 0, 0, 0)


async def test_a_worker_may_begin_before_the_new_catalog_has_adopted_it(catalog: Catalog):
    await catalog.see(b"a.jpg")
    (task,) = await catalog.decodes()
    await catalog.restart()
    assert await catalog.writer.executing([task.id], catalog.now) == [task.id]
    await catalog.restart(run="run-2")
    (task,) = await catalog.decodes()
    assert task.suspect


async def test_whoever_begins_anew_is_not_charged_for_the_one_before(catalog: Catalog):
    await catalog.see(b"a.jpg")
    (task,) = await catalog.decodes()
    await catalog.writer.executing([task.id], catalog.now)
    await catalog.restart()
    await catalog.decodes(owner="decode.1")
    await catalog.restart(run="run-2")
    (task,) = await catalog.decodes()
    assert not task.suspect


async def test_an_orderly_stop_is_nobodys_crash(catalog: Catalog):
    await catalog.see(b"a.jpg")
    (task,) = await catalog.decodes()
    await catalog.writer.executing([task.id], catalog.now)
    await catalog.close()
    await catalog.open(run="run-2")
    (task,) = await catalog.decodes()
    assert not task.suspect


async def test_a_task_that_was_returned_is_no_longer_executing(catalog: Catalog):
    await catalog.see(b"a.jpg")
    (task,) = await catalog.decodes()
    await catalog.writer.executing([task.id], catalog.now)
    await catalog.writer.give_back("decode.0", 1, catalog.now)
    await catalog.decodes()
    await catalog.restart(run="run-2")
    (task,) = await catalog.decodes()
    assert not task.suspect


async def test_a_late_result_from_before_the_restart_is_accepted(catalog: Catalog):
    await catalog.see(b"a.jpg")
    (task,) = await catalog.decodes()
    await catalog.restart()
    assert await catalog.settle(decoded(task)) == [task.id]
    assert await catalog.counts("decode") == (0, 0, 1, 0)


# ── failures ────────────────────────────────────────────────────────────────────────────────


async def test_a_bad_photo_costs_one_photo_at_once(catalog: Catalog):
    await catalog.see(b"bad.jpg", b"good.jpg")
    bad, good = await catalog.decodes()
    await catalog.settle(Failed(bad.id, "photo", "truncated\nat byte 17"), decoded(good))
    (letter,) = await catalog.reader.dead_letters("decode")
    assert (letter.path, letter.reason) == (b"/photos/bad.jpg", "truncated at byte 17")
    assert await catalog.reader.dead_letters("embed") == []
    totals = await catalog.totals()
    assert (totals.dead, totals.pending) == (1, 1)


@pytest.mark.parametrize("fault", ["worker", "busy"])
async def test_a_failed_task_waits_longer_each_time_and_then_is_dead(catalog: Catalog, fault):
    await catalog.see(b"a.jpg")
    for attempt in range(1, ATTEMPTS[fault]):
        tasks = await catalog.decodes()
        await catalog.fail(tasks, fault)
        catalog.now += wait_ns(tasks[0].id, attempt) - 1
        assert await catalog.decodes() == []
        catalog.now += 1
    await catalog.fail(await catalog.decodes(), fault)
    (letter,) = await catalog.reader.dead_letters()
    assert letter.attempts == ATTEMPTS[fault]
    assert letter.reason == f"{fault} is at fault"


async def test_a_host_that_is_away_is_waited_for_without_charge(catalog: Catalog):
    await catalog.see(b"a.jpg")
    for _ in range(50):
        (task,) = await catalog.decodes()
        await catalog.fail([task], "host")
        assert await catalog.decodes() == []
        catalog.now += HOST_AWAY_NS
    assert await catalog.counts("decode") == (1, 0, 0, 0)


async def test_a_failure_that_is_sent_twice_counts_once(catalog: Catalog):
    await catalog.see(b"a.jpg")
    (task,) = await catalog.decodes()
    for _ in range(ATTEMPTS["worker"]):
        await catalog.fail([task], "worker")
    assert await catalog.counts("decode") == (1, 0, 0, 0)


async def test_a_late_failure_of_the_worker_says_nothing_about_a_returned_task(catalog: Catalog):
    await catalog.see(b"a.jpg")
    (task,) = await catalog.decodes()
    await catalog.restart()
    await catalog.fail([task], "worker")
    assert [again.id for again in await catalog.decodes()] == [task.id]


async def test_a_late_verdict_on_the_photo_counts(catalog: Catalog):
    await catalog.see(b"a.jpg")
    (task,) = await catalog.decodes()
    await catalog.restart()
    await catalog.fail([task], "photo")
    assert await catalog.counts("decode") == (0, 0, 0, 1)


async def test_a_verdict_on_a_file_that_vanished_meanwhile_is_not_believed(catalog: Catalog):
    await catalog.see(b"a.jpg")
    (task,) = await catalog.decodes()
    await catalog.lose(b"a.jpg")
    await catalog.fail([task], "photo")  # it could not be read, of course
    await catalog.see(b"a.jpg")
    assert await catalog.counts("decode") == (1, 0, 0, 0)


async def test_a_failure_after_success_changes_nothing(catalog: Catalog):
    await catalog.see(b"a.jpg")
    (task,) = await catalog.decodes()
    await catalog.settle(decoded(task))
    await catalog.fail([task], "photo")
    assert await catalog.counts("decode") == (0, 0, 1, 0)


# ── dead letters ────────────────────────────────────────────────────────────────────────────


async def test_only_dead_letters_can_be_retried_or_dropped(catalog: Catalog):
    await catalog.see(b"a", b"b")
    await catalog.decodes(n=1)
    assert await catalog.writer.retry([1, 2, 999], catalog.now) == []
    assert await catalog.writer.drop([1, 2, 999], catalog.now) == []
    assert await catalog.counts("decode") == (1, 1, 0, 0)


async def test_a_retried_dead_letter_starts_afresh_but_alone(catalog: Catalog):
    await catalog.see(b"a.jpg")
    await crash(catalog, CRASHES)
    assert await catalog.writer.retry([1], catalog.now) == [1]
    await crash(catalog, CRASHES - 1)
    (task,) = await catalog.decodes()
    assert task.suspect
    await catalog.settle(decoded(task))
    assert await catalog.counts("decode") == (0, 0, 1, 0)


async def test_a_retried_task_need_not_wait(catalog: Catalog):
    await catalog.see(b"a.jpg")
    for _ in range(ATTEMPTS["worker"]):
        await catalog.fail(await catalog.decodes(), "worker")
        catalog.now += 1000 * SECOND
    await catalog.writer.retry([1], catalog.now)
    assert len(await catalog.decodes()) == 1


async def test_a_dropped_file_is_skipped_with_the_reason(catalog: Catalog):
    await catalog.see(b"bad.jpg")
    await catalog.fail(await catalog.decodes(), "photo")
    assert await catalog.writer.drop([1], catalog.now) == [1]
    assert await catalog.reader.dead_letters() == []
    totals = await catalog.totals()
    assert (totals.skipped, totals.dead) == (1, 0)
    await catalog.see(b"bad.jpg")
    assert await catalog.decodes() == []


async def test_a_late_success_does_not_undo_what_the_owner_dropped(catalog: Catalog):
    await catalog.see(b"bad.jpg")
    (task,) = await catalog.decodes()
    await catalog.fail([task], "photo")
    await catalog.writer.drop([task.id], catalog.now)
    assert await catalog.settle(decoded(task)) == [task.id]
    assert (await catalog.totals()).skipped == 1


async def test_a_dropped_file_may_be_retried_after_all(catalog: Catalog):
    await catalog.see(b"bad.jpg")
    await catalog.fail(await catalog.decodes(), "photo")
    await catalog.writer.drop([1], catalog.now)
    await catalog.writer.retry([1], catalog.now)
    assert (await catalog.totals()).pending == 1
    await catalog.settle(*[decoded(task) for task in await catalog.decodes()])
    assert (await catalog.totals()).skipped == 0


async def test_a_dropped_file_that_changes_is_decoded(catalog: Catalog):
    await catalog.see(b"bad.jpg")
    await catalog.fail(await catalog.decodes(), "photo")
    await catalog.writer.drop([1], catalog.now)
    await catalog.see(b"bad.jpg", version=2)
    assert len(await catalog.decodes()) == 1


async def test_a_content_that_cannot_be_embedded_is_dead_once_and_its_copies_are_duplicates(
    catalog: Catalog,
):
    await catalog.see(b"a.jpg", b"b.jpg")
    await catalog.settle(*[decoded(task, b"same") for task in await catalog.decodes()])
    await catalog.fail(await catalog.embeds(), "photo")
    totals = await catalog.totals()
    assert (totals.dead, totals.duplicates, totals.pending) == (1, 1, 0)
    (letter,) = await catalog.reader.dead_letters()
    assert (letter.kind, letter.path) == ("embed", b"/photos/a.jpg")
    await catalog.writer.drop([letter.task], catalog.now)
    totals = await catalog.totals()
    assert (totals.dead, totals.skipped, totals.duplicates, totals.pending) == (0, 1, 1, 0)


async def test_a_dead_letter_without_its_file_is_not_shown_and_not_lost(catalog: Catalog):
    await catalog.see(b"a.jpg")
    await catalog.fail(await catalog.decodes(), "photo")
    await catalog.lose(b"a.jpg")
    assert await catalog.reader.dead_letters() == []
    await catalog.writer.retry([1], catalog.now)
    assert await catalog.decodes() == []
    await catalog.see(b"a.jpg")
    assert len(await catalog.decodes()) == 1


async def test_a_missing_file_that_was_dropped_is_skipped_when_it_is_back(catalog: Catalog):
    await catalog.see(b"a.jpg")
    await catalog.fail(await catalog.decodes(), "photo")
    await catalog.lose(b"a.jpg")
    await catalog.writer.drop([1], catalog.now)
    await catalog.see(b"a.jpg")
    assert (await catalog.totals()).skipped == 1


async def test_the_list_of_dead_letters_comes_in_pages(catalog: Catalog):
    await catalog.see(*[b"%d" % i for i in range(5)])
    await catalog.fail(await catalog.decodes(), "photo")
    first = await catalog.reader.dead_letters(limit=3)
    rest = await catalog.reader.dead_letters(after=first[-1].task, limit=3)
    assert [letter.task for letter in first + rest] == [1, 2, 3, 4, 5]


# ── thumbnails that were lost ───────────────────────────────────────────────────────────────


async def test_a_content_is_decoded_again_from_its_first_file_and_stays_indexed(
    catalog: Catalog,
):
    await catalog.index(b"a.jpg", b"b.jpg", same=b"beach")
    assert await catalog.writer.decode_again([1, 1, 999], catalog.now) == 1
    (task,) = await catalog.decodes()
    assert task.path == b"/photos/a.jpg"
    assert (await catalog.totals()).indexed == 1
    again = decoded(task, b"beach")
    await catalog.settle(type(again)(task.id, again.digest, again.facts, 300, 1300))
    photo = await catalog.reader.photo(1)
    assert photo is not None
    assert (photo.thumb_256, photo.thumb_1024) == (300, 1300)
    assert await catalog.embeds() == []
    assert await catalog.fed() == [("add", 1)]


async def test_a_file_that_holds_something_else_when_decoded_again_is_relinked(catalog: Catalog):
    await catalog.index(b"a.jpg")
    await catalog.writer.decode_again([1], catalog.now)
    await catalog.settle(*[decoded(task, b"other") for task in await catalog.decodes()])
    await catalog.settle(*[embedded(task) for task in await catalog.embeds()])
    assert await catalog.fed() == [("add", 1), ("remove", 1), ("add", 2)]


async def test_a_photo_that_failed_when_decoded_again_stays_a_photo(catalog: Catalog):
    await catalog.index(b"a.jpg")
    await catalog.writer.decode_again([1], catalog.now)
    (task,) = await catalog.decodes()
    await catalog.fail([task], "photo")
    assert (await catalog.totals()).indexed == 1
    await catalog.writer.drop([task.id], catalog.now)
    assert (await catalog.totals()).indexed == 1
    await catalog.writer.retry([task.id], catalog.now)
    assert (await catalog.totals()).indexed == 1


async def test_nothing_is_decoded_again_while_it_is_waiting_to_be(catalog: Catalog):
    await catalog.index(b"a.jpg", b"b.jpg", same=b"beach")
    assert await catalog.writer.decode_again([1], catalog.now) == 1
    assert await catalog.writer.decode_again([1], catalog.now) == 0
    assert len(await catalog.decodes()) == 1


def lost(task: EmbedTask) -> ThumbnailLost:
    return ThumbnailLost(task.id, task.content)


async def state_of(catalog: Catalog, kind: str) -> tuple[str, int, str | None]:
    """State, attempts and last error of the only task of *kind*."""
    query = f"SELECT state, attempts, last_error FROM tasks WHERE kind = '{kind}'"
    async with catalog.writer._engine.begin() as connection:
        (row,) = await connection.exec_driver_sql(query)
        return tuple(row)


async def test_a_lost_thumbnail_is_made_again_and_then_embedded_uncharged(catalog: Catalog):
    await catalog.see(b"a.jpg")
    await catalog.settle(*[decoded(task) for task in await catalog.decodes()])
    (task,) = await catalog.embeds()
    assert await catalog.settle(lost(task)) == [task.id]
    assert await catalog.embeds() == []  # not before the thumbnail is there
    assert (await state_of(catalog, "embed"))[:2] == ("ready", 0)
    await catalog.settle(*[decoded(each) for each in await catalog.decodes()])
    (again,) = await catalog.embeds()  # at once then
    assert again.id == task.id
    await catalog.settle(embedded(again))
    assert await state_of(catalog, "embed") == ("done", 0, None)
    assert (await catalog.totals()).indexed == 1


async def test_a_thumbnail_that_is_lost_again_and_again_ends_as_a_dead_letter(catalog: Catalog):
    await catalog.see(b"a.jpg")
    await catalog.settle(*[decoded(task) for task in await catalog.decodes()])
    losses = 0
    while tasks := await catalog.embeds():
        losses += 1
        await catalog.settle(*[lost(task) for task in tasks])
        await catalog.settle(*[decoded(each) for each in await catalog.decodes()])
    assert losses == REMAKES + 1
    (letter,) = await catalog.reader.dead_letters()
    assert letter.reason == f"its thumbnail was lost {REMAKES + 1} times"
    assert await catalog.counts("decode") == (0, 0, 1, 0)


async def test_a_lost_thumbnail_whose_decoding_takes_long_is_asked_for_patiently(catalog: Catalog):
    await catalog.see(b"a.jpg")
    await catalog.settle(*[decoded(task) for task in await catalog.decodes()])
    for _ in range(2 * REMAKES):
        await catalog.settle(*[lost(task) for task in await catalog.embeds()])
        assert await catalog.embeds() == []
        catalog.now += REMAKE_NS
    assert await state_of(catalog, "embed") == ("ready", 0, LOST)


async def test_a_lost_thumbnail_of_an_original_that_broke_is_a_dead_letter_with_its_reason(
    catalog: Catalog,
):
    await catalog.see(b"a.jpg")
    await catalog.settle(*[decoded(task) for task in await catalog.decodes()])
    await catalog.settle(*[lost(task) for task in await catalog.embeds()])
    await catalog.fail(await catalog.decodes(), "photo")
    catalog.now += REMAKE_NS
    await catalog.settle(*[lost(task) for task in await catalog.embeds()])
    reasons = {letter.kind: letter.reason for letter in await catalog.reader.dead_letters()}
    assert reasons == {
        "decode": "photo is at fault",
        "embed": "its thumbnail was lost and its original cannot be decoded",
    }
    assert (await catalog.totals()).pending == 0


async def test_a_copy_serves_when_the_first_original_broke(catalog: Catalog):
    await catalog.see(b"a.jpg", b"b.jpg")
    await catalog.settle(*[decoded(task, b"same") for task in await catalog.decodes()])
    await catalog.settle(*[lost(task) for task in await catalog.embeds()])
    await catalog.fail(await catalog.decodes(), "photo")
    catalog.now += REMAKE_NS
    await catalog.settle(*[lost(task) for task in await catalog.embeds()])
    (second,) = await catalog.decodes()
    assert second.path == b"/photos/b.jpg"
    await catalog.settle(decoded(second, b"same"))
    await catalog.settle(*[embedded(task) for task in await catalog.embeds()])
    assert (await catalog.totals()).indexed == 1


async def test_a_lost_thumbnail_waits_for_a_file_that_is_away(catalog: Catalog):
    await catalog.see(b"a.jpg")
    await catalog.settle(*[decoded(task) for task in await catalog.decodes()])
    (task,) = await catalog.embeds()
    await catalog.lose(b"a.jpg")
    await catalog.settle(lost(task))
    assert await catalog.counts("embed") == (0, 0, 0, 0)  # parked: `--once` need not wait for it
    await catalog.see(b"a.jpg")
    await catalog.settle(*[lost(task) for task in await catalog.embeds()])
    await catalog.settle(*[decoded(each) for each in await catalog.decodes()])
    await catalog.settle(*[embedded(task) for task in await catalog.embeds()])
    assert (await catalog.totals()).indexed == 1


async def test_a_loss_that_was_returned_meanwhile_says_nothing_new(catalog: Catalog):
    await catalog.see(b"a.jpg")
    await catalog.settle(*[decoded(task) for task in await catalog.decodes()])
    (task,) = await catalog.embeds()
    await catalog.writer.give_back("embed", 1, catalog.now)
    await catalog.settle(lost(task))
    assert [each.id for each in await catalog.embeds()] == [task.id]


# ── vectors that were lost ──────────────────────────────────────────────────────────────────


async def execute(catalog: Catalog, statement: str) -> None:
    async with catalog.writer._engine.begin() as connection:
        await connection.exec_driver_sql(statement)


async def test_a_content_without_its_vector_is_embedded_again(catalog: Catalog):
    await catalog.index(b"a.jpg", b"b.jpg", b"c.jpg")
    while await catalog.writer.backfill("clip", 100, catalog.now):
        pass
    await execute(catalog, "DELETE FROM vectors WHERE content < 3")
    await execute(catalog, "DELETE FROM tasks WHERE content = 2 AND kind = 'embed'")
    await catalog.writer.recount(catalog.now)
    assert await catalog.reader.unembedded(0, 10) == [1, 2]
    assert await catalog.writer.look_again("embed", [1, 2, 3, 99], catalog.now) == 2
    assert await catalog.reader.unembedded(0, 10) == []
    assert sorted(task.content for task in await catalog.embeds()) == [1, 2]
