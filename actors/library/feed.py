"""The feed: what vector indexes have to know, in the order in which it became true.

For each space, replaying `add` and `remove` from the first row gives exactly the contents that
are live and have a vector there; an `add` is only ever written for one that is out, a `remove`
for one that is in.  Both rules come from one place: whatever a verb does to files, it does
inside `liveness`, which compares before and after.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from sqlalchemy import insert, select

from actors.library.schema import FeedOp, feed, files, vectors
from actors.library.statements import Record, values
from actors.library.transaction import Transaction

_LIVE = (
    select(files.c.content)
    .distinct()
    .where(files.c.content.in_(values()), files.c.missing_since_ns.is_(None))
)
_VECTORS = select(vectors.c.content, vectors.c.space).where(vectors.c.content.in_(values()))
_APPEND = insert(feed)


async def live(tx: Transaction, contents: Iterable[int]) -> set[int]:
    """Those of *contents* that have a file which is not missing."""
    return {row.content for row in await tx.read_each(_LIVE, contents)}


async def append(tx: Transaction, op: FeedOp, entries: Iterable[Record | tuple[int, int]]) -> None:
    """Write *op* for each (content, space) of *entries*, in the order of the contents."""
    rows = [{"op": op, "content": content, "space": space} for content, space in sorted(entries)]
    for row in rows:
        tx.count("vector", str(row["space"]), 1 if op == "add" else -1)
    await tx.write(_APPEND, rows)
    tx.fed = tx.fed or bool(rows)


@asynccontextmanager
async def liveness(tx: Transaction, contents: Iterable[int]) -> AsyncIterator[None]:
    """Tell the feed which of *contents* the block killed or brought back.

    The block links, unlinks, hides or shows files; it writes no vector.
    """
    contents = set(contents)
    before = await live(tx, contents)
    yield
    after = await live(tx, contents)
    await append(tx, "remove", await tx.read_each(_VECTORS, before - after))
    await append(tx, "add", await tx.read_each(_VECTORS, after - before))
    tx.count("content", "live", len(after) - len(before))
