"""Xoscar, one actor in a sub pool, which is a process.

The fault run lets it recover the process and the actor (`auto_recover="actor"`).
"""

import asyncio
import time
from typing import Any

import xoscar as xo  # type: ignore[import-not-found] # lives in the bench's own environment

from bench.peers import contest


class Echo(xo.Actor):  # type: ignore[misc] # untyped here
    def __init__(self) -> None:
        self.count = 0

    def echo(self, message: bytes) -> bytes:
        return message

    def one_way(self, _message: bytes) -> None:
        self.count += 1

    def told(self) -> int:
        return self.count

    def work(self, task: int) -> tuple[int, int]:
        return contest.work(task)


async def start(pool: Any) -> Any:
    return await xo.create_actor(
        Echo,
        address=pool.external_address,
        allocate_strategy=xo.allocate_strategy.ProcessIndex(1),
    )


async def measure(calls: int) -> dict[str, Any]:
    pool = await xo.create_actor_pool("127.0.0.1", n_process=1)
    async with pool:
        echo = await start(pool)
        for _ in range(100):
            await echo.echo(contest.PAYLOAD)
        figures: dict[str, Any] = {
            "ask": await contest.ask_async(calls, lambda: echo.echo(contest.PAYLOAD)),
            "pipelined": await contest.pipelined_async(calls, lambda: echo.echo(contest.PAYLOAD)),
        }
        begin = time.perf_counter()
        for _ in range(calls):
            await echo.one_way.tell(contest.PAYLOAD)
        # asks are answered in order, so this one comes after all that was told
        assert await echo.told() == calls
        figures["oneway"] = contest.rate(calls, time.perf_counter() - begin)
        return figures


async def fault(seconds: float) -> dict[str, Any]:
    run = contest.Faults(seconds)
    pool = await xo.create_actor_pool("127.0.0.1", n_process=1, auto_recover="actor")
    async with pool:
        worker = await start(pool)

        async def call(task: int) -> tuple[int, int]:
            try:
                answer: tuple[int, int] = await worker.work(task)
            except TimeoutError:
                raise
            except Exception as error:
                raise contest.TaskLost(type(error).__name__) from error
            return answer

        return await run.run(call)


if __name__ == "__main__":
    options = contest.arguments()
    if options.what == "measure":
        contest.say(asyncio.run(measure(options.calls)))
    else:
        contest.say(asyncio.run(fault(options.seconds)))
