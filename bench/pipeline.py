"""pipeline: photos a second of each stage of a running system, beside a plain loop.

The rival is what one would write without any system: one process, the same library calls, the
same number of threads.

    decode   as many threads as the system has decoding processes; each reads a photo of 12
             megapixels, decodes it and writes its two thumbnails, and the larger picture for faces
    embed    a thread that reads and prepares the next batch of thumbnails while the current one
             runs on as many threads as the system gives the model

It works at the priority of the system's workers, which is the lowest, or whatever else the
machine does would be a handicap for one of the two.

What the system does besides is its price: messages, a database that is never behind, an index
that can be asked, processes that may die.  Its rates are those of the catalog's counters,
between the first and the last tenth.

Embedding is measured on a library that is decoded already: each round lets it use the model under
another name, and that builds every vector anew beside those that serve.  It has smaller
originals, which leave the same thumbnails.

Rival and system take turns, and a ratio is the median over the rounds: a machine that is
disturbed for a minute disturbs both.
"""

import multiprocessing
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from blake3 import blake3

from actors.client import BlockingClient
from actors.messages import CatalogStatus
from actors.photo.original import read_original
from actors.photo.reading import decode_photo
from actors.photo.thumbnails import thumbnail_path
from bench import photos
from bench.system import ROOT, SUPERVISOR, environment, index_once, running
from config.machine import decode_processes, inference_threads
from models.clip import ImageTower
from models.image import open_thumbnail, thumbnail_for
from models.pack import Manifest, load_pack, to_toml
from runtime.priority import LOWEST, step_back

LARGE = (4032, 3024)  # pixels: the usual telephone
SMALL = (1200, 900)
#: photos to embed for each one to decode: embedding is that much faster
EMBEDS = 20
PICTURES = 3
BATCH = 32  # the largest bucket of profile P1
ROUNDS = 3
POLL_S = 0.2
PACK = ROOT / "models" / "packs" / "sketch"


def main(*, n: int = 150, seed: int = 1) -> dict[str, Any]:
    """Figures of *n* photos to decode and twenty times as many to embed."""
    processes, threads = decode_processes(), inference_threads()
    random = np.random.default_rng(seed)
    rounds = []
    rival = ProcessPoolExecutor(
        1, multiprocessing.get_context("spawn"), initializer=step_back, initargs=(LOWEST,)
    )
    with rival, tempfile.TemporaryDirectory(prefix="obscura-pipeline-") as scratch:
        home = Path(scratch)
        for name, size, count in (("large", LARGE, n), ("small", SMALL, EMBEDS * n)):
            pictures = [photos.photograph(random, *size) for _ in range(PICTURES)]
            photos.write(pictures, count, home / name)
        decoded = home / "decoded"
        index_once(home / "small", decoded)
        for number in range(ROUNDS):
            rounds.append(
                {
                    "loop_decode": rival.submit(
                        decode_loop, home / "large", home / "derived", processes
                    ).result(),
                    "decode": decode_system(home / "large", home / "data", n),
                    "loop_embed": rival.submit(
                        embed_loop, home / "small", decoded / "derived", threads
                    ).result(),
                    "embed": embed_system(home / "small", decoded, EMBEDS * n, number),
                }
            )
            print(rounds[-1], flush=True)
            shutil.rmtree(home / "derived")
            shutil.rmtree(home / "data")

    def median(value: Callable[[dict[str, float]], float]) -> float:
        return statistics.median(value(each) for each in rounds)

    return {
        "decode_ratio": round(median(lambda each: each["decode"] / each["loop_decode"]), 3),
        "embed_ratio": round(median(lambda each: each["embed"] / each["loop_embed"]), 3),
        "photos_per_s": round(median(lambda each: each["decode"]), 1),
        "embeds_per_s": round(median(lambda each: each["embed"]), 1),
        "loop_decodes_per_s": round(median(lambda each: each["loop_decode"]), 1),
        "loop_embeds_per_s": round(median(lambda each: each["loop_embed"]), 1),
        "decode_processes": processes,
        "embed_threads": threads,
        "n": n,
        "rounds": ROUNDS,
        "seed": seed,
    }


# ── the rival ───────────────────────────────────────────────────────────────────────────────


def decode_loop(folder: Path, derived: Path, threads: int) -> float:
    """Photos a second."""
    paths = sorted(folder.iterdir())
    begin = time.monotonic()
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(partial(decode_one, derived), paths):
            pass
    return len(paths) / (time.monotonic() - begin)


def decode_one(derived: Path, path: Path) -> None:
    decode_photo(read_original(str(path)), derived, spool="new")


def embed_loop(folder: Path, derived: Path, threads: int) -> float:
    """Photos a second, from thumbnails to vectors."""
    tower = ImageTower.open(load_pack(PACK), threads=threads)
    tower.warm_up()
    digests = [blake3(path.read_bytes()).digest() for path in sorted(folder.iterdir())]
    side = thumbnail_for(tower.size, *SMALL)

    def prepare(some: Iterable[bytes]) -> Any:
        return tower.prepare(
            [open_thumbnail(thumbnail_path(derived, each, side), tower.size) for each in some]
        )

    begin = time.monotonic()
    done = 0
    with ThreadPoolExecutor(1) as pool:
        batches = [digests[at : at + BATCH] for at in range(0, len(digests), BATCH)]
        ahead = pool.submit(prepare, batches[0])
        for following in [*batches[1:], []]:
            tensor = ahead.result()
            ahead = pool.submit(prepare, following)
            done += len(tower.embed(tensor))
    return done / (time.monotonic() - begin)


# ── the system ──────────────────────────────────────────────────────────────────────────────


def decode_system(folder: Path, data: Path, count: int) -> float:
    """Photos a second."""
    with running(folder, data) as library:
        rate = steady(library.data, count, lambda status: status.decodes)
        library.wait_indexed()
    return rate


def embed_system(folder: Path, data: Path, count: int, number: int) -> float:
    """Photos a second, from thumbnails to committed vectors."""
    name = f"sketch-{number}"
    pack = data / "packs" / name
    shutil.copytree(PACK, pack)
    built_in = load_pack(PACK)
    fields = {each: getattr(built_in, each) for each in Manifest.__struct_fields__}
    embed = msgspec.structs.replace(built_in.require_embed(), space=f"{name}-1")
    manifest = Manifest(**{**fields, "name": name, "embed": embed, "faces": None, "caption": None})
    (pack / "pack.toml").write_text(to_toml(manifest), encoding="utf-8")
    with running(folder, data) as library:
        subprocess.run(
            [*SUPERVISOR, "models", "use", name, "--data", str(data)],
            check=True,
            cwd=ROOT,
            env=environment(),
            stdout=subprocess.DEVNULL,
        )
        rate = steady(library.data, count, lambda status: status.embeds)
        library.wait_indexed()
    return rate


def steady(data: Path, count: int, counter: Callable[[CatalogStatus], int]) -> float:
    """How fast *counter* goes from the first to the last tenth of *count*, a second.

    Raises:
        RuntimeError: it was over before it was seen.
    """
    seen: list[tuple[float, int]] = []
    with BlockingClient.connect(data) as client:
        while not seen or seen[-1][1] < 0.9 * count:
            catalog = client.status().catalog
            if catalog is not None and counter(catalog) >= 0.1 * count:
                seen.append((time.monotonic(), counter(catalog)))
            time.sleep(POLL_S)
    (begin, first), (end, last) = seen[0], seen[-1]
    if last - first < count / 4:
        raise RuntimeError("most of it was done before it was looked at: take a larger --n")
    return (last - first) / (end - begin)
