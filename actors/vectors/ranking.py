"""Partial answers put together: pure numpy, no index."""

from collections.abc import Iterable, Sequence

import numpy as np

from actors.vectors.protocol import Ids, Scores, Vectors


def merge(parts: Sequence[tuple[Ids, Scores]], k: int) -> tuple[Ids, Scores]:
    """The *k* best of *parts*, each ids and scores [q, any]; equal scores by id."""
    ids = np.concatenate([part[0] for part in parts], axis=1)
    scores = np.concatenate([part[1] for part in parts], axis=1)
    order = np.lexsort((ids, -scores), axis=1)[:, :k]
    return np.take_along_axis(ids, order, axis=1), np.take_along_axis(scores, order, axis=1)


def best_of(queries: Vectors, parts: Iterable[tuple[Ids, Vectors]], k: int) -> tuple[Ids, Scores]:
    """The *k* nearest to each of *queries* [q, d] of all ids [n] and vectors [n, d] in *parts*."""
    best = nothing(len(queries))
    for ids, rows in parts:
        scores = queries @ rows.T
        best = merge([best, (np.broadcast_to(ids, scores.shape), scores)], k)
    return best


def nothing(queries: int) -> tuple[Ids, Scores]:
    """The answer to *queries* of an empty index, or of one asked for none."""
    return np.empty((queries, 0), np.int64), np.empty((queries, 0), np.float32)
