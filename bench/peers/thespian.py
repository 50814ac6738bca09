"""Thespian, actors as processes over TCP.

It does not restart what was killed; the creator hears `ChildActorExited` and may create
another one, which the fault run does.
"""

import asyncio
import time
from typing import Any

from thespian.actors import (  # type: ignore[import-not-found] # lives in the bench's own environment
    Actor,
    ActorExitRequest,
    ActorSystem,
)

from bench.peers import contest


class Echo(Actor):  # type: ignore[misc] # untyped here
    count = 0

    def receiveMessage(self, message: Any, sender: Any) -> None:  # noqa: N802 - the library's word
        if isinstance(message, ActorExitRequest):
            return
        if isinstance(message, int):  # a task
            self.send(sender, contest.work(message))
        elif isinstance(message, tuple):  # one way
            self.count += 1
            if self.count == message[1]:
                self.send(sender, self.count)
        else:
            self.send(sender, message)


def measure(calls: int) -> dict[str, Any]:
    system = ActorSystem("multiprocTCPBase")
    try:
        echo = system.createActor(Echo)
        for _ in range(50):
            system.ask(echo, contest.PAYLOAD, 5)
        figures: dict[str, Any] = {
            "ask": contest.ask(calls, lambda: system.ask(echo, contest.PAYLOAD, 5)),
            "pipelined": contest.pipelined(
                calls, lambda: system.tell(echo, contest.PAYLOAD), lambda _: system.listen(5)
            ),
        }
        begin = time.perf_counter()
        for _ in range(calls):
            system.tell(echo, (contest.PAYLOAD, calls))
        assert system.listen(30) == calls
        figures["oneway"] = contest.rate(calls, time.perf_counter() - begin)
        return figures
    finally:
        system.shutdown()


async def fault(seconds: float) -> dict[str, Any]:
    run = contest.Faults(seconds)
    system = ActorSystem("multiprocTCPBase")
    try:
        worker = system.createActor(Echo)
        turn = asyncio.Lock()  # one mailbox of answers a process: questions take turns

        async def call(task: int) -> tuple[int, int]:
            async with turn:
                begin = time.monotonic()
                while time.monotonic() < begin + contest.STUCK_S:
                    answer = await asyncio.to_thread(system.ask, worker, task, 1)
                    if isinstance(answer, tuple) and answer[0] == task:
                        return answer
                    if answer is not None:
                        raise contest.TaskLost(type(answer).__name__)
                    raise contest.TaskLost("no answer within 1 s")
                raise TimeoutError

        async def recover() -> None:
            nonlocal worker
            async with turn:
                worker = await asyncio.to_thread(system.createActor, Echo)

        return await run.run(call, recover)
    finally:
        system.shutdown()


if __name__ == "__main__":
    options = contest.arguments()
    if options.what == "measure":
        contest.say(measure(options.calls))
    else:
        contest.say(asyncio.run(fault(options.seconds)))
