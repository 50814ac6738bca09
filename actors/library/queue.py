"""The durable queue: who works on what, and what a failure costs.

Work is done at least once and committed exactly once, so a lease is no lock: it only keeps two
workers from doing the same by accident.  A lease has no deadline either.  It ends with a result
(`settling`), or because its owner is known to be dead (`charge`, `give_back`), or because the
catalog itself was (`recover`); silence alone proves nothing.

Two kinds of trouble are told apart.  *Attempts* are failures that a worker survived and
reported.  *Crash attempts* are deaths: of the worker while it executed the task, or of the whole
machine while `executing` was on record.  Three deaths end in the dead letters, and from the first
on the task is a *suspect* that has to run alone.

Quarantine is no place but an order: ordinary work first, then suspects, those with fewer deaths
before those with more, so that one killer does not stand in the way of the innocent that were
beside it; and one at a time.  A decoder has one photo in hand anyway.  The embedder gets suspects
in a batch of one.  Its process is the ordinary one, and its deaths over tasks do not count towards
its limit.  A second process for suspects alone, that ends after each, was rejected: it would
need the model's memory on the device a second time, and a load of the model a suspect.  Whether a
worker dies of its tasks or would of any is decided by its supervisor (`runtime.blame`); when it
is the worker, what was charged is taken back (`refund`).

An owner is the name of an actor, an epoch its incarnation: what a dead incarnation or an older
one held goes back, what its successor holds stays.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final, get_args

from sqlalchemy import (
    Executable,
    Select,
    and_,
    bindparam,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from actors.library.backoff import HOST_AWAY_NS, wait_ns
from actors.library.paths import absolute
from actors.library.schema import (
    State,
    audit,
    contents,
    directories,
    files,
    roots,
    spaces,
    state_is,
    tasks,
    vectors,
)
from actors.library.statements import Record, values
from actors.library.storable import line, tail
from actors.library.transaction import Transaction
from actors.messages import Class, DecodeTask, EmbedTask, Failed, Fault, Kind

#: A task that took its process down this often is not tried again.
CRASHES: Final = 3
#: Dead letters that keep how their process ended and what it said last, which takes up to 8 kB
#: each.  Older ones keep their row, so that nobody is forgotten, and the reason in one line.
LETTERS: Final = 10_000
#: When tries end.  A worker that failed five times on one photo (in 85 s) will fail again.  A
#: busy system says nothing about the photo: it gets twenty tries (over an hour) before it ends
#: as a dead letter too, which it must at some time so that the queue can run empty.
ATTEMPTS: Final[Mapping[Fault, int]] = {"worker": 5, "busy": 20}
#: How long a task waits for its thumbnail to be made again, if nobody wakes it earlier:
#: the file may go away or turn out to be broken meanwhile.
REMAKE_NS: Final = 60_000_000_000
#: A thumbnail that was made this often and is lost again will not stay.
REMAKES: Final = 5
LOST: Final = "its thumbnail was lost and is made again"
#: What an unclean stop of the whole system is called in a dead letter.
UNCLEAN_STOP: Final = "the whole system stopped uncleanly while this was running"

_MOVE = (
    update(tasks)
    .where(tasks.c.id == bindparam("task"))
    .values(
        state=bindparam("new_state"),
        lease_owner=None,
        lease_epoch=None,
        executing_run=None,
        updated_ns=bindparam("now_ns"),
    )
)
# To somebody who begins with it now.
_LEASE = _MOVE.values(lease_owner=bindparam("owner"), lease_epoch=bindparam("epoch"))
_FINISH = _MOVE.values(last_error=None)
_FAIL = _MOVE.values(
    attempts=bindparam("new_attempts"),
    not_before_ns=bindparam("new_not_before_ns"),
    last_error=bindparam("reason"),
)
_CRASH = _MOVE.values(
    crash_attempts=bindparam("new_crash_attempts"),
    suspect=True,
    last_error=bindparam("reason"),
    exit_reason=bindparam("reason"),
    stderr_tail=bindparam("stderr"),
)
_TRIM = (
    update(tasks).where(tasks.c.id == bindparam("task")).values(exit_reason=None, stderr_tail=None)
)
_REFUND = (
    update(tasks)
    .where(tasks.c.id == bindparam("task"))
    .values(
        state=bindparam("new_state"),
        crash_attempts=bindparam("new_crash_attempts"),
        last_error=bindparam("reason"),
        exit_reason=bindparam("exit"),
        stderr_tail=bindparam("stderr"),
        updated_ns=bindparam("now_ns"),
    )
)
_RETRY = _MOVE.values(attempts=0, crash_attempts=0, not_before_ns=0)
_WAKE = _MOVE.values(not_before_ns=0)
# To, and from, somebody who may be in the middle of it: what is executing stays on record.
_ADOPT = (
    update(tasks)
    .where(tasks.c.id == bindparam("task"))
    .values(
        state=bindparam("new_state"),
        lease_owner=bindparam("owner"),
        lease_epoch=bindparam("epoch"),
        updated_ns=bindparam("now_ns"),
    )
)
_EXECUTE = (
    update(tasks)
    .where(tasks.c.id == bindparam("task"))
    .values(executing_run=bindparam("run"), updated_ns=bindparam("now_ns"))
)

_face = tasks.alias("face_task")
_AGE = (tasks.c.priority.desc(), tasks.c.id)
#: Of those that are no suspects, and of those that are.
_TURNS: Final = {False: _AGE, True: (tasks.c.crash_attempts, *_AGE)}
_DECODE_PAYLOAD = select(
    tasks,
    roots.c.path.label("root"),
    directories.c.path.label("directory"),
    files.c.name,
    exists(select(spaces.c.id).where(spaces.c.kind == "face", spaces.c.state != "retired")).label(
        "faces_wanted"
    ),
    exists(
        select(_face.c.id).where(
            _face.c.content == files.c.content,
            _face.c.kind == "face",
            _face.c.last_error == LOST,
            _face.c.state.in_(("ready", "parked")),
        )
    ).label("spool_lost"),
).select_from(
    tasks.join(files, tasks.c.file == files.c.id)
    .join(directories, files.c.directory == directories.c.id)
    .join(roots, directories.c.root == roots.c.id)
)
_LOOK_PAYLOAD = select(
    tasks, contents.c.digest, contents.c.width, contents.c.height, spaces.c.pack
).select_from(
    tasks.join(contents, tasks.c.content == contents.c.id).join(
        spaces, tasks.c.space == spaces.c.id
    )
)
_PAYLOAD: Final[Mapping[Kind, Select[Any]]] = {
    "decode": _DECODE_PAYLOAD,
    "embed": _LOOK_PAYLOAD,
    "face": _LOOK_PAYLOAD,
    "caption": _LOOK_PAYLOAD,
}

_LEASED = select(tasks).where(state_is("leased"))
_LEASED_TO = _LEASED.where(
    tasks.c.lease_owner == bindparam("owner"), tasks.c.lease_epoch <= bindparam("epoch")
)
_LEASED_AMONG = select(tasks).where(tasks.c.id.in_(values()), tasks.c.state == "leased")
_READY_AMONG = select(tasks).where(tasks.c.id.in_(values()), tasks.c.state == "ready")
_OPEN_AMONG = select(tasks).where(tasks.c.id.in_(values()), tasks.c.state.in_(("ready", "leased")))
_EXECUTING = select(tasks).where(tasks.c.executing_run.is_not(None))
_GUILTY_AMONG = select(tasks).where(
    tasks.c.id.in_(values()),
    or_(
        tasks.c.state == "leased",
        and_(tasks.c.state == "ready", tasks.c.executing_run.is_not(None)),
    ),
)
# With what decides where a task may go when it is dead no more: its file and its space.
_WITH_PLACE = (
    select(
        tasks,
        files.c.content.label("linked"),
        files.c.skip_reason,
        files.c.missing_since_ns,
        spaces.c.state.label("space_state"),
    )
    .select_from(
        tasks.outerjoin(files, tasks.c.file == files.c.id).outerjoin(
            spaces, tasks.c.space == spaces.c.id
        )
    )
    .where(tasks.c.id.in_(values()))
)
_LETTERS = _WITH_PLACE.where(tasks.c.state.in_(("dead", "dropped")))
_SET_SKIP = (
    update(files)
    .where(files.c.id == bindparam("of_file"))
    .values(skip_reason=bindparam("new_skip_reason"))
)
_DECODES_OF = (
    select(files.c.content, tasks.c.state, func.min(tasks.c.id).label("task"))
    .select_from(files.join(tasks, tasks.c.file == files.c.id))
    .where(files.c.content.in_(values()), files.c.missing_since_ns.is_(None))
    .group_by(files.c.content, tasks.c.state)
)
_WAITING_LOOKS = (
    select(tasks)
    .select_from(tasks.join(spaces, spaces.c.id == tasks.c.space))
    .where(
        tasks.c.content.in_(values()),
        tasks.c.kind.in_(get_args(Class)),
        tasks.c.last_error == LOST,
        tasks.c.state.in_(("parked", "ready")),
        spaces.c.state != "retired",
    )
)
# Without a vector, and with no task that is on its way or was given up.
_UNEMBEDDED_AMONG = (
    select(contents.c.id, tasks.c.id.label("task"))
    .select_from(
        contents.outerjoin(
            tasks,
            and_(
                tasks.c.content == contents.c.id,
                tasks.c.kind == bindparam("of_kind"),
                tasks.c.space == bindparam("space"),
            ),
        )
    )
    .where(
        contents.c.id.in_(values()),
        or_(tasks.c.state.is_(None), tasks.c.state == "done"),
        exists(
            select(files.c.id).where(
                files.c.content == contents.c.id, files.c.missing_since_ns.is_(None)
            )
        ),
        ~exists(
            select(vectors.c.content).where(
                vectors.c.content == contents.c.id, vectors.c.space == bindparam("space")
            )
        ),
    )
)
# By kind, so that an index leads to the dead.
_DETAILED = (
    select(tasks.c.id)
    .where(
        state_is("dead"),
        tasks.c.kind.in_(get_args(Kind)),
        tasks.c.exit_reason.is_not(None),
    )
    .order_by(tasks.c.updated_ns.desc(), tasks.c.id.desc())
    .offset(bindparam("kept"))
)
_TASKS = select(tasks).where(tasks.c.id.in_(values()))
_INSERT = insert(tasks)
_AUDIT = insert(audit)


async def _change(
    tx: Transaction, statement: Executable, changes: Sequence[tuple[Record, Mapping[str, Any]]]
) -> None:
    """Execute *statement* for each task and count where it went (its "new_state")."""
    for row, change in changes:
        tx.count_move(row.kind, row.state, change["new_state"])
    await tx.write(
        statement, [{"task": row.id, "now_ns": tx.now_ns, **change} for row, change in changes]
    )
    if any(
        change["new_state"] == "dead" and change.get("stderr", row.exit_reason) is not None
        for row, change in changes
    ):
        await _trim(tx)


async def _trim(tx: Transaction) -> None:
    """Let the oldest letters go without details, beyond the newest `LETTERS`."""
    over = await tx.read(_DETAILED, kept=LETTERS)
    await tx.write(_TRIM, [{"task": row.id} for row in over])
    tx.count("letter", "trimmed", len(over))


async def add(tx: Transaction, kind: Kind, works: Sequence[dict[str, Any]]) -> None:
    """New tasks, ready at once; each of *works* gives its object, key and priority.

    The caller knows that none of them exists: it is the only writer and has just looked.
    """
    fresh: dict[str, Any] = {
        "kind": kind,
        "state": "ready",
        "attempts": 0,
        "crash_attempts": 0,
        "suspect": False,
        "not_before_ns": 0,
        "created_ns": tx.now_ns,
        "updated_ns": tx.now_ns,
    }
    tx.count(kind, "ready", len(works))
    await tx.write(_INSERT, [fresh | work for work in works])


async def move(tx: Transaction, rows: Iterable[Record], state: State) -> None:
    """Put tasks into *state*, uncharged; a lease ends with that."""
    await _change(tx, _MOVE, [(row, {"new_state": state}) for row in rows])


async def move_by_id(tx: Transaction, ids: Iterable[int], state: State) -> None:
    """`move` for who has only the ids."""
    await move(tx, await tx.read_each(_TASKS, ids), state)


async def finish(tx: Transaction, rows: Iterable[Record]) -> None:
    """Mark tasks as done."""
    await _change(tx, _FINISH, [(row, {"new_state": "done"}) for row in rows])


async def lease_decodes(tx: Transaction, n: int, owner: str, epoch: int) -> list[DecodeTask]:
    """Up to *n* files for *owner* to decode; see `_lease`."""
    rows = await _lease(tx, "decode", n, _to(owner, epoch))
    return [
        DecodeTask(
            id=row.id,
            file=row.file,
            path=absolute(row.root, row.directory, row.name),
            size=row.size,
            mtime_ns=row.mtime_ns,
            ctime_ns=row.ctime_ns,
            suspect=row.suspect,
            spool="lost" if row.spool_lost else "new" if row.faces_wanted else "",
        )
        for row in rows
    ]


async def lease_looks(
    tx: Transaction, kind: Class, n: int, owner: str, epoch: int, *, space: int | None
) -> list[EmbedTask]:
    """Up to *n* contents for *owner* to look at, for *space* or any of *kind*; see `_lease`."""
    rows = await _lease(tx, kind, n, _to(owner, epoch), space=space)
    return [
        EmbedTask(
            id=row.id,
            content=row.content,
            digest=row.digest,
            width=row.width,
            height=row.height,
            suspect=row.suspect,
            pack=row.pack,
        )
        for row in rows
    ]


def _to(owner: str, epoch: int) -> dict[str, Any]:
    return {"new_state": "leased", "owner": owner, "epoch": epoch}


@cache
def _following(kind: Kind, *, suspect: bool, in_space: bool) -> Select[Any]:
    """Whose turn it is.

    Made once: to put a statement together takes SQLAlchemy longer than SQLite to execute it.
    """
    turn = _TURNS[suspect]
    ready = state_is("ready") & (tasks.c.kind == kind) & (tasks.c.suspect == suspect)
    if in_space:
        ready &= tasks.c.space == bindparam("in_space")
    following = (
        select(tasks.c.id)
        .where(ready, tasks.c.not_before_ns <= bindparam("now_ns"))
        .order_by(*turn)
        .limit(bindparam("most"))
    )
    return _PAYLOAD[kind].where(tasks.c.id.in_(following)).order_by(*turn)


async def _lease(
    tx: Transaction, kind: Kind, n: int, to: Mapping[str, Any], *, space: int | None = None
) -> list[Record]:
    """Whose turn it is: ordinary before suspect, urgent before patient, old before new.

    Suspects are asked for apart: they are few, so they can be sorted, while the others have to
    come sorted from an index.
    """
    rows: list[Record] = []
    where = {} if space is None else {"in_space": space}
    for suspect in _TURNS:
        if len(rows) < n:
            following = _following(kind, suspect=suspect, in_space=space is not None)
            rows += await tx.read(following, now_ns=tx.now_ns, most=n - len(rows), **where)
    await _change(tx, _LEASE, [(row, to) for row in rows])
    return rows


async def executing(tx: Transaction, ids: Iterable[int], run: str) -> list[int]:
    """Note that risky bytes are about to be touched, in the supervisor's run *run*.

    Returns those that are still to be done.  A lease is not asked for: after a restart of the
    catalog a worker may come to this point before it was adopted.
    """
    rows = await tx.read_each(_OPEN_AMONG, sorted(set(ids)))
    await tx.write(_EXECUTE, [{"task": row.id, "run": run, "now_ns": tx.now_ns} for row in rows])
    return [row.id for row in rows]


async def give_back(tx: Transaction, owner: str, epoch: int) -> int:
    """Make what *owner* leased in incarnation *epoch* or before ready again, uncharged."""
    rows = await tx.read(_LEASED_TO, owner=owner, epoch=epoch)
    await move(tx, rows, "ready")
    return len(rows)


async def give_back_some(tx: Transaction, ids: Iterable[int], owner: str) -> int:
    """Make those of *ids* that *owner* leased, and lost on the way, ready again, uncharged."""
    rows = await tx.read_each(_LEASED_AMONG, sorted(set(ids)))
    lost = [row for row in rows if row.lease_owner == owner]
    await move(tx, lost, "ready")
    return len(lost)


async def adopt(tx: Transaction, ids: Iterable[int], owner: str, epoch: int) -> list[int]:
    """Give *owner* the lease of what it holds anyway, from before the catalog's restart.

    Returns those it has now; the others are settled, gone or somebody else's by now, and a
    result for them is as welcome.
    """
    rows = await tx.read_each(_READY_AMONG, sorted(set(ids)))
    to = _to(owner, epoch)
    await _change(tx, _ADOPT, [(row, to) for row in rows])
    return [row.id for row in rows]


async def release_all(tx: Transaction) -> None:
    """Make everything leased ready again, uncharged: an orderly stop is nobody's crash."""
    rows = {row.id: row for row in (*await tx.read(_LEASED), *await tx.read(_EXECUTING))}
    await move(tx, rows.values(), "ready")


async def recover(tx: Transaction, run: str) -> tuple[int, int]:
    """Return every lease; tells how many uncharged and how many charged.

    Whoever opens the database is its only writer and has given no lease yet.  What was executing
    in another run of the system is charged, because that run cannot have ended in order (see
    `release_all`).  What was executing in this one is not, because only the catalog died; but it
    stays on record until it is settled, given back or leased anew, since its worker may still be
    at it and may yet take everything down.
    """
    rows = {row.id: row for row in (*await tx.read(_LEASED), *await tx.read(_EXECUTING))}
    guilty = [row for row in rows.values() if row.executing_run not in (None, run)]
    others = [row for row in rows.values() if row.executing_run in (None, run)]
    await _crash(tx, guilty, UNCLEAN_STOP, "")
    to = {"new_state": "ready", "owner": None, "epoch": None}
    await _change(tx, _ADOPT, [(row, to) for row in others])
    return len(others), len(guilty)


async def charge(
    tx: Transaction, ids: Iterable[int], exit_reason: str, stderr_tail: str, owner: str | None
) -> int:
    """Charge the death of a worker to the tasks it was executing; returns how many took it.

    A task takes it while it is leased (if *owner* is given, to that one) or while it is on record
    as executing.  So a result that was committed first and a death that is announced twice change
    nothing.
    """
    rows = await tx.read_each(_GUILTY_AMONG, sorted(set(ids)))
    guilty = [row for row in rows if row.state == "ready" or owner in (None, row.lease_owner)]
    await _crash(tx, guilty, exit_reason, stderr_tail)
    return len(guilty)


async def _crash(
    tx: Transaction, rows: Sequence[Record], exit_reason: str, stderr_tail: str
) -> None:
    change = {"reason": line(exit_reason), "stderr": tail(stderr_tail)}
    changes = []
    for row in rows:
        crashes = row.crash_attempts + 1
        state = "dead" if crashes >= CRASHES else "ready"
        changes.append((row, change | {"new_state": state, "new_crash_attempts": crashes}))
    await _change(tx, _CRASH, changes)


async def refund(tx: Transaction, charges: Iterable[int]) -> int:
    """Take *charges* back, each id as often as it was charged; returns how many tasks had any.

    Those that died of them are tried again.  A suspect stays one, since that costs nothing.  What
    was settled meanwhile stays as it is; of a task that was charged less, because its result came
    first for example, no more is taken back than there is.
    """
    times = Counter(charges)
    rows = [
        row
        for row in await tx.read_each(_WITH_PLACE, sorted(times))
        if row.crash_attempts and row.state not in ("done", "dropped")
    ]
    changes = []
    for row in rows:
        crashes = max(row.crash_attempts - times[row.id], 0)
        state = row.state
        if state == "dead" and row.crash_attempts >= CRASHES > crashes:
            state = "parked" if _is_away(row) else "ready"
        change = {
            "new_state": state,
            "new_crash_attempts": crashes,
            "reason": row.last_error,
            "exit": row.exit_reason,
            "stderr": row.stderr_tail,
        }
        if not crashes:
            change |= {"exit": None, "stderr": None}
            change["reason"] = None if row.last_error == row.exit_reason else row.last_error
        changes.append((row, change))
    await _change(tx, _REFUND, changes)
    return len(rows)


async def fail(tx: Transaction, failures: Iterable[tuple[Record, Failed]]) -> None:
    """What a reported failure costs, by whose fault it was.

    The photo's fault is a verdict, whoever still holds the lease.  Any other failure counts only
    against a lease: for a task that was returned meanwhile, or whose report comes a second time,
    it says nothing new.
    """
    changes = []
    for row, failed in failures:
        if row.state != "leased" and (row.state, failed.fault) != ("ready", "photo"):
            continue
        state, attempts, not_before_ns = "ready", row.attempts, tx.now_ns
        match failed.fault:
            case "photo":
                state = "dead"
                attempts += 1
            case "worker" | "busy":
                attempts += 1
                not_before_ns += wait_ns(row.id, attempts)
                if attempts >= ATTEMPTS[failed.fault]:
                    state = "dead"
            case "host":
                not_before_ns += HOST_AWAY_NS
        change = {
            "new_state": state,
            "new_attempts": attempts,
            "new_not_before_ns": not_before_ns,
            "reason": line(failed.reason) or "no reason given",
        }
        changes.append((row, change))
    await _change(tx, _FAIL, changes)


def _is_away(row: Record) -> bool:
    """Is there nothing to be done for a task of `_WITH_PLACE` now?"""
    return row.missing_since_ns is not None or row.space_state == "retired"


async def retry(tx: Transaction, ids: Iterable[int], who: str) -> list[int]:
    """Give dead letters, dropped ones too, a fresh start; returns which.

    A suspect stays one: it may take nobody with it.
    """
    rows = await tx.read_each(_LETTERS, sorted(set(ids)))
    changes = []
    unskipped = []
    for row in rows:
        changes.append((row, {"new_state": "parked" if _is_away(row) else "ready"}))
        if row.state == "dropped" and row.file is not None and row.linked is None:
            unskipped.append({"of_file": row.file, "new_skip_reason": None})
            missing = row.missing_since_ns is not None
            tx.count_file(-1, missing=missing, skipped=True)
            tx.count_file(+1, missing=missing)
    await tx.write(_SET_SKIP, unskipped)
    await _change(tx, _RETRY, changes)
    retried = [row.id for row in rows]
    if retried:
        await note(tx, who, f"retried tasks {retried}")
    return retried


async def drop(tx: Transaction, ids: Iterable[int], who: str) -> list[int]:
    """Take dead letters off the list for good; returns which.

    The file of a decode task is skipped from now on, with the reason.  A content that cannot be
    embedded keeps its files; its task alone says that it was given up.
    """
    rows = [row for row in await tx.read_each(_LETTERS, sorted(set(ids))) if row.state == "dead"]
    skipped = []
    for row in rows:
        # A file that was decoded before (and failed when that was to be repeated) stays a photo.
        if row.file is not None and row.linked is None:
            skipped.append(
                {"of_file": row.file, "new_skip_reason": line(f"dropped: {row.last_error}")}
            )
            missing = row.missing_since_ns is not None
            tx.count_file(-1, missing=missing, skipped=row.skip_reason is not None)
            tx.count_file(+1, missing=missing, skipped=True)
    await tx.write(_SET_SKIP, skipped)
    await move(tx, rows, "dropped")
    dropped = [row.id for row in rows]
    if dropped:
        await note(tx, who, f"dropped tasks {dropped}")
    return dropped


async def decode_again(tx: Transaction, of_contents: Iterable[int]) -> int:
    """Have thumbnails made again that were lost, from the first file of each content.

    Returns for how many that was begun; of the others no file is there that could be decoded, or
    one is waiting to be decoded anyway.
    """
    _, begun, _ = await _remake(tx, of_contents)
    return len(begun)


async def _remake(
    tx: Transaction, of_contents: Iterable[int]
) -> tuple[set[int], set[int], set[int]]:
    """`decode_again`; the contents that were on their way, those that are now, the live ones."""
    decodes: dict[int, dict[State, int]] = {}
    for row in await tx.read_each(_DECODES_OF, sorted(set(of_contents))):
        decodes.setdefault(row.content, {})[row.state] = row.task
    waiting = {content for content, of in decodes.items() if of.keys() & {"ready", "leased"}}
    first = {
        content: of["done"]
        for content, of in decodes.items()
        if content not in waiting and "done" in of
    }
    rows = await tx.read_each(_TASKS, sorted(first.values()))
    await _change(tx, _RETRY, [(row, {"new_state": "ready"}) for row in rows])
    return waiting, set(first), set(decodes)


async def lost(tx: Transaction, rows: Sequence[Record]) -> None:
    """Tasks whose thumbnail, or larger picture, was not there: made again, then the task run.

    A loss is not the photo's fault and not charged; that the same thumbnail is lost again after
    it was made is, so that a disk which keeps nothing ends in dead letters.  A photo that has no
    file now waits until it has one (`wake`).
    """
    rows = [row for row in rows if row.state == "leased"]
    waiting, begun, live = await _remake(tx, [row.content for row in rows])
    changes = []
    for row in rows:
        state: State = "ready"
        reason = LOST
        # The first loss leaves this reason; it is still there when the next one follows it.
        again = row.last_error == LOST and row.content not in waiting
        if row.content not in live:
            state = "parked"
        elif again and row.attempts + 1 >= REMAKES:
            state, reason = "dead", f"its thumbnail was lost {REMAKES + 1} times"
        elif row.content not in waiting | begun:
            state, reason = "dead", "its thumbnail was lost and its original cannot be decoded"
        change = {
            "new_state": state,
            "new_attempts": row.attempts + again,
            "new_not_before_ns": tx.now_ns + REMAKE_NS,
            "reason": reason,
        }
        changes.append((row, change))
    await _change(tx, _FAIL, changes)


async def wake(tx: Transaction, of_contents: Iterable[int]) -> None:
    """Look at *of_contents* whose thumbnails were lost: they were made again, or can be now."""
    rows = await tx.read_each(_WAITING_LOOKS, sorted(set(of_contents)))
    await _change(tx, _WAKE, [(row, {"new_state": "ready"}) for row in rows])


async def look_again(tx: Transaction, kind: Class, space: int, of_contents: Iterable[int]) -> int:
    """Give contents whose vector in *space*, of *kind*, is gone a task for it; how many?"""
    rows = await tx.read_each(
        _UNEMBEDDED_AMONG, sorted(set(of_contents)), space=space, of_kind=kind
    )
    again = await tx.read_each(_TASKS, [row.task for row in rows if row.task is not None])
    await _change(tx, _RETRY, [(row, {"new_state": "ready"}) for row in again])
    new = [row.id for row in rows if row.task is None]
    await add(tx, kind, [{"content": each, "space": space, "priority": 0} for each in new])
    return len(rows)


async def note(tx: Transaction, who: str, what: str) -> None:
    """Write a line into the audit log."""
    await tx.write(_AUDIT, [{"when_ns": tx.now_ns, "who": line(who), "what": line(what)}])
