"""index: adding, searching, saving and building, beside bare calls of the libraries.

Vectors are clustered as those of a library are: a few directions matter, some subjects are
photographed a hundred times as often as others.  Half of the queries are drawn as the vectors
are, half lie off them, as the vectors of texts do.  "Exact" is the flat index; a ratio is our
speed over that of the bare library in the same round, so that 1 is no price at all, and the
figures are medians over the rounds (of memory the largest).

    flat_add_per_s, flat_add_ratio        vectors a second, in steps as the feed has them
    flat_p50_ms, flat_p95_ms              one query, 200 neighbours, one thread
    flat_search_ratio                     … beside one FAISS index of the same kind
    flat_bytes_per_vector                 memory of the process, measured
    flat_save_s, flat_load_s              a snapshot, with its hashes and its way to the disk
    graph_build_per_s, graph_build_ratio  vectors a second, with files, hashes and calibration
    graph_p50_ms, graph_p95_ms            as above, against one graph
    graph_search_ratio                    … beside hnswlib at the same width
    graph_bytes_per_vector                memory of the process, measured; 1024 more are mapped
    graph_save_s, graph_load_s            a snapshot; the graph is linked, not copied
    recall_at_200                         part of the 200 nearest that the graph finds
    recall_at_200_far                     … of the queries that lie off the vectors
    ef                                    width of the graph's search, measured when it is built
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import hnswlib
import numpy as np

from actors.vectors import snapshot
from actors.vectors.files import read_rows
from actors.vectors.flat import FlatIndex
from actors.vectors.graph import EF_BUILD, LINKS, NOISE, Segment, build_segment
from actors.vectors.protocol import VectorIndex, Vectors
from actors.vectors.segmented import SegmentedIndex
from config.machine import inference_threads

DIMENSIONS = 512
LATENT = 48  #: directions that matter, as in the embeddings of photographs
CLUSTERS = 400
K = 200
STEP = 2048  #: vectors of one step of the feed
QUERIES = 200
ROUNDS = 3


def vectors_and_queries(n: int, seed: int) -> tuple[Vectors, Vectors]:
    """Unit vectors [n, 512], and queries [200, 512]: near ones first, then far ones."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((CLUSTERS, LATENT))
    share = np.arange(1, CLUSTERS + 1) ** -0.8
    chosen = random.choice(CLUSTERS, n + QUERIES, p=share / share.sum())
    latent = centres[chosen] + 0.6 * random.standard_normal((n + QUERIES, LATENT))
    rows = latent.astype(np.float32) @ random.standard_normal((LATENT, DIMENSIONS), np.float32)
    rows += 0.05 * LATENT**0.5 * random.standard_normal(rows.shape, np.float32)
    rows = unit(rows)
    far = rows[n + QUERIES // 2 :]
    far += NOISE * unit(random.standard_normal(far.shape, np.float32))
    return rows[:n], unit(rows[n:])


def unit(rows: Vectors) -> Vectors:
    scaled: Vectors = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return scaled


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def memory() -> int:
    """Bytes of this process that are in no file."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def searches(search: Callable[[Vectors], object], queries: Vectors) -> list[float]:
    """Seconds of each query, asked one at a time."""
    return [seconds(partial(search, queries[at : at + 1])) for at in range(len(queries))]


def percentile_ms(taken: list[float], share: float) -> float:
    return round(1000 * sorted(taken)[int(share * len(taken))], 3)


def saved(home: Path, index: VectorIndex, empty: VectorIndex) -> dict[str, float]:
    """Seconds of a snapshot, and of reading it into *empty*."""
    return {
        "save_s": seconds(lambda: snapshot.write(home, "bench", index, 1)),
        "load_s": seconds(lambda: snapshot.read(home, "bench", empty)),
    }


def flat_round(rows: Vectors, queries: Vectors, home: Path) -> dict[str, float]:
    steps = [
        (np.arange(at, at + len(some)), some)
        for at in range(0, len(rows), STEP)
        if len(some := rows[at : at + STEP])
    ]
    faiss.omp_set_num_threads(1)
    bare = faiss.IndexScalarQuantizer(
        DIMENSIONS, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    )
    bare_add = seconds(lambda: [bare.add(some) for _, some in steps])
    before = memory()
    ours = FlatIndex(DIMENSIONS)
    begin = time.perf_counter()
    for ids, some in steps:
        ours.add(ids, some)
    add = time.perf_counter() - begin
    held = memory() - before
    bare_search = searches(lambda query: bare.search(query, K), queries)
    search = searches(lambda query: ours.search(query, K), queries)
    return {
        "add_per_s": len(rows) / add,
        "add_ratio": bare_add / add,
        "p50_ms": percentile_ms(search, 0.5),
        "p95_ms": percentile_ms(search, 0.95),
        "search_ratio": statistics.median(bare_search) / statistics.median(search),
        "bytes_per_vector": held / len(rows),
        **saved(home, ours, FlatIndex(DIMENSIONS)),
    }


def graph_round(rows: Vectors, queries: Vectors, home: Path) -> dict[str, float]:
    threads = inference_threads()
    bare = hnswlib.Index("ip", DIMENSIONS)
    bare.init_index(max_elements=len(rows), M=LINKS, ef_construction=EF_BUILD)
    bare_build = seconds(lambda: bare.add_items(rows, np.arange(len(rows)), num_threads=threads))

    index = SegmentedIndex(DIMENSIONS, seal_rows=len(rows))
    index.add(np.arange(len(rows)), rows)
    exact, _ = index.search(queries, K)
    index.begin_seal()
    (home / "rows").mkdir()
    index.write_frozen(home / "rows")
    frozen = read_rows(home / "rows", DIMENSIONS)
    build = seconds(lambda: build_segment(*frozen, home / "segment", threads=threads))
    before = memory()
    segment = Segment.open(home / "segment", DIMENSIONS)
    held = memory() - before
    index.finish_seal(segment)

    bare.set_ef(segment.facts.ef)
    bare_search = searches(lambda query: bare.knn_query(query, K, num_threads=1), queries)
    search = searches(lambda query: index.search(query, K), queries)
    found, _ = index.search(queries, K)
    recalls = [len(np.intersect1d(mine, true)) / K for mine, true in zip(found, exact, strict=True)]
    return {
        "build_per_s": len(rows) / build,
        "build_ratio": bare_build / build,
        "p50_ms": percentile_ms(search, 0.5),
        "p95_ms": percentile_ms(search, 0.95),
        "search_ratio": statistics.median(bare_search) / statistics.median(search),
        "bytes_per_vector": held / len(rows),
        **saved(home / "snapshots", index, SegmentedIndex(DIMENSIONS)),
        "recall": statistics.mean(recalls),
        "recall_far": statistics.mean(recalls[QUERIES // 2 :]),
        "ef": segment.facts.ef,
    }


def main(*, n: int = 30_000, seed: int = 1) -> dict[str, Any]:
    """Figures of *n* vectors."""
    rows, queries = vectors_and_queries(n, seed)
    rounds: dict[str, list[dict[str, float]]] = {"flat": [], "graph": []}
    for _ in range(ROUNDS):
        for name, one_round in (("flat", flat_round), ("graph", graph_round)):
            with tempfile.TemporaryDirectory(prefix="obscura-index-") as home:
                rounds[name].append(one_round(rows, queries, Path(home)))
    figures = {
        # memory that an earlier round gave back costs nothing to take again
        f"{name}_{key}": round(
            (max if key == "bytes_per_vector" else statistics.median)(each[key] for each in some), 3
        )
        for name, some in rounds.items()
        for key in some[0]
    }
    return {
        "recall_at_200": figures.pop("graph_recall"),
        "recall_at_200_far": figures.pop("graph_recall_far"),
        "ef": round(figures.pop("graph_ef")),
        **figures,
        "n": n,
        "dimensions": DIMENSIONS,
        "threads": inference_threads(),
        "rounds": ROUNDS,
        "seed": seed,
    }
