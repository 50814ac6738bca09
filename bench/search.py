"""search: latency over the websocket, idle and while photos are being indexed.

Every query is new, so that no cache answers.  The busy phase is measured only as long as
there is work left.
"""

import itertools
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.recall import render
from bench.system import Socket, running

QUERIES = 200


def percentile(seconds: list[float], share: float) -> float:
    """In milliseconds, rounded."""
    return round(1000 * sorted(seconds)[int(share * len(seconds))], 2)


def ask(socket: Socket, queries: Iterator[str], count: int) -> list[float]:
    """Seconds each of the next *count* queries took."""
    taken = []
    for query in itertools.islice(queries, count):
        begin = time.monotonic()
        socket.search(query)
        taken.append(time.monotonic() - begin)
    return taken


def main(*, n: int = 400) -> dict[str, Any]:
    """Latencies with *n* pictures to index."""
    queries = (f"{number} red circles on green" for number in itertools.count())
    with tempfile.TemporaryDirectory(prefix="obscura-search-") as scratch:
        drawn, photos, data = (Path(scratch, each) for each in ("drawn", "photos", "data"))
        pairs = render(n, 2, drawn)
        photos.mkdir()
        for file, _ in pairs[:40]:
            shutil.copy(drawn / file, photos / file)
        with running(photos, data) as library, library.socket() as socket:
            library.wait_indexed()
            ask(socket, queries, 20)
            idle = ask(socket, queries, QUERIES)

            def add() -> None:
                for file, _ in pairs[40:]:
                    shutil.copy(drawn / file, photos / file)

            adding = threading.Thread(target=add)
            adding.start()
            busy: list[float] = []
            while len(busy) < QUERIES:
                busy += ask(socket, queries, 10)
                if len(busy) % 50 == 0 and not library.status()["totals"]["pending"]:
                    break
            adding.join()
    idle_95, busy_95 = percentile(idle, 0.95), percentile(busy, 0.95)
    return {
        "idle_p50_ms": percentile(idle, 0.5),
        "idle_p95_ms": idle_95,
        "busy_p50_ms": percentile(busy, 0.5),
        "busy_p95_ms": busy_95,
        "busy_over_idle": round(busy_95 / idle_95, 2),
        "busy_queries": len(busy),
    }
