"""The index that cannot be wrong: a dict, and every score computed one by one."""

from collections.abc import Iterable

import numpy as np
from hypothesis import strategies as st

from actors.vectors.protocol import Ids, Scores, VectorIndex, Vectors

DIMENSIONS = 4

# Small whole numbers: every product and sum is exact in half and single precision, in any
# order, so that scores can be compared for equality and equal scores are common.
NUMBERS = st.lists(st.integers(-3, 3), min_size=DIMENSIONS, max_size=DIMENSIONS)
PAIRS = st.lists(st.tuples(st.integers(0, 30), NUMBERS), max_size=12)
QUERIES = st.lists(NUMBERS, min_size=1, max_size=3)


class Oracle:
    """What an exact `VectorIndex` has to answer."""

    def __init__(self) -> None:
        self.held: dict[int, Vectors] = {}

    def add(self, ids: Iterable[int], vectors: Iterable[Iterable[float]]) -> None:
        for key, vector in zip(ids, vectors, strict=True):
            self.held[key] = np.array(vector, np.float16).astype(np.float32)

    def remove(self, ids: Iterable[int]) -> int:
        return sum(self.held.pop(key, None) is not None for key in ids)

    def score(self, key: int, query: Vectors) -> float:
        return float(np.sum(self.held[key] * query))

    def search(self, queries: Vectors, k: int) -> tuple[list[list[int]], list[list[float]]]:
        ids, scores = [], []
        for query in queries:
            ranked = sorted((-self.score(key, query), key) for key in self.held)[:k]
            ids.append([key for _, key in ranked])
            scores.append([-score for score, _ in ranked])
        return ids, scores

    def agrees(self, index: VectorIndex, queries: list[list[int]], k: int) -> None:
        """*index* holds what we hold and answers as we do."""
        assert len(index) == len(self.held)
        assert index.ids().tolist() == sorted(self.held)
        rows = np.array(queries, np.float32)
        ids, scores = index.search(rows, k)
        assert ids.dtype == np.int64
        assert scores.dtype == np.float32
        assert ids.shape == scores.shape == (len(queries), min(k, len(self.held)))
        wanted_ids, wanted_scores = self.search(rows, k)
        assert scores.tolist() == wanted_scores
        assert ids.tolist() == wanted_ids

    def tolerates(self, index: VectorIndex, queries: list[list[int]], k: int) -> None:
        """*index* may miss a neighbour; it never invents one, nor a score, nor an order."""
        rows = np.array(queries, np.float32)
        ids, scores = index.search(rows, k)
        assert ids.shape == (len(queries), min(k, len(self.held)))
        for query, found, said in zip(rows, ids.tolist(), scores.tolist(), strict=True):
            assert len(set(found)) == len(found)
            assert said == [self.score(key, query) for key in found]
            ranking = [(-score, key) for score, key in zip(said, found, strict=True)]
            assert ranking == sorted(ranking)


def split(pairs: list[tuple[int, list[int]]]) -> tuple[list[int], Vectors]:
    """Pairs as `add` takes them."""
    vectors = np.array([vector for _, vector in pairs], np.float32)
    return [key for key, _ in pairs], vectors.reshape(len(pairs), DIMENSIONS)


def clustered(count: int, dimensions: int, *, seed: int = 0, clusters: int = 50) -> Vectors:
    """Unit vectors in clusters of uneven size, as those of a photo library are."""
    random = np.random.default_rng(seed)
    # The same centres for every seed: queries come from where the library does.
    centres = np.random.default_rng(1).standard_normal((clusters, dimensions))
    share = np.arange(1, clusters + 1) ** -0.8
    chosen = random.choice(clusters, count, p=share / share.sum())
    vectors = centres[chosen] + 0.7 * random.standard_normal((count, dimensions))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32)


def overlap(found: Ids, true: Ids) -> float:
    """Recall: the part of *true* [q, k] that is in *found* [q, k]."""
    hits = sum(len(np.intersect1d(a, b)) for a, b in zip(found, true, strict=True))
    return hits / true.size


def close(mine: Scores, others: Scores) -> bool:
    return bool(np.allclose(mine, others, atol=1e-5))
