"""Random histories: whatever happens in whatever order, nothing is lost and nothing counts twice.

The world has a disk, a walk that tells of it (sometimes in part, sometimes twice), workers that
hold tasks and keep results until they are answered, answers that get lost, deaths of workers, of
the catalog and of the whole machine, between any two steps and in the middle of a commit, deaths
that are charged and refunded, a change of the model, and an owner who retries and drops.  After
every step the catalog has to be consistent; in the end the world calms down, and then everything
must have come to its end.
"""

import asyncio
import tempfile
from collections import defaultdict
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import exists, select

from actors.library.queue import CRASHES
from actors.library.schema import (
    FORGOTTEN,
    contents,
    counters,
    directories,
    files,
    spaces,
    tasks,
    vectors,
)
from actors.library.schema import feed as feed_table
from actors.messages import (
    DecodeTask,
    Embedded,
    EmbedTask,
    Failed,
    Result,
    SeenFile,
    Skipped,
    ThumbnailLost,
)
from runtime import faults
from tests.actors.library.catalogs import (
    CLIP,
    ROOT,
    SECOND,
    Catalog,
    decoded,
    digest_of,
    empty_catalog,
)

T = TypeVar("T")

given_up = tasks.alias("given_up")

SPACES = [CLIP, msgspec.structs.replace(CLIP, name="other", pack="other", dimensions=2)]
DIMENSIONS = {space.name: space.dimensions for space in SPACES}

PATHS = [(b"", b"a"), (b"", b"b"), (b"x", b"a"), (b"x", b"\xff"), (b"y/z", b"a")]
#: What a file may hold.  The last two are no photo, and a photo that cannot be read.
TEXT, TORN = b"text", b"torn"
HOLDINGS = [b"beach", b"dog", b"cat", TEXT, TORN]
OWNERS = ["decode.0", "decode.1", "embed"]


class World(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.catalog = Catalog(f"sqlite+aiosqlite:///{self.folder.name}/catalog.sqlite")
        self.disk: dict[tuple[bytes, bytes], tuple[int, bytes]] = {}
        self.versions = 0
        self.held: dict[str, list[DecodeTask | EmbedTask]] = defaultdict(list)
        self.mail: list[Result] = []  # sent and maybe committed, but not yet answered
        self.nonce = 0
        self.vectors: dict[tuple[int, int], bytes] = {}  # as first seen in the database
        self.holds: dict[tuple[bytes, int], bytes] = {}  # what a path held in each version
        self.forgotten: dict[tuple[bytes, bytes], int] = {}  # the version that was
        self.charged: list[int] = []  # since the last refund
        self.runs = 1
        #: the head of the feed and the live vectors of each space, after each step
        self.live_at: list[tuple[int, dict[str, set[int]]]] = [(0, {})]

    def do(self, what: Coroutine[Any, Any, T]) -> T:
        return self.loop.run(what)

    @property
    def writer(self):
        return self.catalog.writer

    @property
    def now(self) -> int:
        return self.catalog.now

    @initialize()
    def begin(self) -> None:
        Path(self.folder.name, "catalog.sqlite").write_bytes(empty_catalog())
        self.do(self.catalog.open())

    # ── the disk and the walk ───────────────────────────────────────────────────────────────

    @rule(path=st.sampled_from(PATHS), holding=st.sampled_from(HOLDINGS))
    def save(self, path, holding) -> None:
        self.versions += 1
        self.disk[path] = (self.versions, holding)
        self.holds[b"/".join(part for part in path if part), self.versions] = holding

    @rule(path=st.sampled_from(PATHS))
    def delete(self, path) -> None:
        self.disk.pop(path, None)

    @rule(path=st.sampled_from(PATHS), other=st.sampled_from(PATHS))
    def swap(self, path, other) -> None:
        """A file may even come back in an old version."""
        if path in self.disk and other in self.disk:
            self.disk[path], self.disk[other] = self.disk[other], self.disk[path]
            for each in (path, other):
                version, holding = self.disk[each]
                self.holds[b"/".join(part for part in each if part), version] = holding

    async def _walk(self, paths: set[tuple[bytes, bytes]], skip: str, priority: int) -> None:
        news, gone = [], []
        known = {
            (directory, file.name): file
            async for directory, found in self.catalog.reader.known(ROOT)
            for file in found
        }
        for path in sorted(paths):
            version, _ = self.disk.get(path, (None, b""))
            if version is None:
                if path in known:
                    gone.append(known[path].id)
            elif path not in known or known[path].mtime_ns != version:
                news.append(SeenFile(path[0], path[1], 1, version, version, skip))
        await self._tell(news, priority)
        await self.writer.vanished(gone, self.now)

    async def _tell(self, news: list[SeenFile], priority: int) -> None:
        await self.writer.seen(ROOT, news, priority, self.now)
        for file in news:  # one that has changed is forgotten no longer
            if self.forgotten.get((file.directory, file.name)) != file.mtime_ns:
                self.forgotten.pop((file.directory, file.name), None)

    @rule(
        paths=st.sets(st.sampled_from(PATHS), min_size=1),
        priority=st.integers(0, 1),
        skip=st.sampled_from(["", "", "", "excluded"]),
    )
    def walk(self, paths, priority, skip) -> None:
        self.do(self._walk(paths, skip, priority))

    @rule(path=st.sampled_from(PATHS), skip=st.sampled_from(["", "excluded"]))
    def report(self, path, skip) -> None:
        """A report that brings nothing new, or a rule that was changed."""
        if path in self.disk:
            version, _ = self.disk[path]
            file = SeenFile(path[0], path[1], 1, version, version, skip)
            self.do(self._tell([file, file], 0))

    # ── workers ─────────────────────────────────────────────────────────────────────────────

    @rule(owner=st.sampled_from(OWNERS), n=st.integers(1, 4))
    def pull(self, owner, n) -> None:
        pulled: list[DecodeTask] | list[EmbedTask]
        leased = self._leased()
        if owner == "embed":
            pulled = self.do(self.catalog.embeds(n=n))
        else:
            pulled = self.do(self.catalog.decodes(n=n, owner=owner))
        assert leased.keys().isdisjoint(task.id for task in pulled), "two live owners in one epoch"
        assert all(self._leased()[task.id] == (owner, 1) for task in pulled)
        self.held[owner] += pulled

    def _leased(self) -> dict[int, tuple[str, int]]:
        """Whose each task is, in this epoch of the catalog."""
        query = select(tasks.c.id, tasks.c.lease_owner, tasks.c.lease_epoch)
        rows = self.do(self.catalog.reader._rows(query.where(tasks.c.state == "leased")))
        return {task: (owner, epoch) for task, owner, epoch in rows}

    def _result(self, task: DecodeTask | EmbedTask) -> Result:
        if isinstance(task, EmbedTask):
            self.nonce += 1  # every computation gives other bytes, so that the first can be told
            space = self.space_of_task(task.id)
            vector = self.nonce.to_bytes(4 * DIMENSIONS[space], "little")
            return Embedded(task.id, task.content, space, vector)
        # As if read when it was seen: a decoder that finds another key on disk says nothing.
        holding = self.holds[task.path.removeprefix(ROOT + b"/"), task.mtime_ns]
        if holding == TEXT:
            return Skipped(task.id, "text")
        if holding == TORN:
            return Failed(task.id, "photo", "truncated")
        return decoded(task, holding)

    def space_of_task(self, task: int) -> str:
        query = select(spaces.c.name).join(tasks, tasks.c.space == spaces.c.id)
        rows = self.do(self.catalog.reader._rows(query.where(tasks.c.id == task)))
        return str(rows[0][0]) if rows else CLIP.name  # it may have been forgotten

    @rule(owner=st.sampled_from(OWNERS), n=st.integers(1, 4), data=st.data())
    def work(self, owner, n, data) -> None:
        """Compute; the results go out and are kept until they are answered."""
        for task in self.held[owner][:n]:
            fault = data.draw(st.sampled_from(["", "", "", "", "worker", "busy", "host", "lost"]))
            if fault == "lost" and isinstance(task, EmbedTask):
                self.mail.append(ThumbnailLost(task.id, task.content))
            elif fault not in {"", "lost"}:
                self.mail.append(Failed(task.id, fault, fault))
            else:
                self.mail.append(self._result(task))
        del self.held[owner][:n]

    @precondition(lambda self: self.mail)
    @rule(data=st.data(), answered=st.booleans(), doubled=st.booleans())
    def deliver(self, data, answered, doubled) -> None:
        """Some results arrive, in any order; an answer that gets lost means: again later."""
        some = data.draw(st.lists(st.sampled_from(range(len(self.mail))), unique=True, min_size=1))
        results = [self.mail[i] for i in some] * (1 + doubled)
        settled = self.do(self.writer.settle(results, self.now))
        assert set(settled) == {result.task for result in results}
        if answered:
            self.mail = [each for i, each in enumerate(self.mail) if i not in some]

    @rule(owner=st.sampled_from(OWNERS))
    def mark(self, owner) -> None:
        self.do(self.writer.executing([task.id for task in self.held[owner]], self.now))

    @rule(owner=st.sampled_from(OWNERS), executing=st.integers(0, 2), twice=st.booleans())
    def crash_worker(self, owner, executing, twice) -> None:
        ids = [task.id for task in self.held.pop(owner, [])][:executing]
        for _ in range(1 + twice):
            self.do(self.writer.charge(ids, "signal 11", "Segmentation fault", self.now))
            self.do(self.writer.give_back(owner, 1, self.now))
        self.charged += ids

    @precondition(lambda self: self.charged)
    @rule(twice=st.booleans())
    def refund(self, twice) -> None:
        """The workers were to blame; a refund is heard twice, or is for what was never charged."""
        for _ in range(1 + twice):
            self.do(self.writer.refund([*self.charged, 999], self.now))
        self.charged.clear()

    @rule(owner=st.sampled_from(OWNERS), n=st.integers(0, 2))
    def lose_delivery(self, owner, n) -> None:
        lost = [task.id for task in self.held[owner][:n]]
        del self.held[owner][:n]
        self.do(self.writer.give_back_some(lost, owner, self.now))

    # ── the catalog and the machine ─────────────────────────────────────────────────────────

    @rule(adopted=st.booleans())
    def crash_catalog(self, adopted) -> None:
        """Workers live on: they keep what they hold and what was not answered."""
        self.do(self.catalog.restart())
        for owner, held in self.held.items():
            if adopted:
                self.do(self.writer.adopt([task.id for task in held], owner, 1, self.now))

    @rule()
    def crash_machine(self) -> None:
        self.held.clear()
        self.mail.clear()
        self.runs += 1
        self.do(self.catalog.restart(run=f"run-{self.runs}"))

    @rule()
    def stop_in_order(self) -> None:
        self.held.clear()
        self.mail.clear()
        self.runs += 1
        self.do(self.catalog.close())
        self.do(self.catalog.open(run=f"run-{self.runs}"))

    VERBS = ("settle", "lease", "executing", "charge", "refund", "seen", "give back")

    @rule(verb=st.sampled_from(VERBS), owner=st.sampled_from(OWNERS), machine=st.booleans())
    def crash_in_a_commit(self, verb, owner, machine) -> None:
        """All was written and nothing committed; the catalog dies of it, or all there is."""
        ids = [task.id for task in self.held[owner]]
        writer, now = self.writer, self.now
        news = [SeenFile(path[0], path[1], 1, *(v, v)) for path, (v, _) in self.disk.items()]
        what = {
            "settle": lambda: writer.settle(self.mail, now),
            "lease": lambda: writer.lease("decode", 2, owner, 1, now),
            "executing": lambda: writer.executing(ids, now),
            "charge": lambda: writer.charge(ids, "signal 9", "", now),
            "refund": lambda: writer.refund(self.charged, now),
            "seen": lambda: writer.seen(ROOT, news, 0, now),
            "give back": lambda: writer.give_back(owner, 1, now),
        }[verb]
        before = self._everything()
        faults._plan = faults.Plan("writer.commit=raise")
        try:
            with pytest.raises(faults.Injected):
                self.do(what())
        finally:
            faults._plan = None
        assert self._everything() == before
        if machine:
            self.crash_machine()
        else:
            self.crash_catalog(adopted=False)

    def _everything(self) -> list[list[Any]]:
        tables = (files, contents, tasks, vectors, feed_table, counters)
        return [list(self.do(self.catalog.reader._rows(select(table)))) for table in tables]

    @rule(seconds=st.sampled_from([1, 30, 600]))
    def wait(self, seconds) -> None:
        self.catalog.now += seconds * SECOND

    # ── the owner ───────────────────────────────────────────────────────────────────────────

    @rule(space=st.sampled_from(SPACES))
    def register(self, space) -> None:
        self.do(self.writer.register_space(space, self.now))

    def _registered(self) -> list[str]:
        return [status.space.name for status in self.do(self.catalog.reader.spaces())]

    @rule(data=st.data())
    def activate(self, data) -> None:
        space = data.draw(st.sampled_from(self._registered()))
        self.do(self.writer.activate_space(space, self.now))

    @rule(data=st.data(), n=st.integers(1, 2))
    def backfill(self, data, n) -> None:
        space = data.draw(st.sampled_from(self._registered()))
        self.do(self.writer.backfill(space, n, self.now))

    @rule(tasks=st.sets(st.integers(1, 20)), drop=st.booleans())
    def decide(self, tasks, drop) -> None:
        verb = self.writer.drop if drop else self.writer.retry
        self.do(verb(tasks, self.now))

    @rule(contents=st.sets(st.integers(1, 4)))
    def lose_thumbnails(self, contents) -> None:
        self.do(self.writer.decode_again(contents, self.now))

    @rule(path=st.sampled_from([*PATHS, (b"", b"x"), (b"", b"y"), (b"", b"")]), n=st.integers(1, 3))
    def forget(self, path, n) -> None:
        """Forget a file or a folder, with what is missing of it, in steps that may be cut off."""
        where = b"/".join([ROOT, *(part for part in path if part)])
        before = self._versions()
        step = self.do(self.writer.forget(where, n, self.now))
        gone = before.keys() - self._versions().keys()
        assert len(gone) == len(step.names) <= n
        for directory, name in gone:
            file = b"/".join([ROOT, *(part for part in (directory, name) if part)])
            assert file == where or file.startswith(where + b"/")
            self.forgotten[directory, name] = before[directory, name]

    def _versions(self) -> dict[tuple[bytes, bytes], int]:
        """What the database knows of each file, be it there or missing."""
        query = select(directories.c.path, files.c.name, files.c.mtime_ns).join_from(
            files, directories, directories.c.id == files.c.directory
        )
        rows = self.do(self.catalog.reader._rows(query))
        return {(directory, name): version for directory, name, version in rows}

    # ── what always holds ───────────────────────────────────────────────────────────────────

    def _live(self) -> dict[str, set[int]]:
        return {
            space: {content for content, _ in self.do(self.catalog.reader.vectors_of(space, 0, 99))}
            for space in self._registered()
        }

    @invariant()
    def counters_equal_a_recount(self) -> None:
        assert self.do(self.catalog.reader.miscounted()) == []

    @invariant()
    def every_file_is_counted_in_one_way(self) -> None:
        totals = self.do(self.catalog.totals())
        assert min(msgspec.structs.astuple(totals)) >= 0
        assert totals.files <= len(PATHS)

    @invariant()
    def a_replay_of_the_feed_from_anywhere_gives_the_live_vectors(self) -> None:
        live = self._live()
        rows = self.do(
            self.catalog.reader._rows(select(contents.c.id).where(contents.c.format == FORGOTTEN))
        )
        nothing = {content for (content,) in rows}
        for space, wanted in live.items():
            feed = self.do(self.catalog.reader.feed_after(0, space, 9999))
            for seq, then in self.live_at:
                replayed = set(then.get(space, set()))
                for row in feed:
                    if row.seq <= seq:
                        continue
                    if row.op == "add":
                        assert row.content not in replayed
                        assert row.vector is not None or row.content in nothing
                        replayed.add(row.content)
                    else:
                        replayed.remove(row.content)
                assert replayed == wanted
        self.live_at.append((self.do(self.catalog.reader.feed_head()), live))

    @invariant()
    def a_vector_is_committed_once_and_never_changes(self) -> None:
        query = select(vectors.c.content, vectors.c.space, vectors.c.vector)
        for content, space, vector in self.do(self.catalog.reader._rows(query)):
            assert self.vectors.setdefault((content, space), vector) == vector

    @invariant()
    def every_file_that_is_to_be_a_photo_has_one_task(self) -> None:
        query = select(
            files.c.skip_reason, files.c.content, files.c.missing_since_ns, tasks.c.state
        ).select_from(files.outerjoin(tasks, tasks.c.file == files.c.id))
        for skip, content, missing, state in self.do(self.catalog.reader._rows(query)):
            assert skip is None or content is None
            assert state is not None or skip is not None
            if state in ("ready", "leased"):
                assert missing is None
            if state == "parked":
                assert missing is not None
            if state == "done":
                assert (skip is None) != (content is None)

    @invariant()
    def every_key_is_committed_or_dead_or_on_its_way(self) -> None:
        query = select(
            tasks.c.state, tasks.c.crash_attempts, tasks.c.lease_owner, tasks.c.exit_reason
        )
        for state, crashes, owner, reason in self.do(self.catalog.reader._rows(query)):
            assert state in ("ready", "leased", "parked", "done", "dead", "dropped")
            assert (state == "leased") == (owner is not None), "a ghost, or an owner of nothing"
            assert 0 <= crashes <= CRASHES
            assert crashes < CRASHES or state in ("dead", "dropped", "done")
            assert not crashes or reason
        query = (
            select(contents.c.id)
            .select_from(contents.join(spaces, spaces.c.state == "active"))
            .where(
                contents.c.id >= spaces.c.backfill_below,
                contents.c.format != FORGOTTEN,
                exists(
                    select(files.c.id).where(
                        files.c.content == contents.c.id, files.c.missing_since_ns.is_(None)
                    )
                ),
                ~exists(
                    select(vectors.c.content).where(
                        vectors.c.content == contents.c.id, vectors.c.space == spaces.c.id
                    )
                ),
                ~exists(
                    select(tasks.c.id).where(
                        tasks.c.content == contents.c.id,
                        tasks.c.space == spaces.c.id,
                        tasks.c.state != "done",
                    )
                ),
            )
        )
        assert self.do(self.catalog.reader._rows(query)) == [], "lost: no vector and no task"

    # ── how it ends ─────────────────────────────────────────────────────────────────────────

    async def _settle_down(self) -> None:
        """Nobody dies any more, and everybody does what there is to do."""
        await self._walk(set(PATHS), "", 0)
        everything = [
            SeenFile(path[0], path[1], 1, version, version)
            for path, (version, _) in self.disk.items()
        ]
        await self._tell(everything, 0)  # nothing is excluded any more
        for space in await self.catalog.reader.spaces():
            while await self.writer.backfill(space.space.name, 3, self.now):
                pass

    def teardown(self) -> None:
        if not hasattr(self.catalog, "writer"):
            return
        self.do(self._settle_down())
        for _ in range(100):
            for owner in OWNERS:
                self.pull(owner, 100)
                results = [self._result(task) for task in self.held.pop(owner, [])]
                self.do(self.writer.settle(results, self.now))
            self.catalog.now += 600 * SECOND
            # What was leased to somebody who forgot it goes back as its owner dies.
            for owner in OWNERS:
                self.do(self.writer.give_back(owner, 1, self.now))
            if all(q.ready == q.leased == 0 for q in self.do(self.catalog.reader.queues())):
                break
        self.everything_has_come_to_its_end()
        self.counters_equal_a_recount()
        self.a_replay_of_the_feed_from_anywhere_gives_the_live_vectors()
        self.a_vector_is_committed_once_and_never_changes()
        self.every_file_that_is_to_be_a_photo_has_one_task()
        self.every_key_is_committed_or_dead_or_on_its_way()
        self.do(self.catalog.close())
        self.loop.close()
        self.folder.cleanup()

    def everything_has_come_to_its_end(self) -> None:
        reader = self.catalog.reader
        for queue in self.do(reader.queues()):
            assert (queue.ready, queue.leased) == (0, 0)
        totals = self.do(self.catalog.totals())
        assert totals.pending == 0
        versions = {path: version for path, (version, _) in self.disk.items()}
        assert totals.files == len(versions.items() - self.forgotten.items())
        query = (
            select(
                directories.c.path,
                files.c.name,
                files.c.skip_reason,
                contents.c.digest,
                tasks.c.state,
                exists(
                    select(vectors.c.content)
                    .join(spaces, spaces.c.id == vectors.c.space)
                    .where(vectors.c.content == contents.c.id, spaces.c.state == "active")
                ).label("indexed"),
                exists(
                    select(given_up.c.id)
                    .join(spaces, spaces.c.id == given_up.c.space)
                    .where(given_up.c.content == contents.c.id, spaces.c.state == "active")
                    .where(given_up.c.state.in_(("dead", "dropped")))
                ).label("given_up"),
            )
            .select_from(
                files.join(directories, directories.c.id == files.c.directory)
                .join(tasks, tasks.c.file == files.c.id)
                .outerjoin(contents, contents.c.id == files.c.content)
            )
            .where(files.c.missing_since_ns.is_(None))
        )
        for row in self.do(reader._rows(query)):
            _, holding = self.disk[row.path, row.name]
            if row.digest is not None:
                assert row.digest == digest_of(holding)
                assert row.indexed != row.given_up
            elif row.skip_reason is not None:
                assert row.skip_reason.startswith("dropped") or holding == TEXT
            else:
                assert row.state == "dead"


# Ten seconds on a quiet machine; a shared one must not make it fail.
pytestmark = pytest.mark.timeout(600)

HISTORIES = settings(
    max_examples=8,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


class Deadly(World):
    """The same, where nearly every step is a crash."""

    @rule(verb=st.sampled_from(World.VERBS), owner=st.sampled_from(OWNERS))
    def crash_again(self, verb, owner) -> None:
        self.pull(owner, 4)
        self.crash_in_a_commit(verb, owner, machine=False)

    @rule(owner=st.sampled_from(OWNERS))
    def die_of_it(self, owner) -> None:
        self.pull(owner, 2)
        self.mark(owner)
        self.crash_worker(owner, 2, twice=False)


def test_a09_every_key_is_committed_exactly_once_wherever_somebody_dies():
    run_state_machine_as_test(World, settings=HISTORIES)


def test_a10_nothing_is_lost_and_nothing_has_two_owners_however_often_somebody_dies():
    run_state_machine_as_test(Deadly, settings=HISTORIES)
