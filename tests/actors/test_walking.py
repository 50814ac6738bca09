"""The walk of a real folder: everything is reported, nothing is opened or followed twice."""

import os

import pytest

from actors.walking import compare, walk


@pytest.fixture
def root(tmp_path):
    return os.fsencode(tmp_path)


def names(listings):
    return {os.path.join(each.directory, f.name) for each in listings for f in each.files}


def skips(listings):
    return {f.name: f.skip for each in listings for f in each.files}


def test_an_empty_folder_is_one_empty_listing(root):
    (listing,) = walk(root)
    assert (listing.directory, listing.files, listing.error) == (b"", [], "")


def test_a_missing_root_is_an_error_not_an_empty_folder(root):
    (listing,) = walk(root + b"/gone")
    assert listing.error == "No such file or directory"


def test_folders_are_walked_to_any_depth(tmp_path, root):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "x.jpg").touch()
    (tmp_path / "y.jpg").touch()
    assert names(walk(root)) == {b"a/b/x.jpg", b"y.jpg"}


def test_a_shallow_walk_stays_in_its_folder(tmp_path, root):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.jpg").touch()
    assert len(list(walk(root, deep=False))) == 1


def test_names_that_are_no_utf8_are_kept_as_they_are(root):
    open(root + b"/caf\xe9.jpg", "wb").close()
    assert names(walk(root)) == {b"caf\xe9.jpg"}


def test_what_is_no_photo_is_reported_with_its_reason(tmp_path, root):
    for name in ("a.jpg", "clip.mp4", "a.xmp"):
        (tmp_path / name).touch()
    found = skips(walk(root))
    assert found[b"a.jpg"] == ""
    assert found[b"clip.mp4"].startswith("video")
    assert found[b"a.xmp"].startswith("sidecar")


def test_a_pipe_is_reported_and_never_opened(tmp_path, root):
    os.mkfifo(tmp_path / "pipe.jpg")
    assert skips(walk(root)) == {b"pipe.jpg": "not a regular file"}


def test_a_loop_of_links_ends(tmp_path, root):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.jpg").touch()
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    assert names(walk(root)) == {b"a/x.jpg"}


def test_a_link_to_nothing_is_reported(tmp_path, root):
    (tmp_path / "x.jpg").symlink_to(tmp_path / "gone.jpg")
    assert skips(walk(root)) == {b"x.jpg": "dangling link"}


@pytest.mark.skipif(os.getuid() == 0, reason="root may list every folder")
def test_a_locked_folder_is_an_error_and_the_rest_is_walked(tmp_path, root):
    (tmp_path / "locked").mkdir(mode=0)
    (tmp_path / "x.jpg").touch()
    listings = list(walk(root))
    assert [each.error for each in listings] == ["", "Permission denied"]


def test_what_lies_in_hidden_and_system_folders_is_left_out_with_a_reason(tmp_path, root):
    for folder in (".git", "@eaDir"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{folder}.jpg").touch()
    found = skips(walk(root))
    assert found[b".git.jpg"] == "in a hidden folder"
    assert found[b"@eaDir.jpg"] == "in a system folder (@eaDir)"


def test_comparing_tells_new_changed_and_vanished_apart(tmp_path, root):
    for name in ("same.jpg", "changed.jpg", "new.jpg"):
        (tmp_path / name).touch()
    (listing,) = walk(root)
    known = {f.name: (n, f.size, f.mtime_ns, f.ctime_ns) for n, f in enumerate(listing.files, 1)}
    changed, gone = known[b"changed.jpg"], 99
    known[b"changed.jpg"] = (changed[0], changed[1] + 1, *changed[2:])
    del known[b"new.jpg"]
    known[b"gone.jpg"] = (gone, 1, 1, 1)
    difference = compare(listing, known)
    assert {f.name for f in difference.new} == {b"changed.jpg", b"new.jpg"}
    assert difference.vanished == [gone]
