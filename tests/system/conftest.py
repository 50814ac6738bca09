"""What the tests of the whole system share: drawn pictures, and a watch over the originals."""

import hashlib
import os
import subprocess
import sys

import pytest

from bench.system import ROOT, environment


@pytest.fixture(scope="session")
def drawings(tmp_path_factory):
    """300 drawn pictures and what they show."""
    out = tmp_path_factory.mktemp("drawings")
    drawing = [sys.executable, "-m", "models.sketch", "render", "--n", "300", "--seed", "4711"]
    subprocess.run([*drawing, "--out", str(out)], check=True, cwd=ROOT, env=environment())
    return out


@pytest.fixture(scope="session")
def fewer(drawings, tmp_path_factory):
    """Half of them, where it is not the number that counts."""
    folder = tmp_path_factory.mktemp("fewer")
    for picture in sorted(drawings.glob("*.jpg"))[:150]:
        os.link(picture, folder / picture.name)
    return folder


def fingerprints(folder):
    """Path → (sha256, mtime, mode) of every file."""
    found = {}
    for directory, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(directory, name)
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            status = os.stat(path)
            found[path] = (digest, status.st_mtime_ns, status.st_mode)
    return found


@pytest.fixture(scope="session", autouse=True)
def originals_stay_as_they_are(drawings):
    """Originals are never written to, renamed or touched, whatever the tests do."""
    folders = [drawings]
    if (ROOT.parent / "shared" / "corpus").is_dir():
        folders.append(ROOT.parent / "shared" / "corpus")
    before = [fingerprints(folder) for folder in folders]
    yield
    assert [fingerprints(folder) for folder in folders] == before
