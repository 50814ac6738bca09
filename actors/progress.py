"""How far the library is read, how fast, and how long it will still take.

    found ─► decode ─► embed ─► searchable
                  ├──► faces, where a model looks for them
                  └──► captions, where a model describes photos

Pure: whoever calls brings the clock.  Everything shown comes from counters that the catalog
and the index keep, over all runs; nothing is estimated but the time that is left.

A rate is measured over the last `WINDOW_S`, and only once the samples span `LEAST_S`: a number
on the screen that jumps is worse than none.  What a stage lost meanwhile (a photo that changed
is to be read again) does not slow it down on the screen.  While the catalog is away there is
no rate, and no past when it comes back.

The ETA is what is left at the rate of now.  It is not told while folders are still being
walked, since nobody knows then how much there is; nor while the owner has paused the work.

A total is `all` there is; `about` as much, while the stage before still finds duplicates and
files that are no photos; or `at least` as much, while folders are being walked.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from actors.messages import CatalogStatus, Class, IndexStatus, SchedulerStatus, Totals

WINDOW_S: Final = 10.0
LEAST_S: Final = 1.5

Name = Literal["found", "decode", "embed", "searchable", "faces", "captions"]
Known = Literal["all", "about", "at least"]
#: classes of work that a library may do without
_OPTIONAL: Final[dict[Name, Class]] = {"faces": "face", "captions": "caption"}


class Stage(msgspec.Struct, frozen=True):
    """Where one stage stands."""

    name: Name
    done: int  #: photos that are through, for better or worse
    left: int  #: photos known to come
    known: Known = "all"  #: what done + left is
    rate: float | None = None  #: photos a second; None where it is not known
    eta_seconds: int | None = None  #: None where it is not known, or nothing is left
    waits: str = ""  #: why it does not go on, "" where it does

    @property
    def total(self) -> int:
        return self.done + self.left


class Pace(msgspec.Struct, frozen=True):
    """The same in three numbers.  None where they are not known."""

    decode: float | None = None  #: photos a second
    embed: float | None = None
    eta_seconds: int | None = None  #: of the slower stage
    faces: float | None = None  #: photos a second
    faces_left: int = 0  #: photos
    faces_eta_seconds: int | None = None
    faces_wait: str = ""  #: why nobody looks for them right now
    captions: float | None = None  #: photos a second
    captions_left: int = 0  #: photos
    captions_eta_seconds: int | None = None
    captions_wait: str = ""  #: why nobody writes them right now


class Meter:
    """The rate of one counter."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()  # monotonic seconds, gained until then
        self._last = 0

    def step(self, count: int, now: float) -> float | None:
        """Take in that the counter stood at *count* at *now*; what it gains a second."""
        samples = self._samples
        gained = samples[-1][1] + max(0, count - self._last) if samples else 0
        self._last = count
        samples.append((now, gained))
        while len(samples) > 2 and samples[1][0] <= now - WINDOW_S:
            samples.popleft()
        begin, before = samples[0]
        span = now - begin
        return None if span < LEAST_S else round((gained - before) / span, 1)

    def forget(self) -> None:
        self._samples.clear()


class Course:
    """The stages of one library, told from one status after the other."""

    def __init__(self) -> None:
        self._meters: dict[Name, Meter] = {}

    def step(
        self,
        catalog: CatalogStatus | None,
        index: IndexStatus | None,
        totals: Totals | None,
        now: float,
        scheduler: SchedulerStatus | None = None,
    ) -> list[Stage]:
        """Where every stage stands at *now*; none when the catalog said nothing."""
        if catalog is None:
            for meter in self._meters.values():
                meter.forget()
            return []
        stages = _stages(catalog, index, totals)
        wanted = {each.kind for each in catalog.spaces if each.state != "retired"}
        for name, kind in _OPTIONAL.items():
            if kind in wanted:
                stages.append(_looked(name, kind, catalog, stages, scheduler))
        return [self._measured(stage, catalog, now) for stage in stages]

    def _measured(self, stage: Stage, catalog: CatalogStatus, now: float) -> Stage:
        rate = self._meters.setdefault(stage.name, Meter()).step(stage.done, now)
        eta = None
        goes_on = not (catalog.paused or stage.waits)
        if rate and stage.left and stage.known != "at least" and goes_on:
            eta = round(stage.left / rate)
        return msgspec.structs.replace(stage, rate=rate, eta_seconds=eta)


def pace(stages: Sequence[Stage]) -> Pace:
    """What the page shows of *stages*."""
    named: dict[str, Stage] = {each.name: each for each in stages}
    decode, embed = named.get("decode"), named.get("embed")
    if decode is None or embed is None:
        return Pace()
    etas = [each.eta_seconds for each in (decode, embed) if each.left]
    known = [each for each in etas if each is not None]
    eta = max(known) if known and len(known) == len(etas) else None
    faces = named.get("faces", Stage("faces", 0, 0))
    captions = named.get("captions", Stage("captions", 0, 0))
    return Pace(
        decode.rate,
        embed.rate,
        eta,
        faces.rate,
        faces.left,
        faces.eta_seconds,
        faces.waits,
        captions.rate,
        captions.left,
        captions.eta_seconds,
        captions.waits,
    )


def _looked(
    name: Name,
    kind: Class,
    catalog: CatalogStatus,
    before: Sequence[Stage],
    scheduler: SchedulerStatus | None,
) -> Stage:
    """The work of *kind*; photos that are still to be decoded are looked at after."""
    (queue,) = [each for each in catalog.queues if each.kind == kind]
    (decode,) = [each for each in before if each.name == "decode"]
    walking = decode.known == "at least"
    left = queue.ready + queue.leased + (0 if walking else decode.left)
    known: Known = "at least" if walking else "about" if decode.left else "all"
    reasons = [] if scheduler is None else [x.reason for x in scheduler.classes if x.kind == kind]
    waits = reasons[0] if left and reasons else ""
    return Stage(name, queue.done + queue.dead, left, known, waits=waits)


def _stages(
    catalog: CatalogStatus, index: IndexStatus | None, totals: Totals | None
) -> list[Stage]:
    queues = {each.kind: each for each in catalog.queues}
    done = {kind: each.done + each.dead for kind, each in queues.items()}
    left = {kind: each.ready + each.leased for kind, each in queues.items()}
    walking = catalog.scanning or not catalog.scanned
    to_decode = left.get("decode", 0)
    # what is still to be decoded is embedded after, unless it is no photo or there already
    to_embed = left.get("embed", 0) + (0 if walking else to_decode)

    def known(before: int) -> Known:
        return "at least" if walking else "about" if before else "all"

    stages = [Stage("decode", done.get("decode", 0), to_decode, known(0))]
    if totals is not None:
        stages.insert(0, Stage("found", totals.files, 0, known(0)))
    stages.append(Stage("embed", done.get("embed", 0), to_embed, known(to_decode)))
    if index is not None:
        behind = max(0, catalog.feed_seq - index.seq)
        # what is embedded for a space that does not serve yet is searchable in the other one
        beside = [
            each.vectors
            for each in catalog.spaces
            if each.state == "building" and each.kind == "embed"
        ]
        to_embed = max(0, to_embed - sum(max(0, catalog.photos - each) for each in beside))
        to_apply = to_embed + behind
        stages.append(Stage("searchable", index.vectors, to_apply, known(to_apply)))
    return stages
