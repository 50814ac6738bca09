"""`python -m models.export clip`: a CLIP of transformers, or a random one, as a pack.

    python -m models.export clip CHECKPOINT --into PACKS --name NAME [--precision int8]
    python -m models.export clip --random-weights --vocabulary MERGES --into PACKS --name NAME

CHECKPOINT is a folder of transformers with its tokenizer.json.  MERGES is OpenAI's
`bpe_simple_vocab_16e6.txt.gz`, or a tokenizer.json.  `--layout` leaves a folder as others publish
it instead of a pack, for `import`.

Needs the `export` extra, in an environment of its own: it pins older libraries than the program
takes.
"""

import argparse
import sys
from pathlib import Path

from models.errors import ModelsError

PRECISIONS = ("fp32", "fp16", "int8")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m models.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", choices=("clip",))
    parser.add_argument("checkpoint", nargs="?", type=Path, help="folder of transformers")
    parser.add_argument("--random-weights", action="store_true", help="ViT-B/32, knowing nothing")
    parser.add_argument("--seed", type=int, default=0, help="of the random weights")
    parser.add_argument("--vocabulary", type=Path, help="default: the checkpoint's tokenizer.json")
    parser.add_argument("--into", type=Path, required=True, help="folder of packs")
    parser.add_argument("--name", default="clip-vit-b-32", help="of the pack")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
    parser.add_argument("--licence", default="unknown", help="of the weights")
    parser.add_argument("--layout", choices=("pack", "optimum", "immich"), default="pack")
    options = parser.parse_args(arguments)
    if options.layout == "immich" and options.precision != "fp32":
        parser.error("--layout immich: these folders are fp32")
    if options.random_weights == (options.checkpoint is not None):
        parser.error("name a checkpoint, or --random-weights")
    vocabulary = options.vocabulary
    if vocabulary is None and options.checkpoint is not None:
        vocabulary = options.checkpoint / "tokenizer.json"
    if vocabulary is None or not vocabulary.is_file():
        parser.error(f"--vocabulary: expected a file, found none: {vocabulary}")
    try:
        from models.export import clip  # noqa: PLC0415 - torch takes seconds, a usage error none
    except ImportError as error:
        sys.stderr.write(f"{error}: install the `export` extra in an environment of its own\n")
        return 78
    try:
        if options.random_weights:
            model = clip.random_clip(options.seed)
            summary = "ViT-B/32 with random weights: for trying, ranks by chance"
        else:
            model = clip.read_clip(options.checkpoint)
            summary = ""
        if options.layout != "pack":
            folder = options.into / options.name
            if options.layout == "immich":
                clip.write_immich(model, vocabulary, folder)
            else:
                clip.write_folder(model, vocabulary, folder, options.precision)
            sys.stdout.write(f"{folder}\n")
            return 0
        pack = clip.make_pack(
            model,
            vocabulary,
            options.into,
            options.name,
            precision=options.precision,
            licence="none needed" if options.random_weights else options.licence,
            summary=summary,
        )
    except ModelsError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    embed = pack.require_embed()
    sys.stdout.write(
        f"{pack.directory}: smallest cosine to torch {embed.image.parity} (pictures), "
        f"{embed.text.parity} (words)\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
