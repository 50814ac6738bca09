"""multiprocessing.Pipe: two processes and a pickle, nothing else.

It has no supervision: a fault run ends with the first kill, and says so.
"""

import asyncio
import multiprocessing
import time
from multiprocessing.connection import Connection
from typing import Any

from bench.peers import contest


def echo(connection: Any) -> None:
    count = 0
    while (message := connection.recv()) is not None:
        if isinstance(message, int):  # a task
            connection.send(contest.work(message))
        elif isinstance(message, tuple):  # one way
            count += 1
            if count == message[1]:
                connection.send(count)
                count = 0
        else:
            connection.send(message)


def measure(calls: int) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=echo, args=(there,))
    process.start()

    def call() -> None:
        here.send(contest.PAYLOAD)
        here.recv()

    for _ in range(100):
        call()
    figures: dict[str, Any] = {"ask": contest.ask(calls, call)}
    figures["pipelined"] = contest.pipelined(
        calls, lambda: here.send(contest.PAYLOAD), lambda _: here.recv()
    )
    count = calls * 10
    begin = time.perf_counter()
    for _ in range(count):
        here.send((contest.PAYLOAD, count))
    here.recv()
    figures["oneway"] = contest.rate(count, time.perf_counter() - begin)
    here.send(None)
    process.join()
    return figures


async def fault(seconds: float) -> dict[str, Any]:
    run = contest.Faults(seconds)
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=echo, args=(there,), daemon=True)
    process.start()
    there.close()
    turn = asyncio.Lock()

    def exchange(connection: "Connection[Any, Any]", task: int) -> Any:
        connection.send(task)
        return connection.recv()

    async def call(task: int) -> tuple[int, int]:
        try:
            async with turn:
                task, pid = await asyncio.to_thread(exchange, here, task)
        except (OSError, EOFError) as error:
            raise contest.GaveUp(type(error).__name__) from error
        return task, pid

    return await run.run(call)


if __name__ == "__main__":
    options = contest.arguments()
    if options.what == "measure":
        contest.say(measure(options.calls))
    else:
        contest.say(asyncio.run(fault(options.seconds)))
