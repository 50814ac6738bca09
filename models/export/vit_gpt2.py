"""ViT-GPT2 as two graphs, by optimum: a ViT, and a GPT-2 that looks at its last layer.

    encoder   `pixel_values` → `last_hidden_state`
    decoder   `input_ids`, `encoder_hidden_states`, `past_key_values.{i}.*`, `use_cache_branch`
              → `logits`, `present.{i}.*`

optimum traces the decoder twice, without a past and with one, and joins the two behind an `If`, the
way these models are published.  Converters to fewer bits leave what is behind an `If` half done; so
here each of the two is reduced by itself, and then they are joined.

The words' table is the last matrix too.  optimum's traces keep it twice, the second time turned
round; `_tie` has the graph turn the table round instead, which onnxruntime does once when it loads.
In 8 bits the two are not the same any more and stay apart.

Random weights: see `blip`.  GPT-2 has no bias with which to end a caption, so the row of the id
that does is longer than the others.
"""

import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from optimum.exporters.onnx import onnx_export_from_model
from optimum.onnx import merge_decoders
from transformers import (
    GPT2Config,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
    ViTConfig,
)

from models.captions.published import LONGEST
from models.configs import SUFFIXES
from models.errors import ModelBroken
from models.export.captions import Original, tell
from models.export.precision import reduce
from models.pack import Precision

OPSET = 18

#: What optimum calls its graphs.
ENCODER, DECODER = "encoder_model", "decoder_model"
BRANCHES = ("decoder_model", "decoder_with_past_model")
MERGED = "decoder_model_merged"

#: Gains of random weights, by parts of their names, the first that fits; 1 keeps a length.
GAINS = {
    "crossattention.c_proj": 0.3,
    "c_proj": 1.0,
    "c_attn": 1.5,
    "q_attn": 1.5,
    "attention.attention": 1.5,
    "": 1.0,
}
WORD, PLACE = 0.02, 0.06  #: scale of the tables of words and of their places
#: Length of the row that ends a caption, of a word's: it is the likeliest in one of twelve steps.
LOUD = 3.0

TINY: dict[str, Any] = {
    "vit": {
        "hidden_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 192,
        "image_size": 64,
    },
    "gpt2": {"vocab_size": 200, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 64},
}


def random_vit_gpt2(seed: int, sizes: dict[str, Any] | None = None) -> VisionEncoderDecoderModel:
    """ViT-B/16 and GPT-2 with random weights: words by chance, but they depend on the picture."""
    torch.manual_seed(seed)
    sizes = sizes or {"vit": {}, "gpt2": {}}
    last = sizes["gpt2"].get("vocab_size", 50257) - 1
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        ViTConfig(**sizes["vit"]),
        GPT2Config(**sizes["gpt2"], add_cross_attention=True, bos_token_id=last, eos_token_id=last),
    )
    config.decoder_start_token_id = config.eos_token_id = config.pad_token_id = last
    model = VisionEncoderDecoderModel(config).eval()
    model.generation_config.update(
        decoder_start_token_id=last, bos_token_id=last, eos_token_id=last, pad_token_id=last
    )
    for name, weight in model.named_parameters():
        if weight.ndim < 2:
            continue
        gain = next(gain for part, gain in GAINS.items() if part in name)
        # GPT-2 keeps its matrices the other way round
        inputs = weight.shape[0] if ".c_" in name or ".q_attn" in name else weight[0].numel()
        scale = gain / inputs**0.5
        if "wte" in name or "cls_token" in name:
            scale = WORD
        elif "wpe" in name or "position_embeddings" in name:
            scale = PLACE
        weight.data = torch.randn_like(weight) * scale
    model.decoder.tie_weights()
    model.decoder.transformer.wte.weight.data[last] *= LOUD
    return model


def read_vit_gpt2(checkpoint: Path) -> VisionEncoderDecoderModel:
    """The captioner in a folder of transformers; nothing is fetched.

    Raises:
        ModelBroken: transformers cannot read it, or it is of other halves.
    """
    try:
        model = VisionEncoderDecoderModel.from_pretrained(checkpoint, local_files_only=True).eval()
    except Exception as error:
        line = str(error).strip().partition("\n")[0]
        raise ModelBroken(checkpoint, f"expected a ViT-GPT2 of transformers: {line}") from error
    halves = (model.config.encoder.model_type, model.config.decoder.model_type)
    if halves != ("vit", "gpt2"):
        raise ModelBroken(checkpoint, f"expected a vit and a gpt2, found {' and a '.join(halves)}")
    return model


def original(model: VisionEncoderDecoderModel) -> Original:
    """*model* as it is exported and compared."""

    def generate(pixels: torch.Tensor, longest: int, **how: Any) -> Any:
        return model.generate(pixel_values=pixels, max_new_tokens=longest, do_sample=False, **how)

    def logits(pixels: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        return model(pixel_values=pixels, decoder_input_ids=ids).logits[:, -1]

    return Original(
        lambda folder, precision: write_folder(model, folder, precision), generate, logits
    )


def write_folder(
    model: VisionEncoderDecoderModel, folder: Path, precision: Precision = "fp32"
) -> None:
    """Write *model* as a folder to import, all but its vocabulary."""
    suffix = SUFFIXES[precision][0]
    with tempfile.TemporaryDirectory(dir=folder) as name:
        scratch = Path(name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about shapes that are meant to be fixed
            onnx_export_from_model(
                model,
                scratch,
                task="image-to-text-with-past",
                opset=OPSET,
                do_validation=False,  # it is compared later, as a pack
                no_post_process=True,
            )
        for part in (ENCODER, *BRANCHES):
            path = scratch / f"{part}.onnx"
            if part != ENCODER and precision != "int8":
                graph = onnx.load(path)
                _tie(graph)
                onnx.save(graph, path)
            if precision != "fp32":
                small = scratch / f"{part}.small.onnx"
                reduce(path, small, precision, keep=("pixel_values", "logits"))
                small.replace(path)
        (scratch / f"{ENCODER}.onnx").replace(folder / f"{ENCODER}{suffix}.onnx")
        merge_decoders(
            *(scratch / f"{branch}.onnx" for branch in BRANCHES),
            save_path=folder / f"{MERGED}{suffix}.onnx",
        )
    config, generation = model.config, model.generation_config
    side = config.encoder.image_size
    tell(
        folder,
        {
            "config.json": {
                "model_type": "vision-encoder-decoder",
                "decoder_start_token_id": generation.decoder_start_token_id
                or config.decoder_start_token_id,
                "eos_token_id": generation.eos_token_id or config.eos_token_id,
                "pad_token_id": generation.pad_token_id or config.pad_token_id,
                "decoder": {"bos_token_id": config.decoder.bos_token_id}
                | {"eos_token_id": config.decoder.eos_token_id},
            },
            "generation_config.json": {
                "max_new_tokens": generation.max_new_tokens or generation.max_length or LONGEST,
                "min_length": generation.min_length,
                "num_beams": generation.num_beams,
                "no_repeat_ngram_size": generation.no_repeat_ngram_size,
            },
            "preprocessor_config.json": {
                "size": {"height": side, "width": side},
                "resample": 2,
                "image_mean": (0.5, 0.5, 0.5),
                "image_std": (0.5, 0.5, 0.5),
            },
        },
    )


def _tie(model: Any) -> None:
    """Have the last matrix of *model* be its words' table, turned round."""
    graph = model.graph
    weights = {each.name: each for each in graph.initializer}
    tables = {node.input[0] for node in graph.node if node.op_type == "Gather"} & weights.keys()
    for node in [*graph.node]:
        if node.op_type != "MatMul" or node.input[1] not in weights:
            continue
        last = weights[node.input[1]]
        for table in tables:
            if list(weights[table].dims) != list(last.dims)[::-1]:
                continue
            if np.array_equal(numpy_helper.to_array(weights[table]).T, numpy_helper.to_array(last)):
                turned = f"{table}.turned"
                at = list(graph.node).index(node)
                graph.node.insert(at, helper.make_node("Transpose", [table], [turned], perm=[1, 0]))
                node.input[1] = turned
                graph.initializer.remove(last)
                return
