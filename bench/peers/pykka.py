"""Pykka: actors that are threads of the caller's process, so nothing crosses a process.

A thread cannot be killed: there is no fault run.
"""

import threading
from typing import Any

import pykka  # type: ignore[import-not-found] # lives in the bench's own environment

from bench.peers import contest


class Echo(pykka.ThreadingActor):  # type: ignore[misc] # untyped here
    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.done = threading.Event()

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, tuple):  # one way
            self.count += 1
            if self.count == message[1]:
                self.done.set()
            return None
        return message


def measure(calls: int) -> dict[str, Any]:
    echo = Echo.start()
    figures: dict[str, Any] = {"in_process": True}
    figures["ask"] = contest.ask(calls, lambda: echo.ask(contest.PAYLOAD))
    figures["pipelined"] = contest.pipelined(
        calls, lambda: echo.ask(contest.PAYLOAD, block=False), lambda future: future.get()
    )
    count = calls * 10
    done = echo.proxy().done.get()

    def flood() -> None:
        for _ in range(count):
            echo.tell((contest.PAYLOAD, count))
        done.wait()

    figures["oneway"] = {"per_s": round(count * contest.ask(1, flood)["per_s"], 1)}
    pykka.ActorRegistry.stop_all()
    return figures


if __name__ == "__main__":
    options = contest.arguments()
    if options.what == "fault":
        contest.say({"cannot": "its actors are threads, which cannot be killed"})
    else:
        contest.say(measure(options.calls))
