"""recall: does a description find its picture, through the whole running system?

Renders pictures that no training saw, indexes them with `--once`, serves them, and asks for
each caption over the websocket.  A *twin* is a caption with another one in the set that
differs from it in one word only.
"""

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.system import ROOT, environment, index_once, running


def twins(captions: list[str]) -> set[int]:
    """Positions of captions that have another one at one word's distance."""
    words = [caption.split() for caption in captions]
    open_at: dict[tuple[str, ...], list[int]] = {}
    for position, each in enumerate(words):
        for hole in range(len(each)):
            open_at.setdefault((*each[:hole], "*", *each[hole + 1 :]), []).append(position)
    return {
        position
        for positions in open_at.values()
        if len({captions[each] for each in positions}) > 1
        for position in positions
    }


def render(n: int, seed: int, out: Path) -> list[tuple[str, str]]:
    """(file, caption) of *n* pictures drawn into *out*."""
    drawing = [sys.executable, "-m", "models.sketch", "render"]
    subprocess.run(
        [*drawing, "--n", str(n), "--seed", str(seed), "--out", str(out)],
        check=True,
        cwd=ROOT,
        env=environment(),
    )
    lines = (out / "captions.jsonl").read_text(encoding="utf-8").splitlines()
    return [(each["file"], each["caption"]) for each in map(json.loads, lines)]


def main(*, n: int = 500, seed: int | None = None) -> dict[str, Any]:
    """R@1 and R@5 of *n* captions, and R@1 of those that have a twin."""
    seed = random.SystemRandom().randrange(2**31) if seed is None else seed
    with tempfile.TemporaryDirectory(prefix="obscura-recall-") as scratch:
        photos, data = Path(scratch, "photos"), Path(scratch, "data")
        pairs = render(n, seed, photos)
        summary = index_once(photos, data)
        ranks = []
        with running(photos, data) as library, library.socket() as socket:
            for file, caption in pairs:
                names = [Path(hit["path"]).name for hit in socket.search(caption, 5)]
                ranks.append(names.index(file) if file in names else n)
    with_twin = twins([caption for _, caption in pairs])
    return {
        "r1": round(sum(rank < 1 for rank in ranks) / n, 4),
        "r5": round(sum(rank < 5 for rank in ranks) / n, 4),
        "r1_twins": round(sum(ranks[each] < 1 for each in with_twin) / max(len(with_twin), 1), 4),
        "twins": len(with_twin),
        "n": n,
        "seed": seed,
        "photos_per_s": round(n / (summary["seconds"] - summary["ready_seconds"]), 1),
    }
