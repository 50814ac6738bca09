"""From a checkpoint to the [caption] section of the pack: two graphs in the layout of BLIP.

The encoder gives the keys and values of what was seen, once a picture.  The decoder takes words and
a past that may be empty, and gives the logits of the word after the last one.  Both compute in
float32 and store their matrices in float16, as the towers do.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn

from models.captions.captioner import Captioner, Written
from models.pack import MANIFEST, Caption, CaptionGraph, Manifest, load_pack, to_toml, verify
from models.sketch.export import HEADER, trace_graph
from models.sketch.network import HEADS, WIDTH
from models.sketch.reduction import SIDE
from models.sketch.telling.measure import measure_captions
from models.sketch.telling.network import LAYERS, Memory, Teller
from models.sketch.telling.train import CHECKPOINT, Evaluation
from models.sketch.telling.words import BEGIN, LONGEST, PAD, STOP, tokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from models.pack import Pack

_ENCODER: Final = "caption-encoder.onnx"
_DECODER: Final = "caption-decoder.onnx"
_TOKENIZER: Final = "caption-tokenizer.json"
#: Share of captions that rounding to float16 may turn, where two words were as likely.
_MOST_APART: Final = 0.01


class EncoderGraph(nn.Module):  # type: ignore[misc, unused-ignore]
    """Pixels to keys and values, one after the other."""

    def __init__(self, teller: Teller) -> None:
        super().__init__()
        self.teller = teller

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        seen = self.teller.show(self.teller.eyes(pixels))
        return tuple(part for memory in seen for part in memory)


class DecoderGraph(nn.Module):  # type: ignore[misc, unused-ignore]
    """One step: ids, how many were before them, past and seen one after the other."""

    def __init__(self, teller: Teller) -> None:
        super().__init__()
        self.writer = teller.writer

    def forward(self, ids: Tensor, past_len: Tensor, *memories: Tensor) -> tuple[Tensor, ...]:
        pairs: list[Memory] = list(zip(memories[::2], memories[1::2], strict=True))
        logits, present = self.writer(ids, past_len, pairs[:LAYERS], pairs[LAYERS:])
        return (logits[:, -1], *(part for memory in present for part in memory))


def export_captions(work: Path, directory: Path) -> None:
    """Add the teller in `work` to the pack in `directory`, read it back and compare.

    Raises:
        PackBroken: there is no pack in `directory`.
        ValueError: the graphs do not write what the checkpoint does.
    """
    pack = load_pack(directory)
    teller = Teller()
    teller.load_state_dict(torch.load(work / CHECKPOINT)["weights"])
    teller.eval()
    write_teller(teller, directory)
    tokenizer().save(str(directory / _TOKENIZER), pretty=False)
    fields = {name: getattr(pack, name) for name in Manifest.__struct_fields__}
    manifest = Manifest(**fields | {"caption": _section(directory)})
    (directory / MANIFEST).write_text(HEADER + to_toml(manifest), encoding="utf-8")
    _check(load_pack(directory), teller)


def _names(what: str) -> list[str]:
    return [f"{what}.{i}.{part}" for i in range(LAYERS) for part in ("key", "value")]


def write_teller(teller: Teller, directory: Path) -> None:
    """Both graphs into `directory`."""
    cross, past, present = _names("cross"), _names("past"), _names("present")
    pixels = torch.zeros(2, 3, SIDE, SIDE)
    encoder = EncoderGraph(teller).eval()
    with torch.no_grad():
        seen = encoder(pixels)
    trace_graph(
        encoder,
        (pixels,),
        directory / _ENCODER,
        inputs=["pixel_values"],
        outputs=cross,
        open_axes={name: {0: "batch"} for name in ("pixel_values", *cross)},
    )
    written = torch.zeros(2, HEADS, 3, WIDTH // HEADS)
    trace_graph(
        DecoderGraph(teller).eval(),
        (torch.full((2, 2), BEGIN), torch.tensor(3), *[written] * len(past), *seen),
        directory / _DECODER,
        inputs=["input_ids", "past_len", *past, *cross],
        outputs=["logits", *present],
        open_axes={
            "input_ids": {0: "batch", 1: "new"},
            "logits": {0: "batch"},
            **{name: {0: "batch", 2: "past"} for name in past},
            **{name: {0: "batch"} for name in cross},
            **{name: {0: "batch", 2: "total"} for name in present},
        },
    )


def _section(directory: Path) -> Caption:
    half = (0.5, 0.5, 0.5)
    return Caption(
        kind="blip",
        space="sketch-caption-1",
        precision="fp16-weights",
        graphs={
            "encoder": CaptionGraph(_ENCODER, _sha256(directory / _ENCODER)),
            "decoder": CaptionGraph(_DECODER, _sha256(directory / _DECODER)),
        },
        buckets=(1, 4, 8),
        size=SIDE,
        resize="shortest",
        resample="bicubic",
        mean=half,
        std=half,
        colour="RGB",
        preprocess="1",
        tokenizer=_TOKENIZER,
        tokenizer_sha256=_sha256(directory / _TOKENIZER),
        vocabulary="tokenizers",
        begin=(BEGIN,),
        stop=STOP,
        pad=PAD,
        longest=LONGEST,
        memory_mib=40,
    )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _check(pack: Pack, teller: Teller) -> None:
    """Load the graphs as the program does and compare them with the checkpoint."""
    verify(pack)
    evaluation = Evaluation()
    theirs = evaluation.tell(teller)
    captioner = Captioner.open(pack)
    written = captioner.caption(captioner.prepare(list(evaluation.pixels)))
    ours = [each.text if isinstance(each, Written) else "" for each in written]
    apart = sum(one != other for one, other in zip(ours, theirs, strict=True))
    print(f"captions unlike torch's: {apart} of {len(ours)}")
    if apart > _MOST_APART * len(ours):
        raise ValueError(f"{pack.directory}: {apart} captions are not those of the checkpoint")
    print(measure_captions(ours, evaluation.captions))
    for path in sorted(pack.directory.iterdir()):
        print(f"{path.name}: {path.stat().st_size:,} bytes")
