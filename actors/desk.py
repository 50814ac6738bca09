"""The owner's desk: what an owner may ask of the library, and how it is done.

The catalog keeps one and answers with it what the gateway passes on; a command keeps one for a
moment where no system runs.  So there is one way to do each thing, whoever does it.

Deleting files is done here, beside the database: derived files belong to photos, and a photo
that goes takes them along.  Originals are never touched.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Final, Protocol

import anyio.to_thread
from sqlalchemy.engine import make_url

from actors.library.forgetting import ELSEWHERE, Forgotten
from actors.library.reads import DeadLetter, Reader
from actors.library.space import Space
from actors.logs.wiping import wipe
from actors.messages import (
    AskBelow,
    AskDeadLetter,
    AskDeadLetters,
    Below,
    Class,
    DeadLetters,
    Done,
    DropLetters,
    Dropped,
    DropSpace,
    Forget,
    Forgot,
    Letter,
    LettersMoved,
    Message,
    Owner,
    Pause,
    Repair,
    Repaired,
    RetryLetters,
    ThumbnailsLost,
    Used,
    UsePack,
)
from actors.photo.spool import remove_spooled
from actors.photo.thumbnails import remove_pair

#: letters a message; a path can have 4 KiB and a message has a limit
PAGE: Final = 100
#: files, or vectors, that one transaction forgets
STEP: Final = 500
#: contents that get their missing embed task in one transaction
BACKFILL: Final = 500
#: transactions a message, so that it is answered in time
STEPS: Final = 20
#: file names that are looked for in logs by themselves; all are by their path
NAMES: Final = 200


class Verbs(Protocol):
    """The part of `library.writer.Writer` that is the owner's."""

    async def retry(self, tasks: Iterable[int], now_ns: int) -> list[int]: ...
    async def drop(self, tasks: Iterable[int], now_ns: int) -> list[int]: ...
    async def pause(self, now_ns: int, *, on: bool) -> None: ...
    async def decode_again(self, contents: Iterable[int], now_ns: int) -> int: ...
    async def look_again(self, kind: Class, contents: Iterable[int], now_ns: int) -> int: ...
    async def recount(self, now_ns: int) -> int: ...
    async def index_captions(self, now_ns: int) -> None: ...
    async def forget(self, path: bytes, n: int, now_ns: int) -> Forgotten: ...
    async def use_space(self, space: Space, now_ns: int, *, at_once: bool) -> None: ...
    async def backfill(self, space: str, n: int, now_ns: int) -> int: ...
    async def switch_space(self, space: str, now_ns: int) -> bool: ...
    async def drop_space(self, space: str, after: int, n: int, now_ns: int) -> list[int]: ...
    async def checkpoint(self) -> None: ...


class Desk:
    """See the head of the module.

    Args:
        writer, reader: both halves of the library.
        database: its URL.
        derived: where thumbnails lie.
        logs: where the lines of processes lie.
        at_rest: no system runs on it.
    """

    def __init__(
        self,
        writer: Verbs,
        reader: Reader,
        *,
        database: str,
        derived: Path,
        logs: Path,
        at_rest: bool = False,
    ) -> None:
        self.at_rest = at_rest
        self._writer = writer
        self._reader = reader
        self._database = Path(make_url(database).database or "")
        self._derived = derived
        self._logs = logs
        self.paused_since_ns = 0  #: 0 while work is handed out

    async def open(self) -> None:
        """Learn what was decided earlier."""
        self.paused_since_ns = (await self._reader.info()).paused_ns or 0

    async def handle(self, message: Owner, now_ns: int) -> Message | None:
        """Do what *message* says; the answer to it.

        Raises:
            LibraryError: the database does not let us.
        """
        match message:
            case AskDeadLetters(after):
                letters = await self._reader.dead_letters(after=after, limit=PAGE)
                trimmed = await self._reader.trimmed()
                return DeadLetters([_letter(each) for each in letters], trimmed)
            case AskDeadLetter(task):
                letters = await self._reader.dead_letters(after=task - 1, limit=1)
                return DeadLetters(
                    [_letter(each, full=True) for each in letters if each.task == task]
                )
            case RetryLetters(tasks, everything):
                if everything:
                    tasks = [each async for each in self._all_letters()]
                return LettersMoved(await self._writer.retry(tasks, now_ns))
            case DropLetters(tasks):
                return LettersMoved(await self._writer.drop(tasks, now_ns))
            case Pause(on):
                await self._writer.pause(now_ns, on=on)
                await self.open()
                return Done()
            case ThumbnailsLost(contents):
                await self._writer.decode_again(contents, now_ns)
                return None
            case Repair(thumbnails, vectors, counters, faces, captions, words):
                if words:
                    await self._writer.index_captions(now_ns)
                return Repaired(
                    await self._writer.decode_again(thumbnails, now_ns),
                    await self._writer.look_again("embed", vectors, now_ns),
                    await self._writer.recount(now_ns) if counters else 0,
                    await self._writer.look_again("face", faces, now_ns),
                    await self._writer.look_again("caption", captions, now_ns),
                )
            case UsePack(space, at_once):
                return await self._use(space, now_ns, at_once=at_once)
            case DropSpace(space, after):
                return await self._drop(space, after, now_ns)
            case AskBelow(path):
                return Below(*await self._reader.below(path))
            case Forget(path):
                return await self._forget(path, now_ns)
            case _:
                raise NotImplementedError(type(message).__name__)

    async def _use(self, space: Space, now_ns: int, *, at_once: bool) -> Used:
        await self._writer.use_space(space, now_ns, at_once=at_once)
        if self.at_rest:
            # Nobody searches meanwhile, so that nobody has to be ready for it.
            while await self._writer.backfill(space.name, BACKFILL, now_ns):
                pass
            await self._writer.switch_space(space.name, now_ns)
        spaces = await self._reader.spaces()
        (now,) = [each for each in spaces if each.space.name == space.name]
        before = next(
            (
                each.space.pack
                for each in spaces
                if each.state == "active" and each.space.kind == space.kind
            ),
            "",
        )
        return Used(now.state, now.vectors, await self._reader.photos(), before)

    async def _drop(self, space: str, after: int, now_ns: int) -> Dropped:
        for _ in range(STEPS):
            gone = await self._writer.drop_space(space, after, STEP, now_ns)
            if not gone:
                return Dropped(after, more=False)
            after = gone[-1]
        return Dropped(after)

    async def _all_letters(self) -> AsyncIterator[int]:
        after = 0
        while letters := await self._reader.dead_letters(after=after, limit=PAGE):
            for letter in letters:
                yield letter.task
            after = letters[-1].task

    async def discard(self, digests: Sequence[bytes]) -> None:
        """Remove the derived files of photos that are none any more."""
        await anyio.to_thread.run_sync(self._remove_pairs, digests)

    def _remove_pairs(self, digests: Sequence[bytes]) -> None:
        remove_spooled(self._derived, digests)
        for digest in digests:
            remove_pair(self._derived, digest)

    async def _forget(self, path: bytes, now_ns: int) -> Forgot:
        files = photos = 0
        kept: dict[int, bytes] = {}
        names: list[bytes] = []
        digests: set[bytes] = set()
        more = True
        for _ in range(STEPS):
            step = await self._writer.forget(path, STEP, now_ns)
            await self.discard(step.digests)
            files += len(step.names)
            names = [*names, *step.names][:NAMES]
            photos += len(step.digests)
            kept |= step.kept
            digests |= set(step.digests)
            more = step.more
            if not more:
                break
        await self._writer.checkpoint()  # what was deleted is in the journal still
        await anyio.to_thread.run_sync(self._forget_files, path, names, digests)
        # What is kept by a file below is only kept until a later step.
        below = path.rstrip(b"/") + b"/"
        elsewhere = {place: id_ for id_, place in kept.items() if not place.startswith(below)}
        return Forgot(
            files, photos, sorted(elsewhere.values()), sorted(elsewhere)[:ELSEWHERE], more
        )

    def _forget_files(self, path: bytes, names: list[bytes], digests: set[bytes]) -> None:
        wipe(self._logs, path, names, digests)
        # Copies from before an upgrade hold everything as it was.
        for copy in self._database.parent.glob(f"{self._database.name}.before-*"):
            copy.unlink(missing_ok=True)


def _letter(letter: DeadLetter, *, full: bool = False) -> Letter:
    return Letter(
        task=letter.task,
        path=letter.path,
        kind=letter.kind,
        reason=letter.reason,
        attempts=letter.attempts,
        crash_attempts=letter.crash_attempts,
        when_ns=letter.when_ns,
        exit_reason=letter.exit_reason if full else "",
        stderr_tail=letter.stderr_tail if full else "",
    )
