from pathlib import Path

from config import load
from config.document import meanings, render
from config.loading import keys


def test_every_setting_says_on_its_line_what_it_means():
    assert [key for key, meaning in meanings().items() if not meaning] == []


def test_the_rendered_file_has_every_setting_with_its_meaning():
    settings = load({}, environ={"HOME": "/home/me"}, cwd=Path("/"))
    text = render(settings)
    assert "# TCP port of the page; 0: any free one, told in run.json\n# port = 8765\n" in text
    assert "[gateway]" in text.splitlines()
    assert all(f"# {key.rpartition('.')[2]} = " in text for key in keys())


def test_odd_letters_in_paths_are_written_as_toml_wants_them():
    odd = Path('/a"b\\c\x7f\té')
    settings = load({"originals": [odd]}, environ={"HOME": "/home/me"}, cwd=Path("/"))
    assert r'originals = ["/a\"b\\c\u007f\té"]' in render(settings, commented=False)
