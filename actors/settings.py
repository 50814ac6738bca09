"""What each actor is told at birth; light to import, for the composition root."""

from typing import Literal

import msgspec

from actors.library.space import Space
from actors.messages import Class


class CatalogSettings(msgspec.Struct, frozen=True):
    database: str  #: SQLAlchemy URL
    data: str
    space: Space  #: for a library that has none yet
    roots: list[bytes]  #: absolute paths of the folders of originals
    derived: str = ""  #: where the thumbnails lie
    others: list[Space] = []  #: of other kinds, likewise
    spool_bytes: int = 5 << 30  #: of larger pictures for faces at most; above it none is left
    watch: bool = True  #: photos may come at any time


class IndexSettings(msgspec.Struct, frozen=True):
    database: str
    directory: str  #: where snapshots are kept
    space: str  #: what is answered from until the database is there
    dimensions: int
    backend: str = "faiss"
    threads: int = 1
    seal_rows: int | None = None  #: new vectors from which a graph is due; None: the usual number
    build_threads: int = 1  #: for building graphs


class SchedulerSettings(msgspec.Struct, frozen=True):
    classes: dict[Class, list[int]]  #: class → batch sizes; who comes first gets the device first
    device: str = "cpu:0"
    settle_s: float = 10.0  #: how long everything above a class is quiet before it begins


class WorkerSettings(msgspec.Struct, frozen=True):
    """Of everybody who works on a device; see `worker`."""

    pack: str  #: directory of the pack that serves a new library
    derived: str  #: where the thumbnails lie
    buckets: list[int]
    device: str = "cpu:0"  #: a GPU that cannot be used is replaced by the CPU
    threads: int = 1  #: on the CPU
    folders: list[str] = []  #: where packs lie, for one that is built beside it
    database: str = ""  #: file of the catalog, which tells who serves


class EmbedSettings(WorkerSettings, frozen=True):
    pass


class FaceSettings(WorkerSettings, frozen=True):
    pass


class CaptionSettings(WorkerSettings, frozen=True):
    idle_s: float = 60.0  #: without work for so long, the memory goes back
    batch_s: float = 180.0  #: seconds that a batch may take; more where the model is slow


class IngestSettings(msgspec.Struct, frozen=True):
    database: str
    roots: list[bytes]
    watch: bool
    scan_interval_s: float  #: 0: at start only


class DecodeSettings(msgspec.Struct, frozen=True):
    derived: str


class TextSettings(msgspec.Struct, frozen=True):
    pack: str  #: directory of the pack that serves a new library
    threads: int = 1
    limit_s: float = 30.0  #: for one run; nobody waits longer for an answer
    folders: list[str] = []  #: as in `WorkerSettings`
    database: str = ""


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True):
    """Paths are bytes, as everywhere between processes."""

    data: bytes  #: where the token lies
    derived: bytes  #: where the thumbnails lie
    database: str  #: URL of the catalog's database
    pack: str  #: name of the pack that serves a new library
    demo: bool  #: that pack understands drawings only
    profile: str
    roots: tuple[str, ...] = ()  #: printable names of the photo folders, shown on the page
    host: str = "127.0.0.1"
    port: int = 8765  #: 0 for any
    auth: Literal["token", "none"] = "token"
    folders: list[str] = []  #: where packs lie
