"""The tree of processes: cores decide, this file carries out.

Each group of a tree has a `GroupCore`; a group is to its parent what a process is to its
group.  One task feeds events to the cores, one at a time and in order; everything that waits
(a process, a timer, the ladder that stops a child) is a task of its own that ends in an
event.  So a stop is heard while a child fails start after start.

Who is up is *state*: each child that says hello is told which of its peers are up, and every
change is sent to those who named the peer in their spec.  A `Down` carries what the dead
child's shared page showed, so that the owner of the work can charge those tasks and no others.
"""

import contextlib
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

from runtime import restart, wire
from runtime.errors import RuntimeFault
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
from runtime.process import Process, describe
from runtime.restart import EXIT_OK, EXIT_RECYCLE, GroupCore, State
from runtime.spec import AnySpec, Birth, ChildSpec, GroupSpec

OnLine: TypeAlias = Callable[[str, str], None]
#: is a death to be blamed on the work in hand?  (name, exit code, executing ids) → excused
Excuse: TypeAlias = Callable[[str, int, list[int]], bool]


class _Child:
    """What the shell keeps of one process, over all its incarnations."""

    def __init__(self, spec: ChildSpec, group: "_Group") -> None:
        self.spec = spec
        self.group = group
        self.process: Process | None = None
        self.line: Line | None = None
        self.page: Page | None = None
        self.startup = anyio.CancelScope()
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
        self.escalated: int | None = None


class _Event(msgspec.Struct, frozen=True):
    group: str
    event: restart.Event


class Supervisor:
    """Keeps *tree* alive until it is stopped or gives up.

    Args:
        tree: the root group.
        run_dir: sockets and shared pages; ours alone.
        run: id of this run, handed to every child.
        on_line: gets (child, line) for each line a child writes.
        on_event: gets (event, fields) for births, deaths and decisions.
        excuse: which deaths are not the child's own fault.
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
        excuse: Excuse = lambda _name, _code, _executing: False,
        rng: random.Random | None = None,
    ) -> None:
        self.run_id = run
        self._tree = tree
        self._run_dir = run_dir
        self._on_line = on_line
        self._on_event = on_event
        self._excuse = excuse
        self._rng = rng or random.Random()
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
        self.exit_code: int | None = None

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
        async with self._node.open(), anyio.create_task_group() as tasks:
            self._tasks = tasks
            tasks.start_soon(self._listen)
            tasks.start_soon(self._drive)
            try:
                yield self
            finally:
                with anyio.CancelScope(shield=True):
                    self.stop()
                    await self._stopped.wait()
                tasks.cancel_scope.cancel()

    @property
    def stopping(self) -> bool:
        return self._stop_asked

    def stop(self) -> None:
        """Begin to stop, sources first; `wait_stopped` tells when it is over."""
        if not self._stop_asked:
            self._stop_asked = True
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

    def _post(self, group: str, event: restart.Event) -> None:
        self._events.put_always(_Event(group, event))

    async def _drive(self) -> None:
        self._post(self._tree.name, restart.Start())
        while self.exit_code is None:
            each = await self._events.get()
            group = self._groups[each.group]
            for effect in group.core.step(each.event, anyio.current_time()):
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
            case restart.Wake(name, after_s):
                self._tasks.start_soon(self._wake, group, name, after_s)
            case restart.Isolated(name, for_s):
                self._on_event("isolated", {"name": name, "for_s": round(for_s)})
            case restart.Escalate(reason, code):
                self._on_event("gives_up", {"group": group.spec.name, "reason": reason})
                group.escalated = code
                self._post(group.spec.name, restart.Stop())
            case restart.Stopped():
                self._group_stopped(group)

    def _group_stopped(self, group: _Group) -> None:
        code = EXIT_OK if group.escalated is None else group.escalated
        group.escalated = None
        if group.parent is None:
            self.exit_code = code
        else:
            self._post(group.parent.spec.name, restart.Exited(group.spec.name, code))

    async def _wake(self, group: _Group, name: str, after_s: float) -> None:
        core = group.core
        await anyio.sleep(after_s)
        if group.core is core:  # the group itself was not restarted meanwhile
            self._post(group.spec.name, restart.Due(name))

    # ── births and deaths ──

    def _spawn(self, child: _Child) -> None:
        self._incarnation += 1
        name = child.spec.name
        child.page = Page(self._run_dir / f"{name}.page", create=True)
        birth = Birth(child.spec, self._incarnation, self.run_id, str(self._run_dir))
        child.process = Process.spawn(birth)
        child.restarts += 1
        child.startup = anyio.CancelScope(deadline=anyio.current_time() + child.spec.startup_s)
        self._on_event("spawned", {"name": name, "pid": child.process.pid})
        self._tasks.start_soon(child.process.read_output, self._on_line)
        self._tasks.start_soon(self._watch, child, child.process)
        self._tasks.start_soon(self._limit_startup, child, child.process, child.startup)

    async def _limit_startup(
        self, child: _Child, process: Process, startup: anyio.CancelScope
    ) -> None:
        with startup:
            await process.exited.wait()
        if child.process is process and self._state(child) is State.STARTING:
            self._on_event("start_too_slow", {"name": child.spec.name, "s": child.spec.startup_s})
            await process.stop(lambda: False, 0)

    async def _watch(self, child: _Child, process: Process) -> None:
        code = await process.wait()
        name = child.spec.name
        assert child.page is not None
        executing = child.page.read().executing
        child.page.close()
        crashed = code not in {EXIT_OK, EXIT_RECYCLE}
        child.process, child.line, child.last_exit = None, None, describe(code)
        self._on_event(
            "died" if crashed else "ended",
            {"name": name, "pid": process.pid, "exit": child.last_exit},
        )
        tail = "\n".join(process.tail)
        down = Down(name, process.incarnation, child.last_exit, crashed, executing, tail)
        self._announce(down)
        excused = crashed and self._excuse(name, code, executing)
        self._post(child.group.spec.name, restart.Exited(name, code, excused))

    async def _terminate(self, child: _Child) -> None:
        process = child.process
        if process is not None:
            await process.stop(partial(self._ask_to_drain, child), child.spec.drain_s)

    def _ask_to_drain(self, child: _Child) -> bool:
        if child.line is None:
            return False
        try:
            child.line.tell(Drain(child.spec.drain_s))
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
                child.startup.deadline = anyio.current_time() + child.spec.startup_s
                self._on_event("progress", {"name": child.spec.name, "phase": phase})
            case Ready():
                # not queued: whoever says hello right now must hear of this one
                child.group.core.step(restart.Ready(child.spec.name), anyio.current_time())
                child.startup.cancel()
                self._on_event("ready", {"name": child.spec.name})
                self._announce(Up(child.spec.name, child.incarnation))
                states = [self._state(each) for each in self._children.values()]
                if all(state is State.READY for state in states):
                    self.all_ready.set()

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
            pid = 0 if child.process is None else child.process.pid
            yield ProcessState(
                child.spec.name,
                self._state(child).value,
                pid,
                child.incarnation,
                max(child.restarts, 0),
                child.last_exit,
            )
