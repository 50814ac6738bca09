"""One verb, one transaction: its connection, its time, its effect on the counters.

The one statement that databases spell differently is made here: the `insert` that may meet an
existing row.  Statements are few and take hundreds of rows, because a
statement costs a hop to the driver's thread and back (~0.4 ms) and a row a few microseconds.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any

from sqlalchemy import Executable, Table
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from actors.library.schema import State, counters
from actors.library.statements import SLICE, Record

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql


@cache  # to put a statement together takes longer than to execute it
def _insert(dialect: str, table: Table) -> "sqlite.Insert | postgresql.Insert":
    if dialect == "sqlite":
        return sqlite.insert(table)
    # 40 ms that a start with SQLite need not wait for.
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415

    return postgresql.insert(table)


@cache
def _count_up(dialect: str) -> Executable:
    insert = _insert(dialect, counters)
    return insert.on_conflict_do_update(
        index_elements=["kind", "state"], set_={"n": counters.c.n + insert.excluded.n}
    )


class Transaction:
    """What a verb has in hand between BEGIN and COMMIT."""

    def __init__(self, connection: AsyncConnection, now_ns: int) -> None:
        self.connection = connection
        self.now_ns = now_ns
        self.fed = False  #: the feed grew
        self._counted: Counter[tuple[str, str]] = Counter()

    @property
    def _dialect(self) -> str:
        return self.connection.dialect.name

    def insert(self, table: Table) -> "sqlite.Insert | postgresql.Insert":
        """An INSERT that knows `on_conflict_do_nothing`, in the dialect of the connection."""
        return _insert(self._dialect, table)

    async def read(self, statement: Executable, **parameters: Any) -> Sequence[Record]:
        return (await self.connection.execute(statement, parameters)).all()

    async def read_each(
        self, statement: Executable, wanted: Iterable[Any], **parameters: Any
    ) -> list[Record]:
        """All rows for *wanted*, the list behind `values()` in *statement*."""
        rows: list[Record] = []
        rest = iter(wanted)
        while part := list(islice(rest, SLICE)):
            rows += await self.read(statement, values=part, **parameters)
        return rows

    async def write(self, statement: Executable, rows: Sequence[Mapping[str, Any]]) -> None:
        """Execute *statement* once for each of *rows*; none is fine."""
        if rows:
            await self.connection.execute(statement, rows)

    def count(self, kind: str, state: str, n: int = 1) -> None:
        """Change a counter by *n* when the transaction ends."""
        self._counted[kind, state] += n

    def count_file(
        self, n: int, *, missing: bool = False, skipped: bool = False, linked: bool = False
    ) -> None:
        """Change every counter that a file with these properties is part of."""
        if not missing:
            self._counted["file", "live"] += n
            self._counted["file", "skipped"] += n * skipped
            self._counted["file", "linked"] += n * linked

    def count_move(self, kind: str, before: State, after: State) -> None:
        """One task of *kind* went from one state to another."""
        self._counted[kind, before] -= 1
        self._counted[kind, after] += 1

    async def finish(self) -> None:
        """Write the counters; the last thing before COMMIT."""
        changed = [
            {"kind": kind, "state": state, "n": n}
            for (kind, state), n in sorted(self._counted.items())
            if n
        ]
        await self.write(_count_up(self._dialect), changed)
