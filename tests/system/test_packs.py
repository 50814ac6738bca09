"""An imported CLIP serves a real system, and a broken one does not start it."""

import shutil

import numpy as np
import pytest
from PIL import Image

from actors.photo.original import read_original
from actors.photo.thumbnails import thumbnail_path
from bench.system import command, index_once, running
from bench.towers import TINY, write_immich, write_optimum
from models.clip import ImageTower, TextTower
from models.image import open_thumbnail, thumbnail_for
from models.importing import import_pack

pytestmark = [pytest.mark.corpus, pytest.mark.timeout(300)]

QUERY = "a dog on a beach"


@pytest.fixture(scope="module")
def photos(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("packs") / "photos"
    folder.mkdir()
    for path in sorted((corpus / "general" / "rclip").rglob("*.jpg"))[:12]:
        shutil.copyfile(path, folder / path.name)
    return folder


@pytest.fixture(scope="module")
def packs(corpus, tmp_path_factory):
    """One small CLIP of random weights in two layouts, imported."""
    home = tmp_path_factory.mktemp("packs")
    vocabulary = corpus / "tokenizer" / "bpe_simple_vocab_16e6.txt.gz"
    return [
        import_pack(write_immich(home / "immich", vocabulary, TINY), home / "packs"),
        import_pack(write_optimum(home / "optimum", vocabulary, TINY), home / "packs"),
    ]


def library_of(pack, data):
    shutil.copytree(pack.directory, data / "packs" / pack.name)
    (data / "obscura.toml").write_text(f'[model]\npack = "{pack.name}"\n')


def expected(pack, photos, data):
    """Cosine of each photo to the query, by the towers alone."""
    tower = ImageTower.open(pack)
    (said,) = TextTower.open(pack).encode([QUERY])
    found = {}
    for path in photos.iterdir():
        with Image.open(path) as image:
            size = image.size
        side = thumbnail_for(tower.size, *size)
        digest = read_original(str(path)).digest
        thumbnail = open_thumbnail(thumbnail_path(data / "derived", digest, side), tower.size)
        (seen,) = tower.embed(tower.prepare([thumbnail], [size]))
        found[path.name] = float(np.dot(seen, said))
    return found


def test_a_search_ranks_as_the_imported_towers_do(packs, photos, tmp_path):
    pack, data = packs[0], tmp_path / "data"
    library_of(pack, data)
    summary = index_once(photos, data)
    assert summary["indexed"] == len(list(photos.iterdir())) >= 8
    assert not any(summary["restarts"].values())
    with running(photos, data) as library, library.socket() as socket:
        library.wait_indexed()
        hits = {hit["path"].rpartition("/")[2]: hit["score"] for hit in socket.search(QUERY, 12)}
    wanted = expected(pack, photos, data)
    assert hits.keys() == wanted.keys()
    for name, score in wanted.items():
        assert hits[name] == pytest.approx(score, abs=2e-3)  # the index keeps 16 bits


def test_a_torn_pack_is_refused_with_its_file(packs, photos, tmp_path):
    data = tmp_path / "data"
    library_of(packs[1], data)
    weights = data / "packs" / "optimum" / "onnx" / "vision_model.onnx.data"
    weights.write_bytes(weights.read_bytes()[:-1])
    done = command("--originals", photos, "--data", data, "--once")
    assert done.returncode == 78
    assert "vision_model.onnx.data: expected sha256" in done.stderr
    assert len(done.stderr.splitlines()) == 1
