"""BLIP's captioner as two graphs, by a wrapper of our own: no exporter knows BLIP.

    encoder   `pixel_values` → `cross.{i}.key`, `cross.{i}.value` of each layer of the decoder
    decoder   `input_ids`, `past_len`, `past.{i}.*`, `cross.{i}.*` → `logits`, `present.{i}.*`

What the decoder asks of a picture does not change from word to word, so the encoder computes it
once and every step is handed it.  The past may be empty and the new ids may be several: one graph
serves the first step and all that follow, where two branches behind an `If` would be one more thing
that fewer bits break.  Only the last position's logits are computed, which is all that is ever
read.

The words' table is the last matrix too (the weights are tied).  It is written as a Gemm that reads
the table as it lies, so that the file has it once; traced as transformers has it, a transposed copy
of 94 MB is written beside it.

The steps are written out here instead of traced through transformers: its caches are objects, which
change from release to release and leave their branches in a trace.

A pack of random weights proves the whole way where no weights can be had.  With the scales that
transformers starts a training from, all pictures would be told by the same word over and over, and
equal captions would prove nothing; so the weights are larger (`GAINS`), and the id that ends a
caption is made likely enough for captions to end at different lengths.
"""

import math
import tempfile
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import BlipConfig, BlipForConditionalGeneration

from models.captions.published import LONGEST
from models.configs import CLIP_MEAN, CLIP_STD, SUFFIXES
from models.errors import ModelBroken
from models.export.captions import Original, tell
from models.export.precision import reduce
from models.pack import Precision

OPSET = 17

#: What hides a word from those before it; finite, and still so when it is cut to 16 bits.
HIDDEN = -1e4


class Shape(NamedTuple):
    """Sizes of a model with random weights; a head is 64 wide in the true ones."""

    image: int = 384
    patch: int = 16
    vision_width: int = 768
    vision_layers: int = 12
    vision_heads: int = 12
    text_width: int = 768
    text_layers: int = 12
    text_heads: int = 12
    vocabulary: int = 30524


BASE = Shape()
LARGE = BASE._replace(vision_width=1024, vision_layers=24, vision_heads=16)
#: For tests: seconds instead of minutes, with a picture wide enough to be told from others.
TINY = Shape(64, 16, 96, 2, 4, 64, 2, 4, 200)


#: Gains of random weights, by parts of their names, the first that fits: a matrix of gain 1 keeps
#: the length of what it maps.  What a layer says of the picture is a fifth of what comes in, or it
#: would drown the words; what it makes of the words is more, or each word would follow itself.
GAINS = {
    "crossattention.output": 0.2,
    "attention.output": 0.3,
    "query": 2.0,
    "key": 2.0,
    "value": 1.0,
    "qkv": 1.5,
    "vision_model": 1.0,
    "intermediate": 2.0,
    "layer": 2.0,
    "": 1.0,
}
WORD, PLACE = 0.02, 0.06  #: scale of the tables of words and of their places


def random_blip(seed: int, shape: Shape = BASE) -> BlipForConditionalGeneration:
    """BLIP with random weights: its words are chance, but they depend on the picture."""
    torch.manual_seed(seed)
    config = BlipConfig(
        text_config={
            "hidden_size": shape.text_width,
            "encoder_hidden_size": shape.vision_width,
            "intermediate_size": 4 * shape.text_width,
            "num_hidden_layers": shape.text_layers,
            "num_attention_heads": shape.text_heads,  # 8 by default, which no checkpoint has
            "vocab_size": shape.vocabulary,
            "bos_token_id": shape.vocabulary - 2,
            "sep_token_id": min(102, shape.vocabulary - 3),
        },
        vision_config={
            "hidden_size": shape.vision_width,
            "intermediate_size": 4 * shape.vision_width,
            "num_hidden_layers": shape.vision_layers,
            "num_attention_heads": shape.vision_heads,
            "image_size": shape.image,
            "patch_size": shape.patch,
            "initializer_range": 0.02,  # 1e-10 by default, which sees nothing
        },
    )
    config.text_config.encoder_hidden_size = shape.vision_width
    model = BlipForConditionalGeneration(config).eval()
    _spread(model)
    return model


def read_blip(checkpoint: Path) -> BlipForConditionalGeneration:
    """The captioner in a folder of transformers; nothing is fetched.

    Raises:
        ModelBroken: transformers cannot read it.
    """
    try:
        return BlipForConditionalGeneration.from_pretrained(
            checkpoint, local_files_only=True
        ).eval()
    except Exception as error:
        line = str(error).strip().partition("\n")[0]
        raise ModelBroken(checkpoint, f"expected a BLIP of transformers: {line}") from error


def original(model: BlipForConditionalGeneration) -> Original:
    """*model* as it is exported and compared."""

    def generate(pixels: torch.Tensor, longest: int, **how: Any) -> Any:
        return model.generate(pixel_values=pixels, max_new_tokens=longest, do_sample=False, **how)

    def logits(pixels: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        seen = model.vision_model(pixel_values=pixels)[0]
        return model.text_decoder(
            input_ids=ids, encoder_hidden_states=seen, is_decoder=True, use_cache=False
        ).logits[:, -1]

    return Original(
        lambda folder, precision: write_folder(model, folder, precision), generate, logits
    )


def write_folder(
    model: BlipForConditionalGeneration, folder: Path, precision: Precision = "fp32"
) -> None:
    """Write *model* as a folder to import, all but its vocabulary."""
    suffix = SUFFIXES[precision][0]
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        whole = [Path(scratch) / f"{name}.onnx" for name in ("encoder", "decoder")]
        write_graphs(model, *whole)
        for path in whole:
            target = folder / f"{path.stem}{suffix}.onnx"
            if precision == "fp32":
                path.replace(target)
            else:
                # keys and values only go from graph to graph
                reduce(path, target, precision, keep=("pixel_values", "logits"))
    text = model.config.text_config
    side = model.config.vision_config.image_size
    told = model.text_decoder.generation_config
    tell(
        folder,
        {
            "config.json": {
                "model_type": "blip",
                "text_config": {
                    "bos_token_id": text.bos_token_id,
                    "sep_token_id": text.sep_token_id,
                    "pad_token_id": text.pad_token_id,
                },
            },
            "generation_config.json": {
                "max_new_tokens": told.max_new_tokens or told.max_length or LONGEST,
                "min_length": told.min_length,
                "num_beams": told.num_beams,
                "no_repeat_ngram_size": told.no_repeat_ngram_size,
            },
            "preprocessor_config.json": {
                "size": {"height": side, "width": side},
                "resample": 3,
                "image_mean": CLIP_MEAN,
                "image_std": CLIP_STD,
            },
        },
    )


def write_graphs(model: BlipForConditionalGeneration, encoder: Path, decoder: Path) -> None:
    """Write both graphs in float32; any batch, any past, any number of new ids."""
    config = model.config
    side, layers = config.vision_config.image_size, config.text_config.num_hidden_layers
    pixels = torch.zeros(2, 3, side, side)
    eyes, hand = _Encoder(model).eval(), _Decoder(model).eval()
    with torch.no_grad():
        cross = eyes(pixels)
    heads, width = cross[0].shape[1], cross[0].shape[3]
    past = [torch.zeros(2, heads, 3, width) for _ in range(2 * layers)]
    crosses, pasts, presents = (_names(what, layers) for what in ("cross", "past", "present"))
    first = {0: "batch"}
    _export(
        eyes,
        arguments=(pixels,),
        path=encoder,
        inputs=["pixel_values"],
        outputs=crosses,
        axes=dict.fromkeys(("pixel_values", *crosses), first),
    )
    _export(
        hand,
        arguments=(torch.zeros(2, 2, dtype=torch.long), torch.tensor(3), *past, *cross),
        path=decoder,
        inputs=["input_ids", "past_len", *pasts, *crosses],
        outputs=["logits", *presents],
        axes={
            "input_ids": {0: "batch", 1: "new"},
            "logits": first,
            **{name: {0: "batch", 2: "past"} for name in pasts},
            **{name: {0: "batch", 2: "total"} for name in presents},
            **dict.fromkeys(crosses, first),
        },
    )


def _export(
    module: nn.Module,
    *,
    arguments: tuple[torch.Tensor, ...],
    path: Path,
    inputs: list[str],
    outputs: list[str],
    axes: dict[str, dict[int, str]],
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about shapes that are meant to be fixed
        torch.onnx.export(
            module,
            arguments,
            str(path),
            input_names=inputs,
            output_names=outputs,
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )


def _names(what: str, layers: int) -> list[str]:
    return [f"{what}.{layer}.{half}" for layer in range(layers) for half in ("key", "value")]


def _spread(model: BlipForConditionalGeneration) -> None:
    """Random weights under which pictures and words make a difference; see the module's story."""
    for name, weight in model.named_parameters():
        if weight.ndim < 2:
            continue
        gain = next(gain for part, gain in GAINS.items() if part in name)
        scale = gain / weight[0].numel() ** 0.5
        if "word_embeddings" in name or "class_embedding" in name:
            scale = WORD
        elif "position_embedding" in name:
            scale = PLACE
        weight.data = torch.randn_like(weight) * scale
    model.tie_weights()
    # Logits are normal, of this spread; the largest of so many lies about *highest* times that.
    config = model.config.text_config
    spread, highest = WORD * config.hidden_size**0.5, (2 * math.log(config.vocab_size)) ** 0.5
    bias = model.text_decoder.cls.predictions.bias
    bias.data[config.sep_token_id] = 0.7 * highest * spread


class _Encoder(nn.Module):  # type: ignore[misc, unused-ignore]
    """A picture → what each layer of the decoder will ask of it."""

    def __init__(self, model: BlipForConditionalGeneration) -> None:
        super().__init__()
        self.vision = model.vision_model
        self.layers = model.text_decoder.bert.encoder.layer
        self.heads = model.config.text_config.num_attention_heads

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        seen = self.vision(pixel_values=pixel_values)[0]
        return tuple(
            _split(half(seen), self.heads)
            for layer in self.layers
            for half in (layer.crossattention.self.key, layer.crossattention.self.value)
        )


class _Decoder(nn.Module):  # type: ignore[misc, unused-ignore]
    """Some ids more → the logits of what follows the last of them."""

    def __init__(self, model: BlipForConditionalGeneration) -> None:
        super().__init__()
        bert = model.text_decoder.bert
        self.embeddings = bert.embeddings
        self.layers = bert.encoder.layer
        self.head = model.text_decoder.cls.predictions
        self.heads = model.config.text_config.num_attention_heads

    def forward(
        self, input_ids: torch.Tensor, past_len: torch.Tensor, *given: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        past, cross = given[: len(given) // 2], given[len(given) // 2 :]
        table = self.embeddings
        new, before = input_ids.shape[1], past[0].shape[2]
        places = past_len + torch.arange(new)
        x = table.LayerNorm(
            table.word_embeddings(input_ids) + table.position_embeddings(places)[None]
        )
        here = before + torch.arange(new)[:, None]
        ahead = torch.arange(before + new)[None] > here
        mask = torch.where(ahead, HIDDEN, 0.0)[None, None]
        present: list[torch.Tensor] = []
        for number, layer in enumerate(self.layers):
            own, other = layer.attention, layer.crossattention
            key, value = (
                torch.cat([old, _split(half(x), self.heads)], dim=2)
                for old, half in zip(
                    past[2 * number : 2 * number + 2], (own.self.key, own.self.value), strict=True
                )
            )
            present += [key, value]
            query = _split(own.self.query(x), self.heads)
            x = own.output(_attend(query, key, value, mask), x)
            query = _split(other.self.query(x), self.heads)
            key, value = cross[2 * number : 2 * number + 2]
            x = other.output(_attend(query, key, value), x)
            x = layer.output(layer.intermediate(x), x)
        last = self.head.transform(x[:, -1])
        # The table itself, not the head's name for it: see the module's story.
        logits = nn.functional.linear(last, table.word_embeddings.weight, self.head.bias)
        return (logits, *present)


def _split(x: torch.Tensor, heads: int) -> torch.Tensor:
    """[b, s, wide] → [b, heads, s, wide / heads]."""
    return x.view(x.shape[0], -1, heads, x.shape[2] // heads).transpose(1, 2)


def _attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None = None
) -> torch.Tensor:
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    if mask is not None:
        scores = scores + mask
    mixed = (torch.softmax(scores, -1) @ value).transpose(1, 2)
    return mixed.reshape(mixed.shape[0], -1, mixed.shape[2] * mixed.shape[3])
