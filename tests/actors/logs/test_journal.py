"""What is kept, how it is cut, and that a full disk harms nobody."""

import json
import os
import stat
import subprocess

import pytest

from actors.logs import files
from actors.logs.journal import Journal
from runtime.log import parse, record


@pytest.fixture
def trouble():
    return []


@pytest.fixture
def journal(tmp_path, trouble):
    journal = Journal(tmp_path / "logs", trouble.append, largest=1000)
    yield journal
    journal.close()


def said(name, number):
    return record(name, "info", "counted", {"number": number})


def kept(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_process_has_a_file_for_its_owners_eyes(journal, tmp_path):
    journal.keep(said("decode.0", 1))
    journal.keep(said("embed", 2))
    assert files.names(tmp_path / "logs") == ["decode.0", "embed"]
    (line,) = kept(tmp_path / "logs" / "decode.0.log")
    assert (line["from"], line["level"], line["event"], line["number"]) == (
        *("decode.0", "info", "counted"),
        1,
    )
    assert stat.S_IMODE((tmp_path / "logs").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "logs" / "embed.log").stat().st_mode) == 0o600


def test_what_is_no_line_of_ours_is_kept_as_output(journal, tmp_path):
    journal.keep(parse("decode.0", "Corrupt JPEG data: bad \x1b[2J"))
    (line,) = kept(tmp_path / "logs" / "decode.0.log")
    assert (line["event"], line["text"]) == ("output", "Corrupt JPEG data: bad \x1b[2J")


def test_files_are_cut_by_size_and_the_oldest_goes(journal, tmp_path):
    for number in range(100):
        journal.keep(said("embed", number))
    paths = files.all_of(tmp_path / "logs", "embed")
    assert all(path.stat().st_size <= 1000 for path in paths)
    numbers = [line["number"] for path in paths for line in kept(path)]
    assert numbers == list(range(numbers[0], 100))
    assert len(list((tmp_path / "logs").iterdir())) == files.FILES


def test_a_later_run_goes_on_where_the_earlier_one_was_torn(journal, tmp_path, trouble):
    journal.keep(said("embed", 1))
    path = tmp_path / "logs" / "embed.log"
    with path.open("ab") as file:
        file.write(b'{"event": "torn in the mid')
    later = Journal(tmp_path / "logs", trouble.append)
    later.keep(said("embed", 2))
    later.close()
    first, torn, second = path.read_text().splitlines()
    assert torn == '{"event": "torn in the mid'
    assert [json.loads(each)["number"] for each in (first, second)] == [1, 2]


def test_a_disk_that_takes_nothing_is_told_once_and_costs_nothing_else(tmp_path, trouble):
    (tmp_path / "logs").write_text("a file where the folder should be")
    journal = Journal(tmp_path / "logs", trouble.append)
    for number in range(3):
        journal.keep(said("embed", number))
    assert len(trouble) == 1
    assert trouble[0].startswith(f"logs cannot be kept in {tmp_path}/logs: ")
    (tmp_path / "logs").unlink()
    journal.keep(said("embed", 3))
    gap, line = kept(tmp_path / "logs" / "embed.log")
    assert (gap["event"], gap["count"], line["number"]) == ("records_lost", 3, 3)
    journal.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk, which needs root")
def test_a_disk_that_fills_up_leaves_whole_lines(tmp_path, trouble):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "none", disk]
    if subprocess.run(mount, check=False).returncode:
        pytest.skip("this machine lets nobody mount")
    journal = Journal(disk / "logs", trouble.append, largest=1 << 20)
    try:
        for number in range(400):
            journal.keep(said("embed", number))
        assert trouble == []
        subprocess.run(["mount", "-o", "remount,size=1m", disk], check=True)
        journal.keep(said("embed", 400))
        lines = (disk / "logs" / "embed.log").read_text().splitlines()
        whole = [json.loads(line) for line in lines if line.endswith("}")]
        assert len(lines) - len(whole) <= 1
        assert (whole[-2]["event"], whole[-1]["number"]) == ("records_lost", 400)
    finally:
        journal.close()
        subprocess.run(["umount", disk], check=True)
