"""Captions from the two graphs of the pack, in the fewest lines that can write them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.errors import PackBroken
from models.pack import MANIFEST
from models.sketch.telling.words import text_of
from models.tower import open_graph

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.pack import Pack


class GreedyTeller:
    """Reads the pack's graphs; the rows of one call are written together."""

    def __init__(self, pack: Pack, threads: int = 1) -> None:
        if pack.caption is None:
            raise PackBroken(pack.path(MANIFEST), "has no [caption] section: it cannot tell")
        self.section = pack.caption
        graphs = self.section.graphs
        self.encoder, self.decoder = (
            open_graph(pack, graphs[part].file, device="cpu:0", threads=threads)
            for part in ("encoder", "decoder")
        )

    def tell(self, tensor: NDArray[np.float32], *, cached: bool = True) -> list[str]:
        """Captions of prepared pictures, [n, 3, 64, 64].

        Without *cached* every step reads the whole caption again, with an empty past.
        """
        seen = self.encoder.run({"pixel_values": tensor})
        empty = {
            name: np.zeros((len(tensor), port.shape[1] or 0, 0, port.shape[3] or 0), np.float32)
            for name, port in self.decoder.inputs.items()
            if name.startswith("past.")
        }
        written = np.tile(np.array(self.section.begin, np.int64), (len(tensor), 1))
        begun = written.shape[1]
        past, fresh = empty, written
        for _ in range(self.section.longest):
            before = np.array(written.shape[1] - fresh.shape[1])
            step = self.decoder.run({"input_ids": fresh, "past_len": before, **past, **seen})
            fresh = step.pop("logits").argmax(1)[:, None]
            written = np.concatenate([written, fresh], 1)
            if (written[:, begun:] == self.section.stop).any(1).all():
                break
            if cached:
                past = {name.replace("present", "past"): array for name, array in step.items()}
            else:
                fresh = written
        return [text_of(row) for row in written[:, begun:].tolist()]
