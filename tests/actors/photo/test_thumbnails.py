"""Two small files for a content, whole or not there."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from actors.photo.thumbnails import (
    LARGE,
    SMALL,
    find_pair,
    remove_pair,
    thumbnail_path,
    why_unreadable,
    write_pair,
)

ROOT = Path(__file__).resolve().parents[3]
DIGEST = bytes(range(0xAB, 0xAB + 32))


def test_both_sizes_lie_below_the_first_two_digits(tmp_path, scene):
    pair = write_pair(tmp_path, DIGEST, scene(1024, 768), damaged=False)
    large, small = (thumbnail_path(tmp_path, DIGEST, side) for side in (LARGE, SMALL))
    assert large == tmp_path / "ab" / f"{DIGEST.hex()}.1024.jpg"
    assert (small.stat().st_size, large.stat().st_size) == pair
    with Image.open(large) as one, Image.open(small) as other:
        assert (one.size, other.size) == ((1024, 768), (256, 192))
        assert one.format == other.format == "JPEG"


def test_a_small_picture_is_not_enlarged(tmp_path, scene):
    write_pair(tmp_path, DIGEST, scene(60, 40), damaged=False)
    for side in (LARGE, SMALL):
        with Image.open(thumbnail_path(tmp_path, DIGEST, side)) as image:
            assert image.size == (60, 40)


def test_no_metadata_are_written(tmp_path, scene):
    write_pair(tmp_path, DIGEST, scene(300, 200), damaged=False)
    for side in (LARGE, SMALL):
        with Image.open(thumbnail_path(tmp_path, DIGEST, side)) as image:
            assert not {"exif", "icc_profile", "comment", "xmp", "photoshop"} & set(image.info)


def test_nothing_but_the_pair_is_left(tmp_path, scene):
    write_pair(tmp_path, DIGEST, scene(), damaged=False)
    assert len(list(tmp_path.rglob("*.*"))) == 2


def test_a_decoder_that_is_killed_while_it_writes_leaves_nothing(tmp_path):
    script = f"""
import os, pathlib, signal
from PIL import Image
from actors.photo.thumbnails import write_pair
def die(self, file, *more, **options):
    file.write(b"half a thumbnail")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
Image.Image.save = die
write_pair(pathlib.Path({str(tmp_path)!r}), bytes(32), Image.new("RGB", (9, 9)), damaged=False)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert list(tmp_path.rglob("*.*")) == []


def test_a_pair_is_written_over_a_torn_one(tmp_path, scene):
    for side in (SMALL, LARGE):
        torn = thumbnail_path(tmp_path, DIGEST, side)
        torn.parent.mkdir(exist_ok=True)
        torn.write_bytes(b"torn")
    pair = write_pair(tmp_path, DIGEST, scene(), damaged=False)
    assert find_pair(tmp_path, DIGEST) == pair
    assert len(list(tmp_path.rglob("*.*"))) == 2


def test_where_no_file_can_be_without_a_name_a_temporary_one_does(tmp_path, scene, monkeypatch):
    real = os.open

    def refuse(path, flags, *more):
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return real(path, flags, *more)

    monkeypatch.setattr(os, "open", refuse)
    pair = write_pair(tmp_path, DIGEST, scene(), damaged=False)
    assert find_pair(tmp_path, DIGEST) == pair
    assert len(list(tmp_path.rglob("*.*"))) == 2


def test_a_pair_is_found_again(tmp_path, scene):
    assert find_pair(tmp_path, DIGEST) is None
    pair = write_pair(tmp_path, DIGEST, scene(), damaged=False)
    assert find_pair(tmp_path, DIGEST) == pair


@pytest.mark.parametrize("side", [LARGE, SMALL])
@pytest.mark.parametrize("harm", ["gone", "empty", "torn", "zeroed"])
def test_half_a_pair_is_none(side, harm, tmp_path, scene):
    write_pair(tmp_path, DIGEST, scene(), damaged=False)
    path = thumbnail_path(tmp_path, DIGEST, side)
    data = path.read_bytes()
    if harm == "gone":
        path.unlink()
    else:
        left = {"empty": b"", "torn": data[: len(data) // 2], "zeroed": b"\0" * len(data)}
        path.write_bytes(left[harm])
    assert find_pair(tmp_path, DIGEST) is None


def test_the_pair_of_a_damaged_photo_is_not_reused(tmp_path, scene):
    write_pair(tmp_path, DIGEST, scene(), damaged=True)
    assert find_pair(tmp_path, DIGEST) is None


def test_a_failed_write_leaves_no_file(tmp_path, scene, monkeypatch):
    def fail(self, file, kind, **options):
        file.write(b"half a thumbn")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="No space"):
        write_pair(tmp_path, DIGEST, scene(), damaged=False)
    assert list(tmp_path.rglob("*.*")) == []


def test_a_folder_that_cannot_be_made_is_an_os_error(tmp_path, scene):
    (tmp_path / "derived").write_bytes(b"a file where the folder should be")
    with pytest.raises(OSError, match="Not a directory"):
        write_pair(tmp_path / "derived", DIGEST, scene(), damaged=False)


def test_a_pair_is_removed_with_what_a_dead_decoder_left_of_it(tmp_path, scene):
    other = bytes(32)
    for digest in (DIGEST, other):
        write_pair(tmp_path, digest, scene(), damaged=False)
    large = thumbnail_path(tmp_path, DIGEST, LARGE)
    large.with_name(f".{large.name}.4711").write_bytes(b"half")
    for _ in range(2):
        remove_pair(tmp_path, DIGEST)
        assert list((tmp_path / "ab").iterdir()) == []
    assert find_pair(tmp_path, other) is not None


def test_a_thumbnail_that_is_no_picture_says_why(tmp_path, scene):
    write_pair(tmp_path, DIGEST, scene(), damaged=False)
    path = thumbnail_path(tmp_path, DIGEST, SMALL)
    assert why_unreadable(path) == ""
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "truncated" in why_unreadable(path)
    path.unlink()
    assert "No such file" in why_unreadable(path)
