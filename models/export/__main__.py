"""`python -m models.export`: a model of transformers, or a random one of its sizes, as a pack.

    python -m models.export clip CHECKPOINT --into PACKS --name NAME [--precision int8]
    python -m models.export blip CHECKPOINT --into PACKS --name NAME [--precision int8]
    python -m models.export vit-gpt2 CHECKPOINT --into PACKS --name NAME [--precision int8]
    python -m models.export blip --random-weights [--large] --vocabulary FILE --into PACKS

CHECKPOINT is a folder of transformers with its tokenizer.json, or its vocab.txt for blip.  FILE is
one of those, and for clip also OpenAI's `bpe_simple_vocab_16e6.txt.gz`.  `--layout` leaves a folder
as others publish it instead of a pack, for `import`.  What a pack differs from torch by is printed,
and a pack that differs by too much is none.

Needs the `export` extra, in an environment of its own: it pins older libraries than the program
takes.
"""

import argparse
import sys
from pathlib import Path

from models.errors import ModelsError
from models.pack import Precision

PRECISIONS = ("fp32", "fp16", "int8")
MODELS = ("clip", "blip", "vit-gpt2")
#: what a pack is called where nobody says
NAMES = {"clip": "clip-vit-b-32", "blip": "blip-base", "vit-gpt2": "vit-gpt2"}


class Options(argparse.Namespace):
    """The command line."""

    model: str
    checkpoint: Path | None
    random_weights: bool
    large: bool
    seed: int
    vocabulary: Path
    into: Path
    name: str
    precision: Precision
    licence: str
    layout: str


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    make = _clip if options.model == "clip" else _captioner
    try:
        said = make(options)
    except ImportError as error:
        sys.stderr.write(f"{error}: install the `export` extra in an environment of its own\n")
        return 78
    except ModelsError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{said}\n")
    return 0


def _parse(arguments: list[str] | None) -> Options:
    parser = argparse.ArgumentParser(
        prog="python -m models.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("checkpoint", nargs="?", type=Path, help="folder of transformers")
    parser.add_argument("--random-weights", action="store_true", help="which know nothing")
    parser.add_argument("--large", action="store_true", help="random weights of BLIP-large's sizes")
    parser.add_argument("--seed", type=int, default=0, help="of the random weights")
    parser.add_argument("--vocabulary", type=Path, help="default: the checkpoint's")
    parser.add_argument("--into", type=Path, required=True, help="folder of packs")
    parser.add_argument("--name", help="of the pack")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
    parser.add_argument("--licence", default="unknown", help="of the weights")
    parser.add_argument("--layout", choices=("pack", "optimum", "immich"), default="pack")
    options = parser.parse_args(arguments, Options())
    if options.layout == "immich" and options.precision != "fp32":
        parser.error("--layout immich: these folders are fp32")
    if options.layout != "pack" and options.model != "clip":
        parser.error(f"--layout {options.layout}: only clip has it")
    if options.large and not (options.random_weights and options.model == "blip"):
        parser.error("--large: only for blip --random-weights; a checkpoint has its own sizes")
    if options.random_weights == (options.checkpoint is not None):
        parser.error("name a checkpoint, or --random-weights")
    vocabulary: Path | None = options.vocabulary
    if vocabulary is None and options.checkpoint is not None:
        vocabulary = options.checkpoint / "tokenizer.json"
        if options.model == "blip" and not vocabulary.is_file():
            vocabulary = options.checkpoint / "vocab.txt"
    if vocabulary is None or not vocabulary.is_file():
        parser.error(f"--vocabulary: expected a file, found none: {vocabulary}")
    options.vocabulary = vocabulary
    options.name = options.name or NAMES[options.model] + "-large" * options.large
    if options.random_weights:
        options.licence = "none needed"
    return options


# Each imports its own: torch takes seconds, a usage error none.


def _clip(options: Options) -> str:
    from models.export import clip  # noqa: PLC0415

    summary = ""
    if options.checkpoint is None:
        model = clip.random_clip(options.seed)
        summary = "ViT-B/32 with random weights: for trying, ranks by chance"
    else:
        model = clip.read_clip(options.checkpoint)
    if options.layout != "pack":
        folder = options.into / options.name
        if options.layout == "immich":
            clip.write_immich(model, options.vocabulary, folder)
        else:
            clip.write_folder(model, options.vocabulary, folder, options.precision)
        return str(folder)
    pack = clip.make_pack(
        model,
        options.vocabulary,
        options.into,
        options.name,
        precision=options.precision,
        licence=options.licence,
        summary=summary,
    )
    embed = pack.require_embed()
    return (
        f"{pack.directory}: smallest cosine to torch {embed.image.parity} (pictures), "
        f"{embed.text.parity} (words)"
    )


def _captioner(options: Options) -> str:
    from models.export import captions  # noqa: PLC0415

    summary = "" if options.checkpoint else "random weights: for trying, tells what comes"
    if options.model == "blip":
        from models.export import blip  # noqa: PLC0415

        if options.checkpoint:
            original = blip.original(blip.read_blip(options.checkpoint))
        else:
            shape = blip.LARGE if options.large else blip.BASE
            original = blip.original(blip.random_blip(options.seed, shape))
    else:
        from models.export import vit_gpt2  # noqa: PLC0415

        if options.checkpoint:
            original = vit_gpt2.original(vit_gpt2.read_vit_gpt2(options.checkpoint))
        else:
            original = vit_gpt2.original(vit_gpt2.random_vit_gpt2(options.seed))
    pack, found = captions.make_pack(
        original,
        options.vocabulary,
        options.into,
        options.name,
        precision=options.precision,
        licence=options.licence,
        summary=summary,
    )
    return f"{pack.directory}: {found}"


if __name__ == "__main__":
    sys.exit(main())
