"""What one photo may cost."""

from typing import NamedTuple

MIB = 1024 * 1024


class Limits(NamedTuple):
    #: bytes of the file: it is held in memory, and no camera writes a larger one
    file: int = 2048 * MIB
    #: pixels declared by the file.  Phones make 200 megapixels and stitched panoramas 400;
    #: what declares more is a bomb or needs a tool of its own
    pixels: int = 512_000_000
    #: bytes at the peak of one decode, as estimated from the declared size: a format that
    #: cannot be decoded at a smaller scale reaches this before it reaches `pixels`
    memory: int = 2048 * MIB
    #: share of the rows that a damaged picture must still have to be shown
    share: float = 0.25


DEFAULT_LIMITS = Limits()
