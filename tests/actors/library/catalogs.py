"""A real catalog in a folder of its own, and short words for what workers and walks do."""

import asyncio
import functools
import hashlib
import struct
import tempfile
from collections.abc import Iterable
from pathlib import Path

from actors.library.reads import Reader, open_reader
from actors.library.space import Space
from actors.library.writer import Writer, open_writer
from actors.messages import (
    Captioned,
    Decoded,
    DecodeTask,
    Embedded,
    EmbedTask,
    Faced,
    Failed,
    Fault,
    FoundFace,
    Result,
    SeenFile,
    Totals,
)
from actors.photo.facts import Facts

SECOND = 1_000_000_000
ROOT = b"/photos"
CLIP = Space("clip", "clip-b32", "r1", "p1", "fp32", 4)
FACES = Space("faces", "people", "r1", "p1", "fp32", 2, "face")
CAPTIONS = Space("says", "teller", "r1", "p1", "fp32", 0, "caption")
FACTS = Facts("jpeg", 40, 30, taken_at="2019-03-21T11:04:22")


class Catalog:
    """A writer, a reader and a clock that stands still unless told."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.writer: Writer
        self.reader: Reader
        self.now = 1_000 * SECOND
        self.run = "run-1"
        self.epoch = 0

    async def open(self, *, run: str | None = None) -> None:
        self.run = run or self.run
        self.epoch += 1
        self.writer = await open_writer(self.url, run=self.run, epoch=self.epoch, now_ns=self.now)
        self.reader = await open_reader(self.url)

    async def die(self) -> None:
        """As SIGKILL would leave it: nothing is released."""
        await self.reader.close()
        await self.writer.dispose()

    async def close(self) -> None:
        await self.reader.close()
        await self.writer.close(self.now)

    async def restart(self, *, run: str | None = None) -> None:
        await self.die()
        await self.open(run=run)

    # ── the walk ────────────────────────────────────────────────────────────────────────────

    async def see(
        self,
        *names: bytes,
        version: int = 1,
        directory: bytes = b"",
        skip: str = "",
        priority: int = 0,
        root: bytes = ROOT,
    ) -> None:
        files = [SeenFile(directory, name, 100, version, version, skip) for name in names]
        await self.writer.seen(root, files, priority, self.now)

    async def lose(self, *names: bytes, directory: bytes = b"", root: bytes = ROOT) -> None:
        known = await self.reader.known_files(root, directory)
        await self.writer.vanished([known[name][0] for name in names], self.now)

    # ── workers ─────────────────────────────────────────────────────────────────────────────

    async def decodes(self, n: int = 100, owner: str = "decode.0") -> list[DecodeTask]:
        return await self.writer.lease("decode", n, owner, 1, self.now)

    async def embeds(self, n: int = 100, owner: str = "embed", **of: str) -> list[EmbedTask]:
        return await self.writer.lease("embed", n, owner, 1, self.now, **of)

    async def looks(self, n: int = 100, owner: str = "face") -> list[EmbedTask]:
        return await self.writer.lease("face", n, owner, 1, self.now)

    async def tells(self, n: int = 100, owner: str = "caption") -> list[EmbedTask]:
        return await self.writer.lease("caption", n, owner, 1, self.now)

    async def settle(self, *results: Result) -> list[int]:
        return await self.writer.settle(results, self.now)

    async def fail(self, tasks: Iterable[DecodeTask | EmbedTask], fault: Fault) -> None:
        await self.settle(*[Failed(task.id, fault, f"{fault} is at fault") for task in tasks])

    async def index(self, *names: bytes, same: bytes | None = None, version: int = 1) -> None:
        """See and decode *names* and embed what is new; they hold *same* or each its own name."""
        await self.see(*names, version=version)
        await self.settle(*[decoded(task, same) for task in await self.decodes()])
        await self.settle(*[embedded(task) for task in await self.embeds()])

    # ── answers ─────────────────────────────────────────────────────────────────────────────

    async def counts(self, kind: str) -> tuple[int, int, int, int]:
        """Ready, leased, done and dead tasks of *kind*."""
        (queue,) = [queue for queue in await self.reader.queues() if queue.kind == kind]
        return queue.ready, queue.leased, queue.done, queue.dead

    async def totals(self) -> Totals:
        totals = await self.reader.totals()
        # What is pending is what the others leave: of too many it would leave less than nothing.
        assert totals.pending >= 0
        return totals

    async def fed(self, space: str = "clip") -> list[tuple[str, int]]:
        return [(row.op, row.content) for row in await self.reader.feed_after(0, space, 10_000)]


@functools.cache
def empty_catalog() -> bytes:
    """The file of a catalog with one space and nothing else; making one takes 0.2 s."""

    async def make(folder: str) -> bytes:
        catalog = Catalog(f"sqlite+aiosqlite:///{folder}/catalog.sqlite")
        await catalog.open()
        await catalog.writer.register_space(CLIP, catalog.now)
        await catalog.close()
        return Path(folder, "catalog.sqlite").read_bytes()

    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(make(folder))


def digest_of(what: bytes) -> bytes:
    return hashlib.sha256(what).digest()


def decoded(task: DecodeTask, holds: bytes | None = None) -> Decoded:
    what = task.path.rpartition(b"/")[2] if holds is None else holds
    return Decoded(task.id, digest_of(what), FACTS, 256, 1024)


def found(left: float = 0.1, fill: int = 1, space: Space = FACES, side: float = 0.2) -> FoundFace:
    """A face whose box has that left side; all are as high as they are wide."""
    vector = struct.pack(f"<{space.dimensions}f", *[fill] * space.dimensions)
    box = (left, 0.1, left + side, 0.1 + side)
    return FoundFace(*box, 0.9, [0.5] * 10, 40.0, 7.0, 0.1, 0.0, vector)


def faced(task: EmbedTask, *faces: FoundFace, space: Space = FACES) -> Faced:
    return Faced(task.id, task.content, space.name, list(faces))


def captioned(
    task: EmbedTask, text: str, space: Space = CAPTIONS, score: float = -0.5
) -> Captioned:
    return Captioned(task.id, task.content, space.name, text, score)


def embedded(task: EmbedTask, space: Space = CLIP, fill: int = 1) -> Embedded:
    return Embedded(task.id, task.content, space.name, bytes([fill]) * 4 * space.dimensions)
