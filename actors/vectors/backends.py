"""Which index a setting names."""

from actors.vectors.protocol import VectorIndex


def make_index(
    backend: str, dimensions: int, *, threads: int = 1, seal_rows: int | None = None
) -> VectorIndex:
    """An empty index.

    Args:
        backend: "faiss" for the exact one, "hnswlib" for graphs.
        dimensions: components of every vector.
        threads: that may scan for one search.
        seal_rows: for graphs: new vectors from which one is due, None for the usual number.

    Raises:
        ValueError: there is no such backend.
    """
    # Imported here so that a process loads the libraries of the one it uses.
    if backend == "faiss":
        from actors.vectors.flat import FlatIndex  # noqa: PLC0415

        return FlatIndex(dimensions, threads=threads)
    if backend == "hnswlib":
        from actors.vectors.segmented import SEAL_ROWS, SegmentedIndex  # noqa: PLC0415

        return SegmentedIndex(dimensions, threads=threads, seal_rows=seal_rows or SEAL_ROWS)
    raise ValueError(f"no vector backend is called {backend}")
