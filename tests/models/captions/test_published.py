"""Folders of captioners as others publish them, and ours: what they say, and packs of them."""

import functools
import json

import pytest

from models.captions.captioner import Captioner, Written
from models.captions.published import find_telling
from models.errors import ModelBroken, PackBroken
from models.importing import import_pack
from models.layouts import read_layout
from models.pack import Precision
from tests.models.captions.folders import CONFIGS, PUBLISHED, TOKENS, publish
from tests.models.captions.graphs import DEC, DOG, HALF, IDS, PAD, RED, SIZE, STOP, picture

KINDS = list(PUBLISHED)


@pytest.fixture
def published(tmp_path):
    """`publish` below this test's folder."""
    return functools.partial(publish, tmp_path)


@pytest.mark.parametrize("kind", ["blip", "vit-gpt2"])
def test_a_published_captioner_becomes_a_pack_that_tells_pictures(published, tmp_path, kind):
    pack = import_pack(published(kind), tmp_path / "packs", "mine")
    caption = pack.require_caption()
    assert (caption.kind, caption.begin, caption.stop, caption.pad) == (kind, (DEC,), STOP, PAD)
    assert (caption.size, caption.resize, caption.resample) == (SIZE, "squash", "bilinear")
    assert caption.mean == caption.std == (0.5, 0.5, 0.5)
    assert (caption.longest, caption.beams, caption.no_repeat) == (20, 1, 0)
    assert caption.memory_mib
    assert pack.kinds == ("caption",)
    (told,) = Captioner.open(pack, threads=1).caption(picture(RED, DOG))
    assert isinstance(told, Written)
    assert told.text == "red dog"


def test_florence_s_ids_are_those_of_its_vocabulary(published):
    telling = find_telling(published("florence2"))
    assert telling is not None
    stop, begin = TOKENS.index("</s>"), TOKENS.index("<s>")
    assert (telling.begin, telling.stop, telling.pad) == ((stop, begin), stop, IDS)
    assert list(telling.graphs) == ["vision", "embed", "encoder", "decoder"]
    assert (telling.prompt, telling.longest) == ("<CAPTION>", 64)
    assert (telling.beams, telling.no_repeat) == (3, 3)


def test_florence_becomes_a_pack_if_its_ids_are_the_decoder_s(published, tmp_path):
    folder = published("florence2")
    with pytest.raises(PackBroken, match=f"names the id {IDS}, but its decoder knows {IDS}"):
        import_pack(folder, tmp_path / "packs", "mine")
    tokenizer = json.loads((folder / "tokenizer.json").read_bytes())
    tokenizer["model"]["vocab"]["<pad>"] = PAD
    del tokenizer["model"]["vocab"]["[PAD]"]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert import_pack(folder, tmp_path / "packs", "mine").require_caption().kind == "florence2"


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"max_length": 16, "num_beams": 4}, {"longest": 15, "beams": 4}),
        ({"max_new_tokens": 9, "max_length": 16}, {"longest": 9}),
        ({"min_length": 5, "no_repeat_ngram_size": 3}, {"shortest": 4, "no_repeat": 3}),
        ({"min_length": 50}, {"shortest": 19}),
        ({"eos_token_id": [7, 8], "decoder_start_token_id": 6}, {"stop": 7, "begin": (6,)}),
        ({"pad_token_id": None}, {"pad": PAD}),
    ],
)
def test_how_a_captioner_is_meant_to_write_is_believed(published, told, expected):
    telling = find_telling(published("vit-gpt2", generation_config_json=told))
    assert {name: getattr(telling, name) for name in expected} == expected


def test_a_size_of_one_number_is_a_square(published):
    telling = find_telling(
        published("vit-gpt2", preprocessor_config_json={"size": 224, "resample": 2})
    )
    assert telling is not None
    assert (telling.eyes.size, telling.eyes.resize) == (224, "squash")


def test_the_most_exact_graphs_are_taken_unless_others_are_asked_for(published):
    published("vit-gpt2", suffix="_int8")
    folder = published("vit-gpt2", suffix="_fp16", dtype=HALF)
    wanted: tuple[Precision | None, ...] = (None, "fp16", "int8")
    tellings = [read_layout(folder, precision).telling for precision in wanted]
    assert [telling and telling.graphs["decoder"] for telling in tellings] == [
        "onnx/decoder_model_merged_fp16.onnx",
        "onnx/decoder_model_merged_fp16.onnx",
        "onnx/decoder_model_merged_int8.onnx",
    ]
    with pytest.raises(PackBroken, match=r"expected encoder_model\.onnx, decoder_model_merged"):
        read_layout(folder, "fp32")


@pytest.mark.parametrize(
    ("kind", "files", "complaint"),
    [
        ("blip", {"config_json": None}, r"config\.json: expected the config of its model"),
        ("blip", {"config_json": {"model_type": "clip"}}, "expected a blip beside encoder.onnx"),
        ("vit-gpt2", {"config_json": CONFIGS["blip"]}, "expected a vision-encoder-decoder beside"),
        (
            "florence2",
            {"config_json": CONFIGS["vit-gpt2"]},
            "expected a florence2 beside vision_en",
        ),
        (
            "vit-gpt2",
            {"config_json": {"model_type": "vision-encoder-decoder"}},
            "expected `decoder_start_token_id` and `eos_token_id`",
        ),
        ("vit-gpt2", {"preprocessor_config_json": None}, r"preprocessor_config\.json: expected"),
        ("vit-gpt2", {"generation_config_json": "no"}, r"generation_config\.json: expected the c"),
    ],
)
def test_what_is_missing_or_not_understood_is_named(published, tmp_path, kind, files, complaint):
    with pytest.raises(PackBroken, match=complaint):
        import_pack(published(kind, **files), tmp_path / "packs", "mine")


@pytest.mark.parametrize("kind", KINDS)
def test_a_captioner_without_one_of_its_graphs_or_its_words_is_refused(published, tmp_path, kind):
    folder = published(kind)
    for place in [f"{place}.onnx" for place in list(PUBLISHED[kind].values())[1:-1]] + [
        "vocab.txt" if kind == "blip" else "tokenizer.json"
    ]:
        content = (folder / place).read_bytes()
        (folder / place).unlink()
        with pytest.raises(PackBroken, match=rf"{place}: expected .* missing"):
            import_pack(folder, tmp_path / "packs", "mine")
        (folder / place).write_bytes(content)


def test_a_folder_whose_graphs_do_not_fit_each_other_is_refused(published, tmp_path):
    folder = published("vit-gpt2")
    (folder / "onnx/encoder_model.onnx").write_bytes(
        (folder / "onnx/decoder_model_merged.onnx").read_bytes()
    )
    with pytest.raises(ModelBroken, match=r"encoder_model\.onnx: expected"):
        import_pack(folder, tmp_path / "packs", "mine")


def test_a_pack_of_a_captioner_is_imported_again_under_another_name(published, tmp_path):
    first = import_pack(published("blip"), tmp_path / "packs", "mine")
    again = import_pack(first.directory, tmp_path / "packs", "other")
    assert again.require_caption() == first.require_caption()
    (first.directory / "decoder.onnx").write_bytes(b"")
    with pytest.raises(PackBroken, match=r"decoder\.onnx"):
        import_pack(first.directory, tmp_path / "packs", "third")
