"""Reading an original once, and leaving it as it was."""

import errno
import os

import pytest
from blake3 import blake3

from actors.photo import original
from actors.photo.errors import BadPhoto, Busy, HostAway, NotAPhoto
from actors.photo.limits import Limits
from actors.photo.original import read_original


@pytest.fixture
def photo(tmp_path, scene, encoded):
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(scene()))
    return path


def test_bytes_digest_and_container(photo):
    read = read_original(os.fsencode(photo))
    assert read.name == b"a.jpg"
    assert read.data == photo.read_bytes()
    assert read.digest == blake3(read.data).digest()
    assert read.container == "jpeg"
    assert read_original(str(photo)) == read


def test_a_name_that_is_no_utf8_is_read(tmp_path, photo):
    path = os.fsencode(tmp_path) + b"/caf\xe9.jpg"
    os.rename(photo, path)
    assert read_original(path).name == b"caf\xe9.jpg"


def test_the_original_is_left_as_it_was(photo):
    photo.chmod(0o444)
    os.utime(photo, ns=(1_000_000_000, 1_000_000_000))  # an access time that relatime would move
    before = photo.stat()
    read_original(str(photo))
    after = photo.stat()
    assert (before.st_mtime_ns, before.st_ctime_ns, before.st_atime_ns) == (
        after.st_mtime_ns,
        after.st_ctime_ns,
        after.st_atime_ns,
    )


def test_a_foreign_file_is_read_with_its_access_time_moved(photo, monkeypatch):
    flags_seen = []
    real = os.open

    def refuse(path, flags):
        flags_seen.append(flags)
        if flags & os.O_NOATIME:
            raise PermissionError(errno.EPERM, "Operation not permitted")
        return real(path, flags)

    monkeypatch.setattr("os.open", refuse)
    assert read_original(str(photo)).container == "jpeg"
    assert len(flags_seen) == 2
    assert not any(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) for flags in flags_seen)


@pytest.mark.parametrize(
    ("name", "data", "error", "reason"),
    [
        ("a.jpg", b"", BadPhoto, "empty: the file has a photo's name and no bytes"),
        ("a", b"", NotAPhoto, "not a photo: an empty file"),
        ("a.jpg", b"\0" * 999, BadPhoto, "zeroed: the file holds nothing but zero bytes"),
        ("a.jpg", b"\x93\x12\0\xff" * 9, BadPhoto, "damaged: the file does not begin like"),
        ("a.xyz", b"\x93\x12\0\xff" * 9, NotAPhoto, "not a photo: of an unknown kind"),
        ("a.jpg", b"just a note", NotAPhoto, "not a photo: a text file"),
        ("a.jpg", b"%PDF-1.7", NotAPhoto, "not a photo: a PDF document"),
    ],
)
def test_what_is_no_picture_is_told(name, data, error, reason, tmp_path):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(error) as told:
        read_original(str(tmp_path / name))
    assert told.value.reason.startswith(reason)


def test_a_large_file_that_is_no_picture_costs_one_small_read(tmp_path):
    path = tmp_path / "a.jpg"
    with path.open("wb") as file:
        file.write(b"\0\0\0\x18ftypisom")
        file.truncate(40 * 1024**3)  # a hole
    with pytest.raises(NotAPhoto, match="a video"):
        read_original(str(path))


def test_a_file_above_the_limit_is_refused_unread(photo):
    with pytest.raises(BadPhoto, match=r"^too large: 0 MiB, and the limit is 0 MiB"):
        read_original(str(photo), Limits(file=100))


def test_a_directory_and_a_pipe_are_no_photos(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    for path in (tmp_path, tmp_path / "pipe.jpg"):
        with pytest.raises(NotAPhoto, match=r"^not a regular file"):
            read_original(str(path))


def test_a_file_that_grows_while_it_is_read_is_busy(photo, monkeypatch):
    def grow(*args):
        with photo.open("ab") as file:
            file.write(b"more")

    monkeypatch.setattr(original, "_refuse_early", grow)
    with pytest.raises(Busy, match="still being written"):
        read_original(str(photo))


def test_a_file_that_is_touched_while_it_is_read_is_busy(photo, monkeypatch):
    monkeypatch.setattr(original, "_refuse_early", lambda *args: os.utime(photo, (1, 1)))
    with pytest.raises(Busy, match="still being written"):
        read_original(str(photo))


def test_a_missing_file_is_the_hosts_matter(tmp_path):
    with pytest.raises(HostAway, match=r"^the file is not there any more"):
        read_original(str(tmp_path / "gone.jpg"))


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.EIO, HostAway),
        (errno.ESTALE, HostAway),
        (errno.ENOTCONN, HostAway),
        (errno.ENODEV, HostAway),
        (errno.EMFILE, Busy),
        (errno.ENOMEM, Busy),
        (errno.EACCES, BadPhoto),
    ],
)
def test_each_failure_to_read_has_its_culprit(number, error, photo, monkeypatch):
    def fail(path, flags):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr("os.open", fail)
    with pytest.raises(error) as told:
        read_original(str(photo))
    assert str(photo) not in told.value.reason
