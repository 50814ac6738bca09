"""concurrent.futures.ProcessPoolExecutor, one worker.

A worker's death breaks the pool for good; its manual leaves a new one to the caller, so the
fault run makes one.
"""

import asyncio
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from bench.peers import contest


def echo(message: bytes) -> bytes:
    return message


def new_pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))


def measure(calls: int) -> dict[str, Any]:
    with new_pool() as pool:
        for _ in range(100):
            pool.submit(echo, contest.PAYLOAD).result()
        return {
            "ask": contest.ask(calls, lambda: pool.submit(echo, contest.PAYLOAD).result()),
            "pipelined": contest.pipelined(
                calls, lambda: pool.submit(echo, contest.PAYLOAD), lambda future: future.result()
            ),
        }


async def fault(seconds: float) -> dict[str, Any]:
    run = contest.Faults(seconds)
    pool = new_pool()

    async def call(task: int) -> tuple[int, int]:
        try:
            return await asyncio.wrap_future(pool.submit(contest.work, task))
        except BrokenProcessPool as error:
            raise contest.TaskLost(type(error).__name__) from error

    async def recover() -> None:
        nonlocal pool
        if getattr(pool, "_broken", False):
            pool.shutdown(wait=False)
            pool = new_pool()

    figures = await run.run(call, recover)
    pool.shutdown()
    return figures


if __name__ == "__main__":
    options = contest.arguments()
    if options.what == "measure":
        contest.say(measure(options.calls))
    else:
        contest.say(asyncio.run(fault(options.seconds)))
