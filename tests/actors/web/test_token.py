import os
import stat

import pytest

from actors.web import token


def test_it_is_made_once_and_only_its_owner_can_read_it(tmp_path):
    secret = token.obtain(tmp_path)
    assert token.obtain(tmp_path) == token.read(tmp_path) == secret
    assert len(secret) >= 43
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["token"]


def test_two_libraries_have_different_tokens(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert token.obtain(tmp_path / "a") != token.obtain(tmp_path / "b")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_file_that_others_can_read_is_refused(tmp_path, mode):
    token.obtain(tmp_path)
    (tmp_path / "token").chmod(mode)
    with pytest.raises(token.TokenUnusable, match=rf"others can read it \(mode {mode:04o}\)"):
        token.read(tmp_path)


@pytest.mark.parametrize("text", ["", "\n", "short", "x" * 31, "ü" * 40, "a b\x00c" * 20])
def test_a_file_without_a_secret_in_it_is_refused(tmp_path, text):
    (tmp_path / "token").write_text(text)
    (tmp_path / "token").chmod(0o600)
    with pytest.raises(token.TokenUnusable, match="holds no token"):
        token.obtain(tmp_path)


def test_a_link_in_its_place_is_refused_and_not_followed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("x" * 43)
    elsewhere.chmod(0o600)
    (tmp_path / "token").symlink_to(elsewhere)
    with pytest.raises(token.TokenUnusable, match="cannot be read"):
        token.obtain(tmp_path)


def test_a_dangling_link_in_its_place_is_not_written_through(tmp_path):
    (tmp_path / "token").symlink_to(tmp_path / "nowhere")
    with pytest.raises(token.TokenUnusable, match="cannot be read"):
        token.obtain(tmp_path)
    assert not (tmp_path / "nowhere").exists()


def test_a_pipe_in_its_place_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "token", 0o600)
    with pytest.raises(token.TokenUnusable, match="not a plain file"):
        token.obtain(tmp_path)


def test_a_directory_that_is_not_there_is_one_clear_line(tmp_path):
    with pytest.raises(token.TokenUnusable, match="cannot be written"):
        token.obtain(tmp_path / "nowhere")
    with pytest.raises(token.TokenUnusable, match="cannot be read"):
        token.read(tmp_path / "nowhere")
