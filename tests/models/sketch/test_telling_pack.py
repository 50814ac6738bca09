"""The captions of the built-in pack: layout, size, and drawings it has never met."""

import numpy as np
import pytest
from PIL import Image

from models.image import SMALL, open_thumbnail, prepare
from models.pack import BUILT_IN, load_pack
from models.session import Session
from models.sketch.captions import canonical
from models.sketch.reduction import THUMBNAIL_QUALITY
from models.sketch.render import choose_specs, render
from models.sketch.telling.greedy import GreedyTeller
from models.sketch.telling.measure import measure_captions
from models.sketch.telling.words import BEGIN, LONGEST, PAD, STOP, WORDS, tokenizer

UNSEEN_SEED = 77_077
LAYERS = range(2)
CROSS = [f"cross.{i}.{part}" for i in LAYERS for part in ("key", "value")]
PAST = [name.replace("cross", "past") for name in CROSS]
PRESENT = [name.replace("cross", "present") for name in CROSS]


@pytest.fixture(scope="module")
def pack():
    return load_pack(BUILT_IN / "sketch")


@pytest.fixture(scope="module")
def teller(pack):
    return GreedyTeller(pack)


@pytest.fixture(scope="module")
def seen(pack, tmp_path_factory):
    """Sixty drawings, prepared from the thumbnails of their files, and their captions."""
    directory = tmp_path_factory.mktemp("drawings")
    render(60, UNSEEN_SEED, directory)
    captions = [canonical(spec) for spec in choose_specs(60, UNSEEN_SEED)]
    pictures = []
    for path in sorted(directory.glob("*.jpg")):
        with Image.open(path) as picture:
            picture.thumbnail((SMALL, SMALL))
            picture.save(path, quality=THUMBNAIL_QUALITY)
        pictures.append(open_thumbnail(path, pack.caption.size))
    return prepare(pictures, pack.embed.image), captions


def test_the_graphs_are_small(pack):
    files = [graph.file for graph in pack.caption.graphs.values()]
    files.append(pack.caption.tokenizer)
    assert sum(pack.path(file).stat().st_size for file in files) <= 5_000_000


def test_the_graphs_have_the_names_and_shapes_of_blip(pack):
    graphs = pack.caption.graphs
    encoder = Session.open(pack.path(graphs["encoder"].file), threads=1)
    decoder = Session.open(pack.path(graphs["decoder"].file), threads=1)
    assert list(encoder.inputs) == ["pixel_values"]
    assert encoder.inputs["pixel_values"].shape == (None, 3, 64, 64)
    assert list(encoder.outputs) == CROSS
    assert list(decoder.inputs) == ["input_ids", "past_len", *PAST, *CROSS]
    assert list(decoder.outputs) == ["logits", *PRESENT]
    assert decoder.inputs["input_ids"].dtype == decoder.inputs["past_len"].dtype == np.int64
    assert decoder.inputs["past_len"].shape == ()
    assert decoder.inputs["past.0.key"].shape == (None, 4, None, 32)
    assert decoder.inputs["cross.1.value"].shape == (None, 4, 13 + 64, 32)
    assert decoder.outputs["logits"].shape == (None, len(WORDS))


def test_pictures_are_prepared_as_for_search(pack):
    ours, theirs = pack.caption, pack.embed.image
    for name in ("size", "resize", "resample", "mean", "std", "colour", "preprocess"):
        assert getattr(ours, name) == getattr(theirs, name), name


def test_the_tokenizer_of_the_pack_is_the_one_of_the_grammar(pack):
    assert pack.path(pack.caption.tokenizer).read_text() == tokenizer().to_str()
    section = pack.caption
    assert (section.begin, section.stop, section.pad) == ((BEGIN,), STOP, PAD)
    assert section.longest == LONGEST


def test_it_tells_drawings_it_has_never_seen(teller, seen):
    tensor, captions = seen
    figures = measure_captions(teller.tell(tensor), captions)
    assert figures.caption_exact >= 0.7, figures


def test_one_picture_is_told_as_in_a_batch_and_always_alike(teller, seen):
    tensor = seen[0][:8]
    together = teller.tell(tensor)
    assert [teller.tell(row[None])[0] for row in tensor] == together
    assert teller.tell(tensor) == together


def test_with_and_without_a_past_the_words_are_the_same(teller, seen):
    tensor = seen[0][:20]
    assert teller.tell(tensor, cached=False) == teller.tell(tensor)


def test_noise_is_told_too_and_ends(teller):
    noise = np.random.default_rng(3).uniform(-1, 1, (4, 3, 64, 64)).astype(np.float32)
    assert all(len(text.split()) <= LONGEST for text in teller.tell(noise))
