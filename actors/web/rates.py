"""How fast the library is being read, and how long it will still take.

Pure: whoever calls brings the clock.  A rate is measured over the samples of the last
`WINDOW_S`, and only once they span `LEAST_S`: a number on the screen that jumps is worse than
none.  The counters begin anew when the catalog does, and so do the rates.

The ETA is that of the slower stage at the rate of now.  It is not told while folders are
still being walked, since nobody knows then how much there is.
"""

from collections import deque
from typing import Final

import msgspec

from actors.messages import CatalogStatus

WINDOW_S: Final = 10.0
LEAST_S: Final = 1.5


class Sample(msgspec.Struct, frozen=True):
    at: float  #: monotonic seconds
    decodes: int
    embeds: int


class Pace(msgspec.Struct, frozen=True):
    """None where it is not known."""

    decode: float | None = None  #: photos a second
    embed: float | None = None
    eta_seconds: int | None = None


class Rates:
    """The latest samples of one catalog."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque()

    def step(self, status: CatalogStatus | None, now: float) -> Pace:
        """Take in what the catalog said at *now*; None when it said nothing."""
        if status is None:
            self._samples.clear()
            return Pace()
        sample = Sample(now, status.decodes, status.embeds)
        samples = self._samples
        if samples and (sample.decodes < samples[-1].decodes or sample.embeds < samples[-1].embeds):
            samples.clear()
        samples.append(sample)
        while samples[0].at < now - WINDOW_S:
            samples.popleft()
        first = samples[0]
        span = now - first.at
        if span < LEAST_S:
            return Pace()
        decode = (sample.decodes - first.decodes) / span
        embed = (sample.embeds - first.embeds) / span
        return Pace(round(decode, 1), round(embed, 1), _eta(status, decode, embed))


def _eta(status: CatalogStatus, decode: float, embed: float) -> int | None:
    if status.scanning:
        return None
    left = {queue.kind: queue.ready + queue.leased for queue in status.queues}
    to_decode = left.get("decode", 0)
    to_embed = left.get("embed", 0) + to_decode  # each decoded photo is embedded after
    seconds = 0.0
    for backlog, rate in ((to_decode, decode), (to_embed, embed)):
        if backlog and rate <= 0:
            return None
        if backlog:
            seconds = max(seconds, backlog / rate)
    return round(seconds) if seconds else None
