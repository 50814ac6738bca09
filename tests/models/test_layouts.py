"""What published folders say of themselves, and what is not believed."""

import json
from typing import Any

import pytest

from models.configs import CLIP_MEAN
from models.errors import PackBroken
from models.layouts import read_layout
from models.pack import Precision

IMMICH: dict[str, Any] = {
    "config.json": {"embed_dim": 4, "text_cfg": {"context_length": 6}},
    "visual/preprocess_cfg.json": {
        "size": [8, 8],
        "mode": "RGB",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "interpolation": "bicubic",
        "resize_mode": "shortest",
        "fill_color": 0,
    },
    "textual/tokenizer_config.json": {"pad_token": "[pad]"},
    "textual/tokenizer.json": {},
    "visual/model.onnx": {},
    "textual/model.onnx": {},
}
OPTIMUM: dict[str, Any] = {
    "config.json": {"model_type": "clip", "text_config": {}},
    "preprocessor_config.json": {
        "size": 224,
        "crop_size": 224,
        "do_center_crop": True,
        "resample": 3,
    },
    "tokenizer_config.json": {"pad_token": {"content": "<|endoftext|>"}},
    "tokenizer.json": {},
    "onnx/vision_model.onnx": {},
    "onnx/text_model.onnx": {},
}
SIGLIP = {
    "config.json": {"model_type": "siglip", "text_config": {}},
    "preprocessor_config.json": {
        "size": {"height": 256, "width": 256},
        "resample": 2,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    },
    "tokenizer_config.json": {"pad_token": "</s>"},
}


@pytest.fixture
def folder(tmp_path):
    """Writes a folder of configs: None is left out, bytes are written as they are."""

    def write(files, **changes):
        for name, told in (files | changes.pop("more", {})).items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(told, bytes):
                path.write_bytes(told)
            elif told is not None:
                path.write_text(json.dumps(told))
        return tmp_path

    return write


def changed(files, name, **keys):
    return {name: files[name] | keys}


@pytest.mark.parametrize(
    ("files", "more", "complaint"),
    [
        (IMMICH, {"textual/model.onnx": None}, r"textual/model\.onnx: expected the other half"),
        (IMMICH, {"visual/model.onnx": None}, r"visual/model\.onnx: expected the other half"),
        (OPTIMUM, {"onnx/text_model.onnx": None}, r"text_model\.onnx: expected the other half"),
        (IMMICH, {"config.json": None}, r"config\.json: expected the config .*No such file"),
        (IMMICH, {"config.json": b"{"}, r"config\.json: expected the config"),
        (IMMICH, {"config.json": b"\xff"}, r"config\.json: expected the config"),
        (IMMICH, {"textual/tokenizer.json": None}, r"tokenizer\.json: expected the vocabulary"),
        (IMMICH, {"textual/tokenizer_config.json": {}}, "expected a `pad_token`, found None"),
        (
            IMMICH,
            changed(IMMICH, "visual/preprocess_cfg.json", size=[8, 9]),
            r"preprocess_cfg\.json: expected the size of a square, found \(8, 9\)",
        ),
        (
            IMMICH,
            changed(IMMICH, "visual/preprocess_cfg.json", resize_mode="longest"),
            "expected one of shortest, squash; found 'longest'",
        ),
        (
            IMMICH,
            changed(IMMICH, "visual/preprocess_cfg.json", interpolation="random"),
            "found 'random'",
        ),
        (IMMICH, changed(IMMICH, "visual/preprocess_cfg.json", mean=[0.5]), r"\$\.mean"),
        (
            OPTIMUM,
            changed(OPTIMUM, "preprocessor_config.json", crop_size=200),
            r"preprocessor_config\.json: expected a centre crop of 224, found 200",
        ),
        (
            OPTIMUM,
            changed(OPTIMUM, "preprocessor_config.json", do_center_crop=False),
            "expected a centre crop",
        ),
        (
            OPTIMUM,
            changed(OPTIMUM, "preprocessor_config.json", rescale_factor=1.0),
            "expected pixels divided by 255",
        ),
        (OPTIMUM, changed(OPTIMUM, "preprocessor_config.json", resample=9), "found 9"),
        (OPTIMUM, changed(OPTIMUM, "preprocessor_config.json", size={"x": 1}), "of a square"),
    ],
)
def test_what_is_missing_or_not_understood_is_named(folder, files, more, complaint):
    with pytest.raises(PackBroken, match=complaint):
        read_layout(folder(files, more=more))


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"readme.txt": {}}, "found none of them"),
        ({"model.onnx": {}}, "found one merged model.onnx"),
        ({"onnx/model.onnx": {}}, "found one merged model.onnx"),
        ({"onnx/text_model.onnx": {}}, "expected the other half"),
    ],
)
def test_a_folder_of_no_known_layout_says_what_was_looked_for(folder, files, complaint):
    with pytest.raises(PackBroken, match=complaint):
        read_layout(folder(files))


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(PackBroken, match="absent: expected a folder"):
        read_layout(tmp_path / "absent")


def test_an_immich_folder_tells_both_towers(folder):
    found = read_layout(folder(IMMICH))
    assert found.layout == "immich"
    assert found.eyes
    assert found.words
    assert (found.eyes.file, found.eyes.size, found.eyes.resize) == (
        "visual/model.onnx",
        8,
        "shortest",
    )
    assert (found.eyes.resample, found.eyes.mean) == ("bicubic", (0.5, 0.5, 0.5))
    assert (found.words.context, found.words.pad) == (6, "[pad]")
    assert (found.words.canonical, found.words.causal) == (False, None)


def test_open_clip_s_words_for_siglip_and_towers_without_a_mask_are_understood(folder):
    told = {
        "context_length": 64,
        "no_causal_mask": True,
        "tokenizer_kwargs": {"clean": "canonicalize"},
    }
    squash = changed(IMMICH, "visual/preprocess_cfg.json", resize_mode="squash", size=256)
    found = read_layout(folder(IMMICH, more={"config.json": {"text_cfg": told}} | squash))
    assert found.words
    assert found.eyes
    assert (found.words.canonical, found.words.causal, found.words.context) == (True, False, 64)
    assert (found.eyes.resize, found.eyes.size) == ("squash", 256)


def test_an_optimum_folder_tells_both_towers(folder):
    found = read_layout(folder(OPTIMUM))
    assert found.layout == "optimum"
    assert found.eyes
    assert found.words
    assert (found.eyes.file, found.words.file) == (
        "onnx/vision_model.onnx",
        "onnx/text_model.onnx",
    )
    assert (found.eyes.size, found.eyes.resize, found.eyes.mean) == (224, "shortest", CLIP_MEAN)
    assert (found.words.context, found.words.pad) == (77, "<|endoftext|>")
    assert not found.words.canonical


def test_transformers_words_for_siglip_are_understood(folder):
    found = read_layout(folder(OPTIMUM, more=SIGLIP))
    assert found.eyes
    assert found.words
    assert (found.eyes.resize, found.eyes.size, found.eyes.resample) == ("squash", 256, "bilinear")
    assert (found.words.context, found.words.pad) == (64, "</s>")
    assert (found.words.canonical, found.words.causal) == (True, False)


def test_pixels_that_are_not_normalised_are_left_alone(folder):
    more = changed(OPTIMUM, "preprocessor_config.json", do_normalize=False)
    found = read_layout(folder(OPTIMUM, more=more))
    assert found.eyes
    assert (found.eyes.mean, found.eyes.std) == ((0, 0, 0), (1, 1, 1))


def test_the_most_exact_files_are_taken_unless_others_are_asked_for(folder):
    source = folder(
        OPTIMUM,
        more={
            f"onnx/{tower}_model{suffix}.onnx": {}
            for tower in ("vision", "text")
            for suffix in ("_fp16", "_quantized")
        },
    )
    expected: list[tuple[Precision | None, str]] = [
        (None, "onnx/vision_model.onnx"),
        ("fp16", "onnx/vision_model_fp16.onnx"),
        ("int8", "onnx/vision_model_quantized.onnx"),
    ]
    for precision, file in expected:
        eyes = read_layout(source, precision).eyes
        assert eyes
        assert eyes.file == file
    for name in ("vision_model.onnx", "text_model.onnx", "vision_model_fp16.onnx"):
        (source / "onnx" / name).unlink()
    with pytest.raises(PackBroken, match=r"vision_model_fp16\.onnx: expected the other half"):
        read_layout(source, "fp16")
    with pytest.raises(PackBroken, match=r"expected vision_model\.onnx and text_model\.onnx"):
        read_layout(source, "fp32")


def test_a_folder_of_faces_alone_is_a_layout_too(folder):
    found = read_layout(folder({"detection/model.onnx": {}, "recognition/model.onnx": {}}))
    assert (found.eyes, found.words) == (None, None)
    assert found.detection == "detection/model.onnx"
    assert found.recognition == "recognition/model.onnx"
