"""What this process counts, in Prometheus' format.

A registry of its own, because the library's global one is shared by everything that is ever
imported, tests included.
"""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from actors.messages import Status, Totals
from actors.web.errors import Code

#: seconds; dense below the promise of 0.5 s at p95
BUCKETS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0)


class Metrics:
    """Counters of one gateway."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._seconds = Histogram(
            "obscura_search_seconds",
            "From a query to its photos, of those that were answered",
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._searches = Counter(
            "obscura_searches",
            "Queries by outcome: answered, or the code of the refusal",
            ["outcome"],
            registry=self.registry,
        )
        self.cache_hits = Counter(
            "obscura_query_cache_hits",
            "Queries whose vector was still known",
            registry=self.registry,
        )
        self.websockets = Gauge(
            "obscura_websocket_connections", "Open websockets", registry=self.registry
        )
        self._tasks = Gauge(
            "obscura_tasks",
            "Tasks by kind and state; absent while the catalog is",
            ["kind", "state"],
            registry=self.registry,
        )
        self._photos = Gauge(
            "obscura_files",
            "Files by how they ended; absent while the database is",
            ["state"],
            registry=self.registry,
        )
        self._vectors = Gauge(
            "obscura_index_vectors",
            "Photos that can be found; absent while the index is",
            ["space"],
            registry=self.registry,
        )
        self._up = Gauge(
            "obscura_process_up",
            "1 for each process that is ready, 0 for one that is not",
            ["process"],
            registry=self.registry,
        )
        self._restarts = Gauge(
            "obscura_process_restarts",
            "Births of a process beyond its first",
            ["process"],
            registry=self.registry,
        )

    def answered(self, seconds: float) -> None:
        self._seconds.observe(seconds)
        self._searches.labels("answered").inc()

    def refused(self, code: Code) -> None:
        self._searches.labels(code).inc()

    def render(self, status: Status, totals: Totals | None) -> bytes:
        """The exposition, with *status* and *totals* as gauges."""
        for gauge in (self._tasks, self._photos, self._vectors, self._up, self._restarts):
            gauge.clear()
        if status.catalog is not None:
            for queue in status.catalog.queues:
                for state in ("ready", "leased", "done", "dead"):
                    self._tasks.labels(queue.kind, state).set(getattr(queue, state))
        if status.index is not None:
            self._vectors.labels(status.index.space).set(status.index.vectors)
        if totals is not None:
            for state in ("indexed", "skipped", "dead", "duplicates", "pending"):
                self._photos.labels(state).set(getattr(totals, state))
        for process in status.processes:
            self._up.labels(process.name).set(process.state == "ready")
            self._restarts.labels(process.name).set(process.restarts)
        return generate_latest(self.registry)
