"""`models` as a user runs it: what is said, the exit status, and what is left on the disk."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from bench.system import ROOT, SUPERVISOR, command, environment
from models.pack import BUILT_IN, load_pack
from models.supply.known import find_known
from supervisor import app
from tests.actors.library.catalogs import empty_catalog
from tests.captioner import teller
from tests.models.captions.folders import publish
from tests.models.faces.graphs import constants, padded, save
from tests.models.faces.test_recogniser import graph as recogniser
from tests.models.faces.test_scrfd import nine
from tests.models.supply.fakehub import NEW, OLD, FakeHub, wait_for

REPO = "immich-app/buffalo_s"
SMALL, LARGE = "detection/model.onnx", "recognition/model.onnx"


def graphs() -> dict[str, bytes]:
    """A detector of 100 kB and a recogniser of 900 kB."""
    with tempfile.TemporaryDirectory() as folder:
        frame = constants(Path(folder) / "detect.onnx", nine([], size=128), (1, 3, 128, 128))
        crop = recogniser(Path(folder) / "recognise.onnx", SimpleNamespace(save=save))
        return {SMALL: padded(frame, 100_000), LARGE: padded(crop, 900_000)}


FILES = graphs()
HEAD = (
    "buffalo_s: InsightFace's small pair: finds faces and tells them apart\n"
    "licence: non-commercial research only, see https://github.com/deepinsight/insightface\n"
)
UNPINNED = (
    "buffalo_s is unpinned: its revision is not known here; taking the newest,"
    f" {OLD}, and keeping to it\n"
)
STOPPED = "stopped; what was fetched stays, and the next pull goes on from there\n"


@pytest.fixture
def hub(monkeypatch):
    """A hub with one pack, which the settings name."""
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    with FakeHub().running() as fake:
        fake.add(REPO, FILES)
        monkeypatch.setenv("OBSCURA__MODEL__HUB", fake.address)
        yield fake


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A data directory that is not there yet; settings of this machine are left out."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("OBSCURA_DATA", raising=False)
    return tmp_path / "data"


@pytest.fixture
def run(data):
    """One command, in this process."""

    def run(*arguments):
        return CliRunner().invoke(app, ["models", *map(str, arguments), "--data", str(data)])

    return run


def ours():
    """What the fixtures put into the environment, which other tests' processes do without."""
    return {name: value for name, value in os.environ.items() if name.startswith("OBSCURA__")}


def as_user(data, *arguments, **options):
    """One command, in a process of its own."""
    done = command("models", *arguments, "--data", data, env=ours() | options)
    return done.returncode, done.stdout, done.stderr


@contextlib.contextmanager
def pulling(data):
    """A pull that is under way in a process of its own."""
    command_line = [*SUPERVISOR, "models", "pull", "buffalo_s", "--accept-licence", "--data", data]
    process = subprocess.Popen(
        command_line,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment(ours()),
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def half(data):
    """The bytes of the large file that are there."""
    for part in data.glob(f"packs/.partial/pull-*/{LARGE}.part"):
        return part.stat().st_size
    return 0


def refused(result, code, line):
    """It ended with *code* and *line* is the last that it said, on stderr."""
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.splitlines()[-1] == f"obscura: {line}"


def pull(run, *more):
    return run("pull", "buffalo_s", "--accept-licence", *more)


def rows(run):
    return {each["name"]: each for each in json.loads(run("list", "--json").stdout)}


# ── a pack comes, is looked at, and goes ──


def test_the_life_of_a_pack(hub, data):
    licence = (
        "obscura: buffalo_s may not be used commercially: non-commercial research only, see"
        " https://github.com/deepinsight/insightface; whoever agrees says --accept-licence\n"
    )
    assert as_user(data, "pull", "buffalo_s") == (77, "", licence)
    code, said, told = as_user(data, "pull", "buffalo_s", "--accept-licence")
    assert (code, said) == (0, "buffalo_s is here: 1.0 MB, of which 1.0 MB were fetched now\n")
    assert told.startswith(HEAD + UNPINNED + "buffalo_s: 1.0 of 1.0 MB (")
    assert told.endswith(" MB/s)\n")
    assert [path.read_bytes() for path in sorted(data.glob("packs/buffalo_s/*/*"))] == [
        *FILES.values()
    ]
    assert as_user(data, "pull", "buffalo_s") == (0, "buffalo_s is here already, unchanged\n", HEAD)

    code, said, told = as_user(data, "verify", "buffalo_s")
    assert (code, told) == (0, "")
    assert [line.split() for line in said.splitlines()] == [
        ["pack", "file", "state"],
        ["buffalo_s", SMALL, "ok"],
        ["buffalo_s", "pack.toml", "ok"],
        ["buffalo_s", LARGE, "ok"],
    ]
    assert as_user(data, "remove", "buffalo_s", "--yes") == (
        0,
        "buffalo_s is removed: 1.0 MB\n",
        "",
    )
    assert list(data.glob("packs/buffalo_s")) == []
    assert "buffalo_s" in (data / "models.lock").read_text()


def test_the_list_as_a_person_sees_it(data):
    code, said, told = as_user(data, "list")
    assert (code, told) == (0, "")
    lines = {line.split()[0]: " ".join(line.split()) for line in said.splitlines()}
    assert lines["pack"] == "pack for where size licence state"
    assert lines["sketch"] == (
        "sketch search, faces, captions built in 9.3 MB Apache-2.0"
        " in use, ok, understands drawings only"
    )
    assert lines["clip-vit-b32-laion2b"] == (
        "clip-vit-b32-laion2b search hub 605.0 MB MIT"
        " to be pulled, unpinned: no revision is known here"
    )
    assert lines["yunet"] == (
        "yunet faces 0.2 MB MIT cannot be pulled: no repository with its graph is known here"
    )
    assert lines["buffalo_l"] == (
        "buffalo_l faces hub 190.9 MB non-commercial research only"
        " to be pulled with --accept-licence, unpinned: no revision is known here"
    )
    assert not data.exists()


def test_the_list_for_a_program(hub, run, data):
    assert pull(run).exit_code == 0
    found = rows(run)
    told = (data / "packs" / "buffalo_s" / "pack.toml").stat().st_size
    assert found["buffalo_s"] == {
        "name": "buffalo_s",
        "kind": "faces",
        "offers": ["faces"],
        "where": "here",
        "directory": f"{data}/packs/buffalo_s",
        "size": 1_000_000 + told,
        "licence": "non-commercial research only",
        "commercial": False,
        "revision": OLD,
        "in_use": False,
        "library": "",
        "ok": True,
        "state": "ok",
    }
    assert (found["sketch"]["in_use"], found["sketch"]["where"]) == (True, "built in")
    assert (found["yunet"]["ok"], found["yunet"]["where"]) == (None, "")


def test_a_captioner_is_pulled_as_a_pack(hub, run, data, tmp_path):
    folder = publish(tmp_path, "vit-gpt2")
    files = {file.path: (folder / file.path).read_bytes() for file in find_known("vit-gpt2").files}
    hub.add("Xenova/vit-gpt2-image-captioning", files)
    assert run("pull", "vit-gpt2").exit_code == 0
    assert rows(run)["vit-gpt2"]["state"] == "ok"
    assert load_pack(data / "packs" / "vit-gpt2").kinds == ("caption",)


def test_a_captioner_of_one_s_own_is_told_as_one(run, tmp_path):
    assert run("import", publish(tmp_path, "blip"), "--name", "mine").exit_code == 0
    assert rows(run)["mine"]["kind"] == "captions"


def test_a_pull_for_a_program(hub, run, data):
    result = pull(run, "--json")
    assert json.loads(result.stdout) == {
        "name": "buffalo_s",
        "directory": f"{data}/packs/buffalo_s",
        "unchanged": False,
        "revision": OLD,
        "licence": "non-commercial research only",
        "size": 1_000_000,
        "fetched": 1_000_000,
        "pinned": False,
    }
    assert result.stderr == HEAD + UNPINNED
    assert json.loads(pull(run, "--json").stdout)["unchanged"] is True


# ── it is ended in the middle ──


@pytest.mark.parametrize(
    "ended",
    [
        (
            signal.SIGINT,
            130,
            "stopped; what was fetched stays, and the next pull goes on from there\n",
        ),
        (signal.SIGKILL, -9, ""),
    ],
)
def test_a_pull_that_is_ended_leaves_nothing_broken_and_is_gone_on_with(hub, run, data, ended):
    number, code, told = ended
    hub.hold_at = (LARGE, 400_000)
    with pulling(data) as process:
        assert hub.held.wait(30)
        wait_for(lambda: half(data) == 400_000)
        process.send_signal(number)
        said, errors = process.communicate(timeout=30)
    assert (process.returncode, said, errors.removeprefix(HEAD + UNPINNED)) == (code, "", told)
    hub.go_on.set()
    assert not (data / "packs" / "buffalo_s").exists()
    assert not (data / "models.lock").exists()
    assert rows(run)["buffalo_s"]["state"] == "0.5 MB pulled; pull again to go on"
    hub.seen.clear()
    done = pull(run)
    assert done.stdout == "buffalo_s is here: 1.0 MB, of which 0.5 MB were fetched now\n"
    assert "going on after 0.5 MB\n" in done.stderr
    assert [span for _, span in hub.bodies()] == ["bytes=400000-"]
    assert run("verify", "buffalo_s").exit_code == 0


def test_a_line_that_is_cut_is_gone_on_with_at_once(hub, run):
    hub.cuts[LARGE] = [300_000, 300_000]
    assert pull(run).exit_code == 0
    assert [span for _, span in hub.bodies() if span] == ["bytes=300000-", "bytes=600000-"]
    assert hub.sent == 1_000_000


def test_a_second_pull_meanwhile_is_sent_away(hub, run, data):
    hub.hold_at = (LARGE, 400_000)
    with pulling(data) as process:
        assert hub.held.wait(30)
        refused(
            pull(run),
            75,
            f"process {process.pid} already works on {data}/packs: a pack is being pulled,"
            " imported or removed; come again",
        )
        hub.go_on.set()
        assert process.wait(30) == 0


def test_what_was_begun_can_be_removed(hub, run, data):
    hub.lies[LARGE] = b"!" * 900_000
    assert pull(run).exit_code == 78
    assert run("remove", "buffalo_s", "--yes").stdout == "buffalo_s is removed: 0.1 MB\n"
    assert [path.name for path in data.glob("packs/.partial/*")] == []


# ── the hub does not give it ──


def test_nobody_answers(hub, run, monkeypatch):
    monkeypatch.setenv("OBSCURA__MODEL__HUB", "http://127.0.0.1:9")
    refused(
        pull(run),
        75,
        "http://127.0.0.1:9 cannot be reached ([Errno 111] Connection refused):"
        " is this machine online?",
    )


def test_the_network_is_not_wanted(hub, data):
    code, _, told = as_user(data, "pull", "buffalo_s", "--accept-licence", HF_HUB_OFFLINE="1")
    assert (code, told) == (
        75,
        HEAD + "obscura: HF_HUB_OFFLINE is set, so nothing is fetched: unset it, or import from"
        " a folder\n",
    )
    assert hub.seen == []


def test_wrong_bytes_are_refused_and_removed(hub, run, data):
    hub.lies[LARGE] = FILES[LARGE][:-1] + bytes([FILES[LARGE][-1] ^ 1])
    result = pull(run)
    line = result.stderr.splitlines()[-1]
    assert result.exit_code == 78
    assert line.startswith(f"obscura: {LARGE} of {REPO} came with sha256 ")
    assert line.endswith(" in 900000: removed; pull again")
    assert not list(data.rglob(f"*{LARGE}*"))
    hub.lies.clear()
    assert pull(run).stdout == "buffalo_s is here: 1.0 MB, of which 0.9 MB were fetched now\n"


def test_other_bytes_than_before_are_refused(hub, run):
    assert pull(run).exit_code == 0
    assert run("remove", "buffalo_s", "-y").exit_code == 0
    hub.repos[REPO][OLD][SMALL] = b"other"
    result = pull(run)
    assert result.exit_code == 78
    assert result.stderr.splitlines()[-1].startswith(
        f"obscura: buffalo_s at {OLD}: the hub now has other bytes for {SMALL}: sha256 "
    )


def test_a_revision_that_is_not_there(hub, run):
    refused(pull(run, "--revision", NEW), 66, f"{REPO} has no revision {NEW} on {hub.address}")


def test_a_file_that_is_not_there(hub, run):
    del hub.repos[REPO][OLD][LARGE]
    refused(pull(run), 66, f"{REPO} has no file {LARGE} at revision {OLD}")


def test_a_pack_whose_terms_have_to_be_agreed_to_on_the_hub(hub, run):
    hub.gated.add(REPO)
    refused(
        pull(run),
        77,
        f"{REPO} is not given to everybody: agree to its terms at {hub.address}/{REPO},"
        " then set HF_TOKEN to a token of yours",
    )


def test_what_is_no_hub(hub, run):
    hub.html = True
    refused(pull(run), 78, f"{hub.address} does not answer like a model hub: is `model.hub` right?")


# ── what cannot be ──


def test_a_name_nobody_knows(run):
    result = run("pull", "clip")
    assert result.exit_code == 66
    assert result.stderr.startswith("obscura: no pack 'clip' is known; there are: clip-vit-b32-")
    refused(run("verify", "clip"), 66, "no pack 'clip' is here; there are: sketch")
    refused(run("remove", "clip", "--yes"), 66, "no pack 'clip' is here; there are: sketch")


def test_a_pack_that_nobody_can_pull(run):
    refused(
        run("pull", "yunet"),
        78,
        "yunet cannot be pulled: no repository with its graph is known here; with its files in a"
        " folder: models import FOLDER",
    )


def test_a_revision_that_is_none(run):
    refused(
        run("pull", "buffalo_s", "--revision", "main"),
        2,
        "models pull: --revision takes a commit of 40 hex digits",
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a disk, which needs root")
def test_a_disk_that_is_too_small(hub, run, data):
    data.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "none", data]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("nobody may mount here")
    try:
        refused(
            pull(run),
            74,
            f"{data}/packs/.partial/pull-buffalo_s@{OLD}: buffalo_s needs 202 MB and only 8 MB are"
            " free; free some or choose another place for `data`",
        )
        subprocess.run(["mount", "-o", "remount,ro", data], check=True)
        refused(
            pull(run),
            73,
            f"config error: {data}: cannot be written: Read-only file system;"
            " choose another place or give this user access",
        )
    finally:
        subprocess.run(["umount", "-l", data], check=True)


def test_a_lock_that_is_broken(run, data):
    data.mkdir()
    (data / "models.lock").write_text("{")
    for arguments in (["list"], ["verify"], ["pull", "auraface"]):
        refused(
            run(*arguments),
            78,
            f"{data}/models.lock: Input data was truncated; restore a copy of it, or remove it and"
            " pull again",
        )


# ── from a folder, damaged, removed ──


@pytest.fixture
def copy(run, tmp_path):
    """The built-in pack under another name, in a folder."""
    source = tmp_path / "My Copy"
    shutil.copytree(BUILT_IN / "sketch", source)
    toml = source / "pack.toml"
    toml.write_text(toml.read_text().replace('name = "sketch"', 'name = "my-copy"'))
    return source


def test_a_folder_becomes_a_pack(run, data, copy):
    result = run("import", copy)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "my-copy is here\n", "")
    assert copy.is_dir()
    assert run("verify", "my-copy").exit_code == 0
    row = rows(run)["my-copy"]
    assert (row["state"], row["where"]) == ("ok, understands drawings only", "here")
    refused(
        run("import", copy),
        1,
        "a pack 'my-copy' is here already: say another --name, or: models remove my-copy",
    )


def test_a_folder_that_is_none(run, tmp_path):
    refused(run("import", tmp_path / "no"), 66, f"{tmp_path}/no is no folder that can be read")
    (tmp_path / "empty").mkdir()
    refused(
        run("import", tmp_path / "empty"),
        78,
        f"{tmp_path}/empty: expected a pack.toml, visual/ and textual/, detection/ or"
        " recognition/ with a model.onnx, onnx/ with vision_model.onnx and text_model.onnx, a"
        " captioner's encoder and decoder, or one or two .onnx of faces; found none of them",
    )
    refused(run("import", ""), 2, "a folder is named by an empty text: is a variable not set?")


@pytest.mark.parametrize("name", ["My Copy", "../up", "", "x" * 65])
def test_a_name_that_is_none(run, copy, name):
    refused(
        run("import", copy, "--name", name),
        2,
        f"models import: {name!r} is no name for a pack: small letters, digits, `.`, `_` and `-`"
        " make one; say --name",
    )


def test_a_damaged_file_is_named(run, data, copy):
    assert run("import", copy).exit_code == 0
    path = data / "packs" / "my-copy" / "text.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    result = run("verify")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"obscura: damaged: {path} has sha256 ")
    assert result.stdout.count(" ok\n") + result.stdout.count(" ok ") >= 5
    found = json.loads(run("verify", "my-copy", "--json").stdout)
    assert found["ok"] is False
    assert [each["file"] for each in found["files"] if not each["ok"]] == ["text.onnx"]
    path.unlink()
    assert rows(run)["my-copy"]["state"] == "damaged: text.onnx is missing"
    assert run("verify", "sketch").exit_code == 0


def test_what_serves_the_library_is_kept(run, data, copy, monkeypatch):
    assert run("import", copy).exit_code == 0
    refused(
        run("remove", "sketch", "--yes"),
        78,
        f"sketch is built in: only packs in {data}/packs are removed",
    )
    monkeypatch.setenv("OBSCURA__MODEL__PACK", "my-copy")
    assert rows(run)["my-copy"]["in_use"] is True
    refused(
        run("remove", "my-copy", "--yes"),
        78,
        "my-copy is in use: `model.pack` names it, or is not set to another",
    )
    monkeypatch.delenv("OBSCURA__MODEL__PACK")
    refused(run("remove", "my-copy"), 2, "models remove: say --yes where nobody can be asked")
    result = run("remove", "my-copy", "--yes", "--json")
    assert json.loads(result.stdout)["removed"] == "my-copy"
    assert sorted(path.name for path in Path(data, "packs").iterdir()) == [".lock", ".partial"]


def test_what_a_running_system_was_started_with_is_kept(run, data, copy, tmp_path):
    assert run("import", copy).exit_code == 0
    told = {"pid": os.getpid(), "run": "1", "run_dir": str(tmp_path), "pack": "my-copy"}
    (data / "run.json").write_text(json.dumps(told))
    refused(
        run("remove", "my-copy", "--yes"),
        78,
        "my-copy is in use by the running system: stop it first",
    )
    (data / "run.json").unlink()
    assert run("remove", "my-copy", "--yes").exit_code == 0


# ── captions ──


@pytest.fixture
def library(data):
    """A library at rest that has a model for pictures, and none for anything else."""
    data.mkdir()
    (data / "catalog.sqlite").write_bytes(empty_catalog())
    teller(data / "packs")


def test_a_pack_that_describes_photos_is_used_and_listed_and_not_removed_while_it_serves(
    run, library
):
    assert rows(run)["teller"] | {"size": 0} == rows(run)["teller"] | {
        "size": 0,
        "kind": "captions",
        "state": "ok",
        "in_use": False,
    }
    result = run("use", "teller")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "teller (captions) serves the library (described 0 of 0 photos)\n"
    assert rows(run)["teller"]["library"] == "active"
    said = json.loads(run("use", "teller", "--json").stdout)
    assert (said["pack"], said["state"]) == ("teller", "active")
    refused(
        run("remove", "teller", "--yes"),
        78,
        "teller serves the library: choose another with `models use` first",
    )


def test_a_captioner_that_cannot_be_loaded_is_not_used(run, data, library):
    graph = data / "packs" / "teller" / "decoder.onnx"
    graph.write_bytes(b"nothing")
    result = run("use", "teller")
    assert result.exit_code == 78
    assert result.stderr.startswith(f"obscura: teller is damaged: {graph} has sha256 ")


def test_another_captioner_is_built_beside_it_and_an_old_one_goes_with_its_captions(
    run, data, library
):
    teller(data / "packs", "teller-2")
    assert run("use", "teller").exit_code == 0
    assert run("use", "teller-2").exit_code == 0
    assert rows(run)["teller-2"]["library"] == "active"  # there is nothing to describe
    result = run("remove", "teller", "--yes", "--with-vectors", "--json")
    assert (result.exit_code, json.loads(result.stdout)["removed"]) == (0, "teller")
