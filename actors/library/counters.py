"""What is counted as it changes, so that no screen ever waits for a count.

    kind            state                     what
    decode, embed,  ready, leased, parked,    tasks of that kind in that state
    face            done, dead, dropped
    file            live                      files that are not missing
    file            skipped                   … of which have a skip reason
    file            linked                    … of which are linked to a content
    content         live                      contents with at least one file that is not missing
    vector          <space id>                live contents that have a vector in that space
    letter          trimmed                   times that a dead letter lost its details (`queue`)

Counting four million tasks takes 400 ms; adding a handful of numbers inside the transaction that
changes them takes nothing and cannot drift.  `recount` is the proof, for tests and for a check
that a user starts by hand.  What was trimmed leaves nothing behind to be counted, so that its
counter stands for itself.
"""

from typing import Any

from sqlalchemy import (
    CompoundSelect,
    Text,
    cast,
    delete,
    distinct,
    func,
    insert,
    literal,
    select,
    union_all,
)

from actors.library.schema import counters, files, tasks, vectors
from actors.library.transaction import Transaction

_COUNTED = select(counters.c.kind, counters.c.state, counters.c.n)


def recount() -> CompoundSelect[Any]:
    """The counters as they have to be: rows (kind, state, n) with n > 0."""
    here = files.c.missing_since_ns.is_(None)
    live = select(files.c.id).where(files.c.content == vectors.c.content, here).exists()
    of_files = {
        ("file", "live"): func.count(files.c.id),
        ("file", "skipped"): func.count(files.c.skip_reason),
        ("file", "linked"): func.count(files.c.content),
        ("content", "live"): func.count(distinct(files.c.content)),
    }
    return union_all(
        select(tasks.c.kind, tasks.c.state, func.count().label("n")).group_by(
            tasks.c.kind, tasks.c.state
        ),
        *(
            select(literal(kind), literal(state), n).where(here).having(n > 0)
            for (kind, state), n in of_files.items()
        ),
        select(literal("vector"), cast(vectors.c.space, Text), func.count())
        .where(live)
        .group_by(vectors.c.space),
        _COUNTED.where(counters.c.kind == "letter", counters.c.n > 0),
    )


async def restore(tx: Transaction) -> int:
    """Put `recount` in the place of what was counted; returns how many counters were wrong."""
    # One that stands at zero says the same as one that is not there.
    before = {(row.kind, row.state): row.n for row in await tx.read(_COUNTED) if row.n}
    after = {(row.kind, row.state): row.n for row in await tx.read(recount())}
    await tx.connection.execute(delete(counters))
    await tx.write(
        insert(counters),
        [{"kind": kind, "state": state, "n": n} for (kind, state), n in sorted(after.items())],
    )
    return len({key for key, _ in before.items() ^ after.items()})
