"""What the library can be asked.  Read-only, for every process; each question is one statement.

One statement is one snapshot, so an answer never mixes two states, and no transaction stays open
across an await, where it would keep the journal from being cut.  Long answers come in pages by
key, never by offset.

Spaces go by name here, as they do on the wire.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, NamedTuple

import anyio
import msgspec
from sqlalchemy import (
    ColumnElement,
    Executable,
    ScalarSelect,
    Text,
    and_,
    bindparam,
    cast,
    column,
    distinct,
    exists,
    func,
    or_,
    select,
    table,
    text,
    tuple_,
    union_all,
)
from sqlalchemy.engine import URL, make_url

from actors.library import database
from actors.library.captions import words as words_of
from actors.library.counters import recount
from actors.library.errors import CatalogNotReady, translated
from actors.library.faces import face_id, parts_of, vector_of
from actors.library.paths import absolute
from actors.library.places import within
from actors.library.schema import (
    VERSION,
    FeedOp,
    SpaceState,
    captions,
    contents,
    counters,
    directories,
    faces,
    feed,
    files,
    library,
    roots,
    spaces,
    state_is,
    tasks,
    vectors,
)
from actors.library.space import Space
from actors.library.statements import SLICE, Record, values
from actors.messages import Class, DecodeTask, Kind, QueueStatus, Totals
from actors.photo.facts import Facts
from runtime.blame import PROOF

#: Of so many contents, the newest, one is looked for that can be decoded again.
NEWEST: Final = 20
#: Directories asked for by one statement of `Reader.known`.
DIRECTORIES: Final = 256
#: Captions that a question is compared with in earnest, of all that have its words.
RANKED: Final = 2000
KINDS: Final[tuple[Kind, ...]] = ("decode", "embed", "face", "caption")


class FeedRow(NamedTuple):
    seq: int
    op: FeedOp
    content: int
    vector: bytes | None  #: None for a remove


class KnownFile(NamedTuple):
    id: int
    name: bytes
    size: int
    mtime_ns: int
    ctime_ns: int


class KnownPath(NamedTuple):
    """A file that is there."""

    content: int | None  #: None while it is not decoded, or cannot be


class HitRow(NamedTuple):
    content: int
    path: bytes  #: of the first file that is there
    taken_at: str | None
    width: int
    height: int
    digest: bytes


class FaceRow(NamedTuple):
    """A face, and where it is: parts of the upright picture's width and height."""

    id: int
    left: float
    top: float
    right: float
    bottom: float
    score: float
    size: float  #: shorter side, pixels of the original
    sharpness: float
    yaw: float
    roll: float


class CaptionRow(NamedTuple):
    """What the model that serves says of a picture."""

    text: str
    score: float  #: mean log-probability of its tokens
    pack: str


class Match(NamedTuple):
    """A content whose caption has the words."""

    content: int
    rank: float  #: bm25 as SQLite has it, the smaller the better; short captions often share one


class Looking(NamedTuple):
    """How far a class of work has come, by the model that serves."""

    space: str
    pack: str
    dimensions: int
    looked: int  #: photos
    unlooked: int  #: photos that are still to be looked at


class DeadLetter(msgspec.Struct, frozen=True):
    task: int
    path: bytes
    kind: Kind
    reason: str
    attempts: int
    crash_attempts: int
    exit_reason: str  #: of the last crash, "" when there was none
    stderr_tail: str
    when_ns: int


class Photo(msgspec.Struct, frozen=True):
    content: int
    digest: bytes
    facts: Facts
    thumb_256: int
    thumb_1024: int
    added_ns: int
    paths: list[bytes]  #: of every file that is there, the first one first


class SpaceStatus(msgspec.Struct, frozen=True):
    id: int
    space: Space
    state: SpaceState
    complete: bool  #: every content has, or had, a task for it
    vectors: int = 0  #: photos that it can find


class Serving(NamedTuple):
    """Who answers."""

    space: str
    pack: str


class Derived(NamedTuple):
    """A live content, and how large its thumbnails have to be."""

    content: int
    digest: bytes
    thumb_256: int
    thumb_1024: int
    waiting: bool  #: a file of it is to be decoded anyway


class LibraryInfo(msgspec.Struct, frozen=True):
    uuid: str
    created_ns: int
    paused_ns: int | None  #: since when no work is handed out


_here: Final = files.c.missing_since_ns.is_(None)
_space: Final = select(spaces.c.id).where(spaces.c.name == bindparam("space")).scalar_subquery()
_serves_pictures: Final = (spaces.c.state == "active") & (spaces.c.kind == "embed")
_active: Final = select(spaces.c.id).where(_serves_pictures).scalar_subquery()


def _is_live(content: ColumnElement[Any]) -> ColumnElement[bool]:
    return exists(select(files.c.id).where(files.c.content == content, _here))


def _first_file(content: ColumnElement[Any]) -> ScalarSelect[Any]:
    return select(func.min(files.c.id)).where(files.c.content == content, _here).scalar_subquery()


_LIBRARY = select(library)
_FEED_HEAD = select(func.coalesce(func.max(feed.c.seq), 0))
_FEED_AFTER = (
    select(feed.c.seq, feed.c.op, feed.c.content, vectors.c.vector)
    .select_from(
        feed.outerjoin(
            vectors,
            and_(
                feed.c.op == "add",
                vectors.c.content == feed.c.content,
                vectors.c.space == feed.c.space,
            ),
        )
    )
    .where(feed.c.seq > bindparam("after"), feed.c.space == _space)
    .order_by(feed.c.seq)
    .limit(bindparam("n"))
)
_VECTORS_OF = (
    select(vectors.c.content, vectors.c.vector)
    .where(
        vectors.c.content > bindparam("after"),
        vectors.c.space == _space,
        _is_live(vectors.c.content),
    )
    .order_by(vectors.c.content)
    .limit(bindparam("n"))
)
_serving: Final = spaces.alias("serving")  # so that no statement about spaces takes it for its own


def _serves(kind: Class) -> ScalarSelect[int]:
    return (
        select(_serving.c.id)
        .where(_serving.c.state == "active", _serving.c.kind == kind)
        .scalar_subquery()
    )


_faces_serve: Final = _serves("face")
_captions_serve: Final = _serves("caption")
_FACES = (
    select(faces)
    .where(faces.c.content.in_(values()), faces.c.space == _faces_serve)
    .order_by(faces.c.content, faces.c.score.desc())
)
_FACE_COUNTS = select(vectors.c.content, vectors.c.faces).where(
    vectors.c.content.in_(values()), vectors.c.space == _faces_serve
)
#: in the order of the index: by number of faces, then by content
_WITH_FACES = (
    select(vectors.c.content, vectors.c.faces)
    .where(
        vectors.c.space == _faces_serve,
        vectors.c.faces.is_not(None),
        vectors.c.faces >= bindparam("least"),
        vectors.c.faces <= bindparam("most"),
        tuple_(vectors.c.faces, vectors.c.content)
        > tuple_(bindparam("after_faces"), bindparam("after")),
    )
    .order_by(vectors.c.faces, vectors.c.content)
    .limit(bindparam("n"))
)
_FACE_VECTOR = (
    select(spaces.c.name, spaces.c.dimensions, vectors.c.vector)
    .select_from(vectors.join(spaces, spaces.c.id == vectors.c.space))
    .where(
        vectors.c.content == bindparam("content"),
        vectors.c.space == _faces_serve,
        _is_live(vectors.c.content),
    )
)
_CAPTIONS = (
    select(captions.c.content, captions.c.text, captions.c.score, spaces.c.pack)
    .select_from(captions.join(spaces, spaces.c.id == captions.c.space))
    .where(captions.c.content.in_(values()), captions.c.space == _captions_serve)
)
# The smaller bm25 the better.  It is worked out for each match, and a word that every third caption
# has would take half a second among a million; so only those that were written last are ranked.
_words: Final = table("caption_words", column("rowid"), column("rank"))
_last_said: Final = (
    select(captions.c.content, _words.c.rank.label("bm25"))
    .select_from(_words.join(captions, captions.c.id == _words.c.rowid))
    .where(
        text("caption_words MATCH :words"),
        captions.c.space == _captions_serve,
        _is_live(captions.c.content),
    )
    .order_by(_words.c.rowid.desc())
    .limit(bindparam("ranked"))
    .subquery()
)
_CAPTIONED = (
    select(_last_said).order_by(_last_said.c.bm25, _last_said.c.content).limit(bindparam("n"))
)
# The index of words has a row of its own for each caption that it knows.
_known_words: Final = table("caption_words_docsize", column("id"))
_MISWORDED = select(
    select(func.count())
    .where(~exists(select(_known_words.c.id).where(_known_words.c.id == captions.c.id)))
    .select_from(captions)
    .scalar_subquery()
    .label("missing"),
    select(func.count())
    .where(~exists(select(captions.c.id).where(captions.c.id == _known_words.c.id)))
    .select_from(_known_words)
    .scalar_subquery()
    .label("strange"),
)
_LOOKED_THROUGH = select(contents.c.digest).where(
    contents.c.digest.in_(values()),
    ~exists(
        select(tasks.c.id).where(
            tasks.c.content == contents.c.id,
            tasks.c.kind == "face",
            tasks.c.state.in_(("ready", "leased")),
        )
    ),
)
_PLACE = (roots.c.path.label("root"), directories.c.path.label("directory"), files.c.name)
_HITS = (
    select(
        contents.c.id,
        contents.c.taken_at,
        contents.c.width,
        contents.c.height,
        contents.c.digest,
        *_PLACE,
    )
    .select_from(
        contents.join(files, files.c.id == _first_file(contents.c.id).correlate(contents))
        .join(directories, directories.c.id == files.c.directory)
        .join(roots, roots.c.id == directories.c.root)
    )
    .where(contents.c.id.in_(values()))
)
_DECODABLE = (
    select(files.c.id, files.c.size, files.c.mtime_ns, files.c.ctime_ns, *_PLACE)
    .select_from(
        files.join(directories, directories.c.id == files.c.directory).join(
            roots, roots.c.id == directories.c.root
        )
    )
    .where(
        files.c.content > select(func.max(contents.c.id) - NEWEST).scalar_subquery(),
        _here,
    )
    .order_by(files.c.content.desc())
    .limit(1)
)
_PHOTO = (
    select(contents, *_PLACE)
    .select_from(
        contents.outerjoin(files, and_(files.c.content == contents.c.id, _here))
        .outerjoin(directories, directories.c.id == files.c.directory)
        .outerjoin(roots, roots.c.id == directories.c.root)
    )
    .where(contents.c.id == bindparam("content"))
    .order_by(files.c.id)
)
_KNOWN = (files.c.id, files.c.name, files.c.size, files.c.mtime_ns, files.c.ctime_ns)
_KNOWN_FILES = select(*_KNOWN).where(
    files.c.directory
    == select(directories.c.id)
    .where(
        directories.c.root
        == select(roots.c.id).where(roots.c.path == bindparam("root")).scalar_subquery(),
        directories.c.path == bindparam("directory"),
    )
    .scalar_subquery(),
    _here,
)
_DIRECTORIES = (
    select(directories.c.id, directories.c.path)
    .join(roots, roots.c.id == directories.c.root)
    .where(
        roots.c.path == bindparam("root"),
        exists(select(files.c.id).where(files.c.directory == directories.c.id, _here)),
    )
    .order_by(directories.c.path)
)
_FILES_OF = select(files.c.directory, *_KNOWN).where(files.c.directory.in_(values()), _here)
_COUNTERS = select(counters.c.kind, counters.c.state, counters.c.n)


_ROOTS = select(roots.c.id, roots.c.path).order_by(roots.c.id)
_FILE = (
    select(files.c.content)
    .select_from(files.join(directories, directories.c.id == files.c.directory))
    .where(
        directories.c.root == bindparam("root"),
        directories.c.path == bindparam("directory"),
        files.c.name == bindparam("name"),
        _here,
    )
)
_BELOW = (
    select(func.count(files.c.id), func.count(distinct(files.c.content)))
    .select_from(files.join(directories, directories.c.id == files.c.directory))
    .where(directories.c.root == bindparam("root"))
)
_DERIVED = (
    select(
        contents.c.id,
        contents.c.digest,
        contents.c.thumb_256,
        contents.c.thumb_1024,
        exists(
            select(tasks.c.id)
            .select_from(files.join(tasks, tasks.c.file == files.c.id))
            .where(
                files.c.content == contents.c.id,
                _here,
                tasks.c.state.in_(("ready", "leased")),
            )
        ).label("waiting"),
    )
    .where(contents.c.id > bindparam("after"), _is_live(contents.c.id))
    .order_by(contents.c.id)
    .limit(bindparam("n"))
)


def _unlooked_by(kind: Class, active: ScalarSelect[int]) -> Executable:
    """Live contents without a value in the *active* space of *kind*, and nothing to bring it."""
    # What lies below the mark is still to be given its task.
    mark = (
        select(spaces.c.backfill_below)
        .where(spaces.c.state == "active", spaces.c.kind == kind)
        .scalar_subquery()
    )
    return (
        select(contents.c.id)
        .where(
            contents.c.id > bindparam("after"),
            contents.c.id >= mark,
            _is_live(contents.c.id),
            ~exists(
                select(vectors.c.content).where(
                    vectors.c.content == contents.c.id, vectors.c.space == active
                )
            ),
            ~exists(
                select(tasks.c.id).where(
                    tasks.c.content == contents.c.id,
                    tasks.c.kind == kind,
                    tasks.c.space == active,
                    tasks.c.state != "done",
                )
            ),
        )
        .order_by(contents.c.id)
        .limit(bindparam("n"))
    )


_UNLOOKED: Final[dict[Class, Executable]] = {
    "embed": _unlooked_by("embed", _active),
    "face": _unlooked_by("face", _faces_serve),
    "caption": _unlooked_by("caption", _captions_serve),
}
_INDEXED = _VECTORS_OF.with_only_columns(vectors.c.content)
_KNOWN_DIGESTS = select(contents.c.digest).where(contents.c.digest.in_(values()))


def _dead_letters(*, of_kind: bool) -> Executable:
    # A decode task has a file; of any other task's content the first file that is there stands
    # for it.  Without a file nobody misses it, and nobody is told.
    statement = (
        select(tasks, *_PLACE)
        .select_from(
            tasks.join(
                files,
                files.c.id
                == func.coalesce(tasks.c.file, _first_file(tasks.c.content).correlate(tasks)),
            )
            .join(directories, directories.c.id == files.c.directory)
            .join(roots, roots.c.id == directories.c.root)
        )
        .where(state_is("dead"), _here, tasks.c.id > bindparam("after"))
        .order_by(tasks.c.id)
        .limit(bindparam("n"))
    )
    return statement.where(tasks.c.kind == bindparam("kind")) if of_kind else statement


_DEAD_LETTERS = _dead_letters(of_kind=False)
_DEAD_LETTERS_OF_KIND = _dead_letters(of_kind=True)


def _counter(kind: str, state: str | ColumnElement[str]) -> ColumnElement[int]:
    one = select(counters.c.n).where(counters.c.kind == kind, counters.c.state == state)
    return func.coalesce(one.scalar_subquery(), 0)


def _contents_given_up(
    state: ColumnElement[bool], kind: Class = "embed", active: ScalarSelect[int] = _active
) -> ScalarSelect[int]:
    return (
        select(func.count())
        .where(state, tasks.c.kind == kind, tasks.c.space == active)
        .where(_is_live(tasks.c.content))
        .scalar_subquery()
    )


_SPACES = select(spaces, _counter("vector", cast(spaces.c.id, Text)).label("vectors")).order_by(
    spaces.c.id
)
_SERVING = select(spaces.c.name, spaces.c.pack).where(
    spaces.c.state == "active", spaces.c.kind == bindparam("of_kind")
)
_WAITS = (
    select(tasks.c.id)
    .where(
        tasks.c.kind == bindparam("of_kind"),
        tasks.c.space == _space,
        or_(state_is("ready"), state_is("leased")),
    )
    .limit(1)
)
_PHOTOS = select(_counter("content", "live"))


def _looked(kind: Class, serves: ScalarSelect[int]) -> Executable:
    return select(
        spaces.c.name,
        spaces.c.pack,
        spaces.c.dimensions,
        _counter("content", "live").label("photos"),
        _counter("vector", cast(spaces.c.id, Text)).label("looked"),
        (
            _contents_given_up(state_is("dead"), kind, serves)
            + _contents_given_up(state_is("dropped"), kind, serves)
        ).label("given_up"),
    ).where(spaces.c.id == serves)


_LOOKED: Final[dict[Class, Executable]] = {
    "embed": _looked("embed", _active),
    "face": _looked("face", _faces_serve),
    "caption": _looked("caption", _captions_serve),
}
_TRIMMED = select(_counter("letter", "trimmed"))
_TOTALS = select(
    _counter("file", "live").label("files"),
    _counter("file", "skipped").label("skipped_files"),
    _counter("file", "linked").label("linked"),
    _counter("content", "live").label("contents"),
    _counter("vector", cast(_active, Text)).label("indexed"),
    select(func.count())
    .select_from(tasks.join(files, files.c.id == tasks.c.file))
    .where(state_is("dead"), tasks.c.kind == "decode", _here, files.c.content.is_(None))
    .scalar_subquery()
    .label("dead_files"),
    _contents_given_up(state_is("dead")).label("dead_contents"),
    _contents_given_up(state_is("dropped")).label("dropped_contents"),
)


def _miscounted() -> Executable:
    counted = recount().subquery()
    both = union_all(_COUNTERS, select(counted.c.kind, counted.c.state, -counted.c.n)).subquery()
    difference = func.sum(both.c.n)
    return (
        select(both.c.kind, both.c.state, difference)
        .group_by(both.c.kind, both.c.state)
        .having(difference != 0)
    )


_MISCOUNTED = _miscounted()


async def open_reader(url: str) -> "Reader":
    """Open the catalog's database for reading.

    Raises:
        CatalogNotReady: the catalog has not made or upgraded it yet; come again.
        LibraryError: see `actors.library.errors`.
    """
    where = make_url(url)
    with translated(where):
        version = await database.version_at(where)
    if version < VERSION:
        raise CatalogNotReady(
            f"catalog {where.database} has schema {version}, this program reads {VERSION}; "
            "the catalog process makes and upgrades it when it starts"
        )
    return Reader(where)


class Reader:
    """All questions.  Made by `open_reader`, ended by `close`; safe for concurrent use."""

    def __init__(self, url: URL) -> None:
        self._url = url
        self._engine = database.reader_engine(url)

    async def close(self) -> None:
        with anyio.CancelScope(shield=True):
            await self._engine.dispose()

    async def _rows(self, statement: Executable, **parameters: Any) -> Sequence[Record]:
        # A cancelled statement would cost its connection; it is short, so it may as well end.
        with translated(self._url), anyio.CancelScope(shield=True):
            async with self._engine.connect() as connection:
                rows = (await connection.execute(statement, parameters)).all()
        return rows

    # ── the feed ────────────────────────────────────────────────────────────────────────────

    async def feed_head(self) -> int:
        """The number of the last feed row; 0 when there is none."""
        return int((await self._rows(_FEED_HEAD))[0][0])

    async def feed_after(self, seq: int, space: str, limit: int) -> list[FeedRow]:
        """Up to *limit* rows of *space* after *seq*, oldest first.

        The rows of other spaces are left out, so that fewer rows than *limit* mean: this was all
        up to a head that was read before.
        """
        rows = await self._rows(_FEED_AFTER, after=seq, space=space, n=limit)
        return [FeedRow._make(row) for row in rows]

    async def vectors_of(
        self, space: str, after_content: int, limit: int
    ) -> list[tuple[int, bytes]]:
        """Up to *limit* live (content, vector) with a content after *after_content*, by id.

        To build an index: read `feed_head`, page through this, replay the feed from that head.
        What changed meanwhile may be seen twice, never not at all; an add that is known and a
        remove that is not must be no-ops.
        """
        rows = await self._rows(_VECTORS_OF, after=after_content, space=space, n=limit)
        return [(row.content, row.vector) for row in rows]

    # ── what is known of the disk ───────────────────────────────────────────────────────────

    async def known_files(
        self, root: bytes, directory: bytes
    ) -> dict[bytes, tuple[int, int, int, int]]:
        """The files in one directory: name → (id, size, mtime_ns, ctime_ns).

        A missing file is not known: to the walk its return is news.
        """
        rows = await self._rows(_KNOWN_FILES, root=root, directory=directory)
        return {name: (file, size, mtime, ctime) for file, name, size, mtime, ctime in rows}

    async def known_directories(self, root: bytes) -> list[bytes]:
        """The directories below *root* with files that are there, sorted as bytes."""
        return [row.path for row in await self._rows(_DIRECTORIES, root=root)]

    async def known(self, root: bytes) -> AsyncIterator[tuple[bytes, list[KnownFile]]]:
        """All files below *root* that are there, one directory at a time, sorted as bytes.

        Each step is as of its own time; nothing is held open between two.
        """
        below = await self._rows(_DIRECTORIES, root=root)
        for start in range(0, len(below), DIRECTORIES):
            part = below[start : start + DIRECTORIES]
            rows = await self._rows(_FILES_OF, values=[row.id for row in part])
            grouped: dict[int, list[KnownFile]] = {row.id: [] for row in part}
            for row in rows:
                grouped[row.directory].append(KnownFile._make(row[1:]))
            for row in part:
                # It may have been emptied since the list of directories was read.
                if grouped[row.id]:
                    yield row.path, grouped[row.id]

    # ── photos ──────────────────────────────────────────────────────────────────────────────

    async def hits(self, wanted: Sequence[int]) -> dict[int, HitRow]:
        """What a result list shows of each content; one that has no file now is left out."""
        hits = {}
        for start in range(0, len(wanted), SLICE):
            for row in await self._rows(_HITS, values=wanted[start : start + SLICE]):
                path = absolute(row.root, row.directory, row.name)
                hits[row.id] = HitRow(row.id, path, row.taken_at, row.width, row.height, row.digest)
        return hits

    async def photo(self, content: int) -> Photo | None:
        """All that is known of one content; None when there is no such content."""
        rows = await self._rows(_PHOTO, content=content)
        if not rows:
            return None
        photo = rows[0]
        return Photo(
            content=photo.id,
            digest=photo.digest,
            facts=Facts(**{name: getattr(photo, name) for name in Facts.__struct_fields__}),
            thumb_256=photo.thumb_256,
            thumb_1024=photo.thumb_1024,
            added_ns=photo.added_ns,
            paths=[
                absolute(row.root, row.directory, row.name) for row in rows if row.name is not None
            ],
        )

    async def file(self, path: bytes) -> KnownPath | None:
        """What is known of the file at *path*, which is absolute; None where nothing is."""
        for root in await self._rows(_ROOTS):
            top = root.path.rstrip(b"/") + b"/"
            if path.startswith(top):
                directory, _, name = path[len(top) :].rpartition(b"/")
                for row in await self._rows(_FILE, root=root.id, directory=directory, name=name):
                    return KnownPath(row.content)
        return None

    # ── faces ───────────────────────────────────────────────────────────────────────────────

    async def faces(self, wanted: Sequence[int]) -> dict[int, list[FaceRow]]:
        """The faces of each content, by the model that serves, best first.

        A content that was not looked at is left out, as is one without faces.
        """
        found: dict[int, list[FaceRow]] = {}
        for start in range(0, len(wanted), SLICE):
            for row in await self._rows(_FACES, values=wanted[start : start + SLICE]):
                face = FaceRow(
                    face_id(row.content, row.number),
                    *(getattr(row, name) for name in FaceRow._fields[1:]),
                )
                found.setdefault(row.content, []).append(face)
        return found

    async def face_counts(self, wanted: Sequence[int]) -> dict[int, int]:
        """How many faces each content has, by the model that serves.

        A content that was not looked at is left out.
        """
        found: dict[int, int] = {}
        for start in range(0, len(wanted), SLICE):
            rows = await self._rows(_FACE_COUNTS, values=wanted[start : start + SLICE])
            found |= {row.content: row.faces for row in rows}
        return found

    async def with_faces(
        self, least: int, most: int, after: tuple[int, int], limit: int
    ) -> list[tuple[int, int]]:
        """Up to *limit* (faces, content) after *after*, with *least* to *most* faces.

        Contents that no file holds any more are among them.
        """
        rows = await self._rows(
            _WITH_FACES, least=least, most=most, after_faces=after[0], after=after[1], n=limit
        )
        return [(row.faces, row.content) for row in rows]

    async def looking(self, kind: Class = "face") -> Looking | None:
        """How far the work of *kind* has come; None where no model does it."""
        for row in await self._rows(_LOOKED[kind]):
            left = max(0, row.photos - row.looked - row.given_up)
            return Looking(row.name, row.pack, row.dimensions, row.looked, left)
        return None

    async def face_vector(self, face: int) -> tuple[str, bytes] | None:
        """(space, vector) of a face, None where there is no such face now."""
        content, number = parts_of(face)
        for row in await self._rows(_FACE_VECTOR, content=content):
            vector = vector_of(row.vector, number, row.dimensions)
            if vector is not None:
                return row.name, vector
        return None

    async def looked_through(self, digests: Sequence[bytes]) -> list[bytes]:
        """Those of *digests* in which nobody is about to look for faces."""
        return [row.digest for row in await self._rows(_LOOKED_THROUGH, values=digests)]

    # ── captions ────────────────────────────────────────────────────────────────────────────

    async def captions(self, wanted: Sequence[int]) -> dict[int, CaptionRow]:
        """What the model that serves says of each content; who was not described is left out."""
        found: dict[int, CaptionRow] = {}
        for start in range(0, len(wanted), SLICE):
            rows = await self._rows(_CAPTIONS, values=wanted[start : start + SLICE])
            found |= {row.content: CaptionRow(row.text, row.score, row.pack) for row in rows}
        return found

    async def captioned(self, question: str, limit: int) -> list[Match]:
        """Up to *limit* contents whose captions hold all words of *question*, the best first.

        What counts as a word is told in `library.captions`.  Where more than `RANKED` captions
        hold them, those that were written last are told: some 10 ms among a million, where all
        would take 600.
        """
        words = words_of(question)
        if not words:
            return []
        rows = await self._rows(_CAPTIONED, words=words, ranked=RANKED, n=limit)
        return [Match(row.content, row.bm25) for row in rows]

    # ── how it stands ───────────────────────────────────────────────────────────────────────

    async def info(self) -> LibraryInfo:
        """What tells this library from every other one."""
        (row,) = await self._rows(_LIBRARY)
        return LibraryInfo(row.uuid, row.created_ns, row.paused_ns)

    async def spaces(self) -> list[SpaceStatus]:
        """Every space, in the order in which they came."""
        return [
            SpaceStatus(
                id=row.id,
                space=Space(**{name: getattr(row, name) for name in Space.__struct_fields__}),
                state=row.state,
                complete=row.backfill_below == 0,
                vectors=row.vectors,
            )
            for row in await self._rows(_SPACES)
        ]

    async def serving(self, kind: Class = "embed") -> Serving | None:
        """The active space of *kind*; None where there is none yet."""
        for row in await self._rows(_SERVING, of_kind=kind):
            return Serving(row.name, row.pack)
        return None

    async def waits(self, space: Space) -> bool:
        """Is there still something to be looked at for *space*?"""
        return bool(await self._rows(_WAITS, space=space.name, of_kind=space.kind))

    async def photos(self) -> int:
        """How many different pictures there are."""
        return int((await self._rows(_PHOTOS))[0][0])

    async def queues(self) -> list[QueueStatus]:
        """The counters of every kind of task."""
        n = {(row.kind, row.state): row.n for row in await self._rows(_COUNTERS)}
        return [
            QueueStatus(
                kind=kind,
                ready=n.get((kind, "ready"), 0),
                leased=n.get((kind, "leased"), 0),
                done=n.get((kind, "done"), 0),
                dead=n.get((kind, "dead"), 0),
            )
            for kind in KINDS
        ]

    async def totals(self) -> Totals:
        """How every file that is there ended; the parts add up to the whole.

        Of the files of one content the first stands for it and the others are duplicates.
        """
        (row,) = await self._rows(_TOTALS)
        ended = {
            "indexed": row.indexed,
            "skipped": row.skipped_files + row.dropped_contents,
            "dead": row.dead_files + row.dead_contents,
            "duplicates": row.linked - row.contents,
        }
        return Totals(files=row.files, pending=row.files - sum(ended.values()), **ended)

    async def proof(self) -> DecodeTask | None:
        """Work that a decoder has done before, to see whether it can work; see `runtime.blame`."""
        for row in await self._rows(_DECODABLE):
            path = absolute(row.root, row.directory, row.name)
            return DecodeTask(PROOF, row.id, path, row.size, row.mtime_ns, row.ctime_ns)
        return None

    async def dead_letters(
        self, kind: Kind | None = None, *, after: int = 0, limit: int = 1000
    ) -> list[DeadLetter]:
        """Up to *limit* tasks that were given up, with an id after *after*, by id."""
        page = {"after": after, "n": limit}
        if kind is None:
            rows = await self._rows(_DEAD_LETTERS, **page)
        else:
            rows = await self._rows(_DEAD_LETTERS_OF_KIND, kind=kind, **page)
        return [
            DeadLetter(
                task=row.id,
                path=absolute(row.root, row.directory, row.name),
                kind=row.kind,
                reason=row.last_error or "",
                attempts=row.attempts,
                crash_attempts=row.crash_attempts,
                exit_reason=row.exit_reason or "",
                stderr_tail=row.stderr_tail or "",
                when_ns=row.updated_ns,
            )
            for row in rows
        ]

    async def trimmed(self) -> int:
        """How often a dead letter had to give up its details, because there are too many."""
        return int((await self._rows(_TRIMMED))[0][0])

    # ── whether all of it agrees; slow, because everything is looked at ─────────────────────

    async def integrity(self, *, deep: bool = False) -> list[str]:
        """What is wrong with the database file itself; with *deep* its indexes are compared too."""
        if self._engine.dialect.name != "sqlite":
            return []
        check = "integrity_check" if deep else "quick_check"
        found = [row[0] for row in await self._rows(text(f"PRAGMA {check}(20)"))]
        broken = await self._rows(text("PRAGMA foreign_key_check"))
        found += [f"table {row[0]}: row {row[1]} points nowhere in {row[2]}" for row in broken[:20]]
        return [each for each in found if each != "ok"]

    async def misworded(self) -> str:
        """How the index of the words of captions differs from the captions; "" where it does not.

        Slow.  Compared is which captions it knows, not which words: only the write half can make
        SQLite do that.
        """
        if self._engine.dialect.name != "sqlite":
            return ""
        ((missing, strange),) = await self._rows(_MISWORDED)
        if not (missing or strange):
            return ""
        return f"it lacks {missing} captions and has {strange} that are none"

    async def derived(self, after: int, limit: int) -> list[Derived]:
        """Up to *limit* live contents with an id after *after*, by id."""
        rows = await self._rows(_DERIVED, after=after, n=limit)
        return [Derived._make(row) for row in rows]

    async def unembedded(self, after: int, limit: int, kind: Class = "embed") -> list[int]:
        """Live contents after *after* that the active space lacks, with nothing to bring them."""
        return [row.id for row in await self._rows(_UNLOOKED[kind], after=after, n=limit)]

    async def indexed(self, space: str, after: int, limit: int) -> list[int]:
        """Up to *limit* live contents with a vector in *space* and an id after *after*, by id."""
        return [
            row.content for row in await self._rows(_INDEXED, after=after, space=space, n=limit)
        ]

    async def known_digests(self, digests: Sequence[bytes]) -> set[bytes]:
        """Those of *digests* that the library knows a photo by."""
        known: set[bytes] = set()
        for start in range(0, len(digests), SLICE):
            rows = await self._rows(_KNOWN_DIGESTS, values=digests[start : start + SLICE])
            known |= {row.digest for row in rows}
        return known

    async def below(self, path: bytes) -> tuple[int, int]:
        """How many files, the missing ones too, lie at or below *path*; how many photos they are.

        A photo that two roots hold counts twice.
        """
        counts = [0, 0]
        for root in await self._rows(_ROOTS):
            where = within(path, root.path)
            if where is not None:
                ((n, photos),) = await self._rows(_BELOW.where(where), root=root.id)
                counts = [counts[0] + n, counts[1] + photos]
        return counts[0], counts[1]

    async def miscounted(self) -> list[tuple[str, str, int]]:
        """Counters that are wrong: (kind, state, by how much).  Slow, because it counts."""
        return [(kind, state, int(n)) for kind, state, n in await self._rows(_MISCOUNTED)]
