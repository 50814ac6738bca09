"""Searching captions, and having a photo described, as a person at the terminal does it."""

import contextlib
import json
import sqlite3
from itertools import pairwise

import pytest

from actors.client import BlockingClient, PeerRefused
from bench.system import command, running
from tests.captioner import NAME, caption_of
from tests.system.test_captions import draw, prepared

pytestmark = pytest.mark.timeout(300)
PHOTOS = 5


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """A running system that has described everything."""
    place = tmp_path_factory.mktemp("told")
    data, photos = prepared(place / "data"), place / "photos"
    settings = data / "obscura.toml"
    settings.write_text(settings.read_text().replace("idle = 0.5", "idle = 600"))
    draw(photos, range(PHOTOS))
    with running(photos, data) as library:
        library.wait_indexed()
        yield library


def asked(library, *arguments):
    done = command(*arguments, "--data", library.data)
    return done.returncode, done.stdout, done.stderr


def test_words_of_a_caption_find_its_photo_and_the_reason_is_told(library):
    code, out, err = asked(library, "search", "a grey picture", "--json")
    assert code == 0, err
    hits = {hit["path"].rpartition("/")[2]: hit for hit in json.loads(out)}
    assert {name: hit["reason"] for name, hit in hits.items()} == {
        f"{number:02}.png": "both" if number == 2 else "vector" for number in range(PHOTOS)
    }
    assert {name: hit["caption"] for name, hit in hits.items()} == {
        f"{number:02}.png": caption_of(library.data.parent / "photos" / f"{number:02}.png")
        for number in range(PHOTOS)
    }
    code, out, err = asked(library, "search", "a grey picture")
    assert code == 0, err
    (line,) = [line for line in out.splitlines() if "02.png" in line]
    assert "both" in line
    assert line.endswith("a picture that is grey")


def test_a_photo_is_described_by_its_path_and_by_its_number(library):
    photo = library.data.parent / "photos" / "04.png"
    assert asked(library, "describe", photo) == (0, f"{caption_of(photo)}\n", "")
    code, out, _ = asked(library, "describe", photo, "--json")
    said = json.loads(out)
    assert (code, said["caption"]) == (0, caption_of(photo))
    assert asked(library, "describe", said["content"]) == (0, f"{caption_of(photo)}\n", "")


def test_a_program_hears_every_word(library):
    with BlockingClient.connect(library.data) as client:
        hits = client.search("a grey picture").hits
        texts = list(client.describe(hits[0].content))
        assert texts[-1] == hits[0].caption
        # all of it so far, each time
        assert all(longer.startswith(text) for text, longer in pairwise(texts))
        with pytest.raises(PeerRefused, match="there is no photo 99"):
            list(client.describe(99))


@pytest.mark.parametrize(
    ("photo", "code", "why"),
    [
        ("99", 1, "there is no photo 99 (not_found)"),
        ("/nowhere/a.jpg", 66, "/nowhere/a.jpg is not in the library"),
        ("9" * 40, 66, "is not in the library"),
    ],
)
def test_what_cannot_be_described_is_told_in_one_line(library, photo, code, why):
    status, out, err = asked(library, "describe", photo)
    assert (status, out, err.count("\n")) == (code, "", 1)
    assert err.startswith("obscura: describe: ")
    assert why in err


def test_a_file_that_is_no_photo_is_not_described(library):
    (library.data.parent / "photos" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    library.wait_indexed()
    code, out, err = asked(library, "describe", library.data.parent / "photos" / "broken.png")
    assert (code, out) == (66, "")
    assert "not" in err


def test_check_misses_a_caption_and_has_it_written_again(library):
    code, out, err = asked(library, "check", "--json")
    assert (code, json.loads(out)["ok"]) == (0, True), err
    with contextlib.closing(sqlite3.connect(library.data / "catalog.sqlite")) as database, database:
        (space,) = database.execute("SELECT id FROM spaces WHERE kind = 'caption'").fetchone()
        database.execute("DELETE FROM vectors WHERE space = ? AND content = 1", (space,))
        database.execute("DELETE FROM captions WHERE content = 1")
        last = "(SELECT max(id) FROM captions)"
        database.execute(f"DELETE FROM caption_words_docsize WHERE id = {last}")
        kind = ("vector", str(space))
        database.execute("UPDATE counters SET n = n - 1 WHERE kind = ? AND state = ?", kind)
    code, out, _ = asked(library, "check")
    assert code == 1
    assert "captions" in out
    assert "to be described again" in out
    assert "it lacks 1 captions" in out
    code, out, err = asked(library, "check", "--repair")
    assert code == 0, out + err
    library.wait_indexed()
    code, out, err = asked(library, "check", "--json")
    assert (code, json.loads(out)["ok"]) == (0, True), out


def test_status_tells_who_describes_and_how_far(library):
    code, out, _ = asked(library, "status")
    assert code == 0
    assert f"{NAME} (captions) serves ({PHOTOS} of {PHOTOS} photos)" in out
    status = json.loads(asked(library, "status", "--json")[1])
    (space,) = [each for each in status["catalog"]["spaces"] if each["kind"] == "caption"]
    assert (space["pack"], space["vectors"]) == (NAME, PHOTOS)


def test_a_forgotten_photo_leaves_no_word_behind(library):
    photo = library.data.parent / "photos" / "00.png"
    with BlockingClient.connect(library.data) as client:
        assert any(hit.reason == "both" for hit in client.search("black").hits)
        code, _, err = asked(library, "forget", photo, "--yes")
        assert code == 0, err
        assert not any(hit.reason != "vector" for hit in client.search("black").hits)
    everything = b"".join(each.read_bytes() for each in library.data.glob("catalog.sqlite*"))
    assert b"is black" not in everything
    assert b"is white" in everything
