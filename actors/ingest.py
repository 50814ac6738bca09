"""Ingest: walks the folders of originals, watches them, and tells the catalog what changed.

A walk compares each folder with what the catalog knows of it (read-only, folder by folder) and
sends only the difference, so that a second walk of an unchanged library writes nothing.
Originals are looked at, never opened: reading them is for `decode`.

What is told is asked until it is answered `Done`; a walk that dies is walked again.  A root
that cannot be listed, or is suddenly empty, is a host that went away (an unmounted share looks
just like that): nothing of it counts as vanished.
"""

import os
import time
from collections.abc import AsyncGenerator, Iterator
from typing import Any, ClassVar

import anyio
import anyio.to_thread
import msgspec
import watchfiles
from watchfiles._rust_notify import WatchfilesRustInternalError

from actors.library.errors import LibraryError
from actors.library.paths import printable
from actors.library.reads import Reader, open_reader
from actors.messages import (
    AnyMessage,
    Done,
    Message,
    ScanDone,
    ScanStarted,
    Seen,
    SeenFile,
    Vanished,
)
from actors.settings import IngestSettings
from actors.walking import Listing, compare, walk
from runtime import log
from runtime.actor import Actor
from runtime.errors import RuntimeFault

ANSWER_S = 30.0
RETRY_S = 0.2
#: files a message, and bytes of their names: a body has a limit, a path can have 4 KiB
MOST_FILES = 500
MOST_BYTES = 400_000
#: folders listed by one hop into the worker thread
HOP = 16
#: how long a watch waits in its thread, which nobody can end sooner: so long takes a stop
WATCH_MS = 500
#: before a watch that broke begins anew
AGAIN_S = 1.0
#: what appears in a watched folder is decoded before the backlog
WATCHED_PRIORITY = 10


class Ingest(Actor):
    Settings: ClassVar[Any] = IngestSettings
    messages: ClassVar[Any] = AnyMessage

    async def on_start(self) -> None:
        self.settings: IngestSettings
        self._catalog = self.ref("catalog")
        self._walks: dict[bytes, ScanStarted | ScanDone] = {}
        self._walking = anyio.Lock()
        self._to_walk: set[bytes] = set()

    async def run(self) -> None:
        reader = await self._open_reader()
        if self.settings.watch:
            for root in self.settings.roots:
                self.tasks.start_soon(self._watch, reader, root)
        while True:
            for root in self.settings.roots:
                await self._walk(reader, root)
            if not self.settings.scan_interval_s:
                return
            await anyio.sleep(self.settings.scan_interval_s)

    async def on_up(self, name: str) -> None:
        """How far the walks are lives in the catalog's memory: tell a new one."""
        if name == "catalog":
            for word in list(self._walks.values()):
                self.tasks.start_soon(self._tell, word)

    async def _open_reader(self) -> Reader:
        """The catalog makes the database; wait for it, without holding up our own READY."""
        while True:
            try:
                return await open_reader(self.settings.database)
            except LibraryError:
                await anyio.sleep(RETRY_S)

    async def _walk(self, reader: Reader, root: bytes) -> None:
        """One walk of *root* after the other; who waits for one waits for all who do."""
        if root in self._to_walk:
            return
        self._to_walk.add(root)
        async with self._walking:
            self._to_walk.discard(root)
            await self._scan(reader, root)

    async def _scan(self, reader: Reader, root: bytes) -> None:
        begin = time.monotonic()
        await self._note(root, ScanStarted(root))
        count = 0
        errors: list[str] = []
        visited: set[bytes] = set()
        unlisted: list[bytes] = []
        vanished: list[int] = []
        outgoing = _Outgoing(self, root)
        listings = walk(root)
        while hop := await anyio.to_thread.run_sync(_take, listings):
            for listing in hop:
                visited.add(listing.directory)
                if listing.error:
                    unlisted.append(listing.directory)
                    errors.append(f"{printable(listing.directory) or '.'}: {listing.error}")
                    continue
                count += len(listing.files)
                vanished += await self._compare(reader, root, listing, outgoing)
        await outgoing.flush()
        if b"" in unlisted or not count:
            error = errors[0] if errors else ""
            await self._note(root, ScanDone(root, count, time.monotonic() - begin, error))
            return
        for directory in await reader.known_directories(root):
            if directory not in visited and not _within(directory, unlisted):
                known = await reader.known_files(root, directory)
                vanished += [each[0] for each in known.values()]
        await self._forget(vanished)
        seconds = time.monotonic() - begin
        await self._note(root, ScanDone(root, count, seconds, "; ".join(errors[:3])))

    async def _compare(
        self, reader: Reader, root: bytes, listing: Listing, outgoing: "_Outgoing"
    ) -> list[int]:
        known = await reader.known_files(root, listing.directory)
        difference = compare(listing, known)
        await outgoing.add(difference.new)
        return difference.vanished

    async def _forget(self, vanished: list[int]) -> None:
        for start in range(0, len(vanished), MOST_FILES):
            await self._tell(Vanished(vanished[start : start + MOST_FILES]))

    async def _watch(self, reader: Reader, root: bytes) -> None:
        """Look again at every folder in which something happened."""
        try:
            async for changes in _changes(root):
                if changes is None:
                    self.tasks.start_soon(self._walk, reader, root)
                    continue
                touched = await anyio.to_thread.run_sync(_touched, root, changes)
                await self._look_again(reader, root, touched)
        except OSError as error:
            log.logger().warning("not_watched", reason=os.strerror(error.errno or 0))

    async def _look_again(self, reader: Reader, root: bytes, touched: "_Touched") -> None:
        outgoing = _Outgoing(self, root, WATCHED_PRIORITY)
        vanished: list[int] = []
        walks = [walk(root, each, deep=False) for each in sorted(touched.changed)]
        walks += [walk(root, each) for each in sorted(touched.appeared)]
        for listings in walks:
            while hop := await anyio.to_thread.run_sync(_take, listings):
                for listing in hop:
                    if not listing.error:
                        vanished += await self._compare(reader, root, listing, outgoing)
        await outgoing.flush()
        if touched.gone:
            for directory in await reader.known_directories(root):
                if _within(directory, sorted(touched.gone)):
                    known = await reader.known_files(root, directory)
                    vanished += [each[0] for each in known.values()]
        await self._forget(vanished)

    async def _note(self, root: bytes, word: ScanStarted | ScanDone) -> None:
        self._walks[root] = word
        await self._tell(word)

    async def _tell(self, word: Message) -> None:
        """Ask until it is answered: all of these may be said twice."""
        while True:
            try:
                answer = await self._catalog.ask(word, ANSWER_S)
            except RuntimeFault:
                await anyio.sleep(RETRY_S)
            else:
                assert isinstance(answer, Done)
                return


async def _changes(
    root: bytes,
) -> AsyncGenerator[set[tuple[watchfiles.Change, str]] | None, None]:
    """What a watch of *root* reports; None where it missed something and begins anew.

    It cannot report a name that is no UTF-8, and breaks over it.

    Raises:
        OSError: *root* cannot be watched.
    """
    while True:
        try:
            async for changes in watchfiles.awatch(
                os.fsdecode(root), recursive=True, step=200, rust_timeout=WATCH_MS
            ):
                yield changes
            return
        except* WatchfilesRustInternalError as errors:
            log.logger().info("watched_anew", reason=repr(errors.exceptions[0]))
        await anyio.sleep(AGAIN_S)
        yield None


class _Outgoing:
    """Seen files on their way, in messages of bounded size."""

    def __init__(self, ingest: Ingest, root: bytes, priority: int = 0) -> None:
        self._ingest = ingest
        self._root = root
        self._priority = priority
        self._files: list[SeenFile] = []
        self._bytes = 0

    async def add(self, files: list[SeenFile]) -> None:
        for file in files:
            self._files.append(file)
            self._bytes += len(file.name) + len(file.directory)
            if len(self._files) >= MOST_FILES or self._bytes >= MOST_BYTES:
                await self.flush()

    async def flush(self) -> None:
        files, self._files, self._bytes = self._files, [], 0
        if files:
            await self._ingest._tell(Seen(self._root, files, self._priority))  # noqa: SLF001


class _Touched(msgspec.Struct, frozen=True):
    """What a watch reported, as folders relative to the root."""

    changed: set[bytes]  #: files in it came, went or changed
    appeared: set[bytes]  #: it is new itself, perhaps with a tree in it
    gone: set[bytes]  #: no longer there; it may have been a file


def _touched(root: bytes, changes: set[tuple[watchfiles.Change, str]]) -> _Touched:
    touched = _Touched(set(), set(), set())
    for change, name in changes:
        path = os.path.relpath(os.fsencode(name), root)
        if change == watchfiles.Change.deleted:
            touched.gone.add(path)
        elif os.path.isdir(name):  # noqa: PTH112 - a name that may be undecodable
            touched.appeared.add(b"" if path == b"." else path)
            continue
        touched.changed.add(os.path.dirname(path))  # noqa: PTH120 - bytes
    return touched


def _take(listings: Iterator[Listing]) -> list[Listing]:
    """The next few listings; runs in a thread, because disks are slow."""
    return [listing for _, listing in zip(range(HOP), listings, strict=False)]


def _within(directory: bytes, parents: list[bytes]) -> bool:
    return any(directory == each or directory.startswith(each + b"/") for each in parents)
