"""The captioners of `graphs` as folders that others publish."""

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders
from tokenizers.models import WordLevel

from tests.models.captions.graphs import DEC, FLOAT, IDS, PAD, SIZE, STOP, WORDS, captioner_pack

#: Files of `captioner_pack`, and what publishers call them.
PUBLISHED = {
    "blip": {"encoder": "encoder", "decoder": "decoder"},
    "vit-gpt2": {"encoder": "onnx/encoder_model", "decoder": "onnx/decoder_model_merged"},
    "florence2": {
        "vision": "onnx/vision_encoder",
        "embed": "onnx/embed_tokens",
        "encoder": "onnx/encoder_model",
        "decoder": "onnx/decoder_model_merged",
    },
}
CONFIGS: dict[str, dict[str, Any]] = {
    "blip": {
        "model_type": "blip",
        "text_config": {"bos_token_id": DEC, "eos_token_id": 2, "sep_token_id": STOP},
    },
    "vit-gpt2": {
        "model_type": "vision-encoder-decoder",
        "decoder_start_token_id": DEC,
        "eos_token_id": STOP,
        "pad_token_id": PAD,
    },
    # as of other models: they are not believed
    "florence2": {"model_type": "florence2", "eos_token_id": 1, "pad_token_id": 0},
}
TOKENS = [*WORDS, "</s>", "<s>"]


def publish(
    tmp_path: Path, kind: str, *, suffix: str = "", dtype: int = FLOAT, **files: Any
) -> Path:
    """Write a folder of *kind* below *tmp_path*; of *files*, what is None is left out."""
    folder = tmp_path / "published"
    made = captioner_pack(tmp_path / "graphs", kind, dtype=dtype).directory
    for name, place in PUBLISHED[kind].items():
        path = folder / f"{place}{suffix}.onnx"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((made / f"{name}.onnx").read_bytes())
    square = {"size": {"height": SIZE, "width": SIZE}, "resample": 2}
    told: dict[str, Any] = {
        "config.json": CONFIGS[kind],
        "preprocessor_config.json": square
        | {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]},
    }
    told |= {name.replace("_json", ".json"): value for name, value in files.items()}
    for name, value in told.items():
        if value is not None:
            (folder / name).write_text(json.dumps(value), "utf-8")
    if kind == "blip":
        (folder / "vocab.txt").write_bytes((made / "vocab.txt").read_bytes())
    else:
        words = {word: n for n, word in enumerate(TOKENS)}
        inner = Tokenizer(WordLevel(words | {"<pad>": IDS}, unk_token="[UNK]"))
        inner.decoder = decoders.WordPiece()
        inner.save(str(folder / "tokenizer.json"))
    return folder
