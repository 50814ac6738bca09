"""What the owner of a segmented index and its builder process do, in one process."""

from pathlib import Path

from actors.vectors.files import read_rows
from actors.vectors.graph import Segment, build_segment
from actors.vectors.segmented import SegmentedIndex


def build(index: SegmentedIndex, directory: Path) -> Segment:
    """The graph of the frozen part, built in the new *directory*."""
    directory.mkdir(parents=True)
    index.write_frozen(directory)
    build_segment(*read_rows(directory, index.dimensions), directory / "segment")
    return Segment.open(directory / "segment", index.dimensions)


def sealed(index: SegmentedIndex, directory: Path) -> None:
    """Turn the tail of *index* into a graph."""
    while index.absorb():
        pass
    index.begin_seal()
    index.finish_seal(build(index, directory))
