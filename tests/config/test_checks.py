import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from config import ConfigError, NotBuilt, Settings, load
from config.checks import check, file_system, room
from config.errors import (
    DataUnwritable,
    DiskFull,
    FoldersOverlap,
    NetworkDisk,
    OriginalsMissing,
    OriginalsUnreadable,
)


@pytest.fixture
def originals(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def settings(originals: Path | list[Path], data: Path, **flags: object) -> Settings:
    folders = originals if isinstance(originals, list) else [originals]
    named = {key.replace("__", "."): value for key, value in flags.items()}
    return load(
        {"originals": folders, "data": data} | named, environ={"HOME": "/nowhere"}, cwd=Path("/")
    )


def refusal(kind: type[ConfigError], settings: Settings, least_free: int = 0) -> str:
    with pytest.raises(ConfigError) as caught:
        check(settings, least_free=least_free)
    assert type(caught.value) is kind
    return str(caught.value)


def test_each_failure_ends_the_program_with_its_own_status():
    kinds = (OriginalsMissing, OriginalsUnreadable, DataUnwritable, DiskFull)
    assert [kind.exit_code for kind in kinds] == [66, 77, 73, 74]
    assert {kind.exit_code for kind in (ConfigError, NotBuilt, FoldersOverlap, NetworkDisk)} == {78}


@contextmanager
def ordinary_user():
    """Root may do everything, so be somebody else for a moment."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_folders_that_are_fine_pass(originals, data):
    check(settings(originals, data), least_free=0)
    assert list(data.iterdir()) == []


def test_a_data_directory_that_does_not_exist_yet_passes(originals, tmp_path):
    check(settings(originals, tmp_path / "new" / "deep"), least_free=0)
    assert not (tmp_path / "new").exists()


def test_no_originals_are_refused(data):
    assert refusal(OriginalsMissing, settings([], data)) == (
        "config error: no folder of photos is named: use --originals, ORIGINALS_PATH or `originals`"
    )


def test_missing_originals_are_refused(tmp_path, data):
    assert refusal(OriginalsMissing, settings(tmp_path / "gone", data)) == (
        f"config error: {tmp_path}/gone: originals: no such folder; is its disk mounted?"
    )


def test_a_photo_instead_of_its_folder_is_refused(tmp_path, data):
    (tmp_path / "a.jpg").touch()
    assert refusal(OriginalsMissing, settings(tmp_path / "a.jpg", data)) == (
        f"config error: {tmp_path}/a.jpg: originals: not a folder; name the folder it is in"
    )


def test_originals_that_may_not_be_listed_are_refused(data):
    folder = Path(tempfile.mkdtemp())
    wanted = settings(folder, data)
    try:
        folder.chmod(0)
        with ordinary_user():
            line = refusal(OriginalsUnreadable, wanted)
    finally:
        folder.chmod(0o700)
        shutil.rmtree(folder)
    assert line == (
        f"config error: {folder}: originals: cannot be listed: Permission denied;"
        " give this user read access"
    )


@pytest.mark.parametrize("inner", ["", "sub", "sub/deeper"])
def test_data_inside_the_originals_is_refused(originals, inner):
    place = originals / inner
    assert refusal(FoldersOverlap, settings(originals, place)) == (
        f"config error: {place}: `data` lies in the originals {originals},"
        " which are only ever read; choose a place outside"
    )


def test_originals_inside_the_data_directory_are_refused(originals, tmp_path):
    assert refusal(FoldersOverlap, settings(originals, tmp_path)) == (
        f"config error: {originals}: originals lie in `data` {tmp_path};"
        " choose a place outside for it"
    )


def test_a_link_does_not_hide_the_overlap(originals, tmp_path):
    (originals / "inside").mkdir()
    link = tmp_path / "link"
    link.symlink_to(originals / "inside")
    line = refusal(FoldersOverlap, settings(originals, link))
    assert line.startswith(f"config error: {link}: `data` lies in the originals {originals}")


@pytest.mark.parametrize(
    ("key", "value"),
    [("library.derived", "{}/derived"), ("library.database", "sqlite:///{}/catalog.sqlite")],
)
def test_thumbnails_and_database_inside_the_originals_are_refused(originals, data, key, value):
    wanted = settings(originals, data, **{key: value.format(originals)})
    assert f"`{key}` lies in the originals {originals}," in refusal(FoldersOverlap, wanted)


def test_a_database_above_the_originals_is_nobodys_business(originals, data, tmp_path):
    url = f"sqlite:///{tmp_path}/catalog.sqlite"
    check(settings(originals, data, library__database=url), least_free=0)


def test_a_similar_name_is_no_overlap(tmp_path, originals):
    check(settings(originals, tmp_path / "photos-data"), least_free=0)


def test_originals_inside_originals_are_refused(originals, data):
    inner = originals / "a"
    inner.mkdir()
    assert refusal(FoldersOverlap, settings([originals, inner], data)) == (
        f"config error: {inner}: originals lie in the originals {originals};"
        " name only the outer folder"
    )


def test_originals_named_twice_are_refused(originals, data):
    refusal(FoldersOverlap, settings([originals, originals], data))


def test_data_that_cannot_be_written_is_refused(originals):
    # /proc grants root every permission bit and refuses the file none the less.
    assert refusal(DataUnwritable, settings(originals, Path("/proc"))) == (
        "config error: /proc: cannot be written: No such file or directory;"
        " choose another place or give this user access"
    )


@pytest.mark.parametrize("place", ["file", "file/data"])
def test_data_below_a_file_is_refused(originals, tmp_path, place):
    (tmp_path / "file").touch()
    assert refusal(DataUnwritable, settings(originals, tmp_path / place)) == (
        f"config error: {tmp_path}/{place}: cannot be written: Not a directory;"
        " choose another place or give this user access"
    )


def test_data_that_could_not_be_made_is_refused():
    folder = Path(tempfile.mkdtemp())
    photos = Path(tempfile.mkdtemp())
    wanted = settings(photos, folder / "data")
    try:
        folder.chmod(0o555)
        photos.chmod(0o755)
        with ordinary_user():
            line = refusal(DataUnwritable, wanted)
    finally:
        shutil.rmtree(folder)
        shutil.rmtree(photos)
    assert line == (
        f"config error: {folder}/data: cannot be written: Permission denied;"
        " choose another place or give this user access"
    )


def test_a_full_disk_is_refused(originals, data):
    line = refusal(DiskFull, settings(originals, data), least_free=1 << 62)
    assert line.startswith(f"config error: {data}: only ")
    assert line.endswith(
        " GB free, 4611686018.4 GB are needed; free some or choose another place for `data`"
    )


MOUNTS = b"""\
/dev/sda1 / ext4 rw 0 0
nas:/photos /mnt/nas nfs4 rw 0 0
//nas/x /mnt/with\\040blank cifs rw 0 0
/dev/sdb1 /mnt/nas/local ext4 rw 0 0
tmpfs /mnt/covered tmpfs rw 0 0
me@host: /mnt/covered fuse.sshfs rw 0 0
//nas/\xff /mnt/\xff smb3 rw 0 0
short
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/x", "ext4"),
        ("/mnt/nas", "nfs4"),
        ("/mnt/nas/data", "nfs4"),
        ("/mnt/nasty", "ext4"),
        ("/mnt/nas/local/data", "ext4"),
        ("/mnt/with blank/data", "cifs"),
        ("/mnt/covered", "fuse.sshfs"),
        (os.fsdecode(b"/mnt/\xff/data"), "smb3"),
    ],
)
def test_the_deepest_and_latest_mount_decides(tmp_path, path, kind):
    mounts = tmp_path / "mounts"
    mounts.write_bytes(MOUNTS)
    assert file_system(Path(path), mounts) == kind


def test_where_mounts_cannot_be_read_nothing_is_said(tmp_path):
    assert file_system(Path("/"), tmp_path / "none") == ""


def test_the_real_table_of_mounts_is_understood():
    assert file_system(Path("/proc/self")) == "proc"


def test_data_on_a_network_disk_is_refused(originals, data, tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"nas:/x {data} nfs4 rw 0 0\n")
    with pytest.raises(NetworkDisk) as caught:
        check(settings(originals, data), mounts=mounts, least_free=0)
    assert str(caught.value) == (
        f"config error: {data}: is on a network file system (nfs4),"
        " where the database would break; choose a local disk"
    )


def test_originals_on_a_network_disk_are_welcome(originals, data, tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"nas:/x {originals} nfs4 rw 0 0\n")
    check(settings(originals, data), mounts=mounts, least_free=0)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("Picures", "Pictures"),
        ("pictures", "Pictures"),
        ("Picures/2020", "Pictures/2020"),
        ("Pictures/2002", "Pictures/2020"),
        ("Picures/elsewhere", "Pictures"),
    ],
)
def test_a_folder_that_is_nearly_there_is_proposed(tmp_path, data, written, meant):
    (tmp_path / "Pictures" / "2020").mkdir(parents=True)
    (tmp_path / "Picures.txt").touch()  # no folder
    assert refusal(OriginalsMissing, settings(tmp_path / written, data)) == (
        f"config error: {tmp_path}/{written}: originals: no such folder;"
        f" did you mean {tmp_path}/{meant}?"
    )


def test_room_is_what_the_nearest_folder_has(tmp_path):
    there = shutil.disk_usage(tmp_path).free
    assert room(tmp_path / "not" / "yet") == pytest.approx(there, rel=0.1)
