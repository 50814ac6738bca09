"""Training of both networks, from nothing to a detector and a recogniser of drawn faces."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import torch

from models.sketch.faces.dataset import draw_crops, draw_scenes
from models.sketch.faces.train_detector import train_detector
from models.sketch.faces.train_recogniser import train_recogniser

if TYPE_CHECKING:
    from pathlib import Path

_SCENES: Final = 12_000
_PEOPLE: Final = 6_000
#: The recogniser has more to learn.
_SHARE_OF_DETECTOR: Final = 0.4


def train_faces(directory: Path, *, minutes: float, threads: int = 2) -> None:
    """Train in `directory`, which keeps the pictures and the checkpoints.

    `minutes` are those of training; drawing comes before them, once.  What an earlier run in the
    same folder has done counts: with more minutes it goes on.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    started = time.monotonic()
    draw_scenes(directory, _SCENES, threads)
    draw_crops(directory, _PEOPLE, threads)
    print(f"pictures drawn after {time.monotonic() - started:.0f} s", flush=True)
    train_detector(directory, minutes * _SHARE_OF_DETECTOR)
    train_recogniser(directory, minutes * (1 - _SHARE_OF_DETECTOR))
