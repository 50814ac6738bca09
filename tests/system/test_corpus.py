"""A folder of real photos becomes searchable, and a second look costs nothing."""

import os
import shutil
import sqlite3
import subprocess

import pytest

from bench.system import command, index_once

pytestmark = [pytest.mark.corpus, pytest.mark.timeout(300)]

FOLDERS = ("general", "exif", "orientation", "malformed")


@pytest.fixture(scope="module")
def indexed(corpus, tmp_path_factory):
    """(summary, folders, data) of a first run over the corpus."""
    data = tmp_path_factory.mktemp("corpus") / "data"
    folders = [corpus / name for name in FOLDERS]
    return index_once(folders, data), folders, data


def count_files(folders):
    return sum(len(names) for folder in folders for _, _, names in os.walk(folder))


def test_every_file_ends_indexed_skipped_duplicate_or_dead(indexed):
    summary, folders, _ = indexed
    ended = sum(summary[each] for each in ("indexed", "skipped", "dead", "duplicates"))
    assert summary["files"] == ended == count_files(folders)
    assert summary["indexed"] >= 150


def test_no_process_dies_of_a_photo(indexed):
    summary, *_ = indexed
    assert {name: n for name, n in summary["restarts"].items() if n} == {}


def test_every_skipped_and_dead_file_has_its_reason(indexed):
    *_, data = indexed
    with sqlite3.connect(data / "catalog.sqlite") as database:
        skipped = database.execute("SELECT skip_reason FROM files WHERE skip_reason IS NOT NULL")
        dead = database.execute("SELECT last_error FROM tasks WHERE state = 'dead'")
        reasons = [reason for (reason,) in (*skipped, *dead)]
    assert reasons
    assert all(reason and "\n" not in reason and "Traceback" not in reason for reason in reasons)


def test_a_second_run_does_nothing_and_does_it_quickly(indexed):
    _, folders, data = indexed
    again = index_once(folders, data)
    assert again["inferences"]["embed"] == 0
    assert again["decodes"] == 0
    # 1 s + 50 µs a file is the promise on an idle machine; `bench start` holds it to that.
    assert again["seconds"] - again["ready_seconds"] < 5


def test_a_moved_photo_costs_no_inference(corpus, tmp_path):
    photos, data = tmp_path / "photos", tmp_path / "data"
    shutil.copytree(corpus / "general" / "rclip", photos)
    first = index_once(photos, data)
    (photos / "moved").mkdir()
    (photos / "bee.jpg").rename(photos / "moved" / "insect.jpg")
    shutil.copy(photos / "cat.jpg", photos / "moved" / "another cat.jpg")
    second = index_once(photos, data)
    assert second["inferences"]["embed"] == 0
    assert second["indexed"] == first["indexed"]
    assert second["duplicates"] == first["duplicates"] + 1


def test_a_deleted_photo_is_found_no_more_and_comes_back_for_free(corpus, tmp_path):
    photos, data, aside = tmp_path / "photos", tmp_path / "data", tmp_path / "aside.jpg"
    shutil.copytree(corpus / "general" / "rclip", photos)
    first = index_once(photos, data)
    shutil.move(photos / "bee.jpg", aside)
    assert index_once(photos, data)["indexed"] == first["indexed"] - 1
    shutil.move(aside, photos / "bee.jpg")
    back = index_once(photos, data)
    assert back["indexed"] == first["indexed"]
    assert back["inferences"]["embed"] == 0


def test_a_root_that_is_suddenly_empty_is_an_absent_disk_not_a_deletion(corpus, tmp_path):
    photos, data = tmp_path / "photos", tmp_path / "data"
    shutil.copytree(corpus / "general" / "rclip", photos)
    first = index_once(photos, data)
    photos.rename(tmp_path / "unmounted")
    photos.mkdir()
    assert index_once(photos, data)["indexed"] == first["indexed"]


def test_a_read_only_tree_is_indexed(corpus, tmp_path):
    photos, data = tmp_path / "photos", tmp_path / "data"
    photos.mkdir()
    mount = ["mount", "-t", "tmpfs", "none", photos]
    mounted = os.getuid() == 0 and not subprocess.run(mount, check=False).returncode
    try:
        shutil.copytree(corpus / "orientation", photos, dirs_exist_ok=True)
        if mounted:
            subprocess.run(["mount", "-o", "remount,ro", photos], check=True)
        else:
            for directory, _, names in os.walk(photos):
                for name in names:
                    os.chmod(os.path.join(directory, name), 0o444)
                os.chmod(directory, 0o555)
        summary = index_once(photos, data)
        assert summary["dead"] == 0
        assert summary["indexed"] > 20
    finally:
        if mounted:
            subprocess.run(["umount", photos], check=True)
        for directory, _, _ in os.walk(photos):
            os.chmod(directory, 0o755)


def test_a_summary_for_people_is_a_table(indexed):
    _, folders, data = indexed
    done = command("--originals", folders[0], "--data", data, "--once")
    assert done.returncode == 0
    assert "indexed" in done.stdout
