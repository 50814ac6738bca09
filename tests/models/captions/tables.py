"""A language in a table: what comes next depends on all that was written, and on the picture."""

import numpy as np

from models.captions.rules import Rules

BEGIN, STOP, PAD = 1, 2, 0


class Table:
    """Logits of *ids* ids, another row of a table for every history."""

    def __init__(self, seed: int, ids: int = 7, eager: float = 0.0) -> None:
        self._rows = np.random.default_rng(seed).normal(0, 2, (101, ids)).astype(np.float32)
        self._rows[:, STOP] += eager

    def logits(self, picture: int, written) -> np.ndarray:
        place = picture + 1
        for each in written:
            place = (place * 31 + int(each) + 7) % 101
        row: np.ndarray = self._rows[place]
        return row


def tell(decoding, table: Table, pictures, spoil=None):
    """Run *decoding* to its end over *table*, keeping histories as a cache would be kept.

    *pictures* are the names that the table knows them by; *spoil* maps a picture's row to the
    step in which its logits are NaN.
    """
    owners = list(range(len(pictures)))
    histories: list[list[int]] = [[] for _ in pictures]
    steps = 0
    while True:
        logits = np.stack(
            [
                table.logits(pictures[owner], history)
                for owner, history in zip(owners, histories, strict=True)
            ]
        )
        for row, owner in enumerate(owners):
            if spoil and spoil.get(owner) == steps:
                logits[row, 3] = np.nan
        step = decoding.step(logits)
        steps += 1
        if step.over:
            return decoding.told()
        assert all(
            owners[parent] == picture
            for parent, picture in zip(step.parents, step.pictures, strict=True)
        )
        histories = [
            [*histories[parent], each] for parent, each in zip(step.parents, step.ids, strict=True)
        ]
        owners = step.pictures.tolist()


def rules(**changes) -> Rules:
    return Rules((BEGIN,), STOP, PAD, longest=8)._replace(**changes)
