"""What all contestants share: the arguments, the stop-watch, the killer and the count.

Standard library only: peers run in an environment of their own.

A fault run submits tasks from eight submitters for a while; each waits for its answer before
the next.  The worker of a task sleeps 5 ms and answers (task, its pid).  Every second the
process that answered last is killed, once it has answered since the last kill.  Then:

- *lost*: the caller was told of an error; the task must be done again by hand;
- *stuck*: no answer and no error within ten seconds;
- *duplicated*: tasks whose result was accepted more than once;
- *rerun*: tasks whose work ran to its end more than once (the worker notes each end in a
  file).  Work may run twice where effects are committed once; it costs time, not truth;
- *recovery*: from the kill to the first answer of another process.
"""

import argparse
import asyncio
import collections
import json
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

PAYLOAD = bytes(range(175))
OUTSTANDING = 32
SUBMITTERS = 8
TASK_S = 0.005
KILL_EVERY_S = 1.0
STUCK_S = 10.0


class TaskLost(Exception):
    """The library says that the task failed, and leaves it at that."""


class GaveUp(Exception):
    """There is nobody left to do any task, and no word for getting somebody."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("measure", "fault"))
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=30.0)
    return parser.parse_args()


def say(figures: dict[str, Any]) -> None:
    """The last line of stdout is the result; libraries may print before it."""
    print(json.dumps(figures), flush=True)


def rate(calls: int, seconds: float, latencies: list[float] | None = None) -> dict[str, float]:
    """Calls per second, and percentiles of *latencies* (seconds) in microseconds."""
    figures = {"per_s": round(calls / seconds, 1)}
    if latencies:
        ordered = sorted(latencies)
        figures["p50_us"] = round(1e6 * ordered[len(ordered) // 2], 1)
        figures["p99_us"] = round(1e6 * ordered[int(len(ordered) * 0.99)], 1)
    return figures


def ask(calls: int, call: Callable[[], Any]) -> dict[str, float]:
    """One at a time."""
    latencies = []
    begin = time.perf_counter()
    for _ in range(calls):
        start = time.perf_counter()
        call()
        latencies.append(time.perf_counter() - start)
    return rate(calls, time.perf_counter() - begin, latencies)


def pipelined(
    calls: int, start: Callable[[], Any], finish: Callable[[Any], Any]
) -> dict[str, float]:
    """`OUTSTANDING` at once; the oldest is waited for, then another one is started."""
    latencies = []
    waiting: collections.deque[tuple[float, Any]] = collections.deque()
    begin = time.perf_counter()
    for _ in range(calls):
        if len(waiting) == OUTSTANDING:
            started, call = waiting.popleft()
            finish(call)
            latencies.append(time.perf_counter() - started)
        waiting.append((time.perf_counter(), start()))
    for started, call in waiting:
        finish(call)
        latencies.append(time.perf_counter() - started)
    return rate(calls, time.perf_counter() - begin, latencies)


async def ask_async(calls: int, call: Callable[[], Awaitable[Any]]) -> dict[str, float]:
    latencies = []
    begin = time.perf_counter()
    for _ in range(calls):
        start = time.perf_counter()
        await call()
        latencies.append(time.perf_counter() - start)
    return rate(calls, time.perf_counter() - begin, latencies)


async def pipelined_async(calls: int, call: Callable[[], Awaitable[Any]]) -> dict[str, float]:
    latencies = []

    async def one_after_the_other(count: int) -> None:
        for _ in range(count):
            start = time.perf_counter()
            await call()
            latencies.append(time.perf_counter() - start)

    each = calls // OUTSTANDING
    begin = time.perf_counter()
    await asyncio.gather(*(one_after_the_other(each) for _ in range(OUTSTANDING)))
    return rate(each * OUTSTANDING, time.perf_counter() - begin, latencies)


# ── faults ──────────────────────────────────────────────────────────────────────────────────

_ENDS = "OBSCURA_BENCH_ENDS"


def work(task: int) -> tuple[int, int]:
    """What a worker does with a task; runs in the process that will be killed."""
    time.sleep(TASK_S)
    note_end(task)
    return task, os.getpid()


def note_end(task: int) -> None:
    """One short append is atomic, and survives the process."""
    descriptor = os.open(os.environ[_ENDS], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, b"%d\n" % task)
    os.close(descriptor)


class Faults:
    """One fault run."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._folder = tempfile.TemporaryDirectory(prefix="bench-fault-")
        self._ends = Path(self._folder.name, "ends")
        self._ends.touch()
        os.environ[_ENDS] = str(self._ends)  # before any worker is started
        self._next = 0
        self._accepted: collections.Counter[int] = collections.Counter()
        self._errors: collections.Counter[str] = collections.Counter()
        self._stuck = 0
        self._gave_up = False
        self._pid = 0  #: whoever answered last
        self._killed_pid = 0
        self._killed_at = 0.0
        self._recoveries: list[float] = []
        self.kills: list[tuple[int, float]] = []  #: pid, monotonic seconds

    async def run(
        self,
        call: Callable[[int], Awaitable[tuple[int, int]]],
        recover: Callable[[], Awaitable[None]] | None = None,
    ) -> dict[str, Any]:
        """Drive *call* with tasks; *recover* is what its manual tells the caller to do then.

        *call* raises `TaskLost` for a task that failed, anything else is a bug of the bench.
        """
        end = time.monotonic() + self._seconds
        killer = asyncio.create_task(self._kill(end))
        submitters = [self._submit(call, recover, end) for _ in range(SUBMITTERS)]
        await asyncio.gather(*submitters)
        killer.cancel()
        return self._figures()

    async def _submit(
        self,
        call: Callable[[int], Awaitable[tuple[int, int]]],
        recover: Callable[[], Awaitable[None]] | None,
        end: float,
    ) -> None:
        while time.monotonic() < end and not self._gave_up:
            self._next += 1
            try:
                task, pid = await asyncio.wait_for(call(self._next), STUCK_S)
            except TaskLost as error:
                self._errors[str(error).partition("\n")[0][:80]] += 1
                if recover is not None:
                    await recover()
                await asyncio.sleep(0.1)  # one that fails at once must not flood the count
            except GaveUp as error:
                self._errors[str(error)] += 1
                self._gave_up = True
            except TimeoutError:
                self._stuck += 1
            else:
                self._accept(task, pid)

    def _accept(self, task: int, pid: int) -> None:
        self._accepted[task] += 1
        self._pid = pid
        if self._killed_pid and pid != self._killed_pid:
            self._recoveries.append(time.monotonic() - self._killed_at)
            self._killed_pid = 0

    async def _kill(self, end: float) -> None:
        while time.monotonic() < end - KILL_EVERY_S:
            await asyncio.sleep(KILL_EVERY_S)
            if self._pid and not self._killed_pid:
                self._killed_pid, self._killed_at = self._pid, time.monotonic()
                os.kill(self._pid, signal.SIGKILL)
                self.kills.append((self._killed_pid, self._killed_at))

    def _figures(self) -> dict[str, Any]:
        ends = collections.Counter(self._ends.read_text().split())
        self._folder.cleanup()
        figures: dict[str, Any] = {
            "tasks": self._next,
            "answered": len(self._accepted),
            "lost": sum(self._errors.values()),
            "stuck": self._stuck,
            "duplicated": sum(count > 1 for count in self._accepted.values()),
            "rerun": sum(count > 1 for count in ends.values()),
            "kills": len(self.kills),
            "recovered": len(self._recoveries),
        }
        if self._recoveries:
            figures["recovery_p50_ms"] = round(1000 * statistics.median(self._recoveries), 1)
            figures["recovery_max_ms"] = round(1000 * max(self._recoveries), 1)
        if self._gave_up:
            figures["gave_up"] = True
        if self._errors:
            figures["errors"] = dict(self._errors)
        return figures
