"""What is counted as it changes, so that no screen ever waits for a count.

    kind            state                     what
    decode, embed   ready, leased, parked,    tasks of that kind in that state
                    done, dead, dropped
    file            live                      files that are not missing
    file            skipped                   … of which have a skip reason
    file            linked                    … of which are linked to a content
    content         live                      contents with at least one file that is not missing
    vector          <space id>                live contents that have a vector in that space

Counting four million tasks takes 400 ms; adding a handful of numbers inside the transaction that
changes them takes nothing and cannot drift.  `recount` is the proof, for tests and for a check
that a user starts by hand.
"""

from typing import Any

from sqlalchemy import CompoundSelect, Text, cast, distinct, func, literal, select, union_all

from actors.library.schema import files, tasks, vectors


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
    )
