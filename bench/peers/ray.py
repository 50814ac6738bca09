"""Ray, one actor.

The fault run lets it restart the actor and retry the task as often as it takes.
"""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Iterator
from typing import Any

import ray  # type: ignore[import-not-found] # lives in the bench's own environment

from bench.peers import contest


class Echo:
    def __init__(self) -> None:
        self.count = 0

    def echo(self, message: bytes) -> bytes:
        return message

    def tell(self, _message: bytes) -> None:
        self.count += 1

    def told(self) -> int:
        return self.count

    def work(self, task: int) -> tuple[int, int]:
        return contest.work(task)


@contextlib.contextmanager
def cluster() -> Iterator[None]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        logging_level=logging.ERROR,
        log_to_driver=False,
        object_store_memory=200 * 2**20,
    )
    try:
        yield
    finally:
        ray.shutdown()


def measure(calls: int) -> dict[str, Any]:
    with cluster():
        echo = ray.remote(Echo).remote()

        def start() -> Any:
            return echo.echo.remote(contest.PAYLOAD)

        for _ in range(100):
            ray.get(start())
        figures: dict[str, Any] = {
            "ask": contest.ask(calls, lambda: ray.get(start())),
            "pipelined": contest.pipelined(calls, start, ray.get),
        }
        begin = time.perf_counter()
        for _ in range(calls):
            echo.tell.remote(contest.PAYLOAD)
        assert ray.get(echo.told.remote()) == calls
        figures["oneway"] = contest.rate(calls, time.perf_counter() - begin)
        return figures


async def fault(seconds: float) -> dict[str, Any]:
    run = contest.Faults(seconds)
    with cluster():
        worker = ray.remote(max_restarts=-1, max_task_retries=-1)(Echo).remote()

        async def call(task: int) -> tuple[int, int]:
            try:
                answer: tuple[int, int] = await worker.work.remote(task)
            except ray.exceptions.RayError as error:
                raise contest.TaskLost(type(error).__name__) from error
            return answer

        return await run.run(call)


if __name__ == "__main__":
    options = contest.arguments()
    if options.what == "measure":
        contest.say(measure(options.calls))
    else:
        contest.say(asyncio.run(fault(options.seconds)))
