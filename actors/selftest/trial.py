"""The selftest itself: a library is drawn, indexed, searched, disturbed, and looked at in the end.

    draw ─► start ─► disturb, search, change the folder ─► leave in peace ─► settled? ─► proofs

Without chaos the second step is left out.  The system is a real one, started by its command
line; nothing in it knows that it is being tested, but for one thing: hangs and deaths at named
points are ordered through a directory that it is told of in its environment (`runtime.faults`).

What was disturbed must recover, each kind within a time of its own that is measured: a process
is back when its supervisor says that a new incarnation is ready (or that the frozen one goes
on), the system is back when every process is ready and a search was answered, a pause is over
when the catalog has said so.  Nobody is disturbed twice at a time.  Whoever only stood still
must not have been restarted.

What a hang costs is what the product's own limits make it cost: half a minute on a loop that is
blocked, up to minutes in a phase.  No limit is shortened for this test, but the restarts that a
process has are many and come soon, since here they are nobody's fault.
"""

import contextlib
import resource
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Final

import anyio
import anyio.abc
import msgspec

from actors.client import Client, NotRunning
from actors.messages import Done, Pause, Totals
from actors.selftest import disturbances, proofs
from actors.selftest.disturbances import TICK, Disturbance, Kind
from actors.selftest.drawings import Drawings
from actors.selftest.proofs import Proof
from actors.selftest.searching import Searcher, Searches
from actors.selftest.system import ORPHAN_S, Ended, System, Usage
from runtime.errors import RuntimeFault
from runtime.faults import order
from runtime.messages import ProcessState

#: in the library before anybody is disturbed
FIRST: Final = 40
CALM_SEARCHES: Final = 10
#: seconds between two changes of the folder
CHANGE_S: Final = (0.2, 1.6)
#: files that wait: with fewer the folder changes faster, with more it does not change
WAITING: Final = (60, 200)
#: nothing takes longer to recover: work in hand has three minutes, and half of that once more
RECOVERY_S: Final = 300.0
#: an order is taken with the next tick, unless the loop is busy
ORDER_S: Final = 8.0
#: no hang that late, so that the end is not spent waiting for it
HANG_S: Final = 45.0
#: how much more than it has a process may take before it has no memory
SPARE: Final = 64 << 20
LOOK_AROUND_S: Final = 3.0
#: nothing has changed for so long: nothing will
STILL_S: Final = 150.0
#: … and when nothing is to be done either, only what a watch has not yet told can come
QUIET_S: Final = 8.0
ASK_S: Final = 30.0
SETTLE_S: Final = 0.25

Say = Callable[[str], None]


class Tally(msgspec.Struct):
    """How one kind of disturbance went."""

    times: int = 0
    longest_s: float = 0.0  #: to recover from it


class Report(msgspec.Struct):
    """What there is to say in the end."""

    seed: int
    minutes: float
    disturbances: dict[str, Tally]
    searches: Searches
    proofs: list[Proof]
    files: int = 0
    supervisor: list[Usage] = []  #: when it was new, and at its end

    @property
    def ok(self) -> bool:
        return all(each.ok for each in self.proofs)


class Trial:
    """One selftest in *place*, an empty directory.

    Args:
        seconds: of disturbances; 0 for a calm run.
        say: told, a line at a time, what happens.
    """

    def __init__(self, place: Path, seed: int, seconds: float, say: Say) -> None:
        self.seed = seed
        self._seconds = seconds
        self._say = say
        self._drawings = Drawings(place / "pictures", place / "staging", seed)
        self._system = System(place, self._drawings.place)
        self._searcher = Searcher(
            self._system, self._drawings, Random(f"queries {seed}"), self._going_on
        )
        self._struck: dict[str, Disturbance] = {}
        self._tallies = {kind: Tally() for kind in Kind} if seconds else {}
        self._against: list[str] = []  # what did not recover as it must
        self._usages: dict[int, list[Usage]] = {}  # by pid of the supervisor
        self._began = 0.0
        self._tasks: anyio.abc.TaskGroup

    async def run(self) -> Report:
        """The whole of it; nothing runs any more afterwards, whatever happens."""
        system = self._system
        self._drawings.add(FIRST)
        try:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                tasks.start_soon(system.watch)
                try:
                    found = await self._go_through()
                except Ended as error:
                    found = [Proof("the system keeps going", ok=False, detail=str(error))]
                tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await system.end()
        usages = self._longest_life()
        found += [
            proofs.flatness(usages),
            proofs.proof("nothing is left behind", system.left()),
        ]
        return Report(
            self.seed,
            round(self._seconds / 60, 2),
            {kind.value: tally for kind, tally in self._tallies.items()},
            self._searcher.found,
            found,
            len(self._drawings.files),
            [usages[0], usages[-1]] if usages else [],
        )

    async def _go_through(self) -> list[Proof]:
        system = self._system
        begin = time.monotonic()
        system.launch()
        await system.wait_ready()
        self._note(f"ready after {time.monotonic() - begin:.1f} s")
        self._began = time.monotonic()
        self._tasks.start_soon(self._look_around)
        self._tasks.start_soon(self._searcher.run)
        if self._seconds:
            async with anyio.create_task_group() as changing:
                changing.start_soon(self._change)
                await self._disturb()
                changing.cancel_scope.cancel()
            self._note(f"{len(self._drawings.files)} files; left in peace")
        settled = await self._settle()
        await self._search_more()
        self._look()
        beside = await anyio.to_thread.run_sync(proofs.agreement, system, "beside it")
        self._searcher.pause()
        code, seconds = await system.stop()
        self._note(f"stopped in {seconds:.1f} s")
        found = [
            proofs.proof("everything recovered", self._against),
            proofs.proof("all is done in the end", settled),
            *proofs.of_library(system, self._drawings),
            beside,
            await anyio.to_thread.run_sync(proofs.agreement, system, "at rest"),
            proofs.proof("it stops in order", [f"exit {code}"] if code else []),
        ]
        if self._seconds:
            missing = [kind.value for kind, tally in self._tallies.items() if not tally.times]
            found.insert(0, proofs.proof("every kind of disturbance came", missing))
        return found

    def _note(self, text: str) -> None:
        since = time.monotonic() - self._began if self._began else 0.0
        self._say(f"{since:7.1f} s  {text}")

    # ── meanwhile ──

    async def _change(self) -> None:
        """Let the folder change so fast that there is always something to do, never too much."""
        rng = Random(f"changes {self.seed}")
        least, most = WAITING
        while True:
            with contextlib.suppress(NotRunning, RuntimeFault):
                async with self._system.client() as client:
                    while True:
                        waiting = (await client.totals(seconds=ASK_S)).pending
                        if waiting < most:
                            await self._drawings.change()
                        await anyio.sleep(SETTLE_S if waiting < least else rng.uniform(*CHANGE_S))
            await self._drawings.change()
            await anyio.sleep(rng.uniform(*CHANGE_S))

    async def _look_around(self) -> None:
        while True:
            await anyio.sleep(LOOK_AROUND_S)
            await anyio.to_thread.run_sync(self._system.see_shared)
            if not self._struck:
                self._look()

    def _look(self) -> None:
        if self._system.alive and self._system.all_ready:
            usages = self._usages.setdefault(self._system.pid, [])
            usages.append(self._system.usage())

    def _longest_life(self) -> list[Usage]:
        return max(self._usages.values(), key=len, default=[])

    def _going_on(self) -> list[str]:
        return [str(each) for each in self._struck.values()]

    # ── disturbances ──

    async def _disturb(self) -> None:
        names = list(self._system.processes)
        rng = Random(f"disturbances {self.seed}")
        for each in disturbances.opening(rng, names):
            await self._carry_out(each)
        again = Random(f"disturbances again {self.seed}")
        for each in disturbances.following(rng, names):
            left_s = self._seconds - (time.monotonic() - self._began)
            if left_s <= 0:
                break
            for kind in self._owed():
                await self._carry_out(disturbances.draw(again, kind, names))
            late = each.kind.hang and left_s < HANG_S
            if late or each.victim in self._struck or (each.kind.of_all and self._hanging):
                await anyio.sleep(SETTLE_S)  # rather than wait for it
                continue
            await self._carry_out(each)
        await self._undisturbed()
        for kind in self._owed():
            await self._carry_out(disturbances.draw(again, kind, names))
        await self._undisturbed()

    @property
    def _hanging(self) -> bool:
        return any(each.kind.hang for each in self._struck.values())

    def _owed(self) -> list[Kind]:
        """What has not come yet, because its victim was gone or the hangs were not over."""
        under_way = {each.kind for each in self._struck.values()}
        owed = [kind for kind, tally in self._tallies.items() if not tally.times]
        return [each for each in owed if not (each in under_way or (each.of_all and self._hanging))]

    async def _carry_out(self, each: Disturbance) -> None:
        """At its time, and not before its victim is well."""
        system = self._system
        await anyio.sleep(each.after_s)
        if each.kind.of_all:
            await self._undisturbed()
            with self._suffering("supervisor", each):
                await self._strike_all(each)
        elif each.kind is Kind.PAUSE:
            if "library" not in self._struck:
                self._tasks.start_soon(self._pause, each)
        else:
            healthy = await system.until(lambda: self._healthy(each.victim), RECOVERY_S)
            if not healthy:
                raise Ended(f"{each.victim} was not ready within {RECOVERY_S:g} s")
            self._struck[each.victim] = each  # before anybody else has a turn
            self._tasks.start_soon(self._strike, each, system.processes[each.victim])

    def _healthy(self, name: str) -> bool:
        process = self._system.processes.get(name)
        return process is not None and process.state == "ready" and name not in self._struck

    async def _undisturbed(self) -> None:
        await self._system.until(lambda: not self._struck, 2 * RECOVERY_S)

    @contextlib.contextmanager
    def _suffering(self, name: str, each: Disturbance) -> Iterator[None]:
        self._struck[name] = each
        try:
            yield
        finally:
            del self._struck[name]

    async def _strike(self, each: Disturbance, process: ProcessState) -> None:
        """One process, and wait until it is well again."""
        with self._suffering(each.victim, each):
            begin = await self._hit(each, process)
            if begin is None:
                return  # it was gone before
            stays = each.kind is Kind.FREEZE and not each.ends
            back = await self._system.until(lambda: self._back(process, begin, stays), RECOVERY_S)
            now = self._system.processes.get(each.victim)
            if stays and now is not None and now.incarnation != process.incarnation:
                self._against.append(f"{each.victim} only stood still, and was restarted")
            how = "" if stays or now is None else f" ({now.last_exit})"
            self._recovered(each, begin if back else None, f"{each.victim} is back", how)

    def _back(self, before: ProcessState, begin: float, stays: bool) -> bool:  # noqa: FBT001
        now = self._system.processes.get(before.name)
        if now is None or now.state != "ready" or self._system.looked_at < begin:
            return False
        return now.incarnation > before.incarnation or stays

    def _recovered(self, each: Disturbance, begin: float | None, what: str, how: str = "") -> None:
        if begin is None:
            self._against.append(f"{each}: not back within {RECOVERY_S:g} s")
            self._note(f"{each}: did not recover")
            return
        seconds = time.monotonic() - begin
        tally = self._tallies[each.kind]
        tally.longest_s = max(tally.longest_s, round(seconds, 2))
        self._note(f"{what} after {seconds:.1f} s{how}")

    def _happens(self, each: Disturbance) -> float:
        self._tallies[each.kind].times += 1
        self._note(str(each))
        return time.monotonic()

    async def _hit(self, each: Disturbance, process: ProcessState) -> float | None:
        """Since when *process* suffers, or may recover; None when it was not there any more."""
        system, pid = self._system, process.pid
        match each.kind:
            case Kind.KILL:
                if not system.signal(pid, signal.SIGKILL):
                    return None
                return self._happens(each)
            case Kind.FREEZE:
                if not system.signal(pid, signal.SIGSTOP):
                    return None
                self._happens(each)
                await anyio.sleep(each.for_s)
                system.signal(pid, signal.SIGKILL if each.ends else signal.SIGCONT)
                return time.monotonic()
            case Kind.MEMORY:
                with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                    _limit(pid)
        for point in dict.fromkeys((each.point, TICK)):
            if await self._order(pid, point, each.act):
                return self._happens(each)
        return None

    async def _order(self, pid: int, point: str, act: str) -> bool:
        """Have it do *act*; whether it did."""
        placed = order(self._system.orders, pid, point, act)
        until = time.monotonic() + ORDER_S
        while placed.exists():
            if time.monotonic() > until:
                with contextlib.suppress(FileNotFoundError):
                    placed.unlink()
                    return False
                break
            await anyio.sleep(0.02)
        return True

    async def _pause(self, each: Disturbance) -> None:
        with self._suffering("library", each):
            if not await self._tell(Pause(on=True)):
                return
            self._happens(each)
            await anyio.sleep(each.for_s)
            begin = time.monotonic()
            done = await self._tell(Pause(on=False))
            self._recovered(each, begin if done else None, "the library goes on")

    async def _tell(self, pause: Pause) -> bool:
        """Say it until it is heard: whoever would hear it may be the one who was just killed."""
        with anyio.move_on_after(RECOVERY_S):
            while True:
                with contextlib.suppress(NotRunning, RuntimeFault):
                    async with self._system.client() as client:
                        await client.ask(pause, Done, ASK_S)
                        return True
                await anyio.sleep(SETTLE_S)
        return False

    async def _strike_all(self, each: Disturbance) -> None:
        match each.kind:
            case Kind.STOP:
                await self._stop_and_start(each)
            case Kind.SUPERVISOR_KILL:
                await self._kill_and_start(each)
            case _:
                await self._freeze_supervisor(each)

    async def _stop_and_start(self, each: Disturbance) -> None:
        system = self._system
        self._happens(each)
        code, seconds = await system.stop()
        self._note(f"it stopped in {seconds:.1f} s")
        if code not in {0, 128 + signal.SIGTERM}:
            self._against.append(f"an orderly stop ended with {code}")
        self._against += [f"after an orderly stop {what}" for what in proofs.at_rest(system.data)]
        begin = time.monotonic()
        system.launch()
        await self._back_at_work(each, begin)

    async def _kill_and_start(self, each: Disturbance) -> None:
        system, old = self._system, self._system.pid
        begin = self._happens(each)
        await system.kill()
        system.launch()  # at once, as whoever watches over services would
        outlived = await system.outlived(ORPHAN_S, old)
        if outlived >= ORPHAN_S:
            self._against.append(f"somebody outlived a killed supervisor by {ORPHAN_S:g} s")
        await self._back_at_work(each, begin)

    async def _back_at_work(self, each: Disturbance, begin: float) -> None:
        system, searcher = self._system, self._searcher
        await system.wait_ready()
        ready = time.monotonic()
        answered = await system.until(lambda: searcher.answered_at > ready, RECOVERY_S)
        self._recovered(each, begin if answered else None, "all are back")

    async def _freeze_supervisor(self, each: Disturbance) -> None:
        system = self._system
        before = {name: each.incarnation for name, each in system.processes.items()}
        system.signal(system.pid, signal.SIGSTOP)
        self._happens(each)
        await anyio.sleep(each.for_s)
        system.signal(system.pid, signal.SIGCONT)
        begin = time.monotonic()
        back = await system.until(lambda: system.looked_at > begin and system.all_ready, RECOVERY_S)
        self._recovered(each, begin if back else None, "it is back")
        for name, process in system.processes.items():
            if process.incarnation != before.get(name):
                self._against.append(f"{name} was restarted while the supervisor stood still")

    # ── the end ──

    async def _settle(self) -> list[str]:
        """Wait until nothing is left to do; what speaks against that it is so."""
        fates = [each.fate for each in self._drawings.files.values()]
        wanted = tuple(fates.count(fate) for fate in ("indexed", "skipped", "dead"))
        last: object = None
        changed_at = time.monotonic()
        while True:
            self._system.check()
            totals, now = None, time.monotonic()
            with contextlib.suppress(NotRunning, RuntimeFault):
                async with self._system.client() as client:
                    while True:
                        settled, totals, figures = await _standing(client)
                        now = time.monotonic()
                        if figures != last:
                            last, changed_at = figures, now
                        if totals is not None and settled:
                            there = (
                                totals.indexed + totals.duplicates,
                                totals.skipped,
                                totals.dead,
                            )
                            if there == wanted or now - changed_at > QUIET_S:
                                return []  # what is wrong with it, the proofs tell
                        if now - changed_at > STILL_S:
                            break
                        await anyio.sleep(SETTLE_S)
            if now - changed_at > STILL_S:
                return [f"nothing has moved for {STILL_S:g} s: {totals}"]
            await anyio.sleep(SETTLE_S)

    async def _search_more(self) -> None:
        """A few answers by a system that has nothing else to do."""
        enough = self._searcher.found.answers + CALM_SEARCHES
        await self._system.until(lambda: self._searcher.found.answers >= enough, ASK_S)


async def _standing(client: Client) -> tuple[bool, Totals, object]:
    """Whether nothing is to be done, how files ended, and figures that move while it works."""
    status, totals = await client.status(), await client.totals()
    catalog, index = status.catalog, status.index
    settled = catalog is not None and catalog.settled and index is not None
    if settled:
        assert catalog is not None
        assert index is not None
        settled = index.seq >= catalog.feed_seq
    return settled, totals, (totals, catalog, index)


def _limit(pid: int) -> None:
    """Let process *pid* have hardly more memory than it has."""
    pages = int(Path("/proc", str(pid), "statm").read_text().split()[0])
    most = pages * resource.getpagesize() + SPARE
    resource.prlimit(pid, resource.RLIMIT_AS, (most, most))
