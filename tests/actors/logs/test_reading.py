"""The last lines, and following through rotations."""

import pytest

from actors.logs import files
from actors.logs.journal import Journal
from actors.logs.reading import BLOCK, Reader
from runtime.log import Record, record


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "logs"


@pytest.fixture
def journal(folder):
    journal = Journal(folder, pytest.fail, largest=1000)
    yield journal
    journal.close()


@pytest.fixture
def reader(folder):
    reader = Reader(folder)
    yield reader
    reader.close()


def said(name, number):
    return record(name, "info", "counted", {"number": number})


def numbers(records):
    return [each.fields["number"] for each in records]


def test_the_last_ones_of_all_come_in_the_order_of_time(journal, reader):
    for number in range(12):
        journal.keep(said(f"decode.{number % 3}", number))
    assert numbers(reader.last(5)) == [7, 8, 9, 10, 11]


def test_the_last_ones_of_one_go_back_into_older_files(journal, folder):
    for number in range(40):
        journal.keep(said("embed", number))
    journal.keep(said("text", 99))
    assert files.older(folder, "embed", 2).exists()
    reader = Reader(folder, "embed")
    assert numbers(reader.last(30)) == list(range(10, 40))
    reader.close()


def test_none_of_them_is_an_answer_too(journal, reader):
    journal.keep(said("embed", 1))
    assert reader.last(0) == []
    journal.keep(said("embed", 2))
    assert numbers(reader.read()) == [2]


def test_lines_longer_than_a_block_are_read_whole(folder, reader):
    journal = Journal(folder, pytest.fail)
    for number in range(3):
        journal.keep(record("embed", "info", "long", {"number": number, "text": "x" * BLOCK}))
    journal.close()
    assert numbers(reader.last(2)) == [1, 2]


def test_what_comes_is_followed_through_any_number_of_rotations(journal, reader):
    journal.keep(said("embed", 0))
    assert numbers(reader.last(10)) == [0]
    heard = []
    number = 1
    for burst in (1, 3, 20, 1, 30, 0, 2):
        for _ in range(burst):
            journal.keep(said("embed", number))
            number += 1
        heard += numbers(reader.read())
    assert heard == list(range(1, number))


def test_more_than_is_kept_between_two_looks_is_lost_but_not_the_rest(journal, reader):
    journal.keep(said("embed", 0))
    reader.last(1)
    for number in range(1, 200):
        journal.keep(said("embed", number))
    heard = numbers(reader.read())
    assert heard[-1] == 199
    assert len(heard) > 20


def test_a_process_that_speaks_for_the_first_time_is_heard(journal, reader):
    journal.keep(said("embed", 1))
    reader.last(10)
    journal.keep(said("text", 2))
    assert numbers(reader.read()) == [2]


def test_a_line_that_is_being_written_is_waited_for(journal, folder, reader):
    journal.keep(said("embed", 1))
    line = said("embed", 2).line.encode() + b"\n"
    with files.current(folder, "embed").open("ab", buffering=0) as file:
        file.write(line[:20])
        assert numbers(reader.last(10)) == [1]
        assert reader.read() == []
        file.write(line[20:])
        assert numbers(reader.read()) == [2]


def test_damaged_lines_are_shown_as_they_are(folder, reader):
    folder.mkdir()
    files.current(folder, "embed").write_bytes(b'{"event": 7}\n\xff\xfe\n[]\n')
    shown = reader.last(10)
    assert [type(each) for each in shown] == [Record] * 3
    assert [each.event for each in shown] == ["output"] * 3


def test_there_may_be_nothing_at_all(reader):
    assert reader.last(10) == []
    assert reader.read() == []
