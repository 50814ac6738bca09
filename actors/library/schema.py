"""The tables of the catalog.

A *content* is a picture (its bytes, by BLAKE3), a *file* is a path that had these bytes when
last looked at; `files.content` links them and is empty until the file was decoded.  A content
is *live* while at least one file of it is not missing.  Nothing about a photo is ever deleted
unless its owner says so (`forgetting`): a vanished file gets `missing_since_ns` and may come back.

A *task* is work that somebody must do; it is in one of these states:

    ready ──lease──► leased ──result──► done
      ▲                │ ├─ photo's fault, 5 failures, 3 crashes ──► dead ──drop──► dropped
      └── given back ──┘ └─ its file vanished, its space retired ──► parked ──► ready

`decode` tasks belong to a file, at most one per file and always for the present
(size, mtime, ctime): when the file changes its task is deleted and a new one made, so that no
history has to be told apart.  `tasks.id` is AUTOINCREMENT for that reason: a late result for a
deleted task must never meet a newer task under the same id.  All other tasks belong to
(content, kind, space); a space stands for one revision of a model and its preprocessing.

A space of kind "embed" has one vector of each content, one of kind "face" those of all faces in
it, which may be none, one of kind "caption" an empty one beside the words in `captions`: so all
are built, followed, retired and forgotten by the same statements.  `library.faces` says how faces
are numbered and how their vectors lie in one value, `library.captions` how words are found.

The tables are made by `migrations` and not from here, so what an index leaves out is told in
SQLite's words only: to tell it in Postgres' as well loads that dialect, 40 ms, into every reader.

Times are nanoseconds of `time.time_ns`.  Paths are bytes.  Vectors are float32, little-endian.
"""

from typing import Final, Literal

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    literal_column,
)
from sqlalchemy.sql.elements import ColumnElement

#: The revision in `migrations/versions` that these tables are; revisions are numbered 0001, 0002, …
VERSION: Final = 4

State = Literal["ready", "leased", "parked", "done", "dead", "dropped"]
SpaceState = Literal["building", "active", "retired"]
FeedOp = Literal["add", "remove"]

#: `contents.format` of what `forgetting` left of a photo: its number.
FORGOTTEN: Final = "forgotten"

#: Names for constraints, because a later migration can only change what has a name.
metadata = MetaData(
    naming_convention={
        "ix": "%(table_name)s_%(column_0_N_name)s",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "pk": "%(table_name)s_pkey",
    }
)

#: SQLite's rowid has to be spelled INTEGER; elsewhere that would be 32 bits.
Id = BigInteger().with_variant(Integer(), "sqlite")


def state_is(state: State) -> ColumnElement[bool]:
    """`tasks.state = '<state>'` spelled into the SQL: only so may SQLite use a partial index."""
    return tasks.c.state == literal_column(f"'{state}'", Text())


library = Table(
    "library",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1", name="single"), primary_key=True),
    Column("uuid", Text, nullable=False),
    Column("created_ns", BigInteger, nullable=False),
    Column("paused_ns", BigInteger),  # since when no work is handed out; NULL while it is
)

roots = Table(
    "roots",
    metadata,
    Column("id", Id, primary_key=True),
    Column("path", LargeBinary, nullable=False, unique=True),
)

directories = Table(
    "directories",
    metadata,
    Column("id", Id, primary_key=True),
    Column("root", Id, ForeignKey("roots.id"), nullable=False),
    Column("path", LargeBinary, nullable=False),  # relative to the root, b"" for the root itself
    UniqueConstraint("root", "path"),
)

contents = Table(
    "contents",
    metadata,
    Column("id", Id, primary_key=True),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    # The fields of `actors.photo.facts.Facts`, under the same names.
    Column("format", Text, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("orientation", Integer, nullable=False),
    Column("taken_at", Text),
    Column("taken_offset", Integer),
    Column("make", Text),
    Column("model", Text),
    Column("latitude", Float),
    Column("longitude", Float),
    Column("altitude", Float),
    Column("damaged", Boolean, nullable=False),
    # Bytes of the thumbnail files as they were last written.
    Column("thumb_256", BigInteger, nullable=False),
    Column("thumb_1024", BigInteger, nullable=False),
    Column("added_ns", BigInteger, nullable=False),
)

files = Table(
    "files",
    metadata,
    Column("id", Id, primary_key=True),
    Column("directory", Id, ForeignKey("directories.id"), nullable=False),
    Column("name", LargeBinary, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("ctime_ns", BigInteger, nullable=False),
    Column("content", Id, ForeignKey("contents.id")),
    Column("skip_reason", Text),
    Column("missing_since_ns", BigInteger),
    UniqueConstraint("directory", "name"),
)
# Answers "is this content live, and which file is its first?" without reading the file's row.
Index(
    "files_of_content",
    files.c.content,
    files.c.missing_since_ns,
    sqlite_where=files.c.content.is_not(None),
)

spaces = Table(
    "spaces",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("pack", Text, nullable=False),
    Column("revision", Text, nullable=False),
    Column("preprocess", Text, nullable=False),
    Column("precision", Text, nullable=False),
    Column("dimensions", Integer, nullable=False),
    Column("state", Text, nullable=False),
    # Contents with a smaller id may still lack a task; NULL: none was looked at, 0: complete.
    Column("backfill_below", BigInteger),
    Column("kind", Text, nullable=False, server_default="embed"),  # or "face", "caption"
)

vectors = Table(
    "vectors",
    metadata,
    Column("content", Id, ForeignKey("contents.id"), primary_key=True, autoincrement=False),
    Column("space", Id, ForeignKey("spaces.id"), primary_key=True, autoincrement=False),
    Column("vector", LargeBinary, nullable=False),
    Column("faces", Integer),  # how many *vector* is of, in a space of faces; NULL in others
)
# Answers "which photos show so many faces?" without reading a vector.
Index(
    "vectors_faces",
    vectors.c.space,
    vectors.c.faces,
    vectors.c.content,
    sqlite_where=vectors.c.faces.is_not(None),
)

# Of which content and which of its faces: together the number by which a face is known. Lengths
# are parts of the upright picture's width and height.
faces = Table(
    "faces",
    metadata,
    Column("content", Id, ForeignKey("contents.id"), primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("space", Id, ForeignKey("spaces.id"), primary_key=True, autoincrement=False),
    Column("left", Float, nullable=False),
    Column("top", Float, nullable=False),
    Column("right", Float, nullable=False),
    Column("bottom", Float, nullable=False),
    Column("score", Float, nullable=False),
    Column("landmarks", LargeBinary, nullable=False),  # x, y of five points, float32, or nothing
    Column("size", Float, nullable=False),  # shorter side, pixels of the original
    Column("sharpness", Float, nullable=False),
    Column("yaw", Float, nullable=False),
    Column("roll", Float, nullable=False),
)

# What a model says of a picture.  A number of its own, by which the words are indexed: an
# implicit one changes when the file is compacted.
captions = Table(
    "captions",
    metadata,
    Column("id", Id, primary_key=True),
    Column("content", Id, ForeignKey("contents.id"), nullable=False),
    Column("space", Id, ForeignKey("spaces.id"), nullable=False),
    Column("text", Text, nullable=False),
    Column("score", Float, nullable=False),  # mean log-probability of its tokens
    UniqueConstraint("content", "space"),
)

tasks = Table(
    "tasks",
    metadata,
    Column("id", Id, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("file", Id, ForeignKey("files.id")),
    Column("content", Id, ForeignKey("contents.id")),
    Column("space", Id, ForeignKey("spaces.id")),
    Column("size", BigInteger),
    Column("mtime_ns", BigInteger),
    Column("ctime_ns", BigInteger),
    Column("state", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("crash_attempts", Integer, nullable=False),
    Column("suspect", Boolean, nullable=False),
    Column("lease_owner", Text),
    Column("lease_epoch", BigInteger),
    Column("executing_run", Text),  # the run of the system in which risky bytes were touched
    Column("not_before_ns", BigInteger, nullable=False),
    Column("last_error", Text),  # why the last try came to nothing, one line
    Column("exit_reason", Text),  # how the process of the last crash ended
    Column("stderr_tail", Text),  # what it said last
    Column("created_ns", BigInteger, nullable=False),
    Column("updated_ns", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)
Index(
    "tasks_of_file",
    tasks.c.file,
    unique=True,
    sqlite_where=tasks.c.file.is_not(None),
)
Index(
    "tasks_of_content",
    tasks.c.content,
    tasks.c.kind,
    tasks.c.space,
    unique=True,
    sqlite_where=tasks.c.content.is_not(None),
)
# The order of a lease: ordinary work before suspects, then priority, then age; suspects are few
# and sorted by their deaths before that, which needs no index.  Partial, so
# that it is as small as the backlog; the last three columns make it covering (SQLite looks at
# the state once more although the index holds only one).
Index(
    "tasks_ready",
    tasks.c.kind,
    tasks.c.suspect,
    tasks.c.priority.desc(),
    tasks.c.id,
    tasks.c.not_before_ns,
    tasks.c.space,
    tasks.c.state,
    sqlite_where=state_is("ready"),
)
Index(
    "tasks_executing",
    tasks.c.executing_run,
    sqlite_where=tasks.c.executing_run.is_not(None),
)
for _state in ("leased", "dead", "dropped"):
    Index(
        f"tasks_{_state}",
        tasks.c.kind,
        sqlite_where=state_is(_state),
    )

feed = Table(
    "feed",
    metadata,
    Column("seq", Id, primary_key=True),
    Column("op", Text, nullable=False),
    Column("space", Id, ForeignKey("spaces.id"), nullable=False),
    Column("content", Id, ForeignKey("contents.id"), nullable=False),
    sqlite_autoincrement=True,
)

# What `counters` counts is told in the module of that name.
counters = Table(
    "counters",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("state", Text, primary_key=True),
    Column("n", BigInteger, nullable=False),
)

# What stands here, and why not the path itself, is told in `forgetting`.
forgotten = Table(
    "forgotten",
    metadata,
    Column("place", LargeBinary(32), primary_key=True),
    Column("state", LargeBinary(32), nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("id", Id, primary_key=True),
    Column("when_ns", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
    Column("what", Text, nullable=False),
)
