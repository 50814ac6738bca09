"""A training that ends when it was told to and survives being stopped.

The learning rate follows the clock of the training, not a number of steps.  A checkpoint holds all
there is, so that a run started again with the same folder goes on where the last one was.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_WARM_UP: Final = 100  #: steps
_DECAY: Final = 0.05
_EVERY: Final = 60.0  #: seconds between two checkpoints


def run_course(
    model: nn.Module,
    step: Callable[[], tuple[Tensor, dict[str, float]]],
    evaluate: Callable[[], str],
    *,
    checkpoint: Path,
    minutes: float,
    peak_rate: float,
) -> None:
    """Train `model` for `minutes`, what `checkpoint` has already done included.

    `step` computes one loss and some numbers to print; `evaluate` says how good the model is.
    """
    optimiser = torch.optim.AdamW(_groups(model), lr=peak_rate, betas=(0.9, 0.98))
    clock, steps = 0.0, 0
    if checkpoint.exists():
        saved = torch.load(checkpoint)
        model.load_state_dict(saved["weights"])
        optimiser.load_state_dict(saved["optimiser"])
        clock, steps = saved["seconds"], saved["steps"]
    due = clock + _EVERY
    recent: dict[str, float] = {}
    model.train()
    while clock < minutes * 60:
        begun = time.monotonic()
        rate = _rate(steps, clock / (minutes * 60))
        for group in optimiser.param_groups:
            group["lr"] = peak_rate * rate
        loss, numbers = step()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        steps += 1
        clock += time.monotonic() - begun
        for name, value in numbers.items():
            recent[name] = 0.98 * recent.get(name, value) + 0.02 * value
        if clock >= due or clock >= minutes * 60:
            due = clock + _EVERY
            model.eval()
            told = "  ".join(f"{name} {value:.4f}" for name, value in recent.items())
            print(f"{clock / 60:5.1f} min  step {steps}  {told}  {evaluate()}", flush=True)
            model.train()
            state = {"weights": model.state_dict(), "optimiser": optimiser.state_dict()}
            partial = checkpoint.with_suffix(".partial")
            torch.save({**state, "seconds": clock, "steps": steps}, partial)
            partial.replace(checkpoint)


def _rate(step: int, done: float) -> float:
    """Linear warm-up, then half a cosine down to one hundredth."""
    return min(1.0, (step + 1) / _WARM_UP) * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)


def _groups(model: nn.Module) -> Iterator[dict[str, object]]:
    parameters = list(model.parameters())
    yield {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": _DECAY}
    yield {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0}
