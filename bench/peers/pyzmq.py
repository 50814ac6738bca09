"""The bare pyzmq loop with the same msgspec work: what our runtime is measured against.

Two processes, DEALER and ROUTER over ipc, `send_multipart` and `recv_multipart` that block;
each message is encoded and decoded as header and body, as ours is.  No actors, no mailbox, no
event loop, no credits, nobody to notice a death: there is no fault run.
"""

import multiprocessing
import tempfile
import time
from typing import Any

import msgspec
import zmq

from bench.peers import contest
from bench.peers.words import WORK, AnyWord, Work
from runtime.wire import VERSION, Header, Kind


class Frames:
    """Both ways between a `Work` and its two frames."""

    def __init__(self) -> None:
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode_header = msgspec.msgpack.Decoder(Header).decode
        self._decode_body = msgspec.msgpack.Decoder(AnyWord).decode

    def encode(self, kind: Kind, number: int, body: Work) -> list[bytes]:
        header = Header(VERSION, kind, "bench.work", number, "bare", 1)
        return [self._encode(header), self._encode(body)]

    def decode(self, frames: list[bytes]) -> tuple[Header, Any]:
        return self._decode_header(frames[-2]), self._decode_body(frames[-1])


def serve(endpoint: str) -> None:
    """Echo what is asked, count what is told; after the last word, go."""
    frames = Frames()
    router = zmq.Context().socket(zmq.ROUTER)
    router.bind(endpoint)
    count = 0
    while True:
        message = router.recv_multipart()
        header, body = frames.decode(message)
        if header.kind == Kind.ASK:
            router.send_multipart([message[0], *frames.encode(Kind.REPLY, header.id, body)])
        elif header.id == 0:
            count += 1
        elif header.id == 1:
            router.send_multipart([message[0], b"%d" % count])
            count = 0
        else:
            return


def measure(calls: int) -> dict[str, Any]:
    frames = Frames()
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        endpoint = f"ipc://{folder}/bare.ipc"
        process = multiprocessing.get_context("spawn").Process(target=serve, args=(endpoint,))
        process.start()
        dealer = zmq.Context().socket(zmq.DEALER)
        dealer.connect(endpoint)

        def start() -> None:
            dealer.send_multipart(frames.encode(Kind.ASK, 7, WORK))

        def finish(_: Any = None) -> None:
            frames.decode(dealer.recv_multipart())

        def call() -> None:
            start()
            finish()

        for _ in range(100):
            call()
        figures: dict[str, Any] = {
            "ask": contest.ask(calls, call),
            "pipelined": contest.pipelined(calls, start, finish),
        }
        count = calls * 20
        begin = time.perf_counter()
        for _ in range(count):
            dealer.send_multipart(frames.encode(Kind.TELL, 0, WORK))
        dealer.send_multipart(frames.encode(Kind.TELL, 1, WORK))
        assert int(dealer.recv()) == count
        figures["oneway"] = contest.rate(count, time.perf_counter() - begin)
        dealer.send_multipart(frames.encode(Kind.TELL, 2, WORK))
        process.join()
    return figures


if __name__ == "__main__":
    options = contest.arguments()
    if options.what == "fault":
        contest.say({"cannot": "nobody in it notices a death"})
    else:
        contest.say(measure(options.calls))
