"""Guards of the project itself: its map matches its tree, and it speaks of itself only."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("config", "runtime", "models", "actors", "bench")


def tracked():
    """Files git knows, or all of them where there is no git."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    if listing.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / line for line in listing.stdout.splitlines() if (ROOT / line).is_file()]


def test_the_readme_names_every_module():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w/.]+)`", readme))
    # a folder on a line of its own stands for its files, unless one of them has a line as well
    whole = tuple(
        folder
        for folder in named
        if folder.endswith("/")
        and not any(each.startswith(folder) and each.endswith(".py") for each in named)
    )
    missing = []
    for path in tracked():
        name = path.relative_to(ROOT).as_posix()
        if not name.endswith(".py") or not name.startswith(PACKAGES):
            continue
        if path.name != "__init__.py" and name not in named and not name.startswith(whole):
            missing.append(name)
    assert missing == []


def test_the_readme_names_nothing_that_is_gone():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    paths = [
        each
        for each in re.findall(r"`([\w/.]+)`", readme)
        if each.startswith(tuple(f"{package}/" for package in PACKAGES))
    ]
    assert [each for each in paths if not (ROOT / each).exists()] == []


def test_no_path_of_this_machine_is_in_the_project():
    here = [os.fsencode(each) for each in (ROOT, Path.home()) if len(each.parts) > 2]
    found = [path for path in tracked() if any(each in path.read_bytes() for each in here)]
    assert found == []


def test_every_module_opens_with_its_story():
    silent = [
        path.relative_to(ROOT).as_posix()
        for path in tracked()
        if path.suffix == ".py"
        and path.relative_to(ROOT).parts[0] in PACKAGES
        and path.read_text(encoding="utf-8").strip()
        and not re.match(r'r?"""', path.read_text(encoding="utf-8"))
    ]
    assert silent == []
