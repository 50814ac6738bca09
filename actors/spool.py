"""How much of the disk the larger pictures for faces take, and which may go; see `photo.spool`.

Faces are found after everything has a vector, so that a first index of a large library decodes
far ahead of them.  Above the limit a decoder leaves no larger picture; when the turn of such a
photo's faces has come it is decoded once more.  Rejected: to hold decoding back, because then
search would wait for faces.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import anyio.to_thread
import msgspec

from actors.messages import DecodeTask
from actors.photo.spool import remove_spooled, spooled

#: a picture of long side 2048 as JPEG; what a decoder is about to leave is not measured yet
USUAL_BYTES = 700_000
SLICE = 1000


class Spool:
    """Kept by the catalog, which hands out decoding and commits faces.

    Args:
        derived: where the pictures lie.
        limit: bytes to take at most; what is asked for because it was lost may come on top.
    """

    def __init__(self, derived: Path, limit: int) -> None:
        self._derived = derived
        self._limit = limit
        self._sizes: dict[bytes, int] = {}
        self._admitted = 0

    async def measure(self) -> None:
        """See what lies there; whatever was admitted before is among it, or never will be."""
        self._sizes = await anyio.to_thread.run_sync(spooled, self._derived)
        self._admitted = 0

    def slices(self) -> Iterator[list[bytes]]:
        """Digests of what lay there when it was measured."""
        digests = list(self._sizes)
        for start in range(0, len(digests), SLICE):
            yield digests[start : start + SLICE]

    def admit(self, tasks: Sequence[DecodeTask]) -> list[DecodeTask]:
        """*tasks*, of which those that find no room are told to leave nothing."""
        taken = sum(self._sizes.values())
        admitted = []
        for task in tasks:
            room = self._limit - taken - self._admitted * USUAL_BYTES
            if task.spool == "new" and room < USUAL_BYTES:
                admitted.append(msgspec.structs.replace(task, spool=""))
                continue
            self._admitted += bool(task.spool)
            admitted.append(task)
        return admitted

    async def remove(self, digests: Sequence[bytes]) -> None:
        """The faces of these photos are known."""
        for each in digests:
            self._sizes.pop(each, None)
        if digests:
            await anyio.to_thread.run_sync(remove_spooled, self._derived, digests)
