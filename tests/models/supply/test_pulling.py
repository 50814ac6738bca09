"""A pack from the hub: locked, compared, and visible only when it is whole."""

import errno
import os
import subprocess

import pytest

from models.errors import PackBroken
from models.pack import Pack
from models.supply.errors import Corrupt, HubOdd, LicenceNeeded, LockDiffers, NoRoom, PackKept
from models.supply.hub import Hub
from models.supply.known import find_known
from models.supply.lock import Lock
from models.supply.pulling import SPARE, check_licence, pull
from models.supply.shelf import Shelf
from tests.models.supply.fakehub import NEW, OLD, blob

FILES = {"detection/model.onnx": blob(20_000, 1), "recognition/model.onnx": blob(90_000, 2)}
TEXT = {"onnx/encoder_model.onnx": blob(9_000), "onnx/decoder_model_merged.onnx": blob(9_000, 1)}
TEXT |= dict.fromkeys(("tokenizer.json", "preprocessor_config.json", "config.json"), b"{}")


class Ear:
    def __init__(self):
        self.said, self.total, self.done = [], 0, 0

    def say(self, text):
        self.said.append(text)

    def begin(self, total, there):
        self.total = total

    def advance(self, count):
        self.done += count


class Desk:
    """Pulls into one data directory."""

    def __init__(self, hub, data):
        self.hub, self.shelf, self.ear = hub, Shelf(data), Ear()
        self.shelf.packs.mkdir(parents=True)
        hub.add("immich-app/buffalo_s", FILES)
        hub.add("Xenova/vit-gpt2-image-captioning", TEXT)

    def __call__(self, name="buffalo_s", **options):
        self.ear, self.hub.sent = Ear(), 0
        self.hub.seen.clear()
        options.setdefault("room", lambda _: 10**12)
        options.setdefault("accepted", True)
        return pull(find_known(name), Hub(self.hub.address), self.shelf, self.ear, **options)

    @property
    def lock(self):
        return Lock.read(self.shelf.data)

    def visible(self):
        return sorted(each.name for each in self.shelf.packs.iterdir() if each.name[0] != ".")


@pytest.fixture
def desk(hub, tmp_path):
    return Desk(hub, tmp_path / "data")


def test_a_pack_is_fetched_locked_and_whole(hub, desk):
    done = desk()
    assert (done.name, done.revision, done.pinned) == ("buffalo_s", OLD, False)
    assert (done.size, done.fetched) == (110_000, 110_000)
    assert (desk.ear.total, desk.ear.done) == (110_000, 110_000)
    held = desk.shelf.find("buffalo_s")
    assert [(file, fault) for file, fault in held.faults(read=True)] == [
        ("detection/model.onnx", None),
        ("recognition/model.onnx", None),
    ]
    assert desk.visible() == ["buffalo_s"]
    assert list(desk.shelf.partial.iterdir()) == []
    entry = desk.lock.find("buffalo_s")
    assert (entry.repo, entry.revision) == ("immich-app/buffalo_s", OLD)
    assert (entry.licence, bool(entry.accepted)) == ("non-commercial research only", True)
    assert entry.installed == entry.files


def test_an_unpinned_pack_says_so_and_is_kept_to_from_then_on(hub, desk):
    desk()
    line = f"its revision is not known here; taking the newest, {OLD}, and keeping to it"
    assert desk.ear.said == [f"buffalo_s is unpinned: {line}"]
    hub.add("immich-app/buffalo_s", FILES | {"detection/model.onnx": b"newer"}, NEW)
    desk.shelf.remove(desk.shelf.own("buffalo_s"))
    assert desk().revision == OLD
    assert desk.ear.said == []


def test_another_revision_is_taken_where_it_is_named(hub, desk):
    desk()
    hub.add("immich-app/buffalo_s", FILES | {"detection/model.onnx": b"newer"}, NEW)
    assert desk(revision=NEW).revision == NEW
    assert desk.lock.find("buffalo_s").revision == NEW
    content = (desk.shelf.packs / "buffalo_s" / "detection" / "model.onnx").read_bytes()
    assert content == b"newer"


def test_what_is_here_unchanged_is_not_asked_for(hub, desk):
    desk()
    assert desk() is None
    assert hub.seen == []


def test_a_damaged_pack_is_fetched_again(hub, desk):
    desk()
    (desk.shelf.packs / "buffalo_s" / "detection" / "model.onnx").write_bytes(b"damaged")
    assert desk().fetched == 110_000
    assert desk.ear.said == ["buffalo_s is damaged and is fetched again"]
    assert desk() is None


@pytest.mark.parametrize(
    ("name", "repo", "path"),
    [
        ("buffalo_s", "immich-app/buffalo_s", "detection/model.onnx"),
        ("vit-gpt2", "Xenova/vit-gpt2-image-captioning", "tokenizer.json"),
    ],
)
def test_other_bytes_under_the_same_revision_are_refused(hub, desk, name, repo, path):
    desk(name)
    before = {each.path: each.sha256 for each in desk.lock.find(name).files}[path]
    desk.shelf.remove(desk.shelf.own(name))
    hub.repos[repo][OLD][path] = b"changed"
    with pytest.raises(LockDiffers) as caught:
        desk(name)
    line = str(caught.value)
    start = f"{name} at {OLD}: the hub now has other bytes for {path}: sha256 "
    assert line.startswith(start)
    assert line[len(start) + 64 :] == f" instead of {before} in models.lock; not taken"
    assert desk.visible() == []


def test_a_licence_with_limits_is_agreed_to_once(desk):
    with pytest.raises(LicenceNeeded) as caught:
        desk(accepted=False)
    assert str(caught.value) == (
        "buffalo_s may not be used commercially: non-commercial research only, see"
        " https://github.com/deepinsight/insightface; whoever agrees says --accept-licence"
    )
    assert desk.hub.seen == []
    desk()
    agreed = desk.lock.find("buffalo_s").accepted
    desk.shelf.remove(desk.shelf.own("buffalo_s"))
    desk(accepted=False)
    assert desk.lock.find("buffalo_s").accepted == agreed


def test_a_licence_without_limits_is_not_asked_for(desk):
    check_licence(find_known("vit-gpt2"), Lock(), accepted=False)
    desk("vit-gpt2", accepted=False)
    assert desk.lock.find("vit-gpt2").accepted == ""


def test_somebodys_own_pack_of_that_name_is_kept(desk):
    (desk.shelf.packs / "buffalo_s").mkdir()
    with pytest.raises(PackKept) as caught:
        desk()
    assert str(caught.value) == (
        f"{desk.shelf.packs}/buffalo_s was not pulled: `models remove buffalo_s` takes it away"
        " first"
    )


def test_a_cut_pull_is_not_visible_and_the_next_goes_on(hub, desk):
    hub.status["recognition"] = 404
    with pytest.raises(HubOdd):
        desk()
    assert desk.visible() == []
    assert desk.shelf.begun() == {"buffalo_s": 20_000}
    hub.status.clear()
    assert desk().fetched == 90_000
    assert desk.ear.said[-1] == "going on after 0.0 MB"
    assert desk.ear.done == desk.ear.total
    assert desk.shelf.begun() == {}


def test_whoever_waits_is_told_for_how_long(hub, desk):
    waits: list[float] = []
    hub.cuts["recognition/model.onnx"] = [50_000, 0, 0, 0]
    desk(pause=waits.append)
    assert waits == [0, 1, 2]
    assert desk.ear.said[1:] == [
        "the hub does not go on; asking again in 1 s",
        "the hub does not go on; asking again in 2 s",
    ]


def test_a_corrupt_file_costs_only_itself(hub, desk):
    hub.lies["recognition/model.onnx"] = blob(90_000, 9)
    with pytest.raises(Corrupt):
        desk()
    assert desk.shelf.begun() == {"buffalo_s": 20_000}
    hub.lies.clear()
    assert desk().fetched == 90_000


@pytest.mark.parametrize("step", ["Lock.write", "Shelf.publish", "os.fsync"])
def test_a_stop_between_any_two_steps_costs_no_byte(hub, desk, monkeypatch, step):
    with monkeypatch.context() as patch:
        where = {
            "Lock.write": "models.supply.lock.Lock.write",
            "Shelf.publish": "models.supply.shelf.Shelf.publish",
            "os.fsync": "models.supply.shelf.os.fsync",
        }[step]
        # once: the third file-system sync is the lock's
        calls = iter([None, None, None] if step == "os.fsync" else [])

        def stop(*_, **__):
            if next(calls, KeyboardInterrupt) is KeyboardInterrupt:
                raise KeyboardInterrupt

        patch.setattr(where, stop)
        with pytest.raises(KeyboardInterrupt):
            desk()
    assert desk.visible() == []
    assert desk().fetched == 0
    assert desk() is None


def test_a_pack_that_cannot_be_made_keeps_what_was_fetched(hub, desk):
    def fail(source, into, name):
        raise PackBroken(source / "config.json", "is not understood")

    with pytest.raises(PackBroken):
        desk(make=fail)
    assert (desk.visible(), desk.lock.packs) == ([], ())

    def make(source, into, name):
        (into / name).mkdir(parents=True)
        (into / name / "graph.onnx").write_bytes(b"made")
        return Pack(name=name, revision="1", licence="MIT", summary="", directory=into / name)

    assert desk(make=make).fetched == 0
    entry = desk.lock.find("buffalo_s")
    assert [each.path for each in entry.files] == list(FILES)
    assert [(each.path, each.size) for each in entry.installed] == [("graph.onnx", 4)]
    assert os.listdir(desk.shelf.packs / "buffalo_s") == ["graph.onnx"]
    assert list(desk.shelf.partial.iterdir()) == []
    assert desk(make=make) is None


@pytest.mark.parametrize(("made", "need"), [(False, 110_000), (True, 220_000)])
def test_room_is_looked_for_first(hub, desk, made, need):
    make = (lambda *_: pytest.fail("made")) if made else None
    with pytest.raises(NoRoom) as caught:
        desk(room=lambda _: SPARE + need - 1, make=make)
    assert str(caught.value) == (
        f"{desk.shelf.partial}/pull-buffalo_s@{OLD}: buffalo_s needs 200 MB and only 200 MB"
        " are free; free some or choose another place for `data`"
    )
    assert hub.bodies() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a disk, which needs root")
def test_a_disk_that_becomes_full_keeps_what_came(hub, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", data]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("nobody may mount here")
    try:
        desk = Desk(hub, data)
        with pytest.raises(NoRoom) as caught:
            desk()
        assert str(caught.value).endswith(
            " MB to go; free some and pull again, it goes on from there"
        )
        assert desk.visible() == []
        there = desk.shelf.begun()["buffalo_s"]
        assert there > 20_000
        subprocess.run(["mount", "-o", "remount,size=1m", data], check=True)
        assert desk().fetched == 110_000 - there
    finally:
        subprocess.run(["umount", "-l", data], check=True)


def test_other_failures_of_a_disk_are_not_told_as_want_of_room(desk, monkeypatch):
    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("models.supply.fetching.os.write", fail)
    with pytest.raises(OSError, match="Input/output error"):
        desk()
