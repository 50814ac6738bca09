"""The write half of the library: one object, one verb a transaction.

For the catalog alone, which is the only writer.  Every verb takes lists and is meant to be called
with hundreds of things at once: a commit waits for the disk.  A verb that was begun ends, with a
commit or a rollback; a cancellation is delivered after that.  Verbs that are called at the same
time run one after the other.
"""

import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Literal, overload

import anyio
import msgspec
from sqlalchemy import bindparam, func, select, update
from sqlalchemy.engine import URL, make_url

from actors.library import captions, counters, database, files, forgetting, queue, settling, spaces
from actors.library.errors import translated
from actors.library.schema import feed, library
from actors.library.schema import spaces as spaces_table
from actors.library.space import Space
from actors.library.transaction import Transaction
from actors.messages import Class, DecodeTask, EmbedTask, Kind, Result, SeenFile
from runtime.faults import fault

_FEED_HEAD = select(func.coalesce(func.max(feed.c.seq), 0))
_PAUSED = select(library.c.paused_ns)
_PAUSE = update(library).values(paused_ns=bindparam("since_ns"))
_ACTIVE = select(spaces_table.c.id).where(
    spaces_table.c.state == "active", spaces_table.c.kind == bindparam("of_kind")
)


class WriterStatistics(msgspec.Struct, frozen=True):
    """Where the feed stands, and how many results were committed since the database was opened."""

    feed_seq: int
    decoded: int
    embedded: int
    faced: int
    captioned: int


async def open_writer(url: str, *, run: str, epoch: int, now_ns: int) -> "Writer":
    """Open the catalog's database for writing: make it, upgrade it, take back every lease.

    *run* names the supervisor's run, *epoch* the catalog's incarnation in it; `queue.recover`
    tells what a change of run means.

    Raises:
        LibraryError: see `actors.library.errors`; the database is as it was.
    """
    with translated(make_url(url)):
        await database.prepare(make_url(url))
    writer = Writer(make_url(url), run=run)
    try:
        await writer.recover(epoch, now_ns)
    except BaseException:
        await writer.dispose()
        raise
    return writer


class Writer:
    """All verbs that change the catalog.  Made by `open_writer`, ended by `close`."""

    def __init__(self, url: URL, *, run: str) -> None:
        self._url = url
        self._run = run
        self._engine = database.writer_engine(url)
        self._feed_seq = 0
        self._decoded = 0
        self._embedded = 0
        self._faced = 0
        self._captioned = 0
        self._unwanted: list[bytes] = []
        self._looked_through: list[bytes] = []

    def statistics(self) -> WriterStatistics:
        return WriterStatistics(
            self._feed_seq, self._decoded, self._embedded, self._faced, self._captioned
        )

    @asynccontextmanager
    async def _transaction(self, now_ns: int) -> AsyncIterator[Transaction]:
        with translated(self._url), anyio.CancelScope(shield=True):
            async with self._engine.begin() as connection:
                tx = Transaction(connection, now_ns)
                yield tx
                await tx.finish()
                fault("writer.commit")
                head = (await connection.execute(_FEED_HEAD)).scalar_one() if tx.fed else 0
            # Only now is it true.
            self._feed_seq = max(self._feed_seq, head)

    # ── the walk ────────────────────────────────────────────────────────────────────────────

    async def seen(
        self, root: bytes, reported: Iterable[SeenFile], priority: int, now_ns: int
    ) -> None:
        """See `files.seen`."""
        async with self._transaction(now_ns) as tx:
            await files.seen(tx, root, reported, priority)

    async def vanished(self, ids: Iterable[int], now_ns: int) -> None:
        """See `files.vanished`."""
        async with self._transaction(now_ns) as tx:
            await files.vanished(tx, ids)

    # ── spaces ──────────────────────────────────────────────────────────────────────────────

    async def register_space(self, space: Space, now_ns: int) -> int:
        """See `spaces.register`.  Call `backfill` afterwards until it returns 0."""
        async with self._transaction(now_ns) as tx:
            return await spaces.register(tx, space)

    async def begin_with(self, space: Space, now_ns: int) -> None:
        """See `spaces.begin`."""
        async with self._transaction(now_ns) as tx:
            await spaces.begin(tx, space)

    async def use_space(
        self, space: Space, now_ns: int, *, at_once: bool = False, who: str = "owner"
    ) -> None:
        """See `spaces.use`."""
        async with self._transaction(now_ns) as tx:
            await spaces.use(tx, space, who, at_once=at_once)
            fault("writer.use")

    async def drop_space(self, space: str, after: int, n: int, now_ns: int) -> list[int]:
        """See `spaces.drop`.  Call it, after the last content, until it returns none."""
        async with self._transaction(now_ns) as tx:
            return await spaces.drop(tx, space, after, n)

    async def switch_space(self, space: str, now_ns: int, *, who: str = "catalog") -> bool:
        """See `spaces.switch`."""
        async with self._transaction(now_ns) as tx:
            switched = await spaces.switch(tx, space, who)
            fault("writer.switch")
        return switched

    async def backfill(self, space: str, n: int, now_ns: int) -> int:
        """See `spaces.backfill`."""
        async with self._transaction(now_ns) as tx:
            return await spaces.backfill(tx, space, n)

    async def activate_space(self, space: str, now_ns: int, *, who: str = "owner") -> None:
        """See `spaces.activate`."""
        async with self._transaction(now_ns) as tx:
            await spaces.activate(tx, space, who)

    async def retire_space(self, space: str, now_ns: int, *, who: str = "owner") -> None:
        """Give up a space that is being built; see `spaces.retire`."""
        async with self._transaction(now_ns) as tx:
            await spaces.retire(tx, await spaces.identify(tx, space))
            await queue.note(tx, who, f"retired the space {space}")

    # ── the queue ───────────────────────────────────────────────────────────────────────────

    @overload
    async def lease(
        self, kind: Literal["decode"], n: int, owner: str, epoch: int, now_ns: int
    ) -> list[DecodeTask]: ...
    @overload
    async def lease(
        self,
        kind: Class,
        n: int,
        owner: str,
        epoch: int,
        now_ns: int,
        *,
        space: str | None = ...,
    ) -> list[EmbedTask]: ...
    async def lease(
        self,
        kind: Kind,
        n: int,
        owner: str,
        epoch: int,
        now_ns: int,
        *,
        space: str | None = None,
    ) -> list[DecodeTask] | list[EmbedTask]:
        """Up to *n* ready tasks for *owner*, in its incarnation *epoch*.

        Ordinary tasks come before suspects, urgent ones before patient ones, old before new; of
        suspects those first that had fewer deaths.
        Those of a class come from every space that is not retired, or from *space* only.
        """
        async with self._transaction(now_ns) as tx:
            of = None if space is None else int((await spaces.identify(tx, space)).id)
            if kind == "decode":
                return await queue.lease_decodes(tx, n, owner, epoch)
            return await queue.lease_looks(tx, kind, n, owner, epoch, space=of)

    async def executing(self, tasks: Iterable[int], now_ns: int) -> list[int]:
        """See `queue.executing`."""
        async with self._transaction(now_ns) as tx:
            return await queue.executing(tx, tasks, self._run)

    async def settle(self, results: Iterable[Result], now_ns: int) -> list[int]:
        """See `settling.settle`; returns the tasks to answer as committed, which is all of them."""
        async with self._transaction(now_ns) as tx:
            settled = await settling.settle(tx, results)
        self._decoded += settled.decoded
        self._embedded += settled.embedded
        self._faced += len(settled.faced)
        self._captioned += settled.captioned
        self._unwanted += settled.unwanted
        self._looked_through += settled.faced
        return settled.tasks

    def take_looked_through(self) -> list[bytes]:
        """Digests of pictures whose faces were found, since this was asked last."""
        looked_through, self._looked_through = self._looked_through, []
        return looked_through

    def take_unwanted(self) -> list[bytes]:
        """Digests of pictures that were decoded for nobody, since this was asked last."""
        unwanted, self._unwanted = self._unwanted, []
        return unwanted

    async def give_back(self, owner: str, epoch: int, now_ns: int) -> int:
        """See `queue.give_back`."""
        async with self._transaction(now_ns) as tx:
            return await queue.give_back(tx, owner, epoch)

    async def give_back_some(self, tasks: Iterable[int], owner: str, now_ns: int) -> int:
        """See `queue.give_back_some`."""
        async with self._transaction(now_ns) as tx:
            return await queue.give_back_some(tx, tasks, owner)

    async def adopt(self, tasks: Iterable[int], owner: str, epoch: int, now_ns: int) -> list[int]:
        """See `queue.adopt`."""
        async with self._transaction(now_ns) as tx:
            return await queue.adopt(tx, tasks, owner, epoch)

    async def charge(
        self,
        tasks: Iterable[int],
        exit_reason: str,
        stderr_tail: str,
        now_ns: int,
        *,
        owner: str | None = None,
    ) -> int:
        """See `queue.charge`."""
        async with self._transaction(now_ns) as tx:
            return await queue.charge(tx, tasks, exit_reason, stderr_tail, owner)

    async def refund(self, charges: Iterable[int], now_ns: int) -> int:
        """See `queue.refund`."""
        async with self._transaction(now_ns) as tx:
            return await queue.refund(tx, charges)

    async def decode_again(self, contents: Iterable[int], now_ns: int) -> int:
        """See `queue.decode_again`."""
        async with self._transaction(now_ns) as tx:
            return await queue.decode_again(tx, contents)

    # ── dead letters ────────────────────────────────────────────────────────────────────────

    async def retry(self, tasks: Iterable[int], now_ns: int, *, who: str = "owner") -> list[int]:
        """See `queue.retry`."""
        async with self._transaction(now_ns) as tx:
            return await queue.retry(tx, tasks, who)

    async def drop(self, tasks: Iterable[int], now_ns: int, *, who: str = "owner") -> list[int]:
        """See `queue.drop`."""
        async with self._transaction(now_ns) as tx:
            return await queue.drop(tx, tasks, who)

    # ── the owner ───────────────────────────────────────────────────────────────────────────

    async def pause(self, now_ns: int, *, on: bool, who: str = "owner") -> None:
        """Note that no work is to be handed out, or that it is again.  Whoever leases obeys."""
        async with self._transaction(now_ns) as tx:
            since = (await tx.read(_PAUSED))[0].paused_ns
            if (since is not None) != on:
                await tx.write(_PAUSE, [{"since_ns": now_ns if on else None}])
                await queue.note(tx, who, "paused" if on else "resumed")

    async def look_again(self, kind: Class, contents: Iterable[int], now_ns: int) -> int:
        """See `queue.look_again`; in the active space of *kind*."""
        async with self._transaction(now_ns) as tx:
            return sum(
                [
                    await queue.look_again(tx, kind, row.id, contents)
                    for row in await tx.read(_ACTIVE, of_kind=kind)
                ]
            )

    async def recount(self, now_ns: int) -> int:
        """Set the counters to what is there; returns how many were wrong."""
        async with self._transaction(now_ns) as tx:
            return await counters.restore(tx)

    async def index_captions(self, now_ns: int) -> None:
        """Make the index of the words of captions anew."""
        async with self._transaction(now_ns) as tx:
            await captions.index_anew(tx)

    async def forget(
        self, path: bytes, n: int, now_ns: int, *, who: str = "owner"
    ) -> forgetting.Forgotten:
        """See `forgetting.forget`.  Call it until nothing more is left, then `checkpoint`."""
        async with self._transaction(now_ns) as tx:
            return await forgetting.forget(tx, path, n, who)

    # ── life ────────────────────────────────────────────────────────────────────────────────

    async def recover(self, epoch: int, now_ns: int) -> None:
        """Take over from whoever wrote before; `open_writer` does it."""
        async with self._transaction(now_ns) as tx:
            first = tx.insert(library).on_conflict_do_nothing()
            await tx.write(first, [{"id": 1, "uuid": str(uuid.uuid4()), "created_ns": now_ns}])
            returned, charged = await queue.recover(tx, self._run)
            if charged:
                what = (
                    f"run {self._run} epoch {epoch}: {returned} leases returned, {charged} charged"
                )
                await queue.note(tx, "catalog", what)
            tx.fed = True  # so that the head is read

    async def checkpoint(self) -> None:
        """Move the journal into the database and cut it to nothing; hourly, and at the end."""
        if self._engine.dialect.name != "sqlite":
            return
        with translated(self._url), anyio.CancelScope(shield=True):
            # Not inside BEGIN: a checkpoint cannot be part of a transaction.
            async with self._engine.connect() as connection:
                raw = await connection.get_raw_connection()
                driver = raw.driver_connection
                assert driver is not None
                await driver.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")

    async def close(self, now_ns: int) -> None:
        """End in order: no lease outlives the catalog, and nobody is charged for that."""
        try:
            async with self._transaction(now_ns) as tx:
                await queue.release_all(tx)
            await self.checkpoint()
        finally:
            await self.dispose()

    async def dispose(self) -> None:
        """Let go of the database as it is."""
        with anyio.CancelScope(shield=True):
            await self._engine.dispose()
