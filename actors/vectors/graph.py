"""Sealed graphs: HNSW over a fixed set of vectors, built once, never grown.

HNSW (Malkov and Yashunin, arXiv 1603.09320) walks from neighbour to neighbour and looks at a
few thousand vectors instead of all.  The only module that imports hnswlib.

What hnswlib does that one has to know, each seen or reproduced:

- a resize while a search runs, or an insertion beside it, ends the process with a
  segmentation fault: a graph is therefore *sealed*, complete before it is first searched;
- inserting is slow (about 3,000 a second on two cores): `build_segment` is meant to run in a
  process of its own at low priority, and hands over a directory;
- `ef`, the width of a search, is not saved and is 10 after a load, at which a list of five
  misses every third neighbour: the width is measured at build time and kept beside the graph;
- a graph of other dimensions loads without complaint and then reads beyond its memory, a
  damaged one may crash: sizes and a BLAKE3 hash are compared before the library sees a byte;
- a search that finds fewer than k raises; parts of a graph can become unreachable when many
  vectors are dead.  Then, and where k is a large part of the whole, all live vectors are
  compared instead;
- filters by a Python function take the interpreter's lock for each vector looked at; marking
  vectors as dead costs nothing and is what removal does here.

Vectors are rounded to half precision before they are built in, though hnswlib keeps floats: a
vector must not get another score by moving from the flat part into a graph.  The rounded
vectors lie beside the graph, too, and are mapped when all have to be compared: asking hnswlib
for its own takes 40 µs each.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import hnswlib
import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from actors.vectors.errors import SnapshotBroken, WrongShape
from actors.vectors.files import (
    IDS_FILE,
    VECTORS_FILE,
    DataFile,
    digest,
    read_rows,
    sync,
    write_rows,
)
from actors.vectors.protocol import Ids, Scores, Vectors, usable_ids, usable_vectors
from actors.vectors.ranking import best_of, merge, nothing

LINKS = 32  # M: neighbours a vector keeps; with EF_BUILD the pair the sizing rules name
EF_BUILD = 128
TARGET_K = 200  # the K of the search requirement
TARGET_RECALL = 0.97  # 0.95 is required; text queries lie further off than our samples
SAMPLES = 128  # queries measured: the mean of 128 recalls is good to half a percent
NOISE = 0.8  # length of the noise added to a unit vector to make it a stranger, as a text is
WIDTHS = (200, 256, 320, 400, 512, 640, 800, 1024, 1440, 2048, 4096)
SLICE = 8192  # vectors handled at once
GRAPH_FILE = "graph.hnsw"
FACTS_FILE = "segment.json"
DEAD_FILE = "dead.i64"
FORMAT = 1


class SegmentFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What lies beside a graph."""

    format: int
    dimensions: int
    count: int
    ef: int  #: width of the search that reached `recall` at 200 neighbours
    recall: float  #: measured at build time, on queries that are not in the graph
    files: list[DataFile]  #: the graph's comes first


def build_segment(
    ids: ArrayLike,
    vectors: NDArray[np.float16] | Vectors,
    directory: Path,
    *,
    threads: int = 1,
    progress: Callable[[int], None] | None = None,
) -> SegmentFacts:
    """Build the graph of *vectors* [n, d] under *ids* [n] as the new *directory*.

    The directory appears complete or not at all.

    Args:
        ids: distinct.
        vectors: unit vectors; may be mapped from a file, they are read in slices.
        directory: must not exist; what an interrupted build left beside it is overwritten.
        threads: for the insertions.
        progress: told the number of vectors inserted, every few seconds.

    Raises:
        WrongShape: no vectors, or an id twice.
        NotFinite: see `usable_vectors`.
        FileExistsError: *directory* is there.
    """
    keys = usable_ids(ids)
    count, dimensions = vectors.shape
    if count == 0 or count != len(np.unique(keys)) or count != len(keys):
        raise WrongShape(f"{len(keys)} ids, {count} vectors: a graph takes distinct ids, one each")
    if directory.exists():
        raise FileExistsError(f"{directory}: a segment is there already")
    part = directory.with_name(directory.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)

    order = np.argsort(keys)
    slices = np.split(order, range(SLICE, count, SLICE))
    write_rows(part, ((keys[some], _half(vectors[some])) for some in slices))
    keys, rows = read_rows(part, dimensions)
    graph = hnswlib.Index("ip", dimensions)
    graph.init_index(max_elements=count, M=LINKS, ef_construction=EF_BUILD)
    for start in range(0, count, SLICE):
        end = min(start + SLICE, count)
        graph.add_items(rows[start:end].astype(np.float32), keys[start:end], num_threads=threads)
        if progress:
            progress(end)
    ef, recall = _calibrate(graph, keys, rows, threads)

    graph.save_index(str(part / GRAPH_FILE))
    facts = SegmentFacts(
        format=FORMAT,
        dimensions=dimensions,
        count=count,
        ef=ef,
        recall=recall,
        files=[
            DataFile(name, (part / name).stat().st_size, digest(part / name))
            for name in (GRAPH_FILE, IDS_FILE, VECTORS_FILE)
        ],
    )
    (part / FACTS_FILE).write_bytes(msgspec.json.encode(facts))
    for path in (*part.iterdir(), part):
        sync(path)
    part.rename(directory)
    sync(directory.parent)
    return facts


class Segment:
    """One sealed graph.  Vectors can die in it, none can be added."""

    def __init__(
        self,
        graph: hnswlib.Index,
        facts: SegmentFacts,
        ids: Ids,
        rows: NDArray[np.float16],
        *,
        home: Path,
        threads: int,
    ) -> None:
        self.facts = facts
        self._graph = graph
        self._ids = ids  # ascending
        self._rows = rows  # in the order of the ids; mapped, in memory only while used
        self._alive = np.ones(len(ids), np.bool_)
        self._homes = [home]  # directories with its files, see `link_into`
        self._threads = threads

    @classmethod
    def open(
        cls, directory: Path, dimensions: int, *, threads: int = 1, verify: bool = True
    ) -> "Segment":
        """The segment that `build_segment` or `link_into` left in *directory*.

        Args:
            directory: with the files.
            dimensions: that it has to have.
            threads: that may answer one search of several queries.
            verify: hash the files; a caller who just did may say no.

        Raises:
            SnapshotBroken: the files are missing, damaged or of another kind.
        """
        try:
            facts = msgspec.json.decode((directory / FACTS_FILE).read_bytes(), type=SegmentFacts)
            if facts.format != FORMAT:
                raise SnapshotBroken(f"{directory}: format {facts.format}, this reads {FORMAT}")
            if facts.dimensions != dimensions:
                raise SnapshotBroken(
                    f"{directory}: {facts.dimensions} dimensions, {dimensions} are wanted"
                )
            if verify:
                for file in facts.files:
                    file.check(directory)
            ids, rows = read_rows(directory, dimensions)
            graph = hnswlib.Index("ip", dimensions)
            graph.load_index(str(directory / GRAPH_FILE))
            segment = cls(graph, facts, ids, rows, home=directory, threads=threads)
            if (directory / DEAD_FILE).exists():
                segment.kill(np.fromfile(directory / DEAD_FILE, "<i8").astype(np.int64))
        except OSError as error:
            raise SnapshotBroken(f"{directory}: {error.strerror}") from error
        except (msgspec.MsgspecError, RuntimeError) as error:
            raise SnapshotBroken(f"{directory}: {error}") from error
        return segment

    def __len__(self) -> int:
        return int(np.count_nonzero(self._alive))

    @property
    def name(self) -> str:
        """The same for the same graph, another for any other."""
        return self.facts.files[0].blake3[:16]

    @property
    def dead(self) -> int:
        return len(self._ids) - len(self)

    @property
    def memory(self) -> int:
        """Bytes: the graph as it lies in the file, hnswlib's table of labels, our ids."""
        return self.facts.files[0].size + len(self._ids) * (48 + 9)

    def ids(self) -> Ids:
        """Those that are found, ascending."""
        return self._ids[self._alive]

    def kill(self, ids: Ids) -> int:
        """Find *ids* no more; how many of them were found until now."""
        doomed = np.unique(self._places(ids))
        for place in doomed:
            self._graph.mark_deleted(int(self._ids[place]))
        self._alive[doomed] = False
        return len(doomed)

    def rows(self) -> Iterator[tuple[Ids, Vectors]]:
        """All that live, a slice at a time, as `add` takes it."""
        places = np.flatnonzero(self._alive)
        for start in range(0, len(places), SLICE):
            some = places[start : start + SLICE]
            yield self._ids[some], self._rows[some].astype(np.float32)

    def nearest(self, queries: Vectors, k: int) -> tuple[Ids, Scores]:
        """The *k* nearest of each query, or all that live, best first."""
        k = min(k, len(self))
        if k == 0 or len(queries) == 0:
            return nothing(len(queries))
        if 4 * k >= len(self):
            return self.exact(queries, k)
        # The measured width is for 200; a longer list needs a search wider in proportion.
        ef = max(self.facts.ef, self.facts.ef * k // TARGET_K)
        for width in (ef, 4 * ef, 16 * ef):
            self._graph.set_ef(width)
            try:
                labels, distances = self._graph.knn_query(queries, k=k, num_threads=self._threads)
            except RuntimeError:  # fewer than k were reached
                continue
            # hnswlib's distance is 1 - inner product.
            return merge([(labels.astype(np.int64), np.float32(1) - distances)], k)
        return self.exact(queries, k)

    def exact(self, queries: Vectors, k: int) -> tuple[Ids, Scores]:
        """The same by comparing all that live."""
        return best_of(queries, self.rows(), k)

    def among(self, queries: Vectors, ids: Ids, k: int) -> tuple[Ids, Scores]:
        """The same of *ids* only."""
        places = np.unique(self._places(ids))
        slices = (places[start : start + SLICE] for start in range(0, len(places), SLICE))
        parts = ((self._ids[some], self._rows[some].astype(np.float32)) for some in slices)
        return best_of(queries, parts, k)

    def _places(self, ids: Ids) -> NDArray[np.intp]:
        """Where those of *ids* lie that are found."""
        places = np.searchsorted(self._ids, ids)
        places[places == len(self._ids)] = 0
        there: NDArray[np.intp] = places[(self._ids[places] == ids) & self._alive[places]]
        return there

    def link_into(self, directory: Path) -> None:
        """Put the files into *directory*, the large ones without copying them.

        They are written once and then shared by all snapshots that contain them.  Which of
        those will be deleted first is not our business, so every home is remembered.
        """
        self._homes = [home for home in self._homes if (home / GRAPH_FILE).exists()]
        for name in (GRAPH_FILE, IDS_FILE, VECTORS_FILE, FACTS_FILE):
            try:
                os.link(self._homes[-1] / name, directory / name)
            except OSError:  # another disk, or one without links
                shutil.copyfile(self._homes[-1] / name, directory / name)
        (directory / DEAD_FILE).write_bytes(self._ids[~self._alive].astype("<i8").tobytes())
        self._homes.append(directory)


def _half(vectors: ArrayLike) -> NDArray[np.float16]:
    rows = np.asarray(vectors)
    return usable_vectors(rows, rows.shape[1]).astype(np.float16)


def _calibrate(
    graph: hnswlib.Index, ids: Ids, vectors: NDArray[np.float16], threads: int
) -> tuple[int, float]:
    """The least width that reaches the target on queries that are not in the graph.

    Such queries are members with noise nearly as long as themselves: the search has to come
    from outside, as that of a text does.  Members themselves are found too easily.
    """
    random = np.random.default_rng(0)
    members = random.choice(len(ids), min(SAMPLES, len(ids)), replace=False)
    queries = vectors[np.sort(members)].astype(np.float32)
    noise = random.standard_normal(queries.shape, np.float32)
    queries += noise * (NOISE * _length(queries) / _length(noise))
    k = min(TARGET_K, len(ids))
    best = nothing(len(queries))
    for start in range(0, len(ids), SLICE):
        scores = queries @ vectors[start : start + SLICE].astype(np.float32).T
        keys = np.broadcast_to(ids[start : start + SLICE], scores.shape)
        best = merge([best, (keys, scores)], k)
    recall = 0.0
    for ef in WIDTHS:
        graph.set_ef(ef)
        try:
            found, _ = graph.knn_query(queries, k=k, num_threads=threads)
        except RuntimeError:  # fewer than k were reached
            continue
        hits = sum(
            len(np.intersect1d(mine, true))
            for mine, true in zip(found.astype(np.int64), best[0], strict=True)
        )
        recall = hits / best[0].size
        if recall >= TARGET_RECALL:
            return ef, recall
    return WIDTHS[-1], recall


def _length(vectors: Vectors) -> Vectors:
    length: Vectors = np.linalg.norm(vectors, axis=1, keepdims=True)
    return length
