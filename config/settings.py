"""Every setting of the program: its name, type, default, unit and meaning, each on one line.

The struct tree is the single source.  `loading` finds keys, types and suggestions in it,
`document` renders the commented default file from it, and the part after `#:` is the text a
user reads there.  A setting is listed only when something honours it.

Values here are final: paths absolute, the profile's defaults applied, URLs in the form that
the database layer takes.  Only `loading.load` makes a `Settings` from the outside world.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, field

from config.machine import decode_processes, inference_threads

ProfileName = Literal["P1", "P2", "P3", "P4"]
Backend = Literal["faiss", "hnswlib", "qdrant"]

# The description is the expectation named in an error: "must be <description>".
Count = Annotated[int, Meta(ge=1, le=1024, description="a whole number from 1 to 1024")]
Port = Annotated[int, Meta(ge=0, le=65535, description="a whole number from 0 to 65535")]
# Too few make graphs by the hundred, each of which is searched.
Rows = Annotated[int, Meta(ge=16, le=10_000_000, description="a whole number from 16 to 10000000")]
Gpu = Annotated[int, Meta(ge=-1, le=63, description="a whole number from -1 to 63")]
Seconds = Annotated[
    float, Meta(gt=0, le=31_536_000, description="a number of seconds above 0, at most a year")
]
Pause = Annotated[
    float, Meta(ge=0, le=31_536_000, description="a number of seconds, at most a year")
]
Buckets = Annotated[
    tuple[Count, ...],
    Meta(min_length=1, description="a list of ascending whole numbers from 1 to 1024"),
]
Name = Annotated[
    str,
    Meta(
        pattern=r"\A[A-Za-z0-9][A-Za-z0-9._+-]*\Z",
        description="a name of letters, digits, `.`, `_`, `+` and `-`",
    ),
]
MaybeName = Annotated[
    str,
    Meta(
        pattern=r"\A([A-Za-z0-9][A-Za-z0-9._+-]*)?\Z",
        description="a name of letters, digits, `.`, `_`, `+` and `-`, or nothing",
    ),
]
Gigabytes = Annotated[float, Meta(ge=0, le=100_000, description="a number of GiB")]
Hub = Annotated[
    str, Meta(pattern=r"\A(https?://[^\s/]\S*)?\Z", description="an address such as https://hub")
]
#: SQLAlchemy URL.  `loading` lets only the async drivers through.
Database = Annotated[str, Meta(description="a database URL such as sqlite:///catalog.sqlite")]


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all sections."""


class Library(Part, frozen=True):
    """What is kept about the photos."""

    database: Database  #: URL of the catalog; default: catalog.sqlite in the data directory
    derived: Path  #: folder of thumbnails; default: derived in the data directory


class Ingest(Part, frozen=True):
    """How photos are found."""

    watch: bool = True  #: take up new pictures as soon as they appear in a folder
    scan_interval: Pause = 86_400.0  #: seconds between full walks; 0: one walk, at start


class Decode(Part, frozen=True):
    """The pool of processes that read untrusted picture files."""

    processes: Count = field(default_factory=decode_processes)  #: default: cores less one, up to 16


class Device(Part, frozen=True):
    """What the models run on."""

    gpu: Gpu = 0  #: index of the GPU, where there is one and a runtime for it; -1: never use one
    threads: Count = field(default_factory=inference_threads)  #: CPU threads; default: 4/5 of them


class Embed(Part, frozen=True):
    """The image embedding worker."""

    buckets: Buckets = (1, 8, 32)  #: batch sizes in photos, ascending; each is warmed up once


class Faces(Part, frozen=True):
    """Who finds faces and tells them apart."""

    pack: MaybeName = ""  #: pack a new library begins with; "": that of [model], if it knows faces
    spool: Gigabytes = 5.0  #: GiB of larger pictures kept until their faces were found, at most
    buckets: Buckets = (4,)  #: batch sizes in photos, ascending; 9 MB a photo in memory


class Captions(Part, frozen=True):
    """Who tells in words what a photo shows."""

    pack: MaybeName = ""  #: pack a new library begins with; "": that of [model], if it can describe
    buckets: Buckets = (1, 4)  #: batch sizes in photos, ascending
    deadline: Seconds = 180.0  #: a batch that takes longer is broken off
    idle: Seconds = 60.0  #: without a photo to describe before the model's memory goes back


class Scheduler(Part, frozen=True):
    """Who may use the device next."""

    settle: Pause = 10.0  #: seconds without work of one class before the next is begun


class Model(Part, frozen=True):
    """Which model pack serves the library."""

    pack: Name = "sketch"  #: pack a new library begins with; later, `models use` decides
    search: tuple[
        Path, ...
    ] = ()  #: folders of packs, looked into before packs in the data directory
    hub: Hub = ""  #: address packs are pulled from; default: that of huggingface_hub, $HF_ENDPOINT


class Vectors(Part, frozen=True):
    """The nearest-neighbour index."""

    backend: Backend = "faiss"  #: faiss scans exactly; hnswlib adds graphs, for above 200k photos
    seal_rows: Rows = 262_144  #: hnswlib: new vectors from which a graph of them is built


class Gateway(Part, frozen=True):
    """The web page and the search socket."""

    host: str = "127.0.0.1"  #: address to listen on; nothing else is allowed so far
    port: Port = 8765  #: TCP port of the page; 0: any free one, told in run.json
    auth: Literal["token", "none"] = "token"  #: none lets every local user search the library


class Runtime(Part, frozen=True):
    """When a process counts as broken, and when the supervisor gives it up."""

    startup: Seconds = 120.0  #: seconds a process may take until it is ready
    shutdown: Seconds = 20.0  #: seconds for an orderly stop of the whole tree; then it is ended
    restarts: Count = 5  #: restarts of one process within the period; one more gives it up
    period: Seconds = 60.0  #: seconds within which restarts are counted
    backoff: Seconds = 0.25  #: seconds before the first restart; doubles with each further one
    backoff_cap: Seconds = 30.0  #: seconds a restart waits at most


class Logs(Part, frozen=True):
    """What is written to stderr and to logs in the data directory."""

    level: Literal["debug", "info", "warning", "error"] = "info"  #: least severity that is written


class Settings(Part, frozen=True, kw_only=True):
    """The whole configuration of one run."""

    profile: ProfileName = "P1"  #: size of the installation: P1 up to 200k photos, P2 up to 1M
    originals: tuple[Path, ...] = ()  #: folders with photos, only ever read
    data: Path  #: folder for everything the program keeps; default: ~/.obscura

    library: Library
    ingest: Ingest = Ingest()
    decode: Decode = field(default_factory=Decode)
    device: Device = field(default_factory=Device)
    embed: Embed = Embed()
    faces: Faces = Faces()
    captions: Captions = Captions()
    scheduler: Scheduler = Scheduler()
    model: Model = Model()
    vectors: Vectors = Vectors()
    gateway: Gateway = Gateway()
    runtime: Runtime = Runtime()
    logs: Logs = Logs()

    @property
    def database_path(self) -> Path:
        """The SQLite file behind `library.database`, for read-only connections."""
        return Path(self.library.database.removeprefix("sqlite+aiosqlite:///").replace("%25", "%"))


# Path is the only type here that msgspec does not know; as bytes, because the name of a photo
# folder need not be UTF-8.


def _bytes(path: Any) -> bytes:
    return os.fsencode(path)


def _path(_: type, value: Any) -> Path:
    return Path(os.fsdecode(value))


def encode(settings: Settings) -> bytes:
    """Settings for a child process; `decode` gives the same settings back."""
    return msgspec.msgpack.encode(settings, enc_hook=_bytes)


def decode(data: bytes) -> Settings:
    """The settings that a parent encoded.

    Raises:
        msgspec.ValidationError: *data* comes from another version of the program.
    """
    return msgspec.msgpack.decode(data, type=Settings, dec_hook=_path)
