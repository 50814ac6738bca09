"""What the edge needs to know of the photos, and where it hears it.

`Library` is the question, `CatalogLibrary` asks the catalog's database through its read-only
half.  The database is made by the catalog, maybe after this process has started, so it is
opened at the first question and not before; until then every question is refused with
`library_away` and that is all.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import anyio
import msgspec

from actors.library.errors import LibraryError
from actors.library.reads import (
    CaptionRow,
    FaceRow,
    KnownPath,
    Looking,
    Match,
    Reader,
    Serving,
    open_reader,
)
from actors.messages import Class, Totals
from actors.web.errors import Refusal

#: photos remembered, at some hundred bytes each
REMEMBERED: Final = 8192
LARGEST_ID: Final = 2**63 - 1


class Row(msgspec.Struct, frozen=True):
    """What a result list shows of a content that at least one file has."""

    content: int
    path: bytes  #: absolute, of the first such file
    taken_at: str | None
    width: int
    height: int
    digest: bytes  #: BLAKE3 of its bytes, 32 bytes


class Photo(msgspec.Struct, frozen=True):
    """What it takes to show a content."""

    content: int
    digest: bytes  #: BLAKE3 of the bytes, 32 bytes
    format: str  #: container as sniffed: "jpeg", "png", …
    thumb_256: int  #: bytes of the thumbnail file as it was last written
    thumb_1024: int
    paths: Sequence[bytes]  #: absolute, of every file that is there


class Library(Protocol):
    """Read-only, and safe to be asked by many at the same time."""

    async def rows(self, contents: Sequence[int]) -> Mapping[int, Row]:
        """Content id → row, for those of *contents* that a file has.

        Raises:
            Refusal: library_away; so do the others.
        """

    async def photo(self, content: int) -> Photo | None:
        """What is known of *content*; None when there is no such content."""

    async def totals(self) -> Totals:
        """How every file ended."""

    async def serving(self, kind: Class = "embed") -> Serving | None:
        """The space of *kind* that answers; None where there is none yet."""

    async def file(self, path: bytes) -> KnownPath | None:
        """The file at *path*; None where the library knows of none."""

    async def looking(self) -> Looking | None:
        """How far the search for faces has come; None where no model looks for them."""

    async def face_counts(self, contents: Sequence[int]) -> Mapping[int, int]:
        """Content id → number of its faces, for those of *contents* that were looked at."""

    async def with_faces(
        self, least: int, most: int, after: tuple[int, int], limit: int
    ) -> Sequence[tuple[int, int]]:
        """Up to *limit* (faces, content) after *after*, with *least* to *most* faces."""

    async def faces(self, contents: Sequence[int]) -> Mapping[int, Sequence[FaceRow]]:
        """Content id → its faces, the surest first, for those that have any."""

    async def face_vector(self, face: int) -> tuple[str, bytes] | None:
        """(space, vector) of a face; None where there is no such face now."""

    async def captions(self, contents: Sequence[int]) -> Mapping[int, CaptionRow]:
        """Content id → what is said of it, for those of *contents* that were described."""

    async def captioned(self, question: str, limit: int) -> Sequence[Match]:
        """Up to *limit* contents whose captions have the words of *question*, best first."""

    async def close(self) -> None:
        """Let go of the database."""


class CatalogLibrary:
    """The catalog's database at *url*."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._reader: Reader | None = None
        self._opening = anyio.Lock()

    async def rows(self, contents: Sequence[int]) -> Mapping[int, Row]:
        try:
            hits = await (await self._open()).hits(contents)
        except LibraryError as error:
            raise _away(error) from error
        return {
            content: Row(content, hit.path, hit.taken_at, hit.width, hit.height, hit.digest)
            for content, hit in hits.items()
        }

    async def photo(self, content: int) -> Photo | None:
        try:
            photo = await (await self._open()).photo(content)
        except LibraryError as error:
            raise _away(error) from error
        if photo is None:
            return None
        return Photo(
            content=content,
            digest=photo.digest,
            format=photo.facts.format,
            thumb_256=photo.thumb_256,
            thumb_1024=photo.thumb_1024,
            paths=photo.paths,
        )

    async def totals(self) -> Totals:
        try:
            return await (await self._open()).totals()
        except LibraryError as error:
            raise _away(error) from error

    async def serving(self, kind: Class = "embed") -> Serving | None:
        try:
            return await (await self._open()).serving(kind)
        except LibraryError as error:
            raise _away(error) from error

    async def file(self, path: bytes) -> KnownPath | None:
        try:
            return await (await self._open()).file(path)
        except LibraryError as error:
            raise _away(error) from error

    async def looking(self) -> Looking | None:
        try:
            return await (await self._open()).looking()
        except LibraryError as error:
            raise _away(error) from error

    async def face_counts(self, contents: Sequence[int]) -> Mapping[int, int]:
        try:
            return await (await self._open()).face_counts(contents)
        except LibraryError as error:
            raise _away(error) from error

    async def with_faces(
        self, least: int, most: int, after: tuple[int, int], limit: int
    ) -> Sequence[tuple[int, int]]:
        try:
            return await (await self._open()).with_faces(least, most, after, limit)
        except LibraryError as error:
            raise _away(error) from error

    async def faces(self, contents: Sequence[int]) -> Mapping[int, Sequence[FaceRow]]:
        try:
            return await (await self._open()).faces(contents)
        except LibraryError as error:
            raise _away(error) from error

    async def face_vector(self, face: int) -> tuple[str, bytes] | None:
        try:
            return await (await self._open()).face_vector(face)
        except LibraryError as error:
            raise _away(error) from error

    async def captions(self, contents: Sequence[int]) -> Mapping[int, CaptionRow]:
        try:
            return await (await self._open()).captions(contents)
        except LibraryError as error:
            raise _away(error) from error

    async def captioned(self, question: str, limit: int) -> Sequence[Match]:
        try:
            return await (await self._open()).captioned(question, limit)
        except LibraryError as error:
            raise _away(error) from error

    async def close(self) -> None:
        if self._reader is not None:
            await self._reader.close()

    async def _open(self) -> Reader:
        async with self._opening:
            if self._reader is None:
                self._reader = await open_reader(self._url)
        return self._reader


def _away(error: LibraryError) -> Refusal:
    return Refusal("library_away", str(error))


class Photos:
    """Photos by id; the latest that were asked for are remembered."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._remembered: OrderedDict[int, Photo] = OrderedDict()

    def remembered(self, content: int) -> Photo | None:
        """What was last known of *content*; it may have changed or gone by now."""
        return self._remembered.get(content)

    async def now(self, content: int) -> Photo:
        """*content* as the database has it.

        Raises:
            Refusal: not_found or library_away.
        """
        photo = await self._library.photo(content) if content <= LARGEST_ID else None
        if photo is None or not photo.paths:
            self._remembered.pop(content, None)
            raise Refusal("not_found", f"there is no photo {content}")
        self._remembered[content] = photo
        self._remembered.move_to_end(content)
        if len(self._remembered) > REMEMBERED:
            self._remembered.popitem(last=False)
        return photo
