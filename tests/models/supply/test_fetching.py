"""One file: cut, gone on with, and only ever whole."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.supply.errors import Corrupt, HubCut
from models.supply.fetching import PAUSES, fetch
from models.supply.hub import Hub
from tests.models.supply.fakehub import blob

REPO = "some/one"
CONTENT = blob(300_000)
FILES = {"onnx/model.onnx": CONTENT, "config.json": b'{"a": 1}', "empty.txt": b""}
PATH = "onnx/model.onnx"


class Try:
    """Fetches into a folder and remembers what it was told."""

    def __init__(self, hub, folder):
        hub.add(REPO, FILES)
        self.hub, self.folder = hub, folder
        self.door = Hub(hub.address, stall_s=0.1)
        self.told, self.waited = 0, []

    def __call__(self, path=PATH):
        snapshot = self.door.snapshot(REPO, "", (path,))
        self.told, self.hub.seen[:] = 0, []
        return fetch(
            self.door, snapshot, snapshot.files[0], self.folder, self.hear, pause=self.waited.append
        )

    def hear(self, count):
        self.told += count

    @property
    def ranges(self):
        return [span for _, span in self.hub.bodies(PATH)]

    @property
    def part(self):
        return self.folder / f"{PATH}.part"

    @property
    def whole(self):
        return self.folder / PATH


@pytest.fixture
def attempt(hub, tmp_path):
    return Try(hub, tmp_path)


def leave(attempt, content):
    """What an earlier pull left."""
    attempt.part.parent.mkdir()
    attempt.part.write_bytes(content)


@pytest.mark.parametrize("path", FILES)
def test_a_file_comes_whole_and_is_told_with_its_sha256(attempt, path):
    import hashlib

    locked = attempt(path)
    assert (attempt.folder / path).read_bytes() == FILES[path]
    assert (locked.path, locked.size) == (path, len(FILES[path]))
    assert locked.sha256 == hashlib.sha256(FILES[path]).hexdigest()
    assert attempt.told == len(FILES[path])
    assert list(attempt.folder.rglob("*.part")) == []


def test_a_cut_is_gone_on_with_at_once(hub, attempt):
    hub.cuts[PATH] = [100_000, 50_000]
    attempt()
    assert attempt.whole.read_bytes() == CONTENT
    assert attempt.ranges == ["", "bytes=100000-", "bytes=150000-"]
    assert attempt.waited == []
    assert (hub.sent, attempt.told) == (len(CONTENT), len(CONTENT))


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(1, 120_000), max_size=6))
def test_however_it_is_cut_no_byte_comes_twice(hub, attempt, cuts):
    attempt.whole.unlink(missing_ok=True)
    hub.cuts[PATH], hub.sent = list(cuts), 0
    attempt()
    assert attempt.whole.read_bytes() == CONTENT
    assert (hub.sent, attempt.told) == (len(CONTENT), len(CONTENT))


def test_what_an_earlier_pull_left_is_not_fetched_again(hub, attempt):
    leave(attempt, CONTENT[:200_000])
    attempt()
    assert attempt.whole.read_bytes() == CONTENT
    assert attempt.ranges == ["bytes=200000-"]


@pytest.mark.parametrize("finished", [True, False])
def test_a_file_that_is_complete_is_only_read(hub, attempt, finished):
    leave(attempt, CONTENT)
    if finished:
        attempt.part.replace(attempt.whole)
    attempt()
    assert attempt.whole.read_bytes() == CONTENT
    assert attempt.ranges == []


def test_a_hub_without_ranges_is_asked_for_all_of_it(hub, attempt):
    hub.ranges = False
    leave(attempt, CONTENT[:200_000])
    attempt()
    assert attempt.whole.read_bytes() == CONTENT
    assert attempt.told == len(CONTENT)


def test_a_cut_that_brings_nothing_is_waited_out_and_then_told(hub, attempt):
    hub.cuts[PATH] = [100_000, *[0] * 20]
    with pytest.raises(HubCut):
        attempt()
    assert attempt.waited == list(PAUSES)
    assert attempt.part.read_bytes() == CONTENT[:100_000]
    hub.cuts.clear()
    attempt()
    assert attempt.ranges == ["bytes=100000-"]


def test_a_hub_that_comes_back_is_gone_on_with(hub, attempt):
    hub.cuts[PATH] = [100_000, 0, 0, 0]
    attempt()
    assert attempt.whole.read_bytes() == CONTENT
    assert attempt.waited == list(PAUSES[:3])


def test_a_hub_that_is_down_for_a_while_is_asked_again(hub, attempt):
    hub.cuts[PATH] = [100_000]
    asked = attempt.door.snapshot(REPO, "", (PATH,))
    hub.status["resolve"] = 503

    def pause(seconds):
        attempt.waited.append(seconds)
        if len(attempt.waited) == 3:
            hub.status.clear()

    fetch(attempt.door, asked, asked.files[0], attempt.folder, attempt.hear, pause=pause)
    assert attempt.whole.read_bytes() == CONTENT
    assert attempt.waited == list(PAUSES[:3])


def test_a_silent_hub_is_asked_again(hub, attempt):
    hub.hold_at = (PATH, 100_000)
    attempt()
    assert attempt.whole.read_bytes() == CONTENT
    assert attempt.ranges == ["", "bytes=100000-"]


def test_a_body_that_ends_early_in_good_order_is_gone_on_with(hub, attempt):
    hub.short.add("config.json")
    with pytest.raises(HubCut, match=r"(broke|ended)"):
        attempt("config.json")


@pytest.mark.parametrize(
    ("lie", "bytes_"),
    [
        (CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]), "300000"),
        (CONTENT + b"more", "3000"),
    ],
)
def test_wrong_bytes_are_refused_and_removed(hub, attempt, lie, bytes_):
    hub.lies[PATH] = lie
    with pytest.raises(Corrupt) as caught:
        attempt()
    line = str(caught.value)
    assert line.startswith(f"{PATH} of {REPO} came with sha256 ")
    assert f" in {bytes_}" in line
    assert line.endswith(" in 300000: removed; pull again")
    assert [each for each in attempt.folder.rglob("*") if each.is_file()] == []
    assert attempt.told == 0
    hub.lies.clear()
    attempt()
    assert attempt.ranges == [""]


def test_wrong_bytes_of_a_small_file_are_known_by_gits_hash(hub, attempt):
    hub.lies["config.json"] = b'{"a": 2}'
    with pytest.raises(Corrupt, match=r"instead of git's [0-9a-f]{40} in 8: removed"):
        attempt("config.json")


@pytest.mark.parametrize("left", [CONTENT + b"more", b"x" * len(CONTENT), b"x" * 1000])
def test_what_was_left_and_is_wrong_is_removed(hub, attempt, left):
    leave(attempt, left)
    with pytest.raises(Corrupt):
        attempt()
    assert not attempt.part.exists()
    attempt()
    assert attempt.whole.read_bytes() == CONTENT


def test_a_hub_that_has_less_than_it_promised_is_not_asked_for_ever(hub, attempt):
    leave(attempt, CONTENT[:200_000])
    hub.lies[PATH] = CONTENT[:100_000]  # the body only: the listing promises more
    with pytest.raises(HubCut):
        attempt()
    assert attempt.waited == list(PAUSES)
