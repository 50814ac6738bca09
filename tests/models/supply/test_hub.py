"""What a hub answers, and what is said where it does not."""

import socket

import pytest

from models.supply.errors import (
    HubCut,
    HubOdd,
    HubRefuses,
    HubUnreachable,
    NotOnHub,
    RangeRefused,
)
from models.supply.hub import Hub, Remote
from tests.models.supply.fakehub import NEW, OLD, blob

REPO = "some/one"
FILES = {"model.onnx": blob(5000), "config.json": b"{}"}


@pytest.fixture
def door(hub):
    hub.add(REPO, FILES)
    return Hub(hub.address + "/", stall_s=0.2)


def snapshot(door, revision="", paths=("model.onnx", "config.json")):
    return door.snapshot(REPO, revision, paths)


def read(door, path="model.onnx", start=0):
    asked = snapshot(door, paths=(path,))
    with door.stream(asked, asked.files[0], start) as (first, chunks):
        return first, b"".join(chunks)


def test_the_newest_revision_is_told_by_its_commit(hub, door):
    assert snapshot(door).revision == OLD
    hub.add(REPO, FILES, NEW)
    assert snapshot(door).revision == NEW
    assert snapshot(door, OLD).revision == OLD


def test_large_files_are_known_by_sha256_and_small_ones_by_gits_hash(door):
    large, small = snapshot(door).files
    assert (large.size, len(large.sha256), large.blob) == (5000, 64, "")
    assert small == Remote("config.json", 2, "", "9e26dfeeb6e641a33dae4961196235bdb965b21b")


@pytest.mark.parametrize("path", FILES)
@pytest.mark.parametrize("start", [0, 1])
def test_bytes_come_from_any_position_on(door, path, start):
    assert read(door, path, start) == (start, FILES[path][start:])


def test_a_hub_without_ranges_begins_at_the_beginning(hub, door):
    hub.ranges = False
    assert read(door, start=10) == (0, FILES["model.onnx"])


def test_a_position_behind_the_end_is_refused(door):
    with pytest.raises(RangeRefused):
        read(door, start=9000)


def test_a_token_goes_to_the_hub_and_not_to_whom_it_names(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    hub.add(REPO, FILES)
    door = Hub(hub.address)
    assert read(door, "config.json")[1] == b"{}"
    assert read(door)[1] == FILES["model.onnx"]
    assert hub.tokens == {"127.0.0.1": "Bearer secret", "localhost": ""}


def test_nobody_is_told_who_asks_unless_a_token_is_set(hub, door, monkeypatch, tmp_path):
    (tmp_path / "token").write_text("of another program")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    read(door, "config.json")
    assert hub.tokens == {"127.0.0.1": ""}


def test_a_repository_that_is_not_there(hub, door):
    with pytest.raises(NotOnHub) as caught:
        door.snapshot("some/other", "", ("a",))
    assert str(caught.value) == (
        f"{hub.address} knows no repository some/other, or shows it only to those it knows:"
        " then set HF_TOKEN"
    )


def test_a_revision_that_is_not_there(hub, door):
    with pytest.raises(NotOnHub) as caught:
        snapshot(door, NEW)
    assert str(caught.value) == f"{REPO} has no revision {NEW} on {hub.address}"


def test_a_file_that_is_not_there(hub, door):
    with pytest.raises(NotOnHub) as caught:
        snapshot(door, paths=("other.onnx",))
    assert str(caught.value) == f"{REPO} has no file other.onnx at revision {OLD}"
    asked = snapshot(door)
    del hub.repos[REPO][OLD]["model.onnx"]
    with pytest.raises(NotOnHub), door.stream(asked, asked.files[0], 0):
        pass


def test_a_repository_that_wants_its_terms_agreed_to(hub, door):
    hub.gated.add(REPO)
    with pytest.raises(HubRefuses) as caught:
        read(door)
    assert str(caught.value) == (
        f"{REPO} is not given to everybody: agree to its terms at {hub.address}/{REPO},"
        " then set HF_TOKEN to a token of yours"
    )


@pytest.mark.parametrize(
    ("code", "kind", "line"),
    [
        (401, HubRefuses, "answers 401 for some/one: it wants to know who asks"),
        (403, HubRefuses, "answers 403 for some/one: it wants to know who asks"),
        (500, HubUnreachable, "answers 500; come again later"),
        (503, HubUnreachable, "answers 503; come again later"),
        (429, HubUnreachable, "answers 429; come again later"),
        (418, HubOdd, "answers 418 for some/one"),
    ],
)
def test_other_answers_are_told_by_their_number(hub, door, code, kind, line):
    hub.status["api"] = code
    with pytest.raises(kind) as caught:
        snapshot(door)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("code", "kind"), [(503, HubCut), (403, HubRefuses), (404, HubOdd)])
def test_answers_of_those_whom_the_hub_names(hub, door, code, kind):
    hub.status["cdn"] = code
    with pytest.raises(kind):
        read(door)


def test_a_hotels_welcome_page_is_no_hub(hub, door):
    hub.html = True
    with pytest.raises(HubOdd) as caught:
        snapshot(door)
    assert str(caught.value) == (
        f"{hub.address} does not answer like a model hub: is `model.hub` right?"
    )


def test_another_revision_than_the_one_asked_for_is_refused(hub, door):
    hub.renamed[OLD] = NEW
    with pytest.raises(HubOdd) as caught:
        snapshot(door, OLD)
    assert str(caught.value) == (
        f"{hub.address} answers with revision {NEW} of {REPO} where {OLD} was asked for"
    )


@pytest.mark.parametrize("path", FILES)
def test_a_checksum_that_changes_between_two_answers_is_refused(hub, door, path):
    hub.etags[path] = "0" * 40
    with pytest.raises(HubOdd, match="contradicts itself about"):
        read(door, path)


def test_nobody_at_the_address():
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        with pytest.raises(HubUnreachable) as caught:
            Hub(address).snapshot(REPO, "", ("a",))
    assert str(caught.value) == (
        f"{address} cannot be reached ([Errno 111] Connection refused): is this machine online?"
    )


def test_a_hub_that_falls_silent_within_a_file(hub, door):
    hub.hold_at = ("model.onnx", 1000)
    asked = snapshot(door)
    came: list[bytes] = []
    with pytest.raises(HubCut, match="did not answer in time"):
        listen(door, asked, came)
    assert b"".join(came) == FILES["model.onnx"][:1000]


def listen(door, asked, came):
    with door.stream(asked, asked.files[0], 0) as (_, chunks):
        came.extend(chunks)
