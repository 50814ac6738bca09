"""What is wrong outside of us: one clear line, an exit status of its own, and nothing lost.

Everything goes through the real command line.  Where root may do what a user may not, a mount
takes the permission away.
"""

import contextlib
import hashlib
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import time

import pytest

from actors.client import BlockingClient
from actors.vectors.snapshot import read_manifest
from bench.system import ROOT, SUPERVISOR, command, environment, index_once, running
from config.checks import LEAST_LEFT
from tests.system.test_kill import contents, searchable, start_once, wait_for

pytestmark = pytest.mark.timeout(300)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a disk, which needs root")


@pytest.fixture(scope="module")
def photos(drawings, tmp_path_factory):
    """A few pictures."""
    folder = tmp_path_factory.mktemp("few") / "photos"
    folder.mkdir()
    for picture in sorted(drawings.glob("*.jpg"))[:20]:
        (folder / picture.name).write_bytes(picture.read_bytes())
    return folder


@pytest.fixture(scope="module")
def indexed(photos, tmp_path_factory):
    """(data directory, summary) of an undisturbed run over them."""
    data = tmp_path_factory.mktemp("indexed") / "data"
    summary = index_once(photos, data)
    assert summary["indexed"] > 10
    return data, summary


@pytest.fixture
def data(indexed, tmp_path):
    """A copy of it to be damaged, without a journal, as an orderly stop leaves it.

    On a machine that is too busy for that the catalog is killed, and leaves one.
    """
    shutil.copytree(indexed[0], tmp_path / "data")
    with contextlib.closing(sqlite3.connect(tmp_path / "data" / "catalog.sqlite")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return tmp_path / "data"


@contextlib.contextmanager
def disk(path, options):
    """A disk in memory at *path*."""
    path.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", options, "none", path]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("nobody may mount here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", path], check=True)


def remount(path, options):
    subprocess.run(["mount", "-o", f"remount,{options}", path], check=True)


def once(originals, data, *more, **options):
    return command("--originals", originals, "--data", data, "--once", "--json", *more, **options)


def refused(done, code, line):
    """It ended with *code* and said *line*, and that was all it said."""
    assert (done.returncode, done.stdout, done.stderr) == (code, "", f"obscura: {line}\n")


# ── folders ──


def test_a_misspelt_folder_of_photos_is_answered_with_the_right_one(tmp_path):
    (tmp_path / "Pictures" / "2020").mkdir(parents=True)
    typo = tmp_path / "Picures" / "2020"
    refused(
        once(typo, tmp_path / "data"),
        66,
        f"config error: {typo}: originals: no such folder; did you mean {tmp_path}/Pictures/2020?",
    )
    other = tmp_path / "nothing like it"
    refused(
        once(other, tmp_path / "data"),
        66,
        f"config error: {other}: originals: no such folder; is its disk mounted?",
    )
    assert not (tmp_path / "data").exists()


@needs_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv to be somebody else")
def test_a_folder_of_photos_that_may_not_be_listed(tmp_path):
    (tmp_path / "photos").mkdir(mode=0)
    somebody = ["setpriv", "--reuid=65534", "--clear-groups"]
    refused(
        once(tmp_path / "photos", "/tmp/nothing", before=somebody, env={"HOME": "/nonexistent"}),
        77,
        f"config error: {tmp_path}/photos: originals: cannot be listed: Permission denied;"
        " give this user read access",
    )


@needs_root
@pytest.mark.parametrize("there", [True, False])
def test_a_data_directory_that_cannot_be_written(photos, tmp_path, there):
    with disk(tmp_path / "disk", "size=1m"):
        data = tmp_path / "disk" / "data"
        if there:
            data.mkdir()
        remount(tmp_path / "disk", "ro")
        refused(
            once(photos, data),
            73,
            f"config error: {data}: cannot be written: Read-only file system;"
            " choose another place or give this user access",
        )


@needs_root
def test_a_data_directory_on_a_network_disk(photos, tmp_path):
    (tmp_path / "mounts").write_text(f"nas:/share {tmp_path} nfs4 rw 0 0\n")
    start = f'mount --bind {tmp_path}/mounts /proc/$$/mounts && exec "$@"'
    done = once(photos, tmp_path / "data", before=["unshare", "--mount", "sh", "-c", start, "sh"])
    if "mount:" in done.stderr or "unshare:" in done.stderr:
        pytest.skip("this kernel lets nobody change what /proc tells")
    refused(
        done,
        78,
        f"config error: {tmp_path}/data: is on a network file system (nfs4),"
        " where the database would break; choose a local disk",
    )


def test_data_inside_the_originals_and_the_other_way_round(photos, tmp_path):
    refused(
        once(photos, photos / "data"),
        78,
        f"config error: {photos}/data: `data` lies in the originals {photos}, which are only ever"
        " read; choose a place outside",
    )
    refused(
        once(photos, photos.parent),
        78,
        f"config error: {photos}: originals lie in `data` {photos.parent};"
        " choose a place outside for it",
    )


# ── settings ──


def test_settings_that_nobody_can_use_are_told_with_their_place(photos, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    toml = data / "obscura.toml"
    for text, said in (
        ("[gateway]\nprot = 80\n", "unknown key `gateway.prot` (did you mean `gateway.port`?)"),
        (
            'gateway.port = "80"\n',
            '`gateway.port` must be a whole number from 0 to 65535, not "80"',
        ),
        ("[gateway\n", "not valid TOML: Expected ']' at the end of a table declaration"),
    ):
        toml.write_text(text)
        done = once(photos, data)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (78, "", 1)
        assert done.stderr.startswith(f"obscura: config error: {toml}: {said}")
    toml.unlink()
    refused(
        once(photos, data, env={"OBSCURA__GATEWAY__PROT": "80"}),
        78,
        "config error: environment: unknown variable `OBSCURA__GATEWAY__PROT`"
        " (did you mean `OBSCURA__GATEWAY__PORT`?)",
    )


def test_a_port_in_use_fails_the_start(photos, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused(
            command("--originals", photos, "--data", tmp_path / "data", "--port", port),
            78,
            f"cannot listen on 127.0.0.1 port {port}: another program uses it; end that program,"
            " or start with another --port, or with --port 0 for any",
        )
    assert not (tmp_path / "data" / "run.json").exists()


# ── models ──


def test_a_model_pack_that_is_not_there(photos, tmp_path):
    done = once(photos, tmp_path / "data", env={"OBSCURA__MODEL__PACK": "sketsch"})
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (78, "", 1)
    assert done.stderr.startswith("obscura: no pack 'sketsch' in ")
    assert done.stderr.endswith("; there are: sketch\n")


@pytest.mark.parametrize("damage", ["flipped", "missing"])
def test_a_damaged_model_file(photos, tmp_path, damage):
    pack = tmp_path / "data" / "packs" / "sketch"
    shutil.copytree(ROOT / "models" / "packs" / "sketch", pack)
    graph = pack / "image.onnx"
    if damage == "missing":
        graph.unlink()
    else:
        whole = bytearray(graph.read_bytes())
        whole[len(whole) // 2] ^= 1
        graph.write_bytes(whole)
    done = once(photos, tmp_path / "data")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (78, "", 1)
    assert done.stderr.startswith(f"obscura: {graph}: expected ")
    said = ": fetch it again\n" if damage == "flipped" else ": No such file or directory\n"
    assert done.stderr.endswith(said)


def test_a_graph_that_does_not_load_fails_the_start_with_the_childs_own_line(photos, tmp_path):
    """Its checksum is right: only the process that opens it can tell."""
    pack = tmp_path / "data" / "packs" / "sketch"
    shutil.copytree(ROOT / "models" / "packs" / "sketch", pack)
    before = hashlib.sha256((pack / "image.onnx").read_bytes()).hexdigest()
    (pack / "image.onnx").write_bytes(b"no graph at all")
    after = hashlib.sha256(b"no graph at all").hexdigest()
    toml = (pack / "pack.toml").read_text()
    (pack / "pack.toml").write_text(toml.replace(before, after))
    done = once(photos, tmp_path / "data")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (78, "", 1)
    assert done.stderr.startswith(f"obscura: {pack}/image.onnx: ")


def test_two_runtimes_that_overwrite_each_other(photos, tmp_path):
    installed = tmp_path / "site" / "onnxruntime_gpu-1.30.0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Name: onnxruntime-gpu\nVersion: 1.30.0\n")
    refused(
        once(photos, tmp_path / "data", env={"PYTHONPATH": str(tmp_path / "site")}),
        78,
        "onnxruntime and onnxruntime-gpu are both installed and overwrite each other's files:"
        " uninstall all of them, then install exactly one",
    )


# ── what is kept ──


def damage_random(path):
    path.write_bytes(os.urandom(path.stat().st_size))


def damage_page(path):
    with contextlib.closing(sqlite3.connect(path)) as database:
        (page,) = database.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'files'")
        ((size,),) = database.execute("PRAGMA page_size")
    with path.open("r+b") as file:
        file.seek((page[0] - 1) * size)
        file.write(bytes(size))


def damage_end(path):
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (damage_random, "file is not a database"),
        (damage_page, "database disk image is malformed"),
        (damage_end, r"cut off: "),
    ],
)
def test_a_damaged_database_is_named_and_left_as_it_is(photos, data, damage, said):
    path = data / "catalog.sqlite"
    damage(path)
    before = path.read_bytes()
    done = once(photos, data)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (74, "", 1)
    assert done.stderr.startswith(f"obscura: catalog {path} is damaged ({said}")
    assert done.stderr.endswith(
        "; put a copy of it back, or move it away to have everything indexed anew\n"
    )
    assert path.read_bytes() == before
    # … and what it tells to do helps
    path.unlink()
    for beside in data.glob("catalog.sqlite-*"):
        beside.unlink()
    assert index_once(photos, data)["indexed"] > 10


def test_a_database_of_a_newer_version_is_left_alone(photos, data):
    path = data / "catalog.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    done = once(photos, data)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (78, "", 1)
    assert done.stderr.startswith(f"obscura: catalog {path} has schema 9999, this program knows ")
    assert done.stderr.endswith("; use a newer Obscura\n")


@pytest.mark.parametrize("damage", ["manifest", "vectors"])
def test_a_damaged_index_is_built_anew_and_said_so(indexed, photos, data, damage):
    homes = {read_manifest(each).space: each for each in (data / "index").iterdir()}
    home = homes["sketch-1"]
    largest = max(
        (each for each in home.rglob("*") if each.is_file()), key=lambda f: f.stat().st_size
    )
    damage_random(home / "manifest.json" if damage == "manifest" else largest)
    done = once(photos, data)
    assert done.returncode == 0
    assert done.stderr == (
        "index: the stored index is not usable (SnapshotBroken) and is built anew"
        " from the catalog; nothing is lost\n"
    )
    assert json.loads(done.stdout)["indexed"] == indexed[1]["indexed"]
    assert searchable(data) == searchable(indexed[0])


# ── room ──


@needs_root
def test_a_small_disk_is_refused_at_the_start(photos, tmp_path):
    data = tmp_path / "disk"
    with disk(data, "size=1g"):
        refused(
            once(photos, data),
            74,
            f"config error: {data}: only 1.1 GB free, 2.0 GB are needed;"
            " free some or choose another place for `data`",
        )


def room_goes_slowly(data, used):
    remount(data, f"size={used + LEAST_LEFT // 2}")


def room_goes_at_once(data, used):
    """No room is ever taken that is in use, and more is used with every moment."""
    while True:
        try:
            return remount(data, f"size={used + 100_000}")
        except subprocess.CalledProcessError:
            used = shutil.disk_usage(data).used


def names_run_out(data, used):
    del used
    while True:
        names = os.statvfs(data)
        with contextlib.suppress(subprocess.CalledProcessError):  # some were taken meanwhile
            return remount(data, f"nr_inodes={names.f_files - names.f_ffree + 5}")


@needs_root
@pytest.mark.parametrize(
    ("fill", "said"),
    [
        (room_goes_slowly, ": only {left} MB are left; stopped before the disk is full"),
        (room_goes_at_once, ""),  # whoever meets it first says it
        (names_run_out, "/derived: no room for the thumbnails: no space left on device;"),
    ],
)
def test_a_disk_that_fills_up_stops_the_system_and_loses_nothing(
    drawings, undisturbed, tmp_path, fill, said
):
    data = tmp_path / "disk"
    with disk(data, "size=4g,nr_inodes=100k"):
        run = subprocess.Popen(
            [*SUPERVISOR, "--originals", drawings, "--data", data, "--once", "--json"],
            env=environment(),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_for((data / "run.json").exists)
        with BlockingClient.connect(data) as client:
            wait_for(lambda: (c := client.status().catalog) and c.decodes >= 40)
        used = shutil.disk_usage(data).used
        fill(data, used)
        output, errors = run.communicate(timeout=120)
        assert (run.returncode, output, errors.count("\n")) == (74, "", 1), errors
        assert errors.startswith("obscura: ")
        assert said.partition("{left}")[0] in errors
        assert states_of(data)["ready"] > 0, "it was over before the disk was full"
        remount(data, "size=4g,nr_inodes=100k")
        summary = index_once(drawings, data)
        assert summary["dead"] == 0
        assert (contents(data), searchable(data)) == undisturbed


def states_of(data):
    with contextlib.closing(sqlite3.connect(data / "catalog.sqlite")) as database:
        return dict(database.execute("SELECT state, count(*) FROM tasks GROUP BY 1"))


@pytest.fixture(scope="module")
def undisturbed(drawings, tmp_path_factory):
    data = tmp_path_factory.mktemp("undisturbed") / "data"
    index_once(drawings, data)
    return contents(data), searchable(data)


# ── Ctrl-C ──


def test_ctrl_c_while_the_program_is_being_loaded_ends_it_without_a_word(photos, tmp_path):
    (tmp_path / "typer.py").write_text(
        "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)\n"
    )
    done = once(photos, tmp_path / "data", env={"PYTHONPATH": str(tmp_path)})
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_ctrl_c_in_the_middle_of_once_is_no_success(drawings, tmp_path):
    run = start_once(drawings, tmp_path / "data")
    wait_for((tmp_path / "data" / "run.json").exists)
    run.send_signal(2)
    output, _ = run.communicate(timeout=30)
    assert (run.returncode, output) == (130, b"")


def test_later_a_child_that_cannot_work_is_set_aside_and_shown(photos, tmp_path):
    data, log = tmp_path / "data", tmp_path / "log"
    with running(photos, data, log=log) as library:
        library.wait_indexed()
        token = data / "token"
        token.chmod(0o644)  # which makes it no secret: the gateway refuses to go on with it
        os.kill(library.pids()["gateway"], 9)
        while "gateway cannot work" not in log.read_text():
            time.sleep(0.05)
        assert library.process.poll() is None
    assert f"set aside until the next start: {token}: others can read it" in log.read_text()
    assert "Traceback" not in log.read_text()
