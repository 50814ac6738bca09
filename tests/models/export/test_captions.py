"""Captioners of torch and what becomes of them: tiny ones at once, those of true size with SOAK=1.

Where torch is, that is: in an environment with the `export` extra.
"""

import os
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch

from models.captions.captioner import Captioner
from models.errors import ModelBroken
from models.export import blip, captions, vit_gpt2
from models.export.__main__ import main
from models.pack import load_pack
from models.session import Session
from tests.models.export.vocabularies import bytes_vocabulary, wordpiece_vocabulary

torch.set_num_threads(1)  # tiny matrices: more would only wait for each other

SIZES = [
    "tiny",
    pytest.param(
        "full",
        marks=pytest.mark.skipif(
            os.environ.get("SOAK") != "1", reason="SOAK=1 exports and tells with a gigabyte"
        ),
    ),
]


def original(kind, size):
    if kind == "blip":
        return blip.original(blip.random_blip(0, blip.TINY if size == "tiny" else blip.BASE))
    return vit_gpt2.original(vit_gpt2.random_vit_gpt2(0, vit_gpt2.TINY if size == "tiny" else None))


def vocabulary(kind, size, folder):
    if kind == "blip":
        return wordpiece_vocabulary(folder, blip.TINY.vocabulary - 2 if size == "tiny" else 30522)
    return bytes_vocabulary(
        folder, vit_gpt2.TINY["gpt2"]["vocab_size"] if size == "tiny" else 50257
    )


@pytest.fixture(scope="module", params=["blip", "vit-gpt2"])
def kind(request):
    return request.param


@pytest.fixture(scope="module", params=SIZES)
def made(request, kind, tmp_path_factory):
    """A model of torch and its pack, and what torch says of twenty pictures."""
    folder = tmp_path_factory.mktemp(f"{kind}-{request.param}")
    model = original(kind, request.param)
    pack, parity = captions.make_pack(
        model, vocabulary(kind, request.param, folder), folder / "packs", kind
    )
    return told_by_torch(model, pack, parity)


def told_by_torch(model, pack, parity=None):
    captioner = Captioner.open(pack)
    caption = pack.require_caption()
    pixels = captioner.prepare(captions.pictures(20, caption.size))
    given = torch.from_numpy(pixels)
    with torch.no_grad():
        greedy = model.generate(given, caption.longest, num_beams=1)
        beams = model.generate(
            given, caption.longest, num_beams=3, return_dict_in_generate=True, output_scores=True
        )
    return SimpleNamespace(
        original=model,
        pack=pack,
        caption=caption,
        captioner=captioner,
        parity=parity,
        pixels=pixels,
        greedy=[captions.plain(row, caption) for row in greedy.tolist()],
        beams=[captions.plain(row, caption) for row in beams.sequences.tolist()],
        scores=beams.sequences_scores.numpy(),
    )


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("cached", [True, False])
def test_twenty_pictures_are_told_as_torch_tells_them(made, batch, cached, monkeypatch):
    monkeypatch.setattr(made.captioner, "_cached", cached)
    told = []
    for at in range(0, 20, batch):
        told += made.captioner.caption(made.pixels[at : at + batch], beams=1)
    assert [each.ids for each in told] == made.greedy


@pytest.mark.timeout(3000)
def test_three_beams_find_torch_s_captions_and_scores(made):
    told = made.captioner.caption(made.pixels, beams=3)
    assert [each.ids for each in told] == made.beams
    np.testing.assert_allclose([each.score for each in told], made.scores, atol=1e-4)


@pytest.mark.timeout(3000)
def test_random_weights_tell_pictures_apart_and_end_when_they_like(made):
    assert len(set(made.greedy)) >= 5
    assert len({len(ids) for ids in made.greedy}) >= 2
    assert len({ids[0] for ids in made.greedy if ids}) >= 2
    assert made.parity.equal == made.parity.pictures


# ── tiny ones: any past, fewer bits, what is refused ──


def sessions(pack):
    graphs = pack.require_caption().graphs
    return (Session.open(pack.path(graphs[name].file)) for name in ("encoder", "decoder"))


def small(kind, folder, **how):
    return captions.make_pack(
        original(kind, "tiny"), vocabulary(kind, "tiny", folder), folder / "packs", kind, **how
    )


@pytest.mark.parametrize("cut", [(1, 1, 1, 1, 1, 1), (6,), (2, 4), (3, 1, 2), (1, 5)])
def test_blip_s_decoder_reads_any_number_of_ids_after_any_past(tmp_path, cut):
    model = blip.random_blip(0, blip.TINY)
    blip.write_graphs(model, tmp_path / "encoder.onnx", tmp_path / "decoder.onnx")
    encoder, decoder = (Session.open(tmp_path / f"{name}.onnx") for name in ("encoder", "decoder"))
    random = np.random.default_rng(0)
    pixels = random.standard_normal((3, 3, 64, 64)).astype(np.float32)
    ids = random.integers(0, 200, (3, 6))
    expected = blip.original(model).logits(torch.from_numpy(pixels), torch.from_numpy(ids))
    cross = encoder.run({"pixel_values": pixels})
    past = {name: np.zeros((3, 4, 0, 16), np.float32) for name in decoder.inputs if "past." in name}
    length = 0
    for new in cut:
        told = decoder.run(
            {
                "input_ids": ids[:, length : length + new],
                "past_len": np.array(length),
                **past,
                **cross,
            }
        )
        length += new
        past = {name: told[name.replace("past", "present")] for name in past}
    np.testing.assert_allclose(told["logits"], expected.detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_fewer_bits_give_nearly_the_same_logits(kind, tmp_path, precision):
    pack, parity = small(kind, tmp_path, precision=precision)
    assert pack.require_caption().precision == precision
    assert parity.correlation >= captions.LEAST[precision]
    encoder, decoder = sessions(pack)
    assert encoder.inputs["pixel_values"].dtype == decoder.outputs["logits"].dtype == np.float32
    kept = {port.dtype.name for name, port in decoder.inputs.items() if name.endswith(".key")}
    assert kept == {"float16" if precision == "fp16" else "float32"}


def test_the_words_table_is_stored_once(kind, tmp_path):
    words = blip.TINY.vocabulary
    pack, _ = small(kind, tmp_path)
    graph = onnx.load(pack.path(pack.require_caption().graphs["decoder"].file)).graph
    assert [list(each.dims) for each in graph.initializer if words in each.dims[:2]].count(
        [words, 64]
    ) == 1
    assert not [each for each in graph.initializer if list(each.dims) == [64, words]]


def test_a_pack_that_tells_something_else_than_torch_is_none(kind, tmp_path):
    honest = original(kind, "tiny")
    other = honest._replace(generate=lambda *a, **k: torch.flip(honest.generate(*a, **k), dims=[0]))
    with pytest.raises(ModelBroken, match=r"decoder.*: expected torch's words and logits within"):
        captions.make_pack(other, vocabulary(kind, "tiny", tmp_path), tmp_path / "packs", kind)
    assert not [*(tmp_path / "packs").iterdir()]


def test_a_checkpoint_is_read_from_its_folder(kind, tmp_path, capsys):
    checkpoint = tmp_path / "checkpoint"
    if kind == "blip":
        blip.random_blip(0, blip.TINY).save_pretrained(checkpoint)
    else:
        vit_gpt2.random_vit_gpt2(0, vit_gpt2.TINY).save_pretrained(checkpoint)
    vocabulary(kind, "tiny", checkpoint)
    line = f"{kind} {checkpoint} --into {tmp_path / 'packs'} --name mine"
    assert main(line.split()) == 0
    assert "4 of 4 captions are torch's" in capsys.readouterr().out
    caption = load_pack(tmp_path / "packs" / "mine").require_caption()
    last = 198 if kind == "blip" else 199
    assert (caption.begin, caption.stop) == ((last,), 102 if kind == "blip" else last)


def test_a_checkpoint_of_something_else_is_refused(kind, tmp_path, capsys):
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "tokenizer.json").write_text("{}")
    assert main(f"{kind} {tmp_path / 'checkpoint'} --into {tmp_path / 'packs'}".split()) == 1
    assert "checkpoint: expected a" in capsys.readouterr().err
