"""Everything actors say to each other, in the order a photo travels.

Bodies are tagged msgspec structs; `runtime.wire` puts a header before them and knows none
of them.  Rules of change: append fields with defaults, never rename a tag, never change a
type; `tests/actors/test_messages.py` keeps the golden bytes of every released version.

Times are nanoseconds of `time.time_ns`, ids are the catalog's integers, vectors are
little-endian float32, L2-normalised, back to back.  Paths are bytes: a file name need not be
UTF-8.
"""

from typing import Final, Literal

import msgspec

from actors.library.space import Space
from actors.photo.facts import Facts

Kind = Literal["decode", "embed", "face", "caption"]
#: work for a device, in the order in which it gets one
Class = Literal["embed", "face", "caption"]
Fault = Literal["photo", "worker", "busy", "host"]


#: Task ids from here on are no tasks of the catalog but asks: somebody waits for the answer.
ASKS: Final = 1 << 62


class Message(msgspec.Struct, frozen=True, tag_field="t", omit_defaults=True):
    """Base of all bodies; the tag of a subclass is its type on the wire."""


class Done(Message, frozen=True, tag="done"):
    """Plain yes to an ask that has nothing else to answer."""


# ── ingest → catalog ────────────────────────────────────────────────────────────────────────


class SeenFile(msgspec.Struct, frozen=True, array_like=True):
    """One regular file as the walk found it, new or changed since the catalog last heard of it."""

    directory: bytes  #: relative to the root, b"" for the root itself
    name: bytes
    size: int
    mtime_ns: int
    ctime_ns: int
    skip: str = ""  #: why it is no photo for us, "" when it is to be decoded


class Seen(Message, frozen=True, tag="seen"):
    """New and changed files under one root.  Answered `Done` once committed."""

    root: bytes
    files: list[SeenFile]
    priority: int = 0  #: watched folders come first (higher is sooner)


class Vanished(Message, frozen=True, tag="vanished"):
    """Files the catalog knows that a complete walk did not find.  Answered `Done`."""

    files: list[int]


class ScanStarted(Message, frozen=True, tag="scan_started"):
    """A walk of *root* begins; until its `ScanDone` the library is not settled."""

    root: bytes


class ScanDone(Message, frozen=True, tag="scan_done"):
    """The walk of *root* ended; *error* tells why it could not be complete, "" when it was."""

    root: bytes
    files: int
    seconds: float
    error: str = ""


# ── catalog → decode, scheduler ─────────────────────────────────────────────────────────────


class DecodeTask(msgspec.Struct, frozen=True, array_like=True):
    """Untrusted bytes to be read, keyed by (file, size, mtime, ctime)."""

    id: int
    file: int
    path: bytes  #: absolute
    size: int
    mtime_ns: int
    ctime_ns: int
    suspect: bool = False  #: somebody died of it or beside it: run it alone
    spool: Literal["", "new", "lost"] = ""  #: leave a larger picture for faces; see `photo.spool`


class EmbedTask(msgspec.Struct, frozen=True, array_like=True):
    """One content for a model to look at; what decode left of it is found by *digest*."""

    id: int
    content: int
    digest: bytes  #: BLAKE3 of the original, 32 bytes
    width: int  #: upright size of the original in pixels
    height: int
    suspect: bool = False
    pack: str = ""  #: name of the pack of that space

    @property
    def asked(self) -> bool:
        """Does somebody wait for it?  Then the catalog knows nothing of it."""
        return self.id >= ASKS


class Pull(Message, frozen=True, tag="pull"):
    """A standing offer: "keep up to *window* tasks of *kind* with me; I still hold these".

    Idempotent.  Re-sent to every new incarnation of the provider and every two seconds, so a
    lost offer is never a stall.
    """

    kind: Kind
    window: int
    outstanding: list[int]
    delivery: int  #: the last delivery seen from this provider


class DecodeTasks(Message, frozen=True, tag="decode_tasks"):
    tasks: list[DecodeTask]
    delivery: int  #: counts up from 1 for each incarnation of the puller


class EmbedTasks(Message, frozen=True, tag="embed_tasks"):
    tasks: list[EmbedTask]
    delivery: int
    kind: Class = "embed"


class Upstream(Message, frozen=True, tag="upstream"):
    """What may still become work for a device; told to the scheduler, and again every second.

    *busy* names the stages that have something to do, of "scan", "decode" and the classes.
    *final* says that nothing can come any more when they are through: nobody watches the folders.
    """

    busy: list[str]
    final: bool = False


class Executing(Message, frozen=True, tag="executing"):
    """These tasks are about to touch risky bytes.  Answered `Done` once committed."""

    tasks: list[int]


# ── workers → catalog ───────────────────────────────────────────────────────────────────────


class Decoded(msgspec.Struct, frozen=True, tag="decoded"):
    """What decode found; the thumbnails lie in the derived folder under *digest*."""

    task: int
    digest: bytes
    facts: Facts
    thumb_256: int  #: bytes of each thumbnail file: a shorter one on disk is a torn one
    thumb_1024: int


class Embedded(msgspec.Struct, frozen=True, tag="embedded"):
    task: int
    content: int
    space: str
    vector: bytes


class FoundFace(msgspec.Struct, frozen=True, array_like=True):
    """A face in a picture; lengths are parts of the upright picture's width and height."""

    left: float
    top: float
    right: float
    bottom: float
    score: float
    landmarks: list[float]  #: x, y of five points, in the order of `models.faces.face`, or none
    size: float  #: shorter side, pixels of the original
    sharpness: float
    yaw: float
    roll: float
    vector: bytes


class Faced(msgspec.Struct, frozen=True, tag="faced"):
    """Every face of a picture, best first."""

    task: int
    content: int
    space: str
    faces: list[FoundFace]


class Captioned(msgspec.Struct, frozen=True, tag="captioned"):
    """A picture in words."""

    task: int
    content: int
    space: str
    text: str
    score: float  #: mean log-probability of its tokens


class Skipped(msgspec.Struct, frozen=True, tag="skipped"):
    """Not a photo after all, seen from its bytes."""

    task: int
    reason: str


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """A task that did not work out.

    *fault* says what the catalog does about it: photo → dead letter, worker and busy → again
    later, host → wait, uncharged.
    """

    task: int
    fault: Fault
    reason: str


class ThumbnailLost(msgspec.Struct, frozen=True, tag="thumbnail_lost"):
    """A task whose thumbnail, or larger picture, is missing or torn; the photo is not to blame.

    The catalog has it made again and the task run after that.
    """

    task: int
    content: int


Result = Decoded | Embedded | Faced | Captioned | Skipped | Failed | ThumbnailLost


class Results(Message, frozen=True, tag="results"):
    """Answered `Committed`; kept and re-sent by the worker until it is."""

    results: list[Result]


class Committed(Message, frozen=True, tag="committed"):
    tasks: list[int]


# ── scheduler ⇄ embed, face, caption ────────────────────────────────────────────────────────


class Batch(Message, frozen=True, tag="batch"):
    """Tasks of one class to prepare now and to run when the lease comes, padded up to *bucket*.

    The number of the batch counts deliveries to this worker, as in `EmbedTasks`.
    """

    batch: int
    bucket: int
    tasks: list[EmbedTask]


class Prepared(Message, frozen=True, tag="prepared"):
    """The tensors of *batch* are ready; the worker waits for the device."""

    batch: int


class Grant(Message, frozen=True, tag="grant"):
    """The device is yours for this one batch."""

    batch: int
    lease: int
    device: str


class Released(Message, frozen=True, tag="released"):
    """The device is free again.  What the worker still holds, its next `Pull` says."""

    batch: int
    lease: int
    seconds: float


class AskCaption(Message, frozen=True, tag="ask_caption"):
    """Describe a picture now, ahead of everything that is queued.  The gateway asks the scheduler.

    Nothing of it is kept.  `Saying` follows, several times, until one is done.
    """

    ask: int  #: the asker's own number for it
    content: int
    digest: bytes
    width: int
    height: int
    pack: str  #: name of the pack that describes


class Saying(Message, frozen=True, tag="saying"):
    """A caption as far as it is written, from the worker over the scheduler to who asked."""

    ask: int
    text: str  #: all of it so far
    done: bool = False
    error: str = ""  #: why there is none; it is done then


# ── catalog → index ─────────────────────────────────────────────────────────────────────────


class Follow(Message, frozen=True, tag="follow"):
    """Ask to be told when the feed passes *seq*.  Re-sent like a `Pull`."""

    seq: int


class FeedAt(Message, frozen=True, tag="feed_at"):
    seq: int


# ── search: client → gateway → text, index ──────────────────────────────────────────────────


class EncodeText(Message, frozen=True, tag="encode_text"):
    """Answered `Vectors`."""

    texts: list[str]
    pack: str = ""  #: name of the pack to do it with; "": the one that served at the start


class Vectors(Message, frozen=True, tag="vectors"):
    space: str
    dimensions: int
    data: bytes
    model: str = ""  #: name of the pack
    demo: bool = False  #: it understands drawings only


class Nearest(Message, frozen=True, tag="nearest"):
    """The *k* contents nearest to each vector in *data*.  Answered `Neighbours`."""

    space: str
    data: bytes
    k: int
    among: bytes = b""  #: ids, little-endian int64: of these only, all compared; b"": of all


class Neighbours(Message, frozen=True, tag="neighbours"):
    """One list a query, best first; *scores* are cosines."""

    contents: list[list[int]]  #: or faces, in a space of faces
    scores: list[list[float]]
    seq: int  #: the feed position the answer stands for
    degraded: str = ""  #: "exact" while there is no graph


class Search(Message, frozen=True, tag="search"):
    """Answered `Found`.

    A photo in which nobody has looked for faces yet is neither with nor without.
    """

    query: str
    k: int = 20
    has_faces: bool | None = None  #: only photos with a face, or only without; None: any
    faces: int = 0  #: only photos with at least so many faces


class FacesLike(Message, frozen=True, tag="faces_like"):
    """The photos with the faces that are most like *face*.  Answered `Found`.

    Each hit says which face of it that is.  A photo is listed once, by its best one; *face*
    itself is left out.
    """

    face: int
    k: int = 20
    least: float = 0.0  #: cosine below which none is like it


class AskFaces(Message, frozen=True, tag="ask_faces"):
    """Answered `Faces`."""

    content: int


class Face(msgspec.Struct, frozen=True):
    """A face in a photo, and where: parts of the upright picture's width and height."""

    id: int  #: the same for as long as the photo is there
    left: float
    top: float
    right: float
    bottom: float
    score: float  #: how sure the detector was, 0 to 1
    size: float  #: shorter side, pixels of the original
    picture: str  #: path of the face cut out, on the gateway


class Faces(Message, frozen=True, tag="faces"):
    """The faces of one photo, the surest first."""

    faces: list[Face]
    looked: bool  #: somebody has looked for them
    model: str  #: the pack that found them


#: by what it shows, by the words of its caption, or by both
Reason = Literal["vector", "caption", "both"]


class Hit(msgspec.Struct, frozen=True):
    content: int
    path: str  #: printable; undecodable bytes are shown as surrogate escapes
    score: float  #: cosine; 0 of a photo that was found by its caption and has no vector yet
    taken_at: str | None
    thumbnail: str  #: path on the gateway, below its address
    width: int = 0
    height: int = 0
    faces: int | None = None  #: in the photo; None while nobody has looked for them
    face: Face | None = None  #: the one it was found by
    reason: Reason = "vector"  #: what it was found by
    caption: str | None = None  #: what a model says of it; None while it has not been described


class Found(Message, frozen=True, tag="found"):
    hits: list[Hit]
    model: str  #: the pack that answered
    demo: bool  #: the answer comes from a model that understands drawings only
    indexed: int
    seconds: float
    degraded: str = ""  #: what the answer lacks
    unlooked: int = 0  #: photos in which faces are still to be looked for, if that mattered


class AskPhoto(Message, frozen=True, tag="ask_photo"):
    """Which photo is that file?  Answered `PhotoIs`."""

    path: bytes  #: absolute


class PhotoIs(Message, frozen=True, tag="photo_is"):
    content: int | None  #: None: it is no photo, or not read yet
    known: bool  #: the library knows such a file


class Describe(Message, frozen=True, tag="describe"):
    """Describe a photo now, and keep nothing of it.  Answered `Done` when somebody is at it.

    `Saying` follows, several times, until one is done.
    """

    ask: int  #: the asker's own number for it, of which `Saying` says the same
    content: int


class AskLink(Message, frozen=True, tag="ask_link"):
    """Answered `Link`."""


class Link(Message, frozen=True, tag="link"):
    """An address that opens the page once, without a token."""

    url: str


# ── status ──────────────────────────────────────────────────────────────────────────────────


class AskStatus(Message, frozen=True, tag="ask_status"):
    """Answered `Status`, `CatalogStatus`, `IndexStatus` or `SchedulerStatus`.

    By the gateway, the catalog, the index, the scheduler, in that order.
    """


class QueueStatus(msgspec.Struct, frozen=True):
    kind: str
    ready: int
    leased: int
    done: int
    dead: int


class SpaceState(msgspec.Struct, frozen=True):
    """The vectors of one model."""

    space: str
    pack: str
    revision: str
    precision: str
    state: str  #: active: it serves; building; retired: it can be gone back to
    vectors: int  #: photos that it can find, whose faces it knows, or that it has described
    rate: float | None = None  #: of one that is built, photos a second; None where not known
    eta_seconds: int | None = None  #: until it is complete; likewise
    held: str = ""  #: why a complete one does not take over
    kind: Class = "embed"


class CatalogStatus(Message, frozen=True, tag="catalog_status"):
    queues: list[QueueStatus]
    scanning: bool
    scanned: bool  #: a complete walk of every root has ended since this start
    scan_error: str
    feed_seq: int
    decodes: int  #: results committed since the tree started
    embeds: int
    settled: bool  #: scanned and nothing ready, leased or waiting
    paused: bool = False  #: no work is handed out until the owner says `resume`
    paused_since_ns: int = 0
    spaces: list[SpaceState] = []
    photos: int = 0  #: different pictures, all of which a complete space holds
    faces: int = 0  #: pictures whose faces were found since the tree started
    captions: int = 0  #: pictures that were described since the tree started


class HeldSpace(msgspec.Struct, frozen=True):
    space: str
    vectors: int
    seq: int  #: applied up to here
    whole: bool  #: all vectors were read


class IndexStatus(Message, frozen=True, tag="index_status"):
    space: str
    vectors: int
    seq: int
    degraded: str = ""
    spaces: list[HeldSpace] = []  #: all that it holds; the first four fields are of the active one


class ClassStatus(msgspec.Struct, frozen=True):
    """One class of work for a device."""

    kind: Class
    queued: int  #: tasks that the scheduler holds and no worker does
    batches: int  #: that workers prepare, hold ready or run
    open: bool  #: it may have the device
    reason: str = ""  #: why it waits, "" when it does not


class SchedulerStatus(Message, frozen=True, tag="scheduler_status"):
    """Who may use the device; the classes in the order in which they get it."""

    classes: list[ClassStatus]
    leases: int  #: granted so far
    busy_s: float  #: seconds the device was leased


class ProcessStatus(msgspec.Struct, frozen=True):
    name: str
    state: str
    pid: int
    incarnation: int
    restarts: int
    last_exit: str = ""


class Status(Message, frozen=True, tag="status"):
    processes: list[ProcessStatus]
    catalog: CatalogStatus | None
    index: IndexStatus | None
    model: str
    demo: bool
    profile: str
    scheduler: SchedulerStatus | None = None


class Totals(Message, frozen=True, tag="totals"):
    """How every file ended; files = indexed + skipped + dead + duplicates + pending."""

    files: int
    indexed: int
    skipped: int
    dead: int
    duplicates: int
    pending: int


class AskTotals(Message, frozen=True, tag="ask_totals"):
    """Answered `Totals`."""


# ── the owner → gateway → catalog, index ────────────────────────────────────────────────────


class Owner(Message, frozen=True):
    """Base of what the owner wants of the library; the gateway passes it on to the catalog."""


class OwnerOfIndex(Message, frozen=True):
    """Base of what the owner wants of the index; the gateway passes it on to it."""


class AskDeadLetters(Owner, frozen=True, tag="ask_dead_letters"):
    """Dead letters with an id after *after*, by id.  Answered `DeadLetters`."""

    after: int = 0


class AskDeadLetter(Owner, frozen=True, tag="ask_dead_letter"):
    """Everything about one.  Answered `DeadLetters`, empty when there is no such letter."""

    task: int


class Letter(msgspec.Struct, frozen=True):
    """Work that was given up."""

    task: int
    path: bytes
    kind: Kind
    reason: str
    attempts: int
    crash_attempts: int
    when_ns: int
    exit_reason: str = ""  #: of the last crash, in the answer to `AskDeadLetter` only
    stderr_tail: str = ""  #: likewise


class DeadLetters(Message, frozen=True, tag="dead_letters"):
    """A page of them; an empty one is the end."""

    letters: list[Letter]
    trimmed: int = 0  #: how often an old one had to give up what its process said last


class RetryLetters(Owner, frozen=True, tag="retry_letters"):
    """Try *tasks* again, or *all* that is dead.  Answered `LettersMoved`."""

    tasks: list[int]
    all: bool = False


class DropLetters(Owner, frozen=True, tag="drop_letters"):
    """Count the files of *tasks* as skipped.  Answered `LettersMoved`."""

    tasks: list[int]


class LettersMoved(Message, frozen=True, tag="letters_moved"):
    """The tasks that it was done to; whoever is not among them is no dead letter."""

    tasks: list[int]


class Pause(Owner, frozen=True, tag="pause"):
    """Hand out no more work, or *on* being false: go on.  Answered `Done`."""

    on: bool


class ThumbnailsLost(Owner, frozen=True, tag="thumbnails_lost"):
    """Thumbnails that somebody wanted to read and that were missing or short.  Not answered."""

    contents: list[int]


class Repair(Owner, frozen=True, tag="repair"):
    """Do again what `check` found lost.  Answered `Repaired`.

    At most some thousand ids a message; `counters` counts everything anew.
    """

    thumbnails: list[int] = []  #: contents
    vectors: list[int] = []  #: contents
    counters: bool = False
    faces: list[int] = []  #: contents to be looked at for faces
    captions: list[int] = []  #: contents to be described
    words: bool = False  #: the index of the words of captions is to be made anew


class Repaired(Message, frozen=True, tag="repaired"):
    """How many of each are on their way, or right again."""

    thumbnails: int
    vectors: int
    counters: int
    faces: int = 0
    captions: int = 0


class AskBelow(Owner, frozen=True, tag="ask_below"):
    """What the library knows at and below an absolute path.  Answered `Below`."""

    path: bytes


class Below(Message, frozen=True, tag="below"):
    files: int
    photos: int  #: different pictures among them


class Forget(Owner, frozen=True, tag="forget"):
    """Remove every trace of the file, or the folder, at *path*.

    Answered `Forgot`; to be said again while there is more.
    """

    path: bytes


class Forgot(Message, frozen=True, tag="forgot"):
    files: int
    photos: int
    kept: list[int]  #: photos that stay, because files elsewhere hold them too
    elsewhere: list[bytes]  #: paths of the first of those files
    more: bool = False


class UsePack(Owner, frozen=True, tag="use_pack"):
    """Serve from the vectors of *space*, once they are complete.  Answered `Used`."""

    space: Space
    at_once: bool = False  #: incomplete too, because nothing can be searched as it is


class Used(Message, frozen=True, tag="used"):
    """How far that is: *vectors* of *photos* are there; *before* is the pack that serves still."""

    state: str  #: as in `SpaceState`
    vectors: int
    photos: int
    before: str = ""


class DropSpace(Owner, frozen=True, tag="drop_space"):
    """Forget the vectors of a space that neither serves nor is built.

    Answered `Dropped`; to be said again while there are more.
    """

    space: str
    after: int = 0  #: contents up to this id have none any more


class Dropped(Message, frozen=True, tag="dropped"):
    after: int
    more: bool = True


class AskPlaces(Message, frozen=True, tag="ask_places"):
    """Where this system keeps things.  Answered `Places` by the gateway."""


class Places(Message, frozen=True, tag="places"):
    database: str  #: SQLAlchemy URL
    derived: bytes
    index: bytes  #: where snapshots are kept


class AskIndexIds(OwnerOfIndex, frozen=True, tag="ask_index_ids"):
    """Which contents the index holds, or faces in a space of faces.  Answered `IndexIds`."""

    space: str = ""  #: "": the one that answers queries


class IndexIds(Message, frozen=True, tag="index_ids"):
    seq: int  #: the feed position the answer stands for
    count: int
    digest: bytes  #: BLAKE3 of the ids, ascending, as little-endian int64


class RebuildIndex(OwnerOfIndex, frozen=True, tag="rebuild_index"):
    """Build the index anew from the catalog and write its snapshot.  Answered `Done`.

    Nothing of a removed vector is left then, in memory or in a file.
    """


AnyMessage = (
    Done
    | Seen
    | Vanished
    | ScanStarted
    | ScanDone
    | Pull
    | DecodeTasks
    | EmbedTasks
    | Upstream
    | Executing
    | Results
    | Committed
    | Batch
    | Prepared
    | Grant
    | Released
    | AskCaption
    | Saying
    | Follow
    | FeedAt
    | EncodeText
    | Vectors
    | Nearest
    | Neighbours
    | Search
    | FacesLike
    | AskFaces
    | Faces
    | Found
    | AskPhoto
    | PhotoIs
    | Describe
    | AskLink
    | Link
    | AskStatus
    | CatalogStatus
    | IndexStatus
    | SchedulerStatus
    | Status
    | AskTotals
    | Totals
    | AskDeadLetters
    | AskDeadLetter
    | DeadLetters
    | RetryLetters
    | DropLetters
    | LettersMoved
    | Pause
    | ThumbnailsLost
    | Repair
    | Repaired
    | AskBelow
    | Below
    | Forget
    | Forgot
    | UsePack
    | Used
    | DropSpace
    | Dropped
    | AskPlaces
    | Places
    | AskIndexIds
    | IndexIds
    | RebuildIndex
)
