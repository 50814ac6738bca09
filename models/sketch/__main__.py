"""`python -m models.sketch render | train | export`, and the same for faces and captions."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from models.pack import BUILT_IN
from models.sketch.faces.render import render_faces
from models.sketch.render import MOST_PICTURES, render


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # argparse would print its usage first; one line says it.
        self.exit(2, f"{self.prog}: {message}\n")


def _number(text: str) -> int:
    value = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= value <= MOST_PICTURES:
        raise argparse.ArgumentTypeError(f"expected 1 to {MOST_PICTURES:,} pictures, got {text!r}")
    return value


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes < float("inf"):
        raise argparse.ArgumentTypeError(f"expected minutes above zero, got {text!r}")
    return minutes


def _file(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"there is no file {text!r}")
    return path


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m models.sketch", description="The built-in demo model.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")

    drawing = commands.add_parser("render", help="draw pictures and their captions")
    drawing.add_argument("--n", type=_number, required=True, metavar="N", help="how many")
    drawing.add_argument("--seed", type=int, default=0, metavar="S", help="which ones")
    drawing.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to")

    training = commands.add_parser("train", help="train the towers (needs torch)")
    training.add_argument("--minutes", type=_minutes, default=40, help="how long (default: 40)")
    training.add_argument("--work", type=Path, required=True, metavar="DIR", help="its files")
    training.add_argument("--resume", type=_file, metavar="FILE", help="a checkpoint to go on from")
    training.add_argument(
        "--rate", type=float, default=1.5e-3, help="highest learning rate (default: 0.0015)"
    )

    people = commands.add_parser(
        "faces", help="draw pictures with people, and where their faces are"
    )
    people.add_argument("--n", type=_number, required=True, metavar="N", help="how many")
    people.add_argument("--seed", type=int, default=0, metavar="S", help="which ones")
    people.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to")

    meeting = commands.add_parser("train-faces", help="train on drawn faces (needs torch)")
    meeting.add_argument("--minutes", type=_minutes, default=30, help="how long (default: 30)")
    meeting.add_argument(
        "--work", type=Path, required=True, metavar="DIR", help="its files; what is there goes on"
    )

    adding = commands.add_parser("export-faces", help="add them to the pack (needs torch and onnx)")
    adding.add_argument(
        "--work", type=Path, required=True, metavar="DIR", help="as for train-faces"
    )
    adding.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        default=BUILT_IN / "sketch",
        help="a pack (default: the one that comes with the program)",
    )

    telling = commands.add_parser("train-captions", help="train to tell drawings (needs torch)")
    telling.add_argument("--minutes", type=_minutes, default=45, help="how long (default: 45)")
    telling.add_argument(
        "--work", type=Path, required=True, metavar="DIR", help="its files; what is there goes on"
    )
    telling.add_argument(
        "--from", type=_file, dest="start", metavar="FILE", help="a checkpoint of train to begin as"
    )
    telling.add_argument(
        "--threads", type=int, choices=(1, 2), default=2, help="of torch (default: 2)"
    )

    writing = commands.add_parser(
        "export-captions", help="add telling to the pack (needs torch and onnx)"
    )
    writing.add_argument(
        "--work", type=Path, required=True, metavar="DIR", help="as for train-captions"
    )
    writing.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        default=BUILT_IN / "sketch",
        help="a pack (default: the one that comes with the program)",
    )

    exporting = commands.add_parser("export", help="write the pack (needs torch and onnx)")
    exporting.add_argument("--work", type=Path, required=True, metavar="DIR", help="as for train")
    exporting.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        default=BUILT_IN / "sketch",
        help="default: the pack that comes with the program",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line (default: the process's own); returns the exit status."""
    options = _parser().parse_args(arguments)
    if options.command in {"render", "faces"}:
        draw = render if options.command == "render" else render_faces
        try:
            draw(options.n, options.seed, options.out)
        except OSError as error:
            print(f"{options.out}: {error.strerror}", file=sys.stderr)
            return 1
    elif options.command == "train":
        # torch is a dependency of training and export, not of the program.
        from models.sketch.train import train  # noqa: PLC0415

        options.work.mkdir(parents=True, exist_ok=True)
        train(
            options.work,
            minutes=options.minutes,
            peak_rate=options.rate,
            resume=options.resume,
        )
    elif options.command == "train-faces":
        from models.sketch.faces.train import train_faces  # noqa: PLC0415

        options.work.mkdir(parents=True, exist_ok=True)
        train_faces(options.work, minutes=options.minutes)
    elif options.command == "export-faces":
        from models.sketch.faces.export import export_faces  # noqa: PLC0415

        export_faces(options.work, options.out)
    elif options.command == "train-captions":
        from models.sketch.telling.train import train_captions  # noqa: PLC0415

        options.work.mkdir(parents=True, exist_ok=True)
        train_captions(
            options.work, minutes=options.minutes, threads=options.threads, start=options.start
        )
    elif options.command == "export-captions":
        from models.sketch.telling.export import export_captions  # noqa: PLC0415

        export_captions(options.work, options.out)
    else:
        from models.sketch.export import export  # noqa: PLC0415

        export(options.work, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
