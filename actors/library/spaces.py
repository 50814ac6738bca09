"""Vector spaces: one revision of a model with one preprocessing, whose vectors compare.

There are three kinds, of whole pictures, of the faces in them, and of captions, whose vectors are
empty; each has its own spaces, and what follows is true of each kind apart.

The first space is *active*: searches are answered from it.  The one that the owner wants instead
is *building* beside it, is given a task for every content, and becomes active in one transaction
once nothing is left to do for it; the one before is *retired* and keeps its vectors and its tasks
(parked), so that one can go back.  Going back is the same way: the retired one is building again,
and finds its vectors there.  At most one is building.

This table is the only word on which model serves.  A setting names the first one; processes
that hold models or vectors look here, and none of them is told anything that it would have to
remember.
"""

from typing import Final

import msgspec
from sqlalchemy import (
    ColumnElement,
    bindparam,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from actors.library import captions, faces, feed, queue
from actors.library.errors import SpaceConflict, UnknownSpace
from actors.library.schema import (
    FORGOTTEN,
    SpaceState,
    State,
    contents,
    counters,
    spaces,
    state_is,
    tasks,
    vectors,
)
from actors.library.space import Space
from actors.library.statements import Record, values
from actors.library.transaction import Transaction

#: Old photos are embedded anew after the photos that were just added.
BACKFILL_PRIORITY: Final = -1
#: Photos, at least, that a space may lack without being held back, and one in so many of all: a
#: model that cannot read a few is no reason to wait, one that fails at all of them is.
LACKING: Final = 10
LACKING_SHARE: Final = 100


_ALL = select(spaces)
# "active" sorts before "building"
_OPEN = (
    select(spaces.c.id, spaces.c.kind)
    .where(spaces.c.state != "retired")
    .order_by(spaces.c.kind, spaces.c.state)
)
_NAMED = select(spaces).where(spaces.c.name == bindparam("named"))
_INSERT = insert(spaces).returning(spaces.c.id)
_REOPEN = (
    update(spaces)
    .where(spaces.c.id == bindparam("space"))
    .values(state=bindparam("new_state"), backfill_below=None)
)
_ACTIVATE = update(spaces).where(spaces.c.id == bindparam("space")).values(state="active")
_RETIRE = update(spaces).where(spaces.c.id == bindparam("space")).values(state="retired")
_SET_MARK = (
    update(spaces)
    .where(spaces.c.id == bindparam("space"))
    .values(backfill_below=bindparam("below"))
)


def _tasks_in(state: State) -> ColumnElement[bool]:
    """Tasks of a space in *state*; there can be a million."""
    kind = tasks.c.kind == bindparam("of_kind")  # without it no index leads there
    return state_is(state) & kind & (tasks.c.space == bindparam("of_space"))


_MOVED: Final[tuple[State, ...]] = ("ready", "leased", "parked")
_N_IN: Final = {
    state: select(func.count()).select_from(tasks).where(_tasks_in(state)) for state in _MOVED
}
_MOVE_FROM: Final = {
    state: update(tasks)
    .where(_tasks_in(state))
    .values(
        state=bindparam("new_state"),
        lease_owner=None,
        lease_epoch=None,
        executing_run=None,
        updated_ns=bindparam("now_ns"),
    )
    for state in _MOVED
}
_OF_STATE = select(spaces).where(
    spaces.c.state == bindparam("of_state"), spaces.c.kind == bindparam("of_kind")
)
_WAITING = (
    select(tasks.c.id)
    .where(
        tasks.c.kind == bindparam("of_kind"),
        tasks.c.space == bindparam("space"),
        or_(state_is("ready"), state_is("leased")),
    )
    .limit(1)
)
_VECTORS = select(counters.c.state, counters.c.n).where(counters.c.kind == "vector")
_SOME_VECTORS = (
    select(vectors.c.content)
    .where(vectors.c.content > bindparam("after"), vectors.c.space == bindparam("space"))
    .order_by(vectors.c.content)
    .limit(bindparam("n"))
)
_TASKS_AMONG = select(tasks.c.id, tasks.c.kind, tasks.c.state).where(
    tasks.c.content.in_(values()),
    tasks.c.kind == bindparam("of_kind"),
    tasks.c.space == bindparam("space"),
)
_DELETE_TASK = delete(tasks).where(tasks.c.id == bindparam("task"))
_DELETE_VECTOR = delete(vectors).where(
    vectors.c.content == bindparam("gone"), vectors.c.space == bindparam("in_space")
)
_NEWEST = select(func.max(contents.c.id))
_BELOW = (
    select(
        contents.c.id,
        exists(
            select(tasks.c.id).where(
                tasks.c.content == contents.c.id,
                tasks.c.kind == bindparam("of_kind"),
                tasks.c.space == bindparam("space"),
            )
        ).label("tasked"),
        exists(
            select(vectors.c.content).where(
                vectors.c.content == contents.c.id, vectors.c.space == bindparam("space")
            )
        ).label("done"),
    )
    .where(contents.c.id < bindparam("below"), contents.c.format != FORGOTTEN)
    .order_by(contents.c.id.desc())
    .limit(bindparam("n"))
)


async def identify(tx: Transaction, name: str) -> Record:
    """The row of the space called *name*.

    Raises:
        UnknownSpace: there is none.
    """
    rows = await tx.read(_NAMED, named=name)
    if not rows:
        raise UnknownSpace(f"no space is called {name!r}; register it first")
    return rows[0]


async def open_spaces(tx: Transaction) -> list[Record]:
    """(id, kind) of those that look at new contents; pictures first, and the active ones."""
    return list(await tx.read(_OPEN))


async def begin(tx: Transaction, space: Space) -> None:
    """Take note of *space* at a start: it serves a library that has none yet.

    It also takes over at once where another space of the same pack is active: the pack was
    replaced by other bytes, and nothing can turn words into vectors of the old one any more.

    Raises:
        SpaceConflict: see `register`.
    """
    serving = await tx.read(_OF_STATE, of_state="active", of_kind=space.kind)
    if not serving or serving[0].name == space.name:
        await register(tx, space)
    elif serving[0].pack == space.pack:
        await register(tx, space)
        await activate(tx, space.name, "catalog")


async def use(tx: Transaction, space: Space, who: str, *, at_once: bool = False) -> None:
    """Have *space* built, and serve when it is complete; one that serves already goes on.

    Whatever else was being built is given up, and keeps what it has.  *at_once* is for a library
    that cannot be searched as it is: the space serves before it is complete.

    Raises:
        SpaceConflict: see `register`.
    """
    await register(tx, space)
    for row in await tx.read(_OF_STATE, of_state="building", of_kind=space.kind):
        if row.name != space.name:
            await retire(tx, row)
    await queue.note(tx, who, f"wants {space.name} of the pack {space.pack} to serve")
    if at_once:
        await activate(tx, space.name, who)


async def switch(tx: Transaction, name: str, who: str) -> bool:
    """`activate` the space called *name* if it was being built and lacks nothing; did it?

    Looked at in the transaction that switches: a photo that came a moment ago has its task here
    as well, and is waited for.
    """
    row = await identify(tx, name)
    if row.state != "building" or row.backfill_below != 0:
        return False
    if await tx.read(_WAITING, space=row.id, of_kind=row.kind):
        return False
    held = {each.state: each.n for each in await tx.read(_VECTORS)}
    serving = await tx.read(_OF_STATE, of_state="active", of_kind=row.kind)
    before = sum(held.get(str(each.id), 0) for each in serving)
    if not holds_enough(held.get(str(row.id), 0), before):
        return False
    await activate(tx, name, who)
    return True


def holds_enough(vectors: int, before: int) -> bool:
    """May a space of so many vectors take over from one that had *before*?"""
    if before and not vectors:
        return False
    return before - vectors <= max(LACKING, before // LACKING_SHARE)


async def register(tx: Transaction, space: Space) -> int:
    """Make *space* known, or open again if it was retired; returns its id.

    Raises:
        SpaceConflict: the name is taken by vectors that would not compare.
    """
    everything = await tx.read(_ALL)
    wanted = msgspec.structs.asdict(space)
    for row in everything:
        if row.name == space.name:
            known = {part: getattr(row, part) for part in wanted}
            if known != wanted:
                raise SpaceConflict(f"space {space.name!r} is {known}, so it cannot be {wanted}")
            if row.state == "retired":
                await _reopen(tx, row, "building")
            return int(row.id)
    served = any(row.state == "active" and row.kind == space.kind for row in everything)
    state: SpaceState = "building" if served else "active"
    inserted = await tx.connection.execute(_INSERT, [wanted | {"state": state}])
    return int(inserted.scalar_one())


async def _reopen(tx: Transaction, space: Record, state: SpaceState) -> None:
    # Contents that came while it was retired have no task: the backfill starts from the newest.
    await tx.write(_REOPEN, [{"space": space.id, "new_state": state}])
    await _move_all(tx, space, "parked", "ready")


async def _move_all(tx: Transaction, space: Record, before: State, after: State) -> None:
    """Put all tasks of *space* that are in one state into another, in the database itself."""
    of = {"of_space": space.id, "of_kind": space.kind}
    n = int((await tx.read(_N_IN[before], **of))[0][0])
    if n:
        await tx.write(_MOVE_FROM[before], [of | {"new_state": after, "now_ns": tx.now_ns}])
        tx.count(space.kind, before, -n)
        tx.count(space.kind, after, n)


async def activate(tx: Transaction, name: str, who: str) -> None:
    """Serve searches from the space called *name* and retire the one that did."""
    chosen = await identify(tx, name)
    if chosen.state == "active":
        return
    for row in await tx.read(_OF_STATE, of_state="active", of_kind=chosen.kind):
        await retire(tx, row)
    if chosen.state == "retired":
        await _reopen(tx, chosen, "active")
    else:
        await tx.write(_ACTIVATE, [{"space": chosen.id}])
    await queue.note(tx, who, f"made {name} the active space")


async def retire(tx: Transaction, row: Record) -> None:
    """Embed nothing more for this space; its vectors stay."""
    await tx.write(_RETIRE, [{"space": row.id}])
    await _move_all(tx, row, "ready", "parked")
    await _move_all(tx, row, "leased", "parked")


async def drop(tx: Transaction, name: str, after: int, n: int) -> list[int]:
    """Forget up to *n* vectors of a space that nobody uses, of contents after *after*, by id.

    Returns the contents.  Their tasks go too, so that the space can be built anew if it is
    wanted again.

    Raises:
        SpaceConflict: the space serves, or is built.
    """
    row = await identify(tx, name)
    if row.state != "retired":
        raise SpaceConflict(
            f"space {name!r} is {row.state}: choose another with `models use` first"
        )
    gone = [each.content for each in await tx.read(_SOME_VECTORS, space=row.id, after=after, n=n)]
    await feed.append(tx, "remove", [(each, row.id) for each in await feed.live(tx, gone)])
    done = await tx.read_each(_TASKS_AMONG, gone, space=row.id, of_kind=row.kind)
    for task in done:
        tx.count(task.kind, task.state, -1)
    await tx.write(_DELETE_TASK, [{"task": each.id} for each in done])
    await tx.write(_DELETE_VECTOR, [{"gone": each, "in_space": row.id} for each in gone])
    await faces.drop(tx, [(each, row.id) for each in gone])
    await captions.drop(tx, [(each, row.id) for each in gone])
    return gone


async def backfill(tx: Transaction, name: str, n: int) -> int:
    """Give the next *n* older contents a task, newest first, where they lack one.

    Returns how many contents were looked at; 0 when none is left.  The place is kept in the
    database, so that a million contents are looked at once and not once a slice.
    """
    space = await identify(tx, name)
    if space.state == "retired":
        return 0
    below = space.backfill_below
    if below is None:
        below = ((await tx.connection.execute(_NEWEST)).scalar() or 0) + 1
    rows = await tx.read(_BELOW, space=space.id, below=below, n=n, of_kind=space.kind)
    await queue.add(
        tx,
        space.kind,
        [
            {"content": row.id, "space": space.id, "priority": BACKFILL_PRIORITY}
            for row in rows
            if not (row.tasked or row.done)
        ],
    )
    below = rows[-1].id if rows else 0
    if below != space.backfill_below:
        await tx.write(_SET_MARK, [{"space": space.id, "below": below}])
    return len(rows)
