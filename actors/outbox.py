"""Results on their way to the catalog: kept until it says that they are committed.

Sent again to every new incarnation of the catalog; it answers what it has already with the
same `Committed`.  So a result is computed once as long as its worker lives, whatever happens
to the catalog meanwhile.

A result that comes alone goes at once; in a stream of them those of `EVERY_S` go together, because
a transaction costs the catalog as much for thirty as for sixty.
"""

from collections.abc import Callable

import anyio

from actors.messages import Committed, Result, Results
from runtime.errors import RuntimeFault
from runtime.faults import fault
from runtime.node import Ref

#: results a message; at 2 KiB a vector well below the limit of a body
MOST = 256
ANSWER_S = 30.0
RETRY_S = 0.2
EVERY_S = 0.1


class Outbox:
    """Results not yet committed, oldest first.

    Args:
        catalog: who commits.
        on_committed: hears the ids of tasks that are settled for good.
    """

    def __init__(self, catalog: Ref, on_committed: Callable[[list[int]], None]) -> None:
        self._catalog = catalog
        self._on_committed = on_committed
        self._results: dict[int, Result] = {}
        self._changed = anyio.Event()
        self._emptied = anyio.Event()

    def __len__(self) -> int:
        return len(self._results)

    def put(self, results: list[Result]) -> None:
        self._results.update((each.task, each) for each in results)
        self._changed.set()

    async def run(self) -> None:
        """Send and re-send until cancelled."""
        next_at = 0.0
        while True:
            while not self._results:
                self._changed = anyio.Event()
                await self._changed.wait()
            await anyio.sleep_until(next_at)
            next_at = anyio.current_time() + EVERY_S
            batch = list(self._results.values())[:MOST]
            fault("outbox.send")
            try:
                answer = await self._catalog.ask(Results(batch), ANSWER_S)
            except RuntimeFault:
                await anyio.sleep(RETRY_S)
                continue
            assert isinstance(answer, Committed)
            fault("outbox.answered")
            for task in answer.tasks:
                self._results.pop(task, None)
            self._on_committed(answer.tasks)
            if not self._results:
                self._emptied.set()

    async def wait_empty(self) -> None:
        """Return once everything is committed."""
        while self._results:
            self._emptied = anyio.Event()
            await self._emptied.wait()
