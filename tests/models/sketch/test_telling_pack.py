"""The captions of the built-in pack: layout, size, and drawings it has never met."""

import numpy as np
import pytest
from PIL import Image

from models.captions.captioner import Captioner
from models.image import SMALL, open_thumbnail
from models.pack import BUILT_IN, load_pack
from models.session import Session
from models.sketch.captions import canonical
from models.sketch.reduction import THUMBNAIL_QUALITY
from models.sketch.render import choose_specs, render
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
def graphs(pack):
    """Encoder and decoder."""
    files = [pack.caption.graphs[name].file for name in ("encoder", "decoder")]
    return [Session.open(pack.path(file), threads=1) for file in files]


@pytest.fixture(scope="module")
def captioner(pack):
    return Captioner.open(pack, threads=1)


@pytest.fixture(scope="module")
def seen(captioner, tmp_path_factory):
    """Sixty drawings, prepared from the thumbnails of their files, and their captions."""
    directory = tmp_path_factory.mktemp("drawings")
    render(60, UNSEEN_SEED, directory)
    captions = [canonical(spec) for spec in choose_specs(60, UNSEEN_SEED)]
    pictures = []
    for path in sorted(directory.glob("*.jpg")):
        with Image.open(path) as picture:
            picture.thumbnail((SMALL, SMALL))
            picture.save(path, quality=THUMBNAIL_QUALITY)
        pictures.append(open_thumbnail(path, captioner.size))
    return captioner.prepare(pictures), captions


def test_the_graphs_are_small(pack):
    files = [graph.file for graph in pack.caption.graphs.values()]
    files.append(pack.caption.tokenizer)
    assert sum(pack.path(file).stat().st_size for file in files) <= 5_000_000


def test_the_graphs_have_the_names_and_shapes_of_blip(graphs):
    encoder, decoder = graphs
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


def test_it_tells_drawings_it_has_never_seen(captioner, seen):
    tensor, captions = seen
    figures = measure_captions([each.text for each in captioner.caption(tensor)], captions)
    assert figures.caption_exact >= 0.8, figures


def test_one_picture_is_told_as_in_a_batch_and_always_alike(captioner, seen):
    tensor = seen[0][:8]
    together = [each.ids for each in captioner.caption(tensor)]
    assert [captioner.caption(row[None])[0].ids for row in tensor] == together
    assert [each.ids for each in captioner.caption(tensor)] == together


def test_a_word_follows_from_all_before_it_as_from_the_last_and_a_past(graphs, captioner, seen):
    encoder, decoder = graphs
    tensor = seen[0][:1]
    cross = encoder.run({"pixel_values": tensor})
    past = {name: np.zeros((1, 4, 0, 32), np.float32) for name in PAST}
    ids = np.array([[BEGIN, *captioner.caption(tensor)[0].ids]])
    whole = decoder.run({"input_ids": ids, "past_len": np.array(0), **past, **cross})
    for place in range(ids.shape[1]):
        one = ids[:, place : place + 1]
        step = decoder.run({"input_ids": one, "past_len": np.array(place), **past, **cross})
        past = {name: step[name.replace("past", "present")] for name in PAST}
    np.testing.assert_allclose(step["logits"], whole["logits"], atol=1e-4)


def test_noise_is_told_too_and_ends(captioner):
    noise = np.random.default_rng(3).uniform(-1, 1, (4, 3, 64, 64)).astype(np.float32)
    assert all(0 < len(each.ids) <= LONGEST for each in captioner.caption(noise))
