"""The tree of processes: cores decide, this file carries out.

Each group of a tree has a `GroupCore`; a group is to its parent what a process is to its
group.  One task feeds events to the cores, one at a time and in order; everything that waits
(a process, a timer, the ladder that stops a child) is a task of its own that ends in an
event.  So a stop is heard while a child fails start after start.

Who is up is *state*: each child that says hello is told which of its peers are up, and every
change is sent to those who named the peer in their spec.  A `Down` carries what the dead
child's shared page showed, so that the owner of the work can charge those tasks and no others.

Twice a second each child is looked at (its page, /proc/<pid>/stat: some ten microseconds) and
`health` says what to think of it.  A child in trouble is shown as such and stays up to its
peers, since it may go on any moment; one that hangs writes its stacks, which go with its last
words, and is killed.
"""

import contextlib
import math
import random
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeAlias

import anyio
import anyio.abc
import msgspec

from runtime import health, log, restart, rundir, wire
from runtime.errors import RuntimeFault
from runtime.exits import ExitClass, classify
from runtime.health import Health, Life, Limits, Observation
from runtime.leftovers import VARIABLE, Mark, adopting, bury_adopted, kill_leftovers
from runtime.mailbox import Mailbox
from runtime.messages import (
    AnyControl,
    AskProcesses,
    Down,
    Drain,
    Hello,
    Processes,
    ProcessState,
    Progress,
    Ready,
    Up,
)
from runtime.node import SUPERVISOR, Envelope, Line, Node
from runtime.page import Page
from runtime.process import ABANDON_S, TERM_S, Process, describe
from runtime.restart import (
    EXIT_CONFIG,
    EXIT_HOST,
    EXIT_OK,
    EXIT_TEMPORARY,
    GroupCore,
    State,
)
from runtime.sockets import Echoes
from runtime.spec import AnySpec, Birth, ChildSpec, GroupSpec
from runtime.vitals import OomWatch

OnLine: TypeAlias = Callable[[str, str], None]
#: is a crash to be blamed on the work in hand?  (name, class, executing ids) → excused
Excuse: TypeAlias = Callable[[str, ExitClass, list[int]], bool]
#: how long the last words of a dead child are waited for; its pipe may have heirs
LAST_WORDS_S = 1.0
#: a kill for want of memory is noticed at most this long before the death it caused
OOM_S = 2.0
#: looks around after a death, until its heirs have died too
HEIRS_LOOKS = 6


class _Child:
    """What the shell keeps of one process, over all its incarnations."""

    def __init__(self, spec: ChildSpec, group: "_Group") -> None:
        self.spec = spec
        self.group = group
        self.process: Process | None = None
        self.line: Line | None = None
        self.page: Page | None = None
        self.health = Health(0.0, spec.startup_s)
        self.ready = False  #: this incarnation said so
        self.stopping = False
        self.killed_for: ExitClass | None = None
        self.restarts = -1  #: births beyond the first
        self.last_exit = ""

    @property
    def incarnation(self) -> int:
        return 0 if self.process is None else self.process.incarnation


class _Group:
    def __init__(self, spec: GroupSpec, parent: "_Group | None") -> None:
        self.spec = spec
        self.parent = parent
        self.core: GroupCore
        self.escalated: restart.Escalate | None = None


class _Event(msgspec.Struct, frozen=True):
    group: str
    event: restart.Event
    down: Down | None = None  #: to be announced once it is known who is to blame


class Supervisor:
    """Keeps *tree* alive until it is stopped or gives up.

    Args:
        tree: the root group.
        run_dir: sockets and shared pages; ours alone.
        run: id of this run, handed to every child.
        on_line: gets (child, line) for each line a child writes.
        on_event: gets (event, fields) for births, deaths and decisions.
        excuse: which deaths are not the child's own fault.
        shutdown_s: for the stop of the whole tree, all ladders included.
        limits: what `health` goes by.
        rng: jitter; seed it to replay.
    """

    def __init__(
        self,
        tree: GroupSpec,
        *,
        run_dir: Path,
        run: str,
        on_line: OnLine,
        on_event: Callable[[str, dict[str, object]], None],
        excuse: Excuse = lambda _name, _kind, _executing: False,
        shutdown_s: float = 20.0,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        rng: random.Random | None = None,
    ) -> None:
        self.run_id = run
        self._tree = tree
        self._run_dir = run_dir
        self._on_line = on_line
        self._on_event = on_event
        self._excuse = excuse
        self._rng = rng or random.Random()
        self._shutdown_s = shutdown_s
        self._limits = limits
        self._mark = Mark.of_this_process(run_dir)
        self._echoes = Echoes()
        self._oom_at = -math.inf  # when the kernel last killed for want of memory
        self._abandoned: set[int] = set()
        self._heirs_looks = 0
        self._over_at = math.inf  # when a stop has taken long enough
        self._children: dict[str, _Child] = {}
        self._groups: dict[str, _Group] = {}
        self._enlist(tree, None)
        self._events: Mailbox[_Event] = Mailbox(10_000)
        # incarnations grow over runs too, so that a lease of an earlier run can be told apart
        self._incarnation = time.time_ns() // 1_000_000
        self._node = Node(SUPERVISOR, 0, run_dir, wire.Codec(AnyControl))
        self._tasks: anyio.abc.TaskGroup
        self._stop_asked = False
        self._stopped = anyio.Event()
        self.all_ready = anyio.Event()
        self.all_tried = anyio.Event()  #: each child was ready, or was set aside
        self.exit_code: int | None = None
        self.problem = ""  #: why the tree gave up, in one line

    def _enlist(self, spec: AnySpec, parent: _Group | None) -> None:
        if isinstance(spec, GroupSpec):
            group = self._groups[spec.name] = _Group(spec, parent)
            group.core = self._new_core(spec)
            for each in spec.children:
                self._enlist(each, group)
        else:
            assert parent is not None
            self._children[spec.name] = _Child(spec, parent)

    def _new_core(self, spec: GroupSpec) -> GroupCore:
        return GroupCore(
            [each.policy for each in spec.children],
            strategy=spec.strategy,
            intensity=spec.intensity,
            backoff=spec.backoff,
            breaker=spec.breaker,
            auto_shutdown=spec.auto_shutdown,
            rng=self._rng,
        )

    # ── life ──

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Supervisor"]:
        """The tree, started; stopped when the block is left."""
        if leftovers := kill_leftovers(self._mark):
            self._on_event("leftovers", {"pids": leftovers})
        self._oom = OomWatch()
        with adopting(), contextlib.closing(self._echoes), contextlib.closing(self._oom):
            async with self._node.open(), anyio.create_task_group() as tasks:
                self._tasks = tasks
                tasks.start_soon(self._listen)
                tasks.start_soon(self._drive)
                tasks.start_soon(self._watch_health)
                try:
                    yield self
                finally:
                    with anyio.CancelScope(shield=True):
                        self.stop()
                        await self._stopped.wait()
                    tasks.cancel_scope.cancel()
            self._bury_heirs()

    @property
    def stopping(self) -> bool:
        return self._stop_asked

    def stop(self) -> None:
        """Begin to stop, sources first; `wait_stopped` tells when it is over."""
        if not self._stop_asked:
            self._stop_asked = True
            self._over_at = anyio.current_time() + self._shutdown_s
            self._post(self._tree.name, restart.Stop())

    def kill(self) -> None:
        """End every child now, without a word."""
        for child in self._children.values():
            if child.process is not None:
                child.process.signal(signal.SIGKILL)

    async def wait_stopped(self) -> int:
        """The exit code, once nothing runs any more."""
        await self._stopped.wait()
        assert self.exit_code is not None
        return self.exit_code

    def _post(self, group: str, event: restart.Event, down: Down | None = None) -> None:
        self._events.put_always(_Event(group, event, down))

    async def _drive(self) -> None:
        self._post(self._tree.name, restart.Start())
        while self.exit_code is None:
            each = await self._events.get()
            group = self._groups[each.group]
            effects = group.core.step(each.event, anyio.current_time())
            if each.down is not None:
                isolated = [effect for effect in effects if isinstance(effect, restart.Isolated)]
                innocent = [id_ for effect in isolated for id_ in effect.innocent]
                self._announce(msgspec.structs.replace(each.down, innocent=innocent))
            for effect in effects:
                self._carry_out(group, effect)
        self._stopped.set()

    def _carry_out(self, group: _Group, effect: restart.Effect) -> None:
        match effect:
            case restart.Spawn(name):
                if name in self._children:
                    self._spawn(self._children[name])
                else:
                    self._groups[name].core = self._new_core(self._groups[name].spec)
                    self._post(name, restart.Start())
            case restart.Terminate(name):
                if name in self._children:
                    self._tasks.start_soon(self._terminate, self._children[name])
                else:
                    self._post(name, restart.Stop())
            case restart.Wake():
                self._tasks.start_soon(self._wake, group, effect)
            case restart.Isolated(name, for_s, reason):
                said = {"name": name, "for_s": round(for_s), "reason": reason}
                self._on_event("isolated", said)
                self._look_whether_all_tried()
            case restart.SetAside(name, reason):
                self._on_event("set_aside", {"name": name, "reason": reason})
                self._look_whether_all_tried()
            case restart.Escalate(reason, code):
                # whatever the groups above would do about a crash, these they pass on
                ends = group.parent is None or code in {EXIT_CONFIG, EXIT_HOST}
                said = {"group": group.spec.name, "reason": reason, "ends": ends}
                self._on_event("gives_up", said)
                group.escalated = effect
                if group.parent is None:
                    self._over_at = min(self._over_at, anyio.current_time() + self._shutdown_s)
                self._post(group.spec.name, restart.Stop())
            case restart.Stopped():
                self._group_stopped(group)

    def _group_stopped(self, group: _Group) -> None:
        over, group.escalated = group.escalated, None
        code, reason = (EXIT_OK, "") if over is None else (over.code, over.reason)
        if group.parent is None:
            self.exit_code, self.problem = code, reason
        else:
            first = not self.all_ready.is_set()
            gone = restart.Exited(group.spec.name, code, first=first, reason=reason)
            self._post(group.parent.spec.name, gone)

    async def _wake(self, group: _Group, wake: restart.Wake) -> None:
        core = group.core
        await anyio.sleep(wake.after_s)
        if group.core is core:  # the group itself was not restarted meanwhile
            self._post(group.spec.name, restart.Due(wake.name, wake.turn))

    # ── births and deaths ──

    def _spawn(self, child: _Child) -> None:
        self._incarnation += 1
        name = child.spec.name
        birth = Birth(child.spec, self._incarnation, self.run_id, str(self._run_dir))
        try:
            child.page = Page(self._run_dir / f"{name}.page", create=True)
            child.process = Process.spawn(birth, {VARIABLE: str(self._mark)})
        except OSError as error:  # no more processes, descriptors or memory; it may have some later
            self._on_event("not_spawned", {"name": name, "reason": str(error)})
            self._post(child.group.spec.name, restart.Exited(name, EXIT_TEMPORARY))
            return
        child.health = Health(time.monotonic(), child.spec.startup_s, self._limits)
        child.ready = child.stopping = False
        child.killed_for = None
        child.restarts += 1
        self._on_event("spawned", {"name": name, "pid": child.process.pid})
        self._tasks.start_soon(child.process.read_output, self._on_line)
        self._tasks.start_soon(self._watch, child, child.process)

    async def _watch(self, child: _Child, process: Process) -> None:
        code = await process.wait()
        self._abandoned.discard(process.pid)
        self._heirs_looks = HEIRS_LOOKS
        with anyio.move_on_after(LAST_WORDS_S / 20):
            await process.silent.wait()
        if not process.silent.is_set():
            self._bury_heirs()  # one of them holds the pipe open
            with anyio.move_on_after(LAST_WORDS_S):
                await process.silent.wait()
        if child.process is process:
            self._gone(child, process, code)

    def _gone(self, child: _Child, process: Process, code: int) -> None:
        """What follows from the end of *process*, or from the end of our patience with it."""
        name = child.spec.name
        assert child.page is not None
        seen = child.page.read()
        executing = seen.executing
        child.page.close()
        self._echoes.forget(self._heart(child))
        kind = classify(code, killed_for=child.killed_for, oom=code < 0 and self._short_of_memory())
        child.process = child.line = None
        child.ready = False
        child.last_exit = describe(code)
        if kind in {ExitClass.HUNG, ExitClass.SLOW_START}:
            child.last_exit += f" ({child.health.why})"
        elif kind is ExitClass.OOM and code < 0:
            child.last_exit += " (out of memory)"
        reason = log.why_unusable(name, process.tail)
        self._tell_end(child, process.pid, code, kind, reason)
        tail = "\n".join(log.parse(name, line).text for line in process.last_words)
        down = Down(
            name, process.incarnation, child.last_exit, kind.crashed, executing, tail, kind.value
        )
        gone = restart.Exited(
            name,
            code,
            excused=kind.crashed and self._excuse(name, kind, executing),
            first=not self.all_ready.is_set(),
            reason=reason,
            charged=executing if kind.crashed else (),
            finished=seen.finished > 0,
        )
        self._post(child.group.spec.name, gone, down)

    def _tell_end(self, child: _Child, pid: int, code: int, kind: ExitClass, reason: str) -> None:
        said: dict[str, object] = {"name": child.spec.name, "pid": pid, "exit": child.last_exit}
        if code in {EXIT_CONFIG, EXIT_HOST}:
            self._on_event("unusable", said | {"reason": reason})
        else:
            self._on_event("died" if kind.crashed else "ended", said | {"class": kind.value})

    async def _terminate(self, child: _Child) -> None:
        process = child.process
        if process is None:
            return
        child.stopping = True
        child.killed_for = child.killed_for or ExitClass.STOPPED
        # They stop one after the other, and the catalog is the last: nobody before it may use
        # up the time.
        left_s = max(self._over_at - anyio.current_time(), 0.0)
        deaf = child.health.life in {Life.STOPPED, Life.STUCK}
        drain_s = 0.0 if deaf else min(child.spec.drain_s, left_s / 2)
        await self._end(
            child,
            process,
            partial(self._ask_to_drain, child, drain_s),
            drain_s,
            term_s=0.0 if deaf else min(TERM_S, left_s / 8),
            kill_s=min(ABANDON_S, max(left_s / 8, 0.5)),
        )

    async def _end(
        self,
        child: _Child,
        process: Process,
        ask: Callable[[], bool],
        ask_s: float,
        *,
        term_s: float,
        kill_s: float = ABANDON_S,
    ) -> None:
        """Take *process* down the ladder, and go on without it when it cannot be killed."""

        def tell(step: str) -> None:
            self._on_event("stopping", {"name": child.spec.name, "step": step})

        gone = await process.stop(ask, ask_s, term_s=term_s, kill_s=kill_s, on_step=tell)
        if not gone and child.process is process:
            self._abandoned.add(process.pid)
            self._on_event("abandoned", {"name": child.spec.name, "pid": process.pid})
            self._gone(child, process, -signal.SIGKILL)

    # ── health ──

    async def _watch_health(self) -> None:
        while True:
            await anyio.sleep(self._limits.interval_s)
            self._short_of_memory()
            for child in self._children.values():
                if child.process is not None:
                    self._look(child, child.process)
            if self._heirs_looks:
                self._heirs_looks -= 1
                self._bury_heirs()

    def _look(self, child: _Child, process: Process) -> None:
        vital = process.vital()
        assert child.page is not None
        if vital is None or vital.state in {"Z", "X"}:
            return  # its end is being dealt with
        heart = self._heart(child)
        troubled = child.health.life.troubled
        seen = Observation(
            child.page.glance(),
            child.ready,
            child.stopping,
            vital.state,
            vital.cpu_s,
            self._echoes.heard(heart),
            vital.waited_s,
        )
        name = child.spec.name
        for effect in child.health.step(seen, time.monotonic()):
            match effect:
                case health.Changed(life, why):
                    if life.troubled:
                        self._on_event(life.value, {"name": name, "why": why})
                    elif troubled:
                        self._on_event("recovered", {"name": name})
                case health.AskEcho():
                    self._echoes.call(heart)
                case health.Dump():
                    process.dump()
                case health.Kill(why, starting):
                    child.killed_for = ExitClass.SLOW_START if starting else ExitClass.HUNG
                    if starting:
                        self._on_event("start_too_slow", {"name": name, "s": child.spec.startup_s})
                    self._tasks.start_soon(self._execute, child, process)

    async def _execute(self, child: _Child, process: Process) -> None:
        await self._end(child, process, lambda: False, 0.0, term_s=0.0)

    def _heart(self, child: _Child) -> str:
        return rundir.endpoint(self._run_dir, child.spec.name, "hb")

    def _short_of_memory(self) -> bool:
        """Did the kernel just kill somebody for want of memory?"""
        if self._oom.look():
            self._oom_at = time.monotonic()
        return time.monotonic() - self._oom_at < OOM_S

    def _bury_heirs(self) -> None:
        """Kill and reap what dead children left behind."""
        own = {each.process.pid for each in self._children.values() if each.process is not None}
        bury_adopted(self._mark, own | self._abandoned)

    def _ask_to_drain(self, child: _Child, drain_s: float) -> bool:
        if child.line is None or not child.ready:
            return False  # who is still starting has nothing in hand
        try:
            child.line.tell(Drain(drain_s))
        except RuntimeFault:
            return False
        return True

    # ── words ──

    async def _listen(self) -> None:
        while True:
            envelope = await self._node.mailbox.get()
            match envelope.body:
                case AskProcesses():
                    envelope.reply(Processes(list(self.processes())))
                case Hello() | Ready() | Progress():
                    self._hear(envelope)
                case _:
                    envelope.refuse("unsupported", "the supervisor does no work")

    def _hear(self, envelope: Envelope) -> None:
        child = self._children.get(envelope.line.name)
        if child is None or envelope.line.epoch != child.incarnation:
            return
        match envelope.body:
            case Hello():
                child.line = envelope.line
                for up in self._peers_up(child):
                    self._say(child, up)
            case Progress(phase):
                child.health.progress(time.monotonic())
                self._on_event("progress", {"name": child.spec.name, "phase": phase})
            case Ready():
                # not queued: whoever says hello right now must hear of this one
                child.group.core.step(restart.Ready(child.spec.name), anyio.current_time())
                child.ready = True
                self._on_event("ready", {"name": child.spec.name})
                self._announce(Up(child.spec.name, child.incarnation))
                self._look_whether_all_tried()

    def _look_whether_all_tried(self) -> None:
        states = {self._state(each) for each in self._children.values()}
        if states <= {State.READY}:
            self.all_ready.set()
        if states <= {State.READY, State.ISOLATED, State.BROKEN}:
            self.all_tried.set()

    def _state(self, child: _Child) -> State:
        return child.group.core.state(child.spec.name)

    def _peers_up(self, child: _Child) -> Iterator[Up]:
        for name in child.spec.peers:
            peer = self._children.get(name)
            if peer is not None and self._state(peer) is State.READY:
                yield Up(name, peer.incarnation)

    def _announce(self, news: Up | Down) -> None:
        for child in self._children.values():
            if news.name in child.spec.peers:
                self._say(child, news)

    def _say(self, child: _Child, body: wire.Body) -> None:
        if child.line is not None:
            # one who just died hears everything anew when its successor says hello
            with contextlib.suppress(RuntimeFault):
                child.line.tell(body)

    def processes(self) -> Iterator[ProcessState]:
        """What is known of each child, in start order."""
        for child in self._children.values():
            life, why, pid = Life.EXITED, "", 0
            if child.process is not None:
                life, why, pid = child.health.life, child.health.why, child.process.pid
            yield ProcessState(
                child.spec.name,
                life.value if life.troubled else self._state(child).value,
                pid,
                child.incarnation,
                max(child.restarts, 0),
                child.last_exit,
                life.value,
                why,
            )
