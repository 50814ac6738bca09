"""All real photos in one run: every file that is not indexed is on a list, with its reason."""

import contextlib
import csv
import sqlite3
from pathlib import Path

import pytest

from bench.system import index_once

pytestmark = [pytest.mark.corpus, pytest.mark.timeout(300)]

TABLE = Path(__file__).with_name("corpus_not_indexed.tsv")
LEFT_OUT = """
    SELECT CASE WHEN files.skip_reason IS NULL THEN 'dead' ELSE 'skipped' END,
        directories.path, files.name, coalesce(files.skip_reason, tasks.last_error)
    FROM files JOIN directories ON directories.id = files.directory
    LEFT JOIN tasks ON tasks.file = files.id WHERE files.content IS NULL
"""


def test_every_file_that_is_not_indexed_stands_in_the_table_with_its_reason(corpus, tmp_path):
    summary = index_once(corpus, tmp_path / "data")
    with contextlib.closing(sqlite3.connect(tmp_path / "data" / "catalog.sqlite")) as database:
        rows = database.execute(LEFT_OUT).fetchall()
    found = {
        (b"/".join(filter(None, (folder, name))).decode("utf-8", "backslashreplace")): (how, why)
        for how, folder, name, why in rows
    }
    with TABLE.open(encoding="utf-8", newline="") as file:
        table = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        expected = {row["file"]: (row["how"], row["reason"]) for row in table}
    assert found == expected
    assert summary["files"] == summary["indexed"] + summary["duplicates"] + len(expected)
    assert {name: n for name, n in summary["restarts"].items() if n} == {}
