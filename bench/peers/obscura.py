"""Obscura's own runtime: actors in processes of their own under a real supervisor.

The fault run also says what the supervisor adds to a recovery: (READY − kill) − backoff −
(READY − spawn), that is from the kill to the new spawn, without the backoff that was asked
for.
"""

import argparse
import contextlib
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio

from bench.peers import contest
from bench.peers.words import AnyWord, Figures, Measure, Result, Submit
from runtime import wire
from runtime.errors import RuntimeFault
from runtime.messages import AnyControl, Up
from runtime.node import Node
from runtime.restart import Backoff, Intensity
from runtime.spec import ChildSpec, GroupSpec
from runtime.supervision import Supervisor

#: without jitter, so that it can be taken off the recovery exactly
BACKOFF = Backoff(base_s=0.1, cap_s=0.1, jitter=0.0)
#: a kill a second is the bench's wish and must not make the group give up
INTENSITY = Intensity(limit=120, period_s=60.0)


class Stage:
    """A running tree, a node beside it that can ask its actors, and when what happened."""

    def __init__(self, node: Node, supervisor: Supervisor, events: list[tuple[str, Any]]) -> None:
        self.node = node
        self.events = events
        self._supervisor = supervisor

    def dial(self, name: str) -> None:
        """Whoever is *name* now; nobody announces it to a node outside the tree."""
        state = next(each for each in self._supervisor.processes() if each.name == name)
        self.node.ref(name)
        self.node.peer_up(Up(name, state.incarnation))

    def times(self, event: str, name: str) -> list[float]:
        return [at for what, (who, at) in self.events if (what, who) == (event, name)]


@contextlib.asynccontextmanager
async def stage(backend: str, **peers: tuple[str, ...]) -> AsyncIterator[Stage]:
    """The tree of the actors named, each with its peers, ready."""
    events: list[tuple[str, Any]] = []

    def on_event(event: str, fields: dict[str, object]) -> None:
        events.append((event, (fields.get("name"), time.monotonic())))

    children = tuple(
        ChildSpec(
            name=name,
            actor=f"bench.peers.cast:{name.capitalize()}",
            peers=others,
            backend=backend,
            drain_s=2.0,
        )
        for name, others in peers.items()
    )
    tree = GroupSpec(name="root", children=children, backoff=BACKOFF, intensity=INTENSITY)
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        supervisor = Supervisor(
            tree,
            run_dir=Path(folder),
            run="bench",
            on_line=lambda name, line: print(f"{name}: {line}"),
            on_event=on_event,
        )
        async with supervisor.running():
            node = Node("bench", 0, Path(folder), wire.Codec(AnyWord | AnyControl))
            async with node.open(bind=False):
                with anyio.fail_after(60):
                    await supervisor.all_ready.wait()
                yield Stage(node, supervisor, events)


async def measure(calls: int, backend: str) -> dict[str, Any]:
    result: dict[str, Any] = {}
    async with stage(backend, echo=(), asker=("echo",), source=("sink",), sink=("source",)) as on:
        for what, who, count in (
            ("ask", "asker", calls),
            ("pipelined", "asker", calls * 3),
            ("oneway", "sink", calls * 20),
        ):
            on.dial(who)
            answer = await on.node.ref(who).ask(Measure(what, count), 120)
            assert isinstance(answer, Figures)
            result[what] = {
                "per_s": answer.per_s,
                "p50_us": answer.p50_us,
                "p99_us": answer.p99_us,
                "most_waiting": answer.highest,
            }
    return result


async def fault(seconds: float, backend: str) -> dict[str, Any]:
    run = contest.Faults(seconds)
    async with stage(backend, provider=("worker",), worker=("provider",)) as on:
        on.dial("provider")

        async def call(task: int) -> tuple[int, int]:
            try:
                answer = await on.node.ref("provider").ask(Submit(task), 2 * contest.STUCK_S)
            except RuntimeFault as error:
                raise contest.TaskLost(type(error).__name__) from error
            assert isinstance(answer, Result)
            return answer.task, answer.pid

        figures = await run.run(call)
        spawned, ready = on.times("spawned", "worker"), on.times("ready", "worker")
    overheads, recoveries = [], []
    for _, killed in run.kills:
        spawn = next((at for at in spawned if at > killed), None)
        up = next((at for at in ready if at > killed), None)
        if spawn is not None and up is not None:
            recoveries.append(up - killed)
            overheads.append((up - killed) - BACKOFF.base_s - (up - spawn))
    if overheads:
        figures["ready_p50_ms"] = round(1000 * statistics.median(recoveries), 1)
        figures["overhead_p50_ms"] = round(1000 * statistics.median(overheads), 2)
        figures["overhead_max_ms"] = round(1000 * max(overheads), 2)
    return figures


def main(options: argparse.Namespace) -> dict[str, Any]:
    # the clock, the killer and the submitters of a fault run are asyncio's own
    backend = "asyncio"
    if options.what == "measure":
        return anyio.run(measure, options.calls, backend)
    return anyio.run(fault, options.seconds, backend)


if __name__ == "__main__":
    contest.say(main(contest.arguments()))
