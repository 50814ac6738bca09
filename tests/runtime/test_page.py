"""The shared page: read by another process, at any moment, also after the writer's death."""

import os
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.page import MOST_IDS, Page, Stage


@pytest.fixture
def page(tmp_path):
    page = Page(tmp_path / "x.page", create=True)
    yield page
    page.close()


@pytest.fixture
def reader(tmp_path, page):
    reader = Page(tmp_path / "x.page")
    yield reader
    reader.close()


def test_a_new_page_says_nothing(reader):
    seen = reader.read()
    assert (seen.phase, seen.executing, seen.deadline_ns) == ("", [], 0)
    assert reader.glance().stage == Stage.SPAWNED


def test_a_reader_sees_what_was_written_last(page, reader):
    page.write(5, "embed", [7, 2**64 - 1], 9)
    page.write(6, "idle", [])
    page.write(7, "decode", [3, 4], 11)
    seen = reader.read()
    assert (seen.changed_ns, seen.phase, seen.executing, seen.deadline_ns) == (
        7,
        "decode",
        [3, 4],
        11,
    )


def test_each_write_is_a_new_sequence(page, reader):
    page.write(1, "a", [1])
    first = reader.glance().sequence
    page.write(1, "a", [1])
    assert reader.glance().sequence > first


def test_ticks_and_stage_do_not_touch_the_phase(page, reader):
    page.write(1, "a", [1], 2)
    before = reader.read()
    page.stage(Stage.DRAINING)
    page.tick_thread(10)
    page.tick_loop(11)
    assert reader.read() == before
    seen = reader.glance()
    assert (seen.stage, seen.thread_ns, seen.loop_ns, seen.count) == (4, 10, 11, 1)


def test_more_ids_than_fit_are_cut_and_a_long_name_is_too(page, reader):
    page.write(1, "a name of more than sixteen bytes", list(range(1000)))
    seen = reader.read()
    assert seen.executing == list(range(MOST_IDS))
    assert seen.phase == "a name of more t"


def test_a_name_cut_inside_a_letter_is_still_readable(page, reader):
    page.write(1, "é" * 9 + "x", [])
    assert reader.read().phase == "é" * 8
    page.write(1, "x" + "é" * 9, [])
    assert reader.read().phase.startswith("xééééééé")


@given(st.integers(1, 2**63), st.text(max_size=4), st.lists(st.integers(0, 2**64 - 1)))
def test_what_is_written_is_read(now, phase, ids):
    path = f"/dev/shm/page-{os.getpid()}" if os.path.isdir("/dev/shm") else f"/tmp/{os.getpid()}"
    try:
        with_page(path, now, phase.replace("\0", ""), ids)
    finally:
        os.unlink(path)


def with_page(path, now, phase, ids):
    from pathlib import Path

    page = Page(Path(path), create=True)
    page.write(now, phase, ids, now)
    seen = page.read()
    page.close()
    expected = phase.encode()[:16].decode(errors="replace")
    assert (seen.changed_ns, seen.phase, seen.executing) == (now, expected, ids[:MOST_IDS])


def test_a_page_outlives_its_writer(tmp_path):
    path = tmp_path / "x.page"
    Page(path, create=True).close()
    pid = os.fork()
    if not pid:
        writer = Page(path)
        writer.write(1, "last", [42])
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    reader = Page(path)
    assert (reader.read().phase, reader.read().executing) == ("last", [42])
    reader.close()


def test_a_writer_that_died_in_the_middle_leaves_the_old_count_or_the_new(tmp_path):
    path = tmp_path / "x.page"
    writer = Page(path, create=True)
    writer.write(1, "first", [1, 2])
    writer._words[0] += 1  # it had begun to write, and died
    reader = Page(path)
    assert reader.read().executing == [1, 2]
    assert reader.glance().count == 2
    reader.close()
    writer.close()


def test_what_was_finished_is_counted_and_touches_nothing_else(page, reader):
    page.write(1, "a", list(range(1, MOST_IDS + 5)), 2)
    before = reader.glance()
    page.finish(3)
    page.finish(1)
    assert reader.read().finished == 4
    assert reader.read().executing == list(range(1, MOST_IDS + 1))
    assert reader.glance() == before
