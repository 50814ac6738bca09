"""A captioner of torch as a pack, once it writes what torch writes.

Compared are a few pictures.  In float32 every caption has to be torch's `generate` to the id, and
the logits of the first word, and of the one after a whole caption handed in at once, no further off
than `CLOSE`.  In fewer bits the ids may differ where two words are as likely, so that only the
correlation of those logits is asked for.  How many captions differ from each other is told as
well: a model that says the same of everything agrees with anything.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from transformers.utils import logging

from models.captions.captioner import Captioner, Written
from models.errors import ModelBroken
from models.export.proved import proved_pack
from models.pack import Caption, Pack, Precision
from models.session import Session
from models.tower import sample_picture

#: Largest difference of a logit in float32.
CLOSE = 1e-3
#: Smallest correlation of logits that passes.
LEAST: dict[Precision, float] = {"fp32": 0.99999, "fp16": 0.999, "int8": 0.98}

PICTURES = 4

Logits = NDArray[np.float32]


class Original(NamedTuple):
    """A captioner of torch, as far as it is asked."""

    write: Callable[[Path, Precision], None]  #: as a folder, all but the vocabulary
    generate: Callable[..., Any]  #: pixels, ids at most, as `generate` is asked else → what it says
    logits: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  #: pixels, ids → of the next


class Parity(NamedTuple):
    """How a pack compares with torch."""

    equal: int  #: captions that are torch's, id by id
    pictures: int
    different: int  #: captions that differ from each other
    furthest: float  #: largest difference of a logit
    correlation: float  #: smallest of logits

    def __str__(self) -> str:
        return (
            f"{self.equal} of {self.pictures} captions are torch's ({self.different} different "
            f"ones), logits within {self.furthest:.1g}, correlation {self.correlation:.6f}"
        )


def make_pack(
    original: Original,
    vocabulary: Path,
    into: Path,
    name: str,
    *,
    precision: Precision = "fp32",
    licence: str = "unknown",
    summary: str = "",
) -> tuple[Pack, Parity]:
    """Export *original* and import it as the pack `<into>/<name>`, once it writes what torch does.

    Raises:
        ModelBroken: the graphs differ from torch, or the vocabulary does not fit.
        PackBroken: as `import_pack`.
    """

    def write(folder: Path) -> None:
        original.write(folder, precision)
        kept = "tokenizer.json" if vocabulary.suffix == ".json" else "vocab.txt"
        (folder / kept).write_bytes(vocabulary.read_bytes())

    def prove(pack: Pack) -> Parity:
        found = parity(original, pack)
        _refuse(pack, found, precision)
        return found

    return proved_pack(
        write, prove, into, name, precision=precision, licence=licence, summary=summary
    )


def pictures(n: int, size: int) -> list[NDArray[np.uint8]]:
    """*n* pictures that differ: slopes, stripes, noise, of other sizes than the graph's."""
    random = np.random.default_rng(0)
    found = []
    for number in range(n):
        high, wide = random.integers(size, 2 * size, 2)
        y, x = np.mgrid[0:high, 0:wide] / size
        waves = [
            np.sin(a * x + b * y + c) * 90 + d
            for a, b, c, d in random.uniform((-9, -9, 0, 60), (9, 9, 6, 190), (3, 4))
        ]
        picture = np.stack(waves, axis=-1) + random.normal(0, 8 * number, (high, wide, 3))
        found.append(picture.clip(0, 255).astype(np.uint8))
    return found


def parity(original: Original, pack: Pack) -> Parity:
    """How *pack* compares with *original*, on a few pictures."""
    logging.set_verbosity_error()  # it recommends masks for batches that need none
    caption = pack.require_caption()
    captioner = Captioner.open(pack)
    pixels = captioner.prepare(
        [*pictures(PICTURES - 1, caption.size), sample_picture(caption.size)]
    )
    given = torch.from_numpy(pixels.astype(np.float32))
    with torch.no_grad():
        theirs = original.generate(given, caption.longest, num_beams=1)
        prompts = (theirs[:, : len(caption.begin)], theirs)
        expected = [original.logits(given, ids).numpy() for ids in prompts]
    found = [answer(pack, pixels, ids.numpy()) for ids in prompts]
    told = captioner.caption(pixels, beams=1)
    ours = [each.ids if isinstance(each, Written) else None for each in told]
    wanted = [plain(row, caption) for row in theirs.tolist()]
    return Parity(
        equal=sum(mine == other for mine, other in zip(ours, wanted, strict=True)),
        pictures=len(wanted),
        different=len(set(wanted)),
        furthest=max(
            float(np.abs(one - other).max()) for one, other in zip(found, expected, strict=True)
        ),
        correlation=min(
            float(np.corrcoef(mine, other)[0, 1])
            for one, rows in zip(found, expected, strict=True)
            for mine, other in zip(one, rows, strict=True)
        ),
    )


def answer(pack: Pack, pixels: NDArray[Any], ids: NDArray[np.int64]) -> Logits:
    """Logits of what follows *ids* [n, s] under *pixels*, by the bare graphs and at once."""
    graphs = pack.require_caption().graphs
    encoder, decoder = (
        Session.open(pack.path(graphs[name].file)) for name in ("encoder", "decoder")
    )
    seen = encoder.run({"pixel_values": pixels.astype(encoder.inputs["pixel_values"].dtype)})
    told: dict[str, NDArray[Any]] = {
        **seen,
        "input_ids": ids,
        "past_len": np.array(0),
        "use_cache_branch": np.array([False]),
    }
    if "last_hidden_state" in seen:
        told["encoder_hidden_states"] = seen["last_hidden_state"]
    feeds = {}
    for name, port in decoder.inputs.items():
        empty = np.zeros([extent or 0 for extent in port.shape], port.dtype)
        given = told[name] if name in told else np.repeat(empty, len(ids), axis=0)
        feeds[name] = given.astype(port.dtype)
    logits = decoder.run(feeds, ["logits"])["logits"].astype(np.float32)
    return logits if logits.ndim == 2 else logits[:, -1]


def plain(ids: Sequence[int], caption: Caption) -> tuple[int, ...]:
    """A row of torch's as `Written.ids` has it: neither begun, nor ended, nor filled up."""
    ids = ids[len(caption.begin) :]
    return tuple(ids[: ids.index(caption.stop)] if caption.stop in ids else ids)


def _refuse(pack: Pack, found: Parity, precision: Precision) -> None:
    """Refuse a pack that is not what it was made of.

    Raises:
        ModelBroken: it writes or weighs words otherwise.
    """
    exact = precision == "fp32"
    if (
        exact and (found.equal < found.pictures or found.furthest > CLOSE)
    ) or not found.correlation >= LEAST[precision]:
        raise ModelBroken(
            pack.path(pack.require_caption().graphs["decoder"].file),
            f"expected torch's words{f' and logits within {CLOSE}' if exact else ''}, "
            f"correlation {LEAST[precision]} at least; found {found}",
        )


def tell(folder: Path, told: dict[str, Any]) -> None:
    """Write the configs that a folder is imported by."""
    for name, values in told.items():
        (folder / name).write_text(json.dumps(values, indent=2), encoding="utf-8")
