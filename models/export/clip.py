"""A CLIP of transformers as ONNX graphs, and as a pack that is known to compute the same.

Optimum traces the graphs: the two halves, each with its projection, any batch, no norm at the end.
They are laid out as published folders are, reduced in precision if asked for, and imported like
any other folder; then both towers are compared with torch on pictures and words, and the smallest
cosines are written into the pack.  A graph that differs is no pack.

`write_immich` leaves the same model as immich's exporter would, traced by torch alone: a batch of
one, ids of 32 bits, vectors of length one.  It is there to prove that such folders are read.

Random weights of the true architecture (`CLIPConfig()` is ViT-B/32, with OpenAI's activation) prove
the whole way where no weights can be had.  What they rank is chance.

Rejected: optimum's own task for CLIP, one graph that wants a text beside each picture.
"""

import json
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from optimum.exporters.onnx import export
from optimum.exporters.onnx.model_configs import (
    CLIPTextWithProjectionOnnxConfig,
    CLIPVisionModelOnnxConfig,
)
from torch import nn
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTextModelWithProjection,
    CLIPVisionModelWithProjection,
)

from models.clip import ImageTower, TextTower
from models.configs import CLIP_MEAN, CLIP_STD, SUFFIXES
from models.errors import ModelBroken
from models.export.precision import reduce
from models.export.proved import proved_pack
from models.export.vocabulary import write_tokenizer
from models.pack import MANIFEST, Manifest, Pack, Precision, load_pack, to_toml
from models.tokenizer import Tokenizer
from models.tower import sample_picture, unit

OPSET = 18

#: Smallest cosine to torch that passes.  Eight bits are to be judged by recall, on real weights.
LEAST: dict[Precision, float] = {"fp32": 0.9999, "fp16": 0.999, "int8": 0.98}

TEXTS = ("a photo of a cat", "", "two red boats on a lake, in the evening", "猫", "word " * 100)


class _Vision(CLIPVisionModelOnnxConfig):  # type: ignore[misc, unused-ignore]
    """The image half, with its projection."""

    @property
    def outputs(self) -> dict[str, dict[int, str]]:
        return {"image_embeds": {0: "batch_size"}}


class _Text(CLIPTextWithProjectionOnnxConfig):  # type: ignore[misc, unused-ignore]
    """The text half, with its projection."""

    @property
    def outputs(self) -> dict[str, dict[int, str]]:
        return {"text_embeds": {0: "batch_size"}}


def random_clip(seed: int) -> CLIPModel:
    """ViT-B/32 with random weights."""
    torch.manual_seed(seed)
    return CLIPModel(CLIPConfig()).eval()


def read_clip(checkpoint: Path) -> CLIPModel:
    """The model in a folder of transformers; nothing is fetched.

    Raises:
        ModelBroken: transformers cannot read it.
    """
    try:
        return CLIPModel.from_pretrained(checkpoint, local_files_only=True).eval()
    except Exception as error:
        line = str(error).strip().partition("\n")[0]
        raise ModelBroken(checkpoint, f"expected a CLIP of transformers: {line}") from error


def write_folder(
    model: CLIPModel, vocabulary: Path, folder: Path, precision: Precision = "fp32"
) -> None:
    """Write *model* as a published folder of the optimum layout.

    *vocabulary* is a tokenizer.json or OpenAI's merges in gzip.

    Raises:
        ModelBroken: the vocabulary is neither.
    """
    onnx = folder / "onnx"
    onnx.mkdir(parents=True, exist_ok=True)
    config = model.config
    vision, text = _halves(model)
    suffix = SUFFIXES[precision][0]
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        for half, kind, name in ((vision, _Vision, "vision_model"), (text, _Text, "text_model")):
            whole = Path(scratch) / f"{name}.onnx"
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about shapes that are meant to be fixed
                export(
                    half,
                    kind(half.config, task="feature-extraction"),
                    whole,
                    opset=OPSET,
                    disable_dynamic_axes_fix=True,
                )
            target = onnx / f"{name}{suffix}.onnx"
            if precision == "fp32":
                whole.replace(target)
            else:
                reduce(whole, target, precision)
    side = config.vision_config.image_size
    told: dict[str, Any] = {
        "config.json": {
            "model_type": "clip",
            "projection_dim": config.projection_dim,
            "text_config": {"max_position_embeddings": config.text_config.max_position_embeddings},
        },
        "preprocessor_config.json": {
            "size": {"shortest_edge": side},
            "crop_size": {"height": side, "width": side},
            "do_center_crop": True,
            "do_normalize": True,
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "resample": 3,
            "image_mean": CLIP_MEAN,
            "image_std": CLIP_STD,
        },
        "tokenizer_config.json": {"pad_token": "<|endoftext|>"},
    }
    _tell(folder, told)
    _write_vocabulary(vocabulary, folder / "tokenizer.json")


def write_immich(model: CLIPModel, vocabulary: Path, folder: Path) -> None:
    """Write *model* as a published folder of the immich layout.

    Raises:
        ModelBroken: the vocabulary is no vocabulary.
    """
    config = model.config
    vision, text = _halves(model)
    side, context = config.vision_config.image_size, config.text_config.max_position_embeddings
    pixels = torch.zeros(1, 3, side, side)
    ids = torch.full((1, context), 49407, dtype=torch.int32)
    for half, output, name, feed, example in (
        (vision, "image_embeds", "visual", "image", pixels),
        (text, "text_embeds", "textual", "text", ids),
    ):
        (folder / name).mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                _Normalised(half, output).eval(),
                (example,),
                str(folder / name / "model.onnx"),
                input_names=[feed],
                output_names=["embedding"],
                opset_version=OPSET,
                dynamo=False,
            )
    told: dict[str, Any] = {
        "config.json": {
            "embed_dim": config.projection_dim,
            "vision_cfg": {"image_size": side},
            "text_cfg": {"context_length": context},
        },
        "visual/preprocess_cfg.json": {
            "size": [side, side],
            "mode": "RGB",
            "mean": CLIP_MEAN,
            "std": CLIP_STD,
            "interpolation": "bicubic",
            "resize_mode": "shortest",
        },
        "textual/tokenizer_config.json": {"pad_token": "<|endoftext|>"},
    }
    _tell(folder, told)
    _write_vocabulary(vocabulary, folder / "textual" / "tokenizer.json")


def _halves(model: CLIPModel) -> tuple[nn.Module, nn.Module]:
    """Pictures and words apart, each with its projection."""
    vision = CLIPVisionModelWithProjection(model.config.vision_config)
    text = CLIPTextModelWithProjection(model.config.text_config)
    for half in (vision, text):
        half.load_state_dict(model.state_dict(), strict=False)
    return vision.eval(), text.eval()


def _tell(folder: Path, told: dict[str, Any]) -> None:
    for name, values in told.items():
        (folder / name).write_text(json.dumps(values, indent=2), encoding="utf-8")


def _write_vocabulary(vocabulary: Path, path: Path) -> None:
    if vocabulary.suffix == ".json":
        shutil.copyfile(vocabulary, path)
    else:
        write_tokenizer(vocabulary, path)


def make_pack(
    model: CLIPModel,
    vocabulary: Path,
    into: Path,
    name: str,
    *,
    precision: Precision = "fp32",
    licence: str = "unknown",
    summary: str = "",
) -> Pack:
    """Export *model* and import it as the pack `<into>/<name>`, once it computes what torch does.

    Raises:
        ModelBroken: the graphs differ from torch, or the vocabulary does not fit.
        PackBroken: as `import_pack`.
    """
    pack, _ = proved_pack(
        lambda folder: write_folder(model, vocabulary, folder, precision),
        lambda pack: _note(pack, *parity(model, pack), precision),
        into,
        name,
        precision=precision,
        licence=licence,
        summary=summary,
    )
    return pack


def parity(model: CLIPModel, pack: Pack) -> tuple[float, float]:
    """Smallest cosine of *pack*'s vectors to torch's: of pictures, of words."""
    eyes, words = ImageTower.open(pack), TextTower.open(pack)
    picture = sample_picture(2 * eyes.size)
    noise = np.random.default_rng(0).integers(0, 256, (eyes.size, 300, 3), np.uint8)
    pixels = eyes.prepare([picture, picture[::-1].copy(), 255 - picture, noise])
    ids = Tokenizer.from_pack(pack).batch(TEXTS)
    with torch.no_grad():
        seen = model.get_image_features(pixel_values=torch.from_numpy(pixels.astype(np.float32)))
        said = model.get_text_features(input_ids=torch.from_numpy(ids))
    return (
        _smallest(eyes.embed(pixels), seen.numpy()),
        _smallest(words.encode(TEXTS), said.numpy()),
    )


def _smallest(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    cosines = (ours * unit(theirs)[0]).sum(axis=1, dtype=np.float64)
    return min(1.0, round(float(cosines.min()), 7))


def _note(pack: Pack, image: float, text: float, precision: Precision) -> None:
    """Write both cosines into *pack*.

    Raises:
        ModelBroken: one of them is too small.
    """
    embed = pack.require_embed()
    for graph, cosine in ((embed.image, image), (embed.text, text)):
        if cosine < LEAST[precision]:
            raise ModelBroken(
                pack.path(graph.file),
                f"expected a cosine to torch of {LEAST[precision]} at least, found {cosine}",
            )
    replace = msgspec.structs.replace
    told = {name: getattr(pack, name) for name in Manifest.__struct_fields__}
    told["embed"] = replace(
        embed, image=replace(embed.image, parity=image), text=replace(embed.text, parity=text)
    )
    (pack.directory / MANIFEST).write_text(to_toml(Manifest(**told)), encoding="utf-8")
    load_pack(pack.directory)


class _Normalised(nn.Module):  # type: ignore[misc, unused-ignore]
    """One half as immich's exporter traces it: ids of 32 bits, vectors of length one."""

    def __init__(self, tower: nn.Module, output: str) -> None:
        super().__init__()
        self.tower = tower
        self.output = output

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        vectors = self.tower(x if x.is_floating_point() else x.long())[self.output]
        return nn.functional.normalize(vectors, dim=-1)
