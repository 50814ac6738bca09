"""A folder of drawn pictures that changes all the while, and what is known of every file in it.

New pictures come, alone and by the dozen, into folders that are made for them; some are written
slowly, so that somebody may look at half of one; some are put in place of others, some removed,
some copied.  A few are broken on purpose, and a few are no pictures.  Whoever changed the
folder knows what a library must hold in the end.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Final, Literal

import anyio
import anyio.to_thread
import msgspec
from blake3 import blake3

from models.sketch.captions import canonical
from models.sketch.render import choose_specs, render_picture

Fate = Literal["indexed", "skipped", "dead"]

#: different pictures to choose from; beyond, they come again with another seed
SPECS: Final = 2000
BROKEN: Final = 0.04
NO_PICTURE: Final = 0.03
COPY: Final = 0.05
#: shares of what happens: several new ones, one written slowly, one replaced, some removed
SLOW, REPLACE, REMOVE = 0.1, 0.12, 0.2
SLOW_S: Final = 0.3
BURST: Final = (2, 24)
#: large ones keep a decoder busy, so that who is killed has something in hand; drawing one takes
#: as long as decoding it, so there are few, each as often as wanted with another comment
LARGE: Final = 0.4
SCALES: Final = (4, 6, 8)
DIFFERENT: Final = 12
FOLDERS: Final = ("", "2019/summer", "2020", "Zoë", "a/b/c/d", os.fsdecode(b"caf\xe9"))
#: fewer are left alone
LEAST: Final = 40


class File(msgspec.Struct, frozen=True):
    """What is known of one file."""

    fate: Fate
    sha256: bytes
    blake3: bytes
    mtime_ns: int
    mode: int


class Drawings:
    """The folder *place*; *staging*, on the same disk, is where files are made."""

    def __init__(self, place: Path, staging: Path, seed: int) -> None:
        self.place = place
        self.files: dict[Path, File] = {}
        self._staging = staging
        self._rng = Random(f"drawings {seed}")
        self._seed = seed
        self._specs = choose_specs(SPECS, seed)
        self._drawn = 0
        self._made = 0
        self._large: list[bytes] = []
        for each in (place, staging):
            each.mkdir(parents=True, exist_ok=True)

    def query(self, rng: Random) -> str:
        """Words that fit a picture which may be there."""
        return canonical(self._specs[rng.randrange(min(max(self._drawn, 1), SPECS))])

    def add(self, number: int) -> None:
        """*number* new files, each there as a whole from one instant to the next."""
        for _ in range(number):
            fate, data, suffix = self._make()
            path = self._new(suffix)
            self._put(path, data, fate)

    async def change(self) -> None:
        """Something happens in the folder."""
        rng = self._rng
        dice = rng.random()
        if dice < REMOVE and len(self.files) > LEAST:
            for path in rng.sample(sorted(self.files), rng.randint(1, 4)):
                path.unlink()
                del self.files[path]
        elif dice < REMOVE + REPLACE and len(self.files) > LEAST:
            path = rng.choice([path for path in sorted(self.files) if path.suffix == ".jpg"])
            fate, data, _ = self._make(suffix=".jpg")
            self._put(path, data, fate)
        elif dice < REMOVE + REPLACE + SLOW:
            await self._write_slowly()
        else:
            await anyio.to_thread.run_sync(self.add, rng.randint(*BURST))

    def touched(self) -> Iterator[str]:
        """What is not as it was left."""
        for path, file in sorted(self.files.items()):
            try:
                now = _look(path, file.fate)
            except OSError as error:
                yield f"{path.name}: {error.strerror}"
                continue
            if now != file:
                yield f"{path.name} was changed"
        there = {
            Path(directory, name) for directory, _, names in os.walk(self.place) for name in names
        }
        yield from (f"{path.name} is not ours" for path in sorted(there - self.files.keys()))

    def remove(self) -> None:
        shutil.rmtree(self.place)

    async def _write_slowly(self) -> None:
        fate, data, suffix = self._make()
        path = self._new(suffix)
        with anyio.CancelScope(shield=True):  # or half a file would be left, and nobody's
            with path.open("wb") as file:
                file.write(data[: len(data) // 2])
                file.flush()
                await anyio.sleep(SLOW_S)
                file.write(data[len(data) // 2 :])
            self.files[path] = _look(path, fate)

    def _put(self, path: Path, data: bytes, fate: Fate) -> None:
        self._made += 1
        made = self._staging / str(self._made)
        made.write_bytes(data)
        made.replace(path)
        self.files[path] = _look(path, fate)

    def _new(self, suffix: str) -> Path:
        folder = self.place / self._rng.choice(FOLDERS)
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{len(self.files):05}-{self._rng.randrange(1 << 32):08x}{suffix}"

    def _make(self, suffix: str = "") -> tuple[Fate, bytes, str]:
        rng = self._rng
        dice = rng.random()
        if dice < NO_PICTURE and not suffix:
            return "skipped", b"no picture\n" * rng.randint(1, 20), ".txt"
        indexed = [path for path, file in self.files.items() if file.fate == "indexed"]
        if dice > 1 - COPY and indexed:
            return "indexed", rng.choice(sorted(indexed)).read_bytes(), ".jpg"
        data = self._picture()
        if dice < NO_PICTURE + BROKEN:
            return "dead", rng.choice([_nothing, _noise, _head, _frameless])(data, rng), ".jpg"
        return "indexed", data, ".jpg"

    def _picture(self) -> bytes:
        if self._rng.random() > LARGE:
            return self._draw(1)
        if len(self._large) < DIFFERENT:
            self._large.append(self._draw(self._rng.choice(SCALES)))
        return _commented(self._rng.choice(self._large), self._rng.randbytes(16))

    def _draw(self, scale: int) -> bytes:
        number = self._drawn
        self._drawn += 1
        picture = render_picture(self._specs[number % SPECS], self._seed, number)
        picture = picture.resize((picture.width * scale, picture.height * scale))
        out = BytesIO()
        picture.save(out, "JPEG", quality=90)
        return out.getvalue()


def _look(path: Path, fate: Fate) -> File:
    data, status = path.read_bytes(), path.stat()
    sha256 = hashlib.sha256(data).digest()
    return File(fate, sha256, blake3(data).digest(), status.st_mtime_ns, status.st_mode)


def _commented(jpeg: bytes, comment: bytes) -> bytes:
    """The same picture in other bytes."""
    segment = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
    return jpeg[:2] + segment + jpeg[2:]


# ── ways to be broken ──


def _nothing(data: bytes, rng: Random) -> bytes:
    del data, rng
    return b""


def _noise(data: bytes, rng: Random) -> bytes:
    return rng.randbytes(len(data))


def _head(data: bytes, rng: Random) -> bytes:
    return data[: rng.randint(20, 200)]


def _frameless(data: bytes, rng: Random) -> bytes:
    """What is coded is there, and not how."""
    del rng
    return data[:2] + data[data.index(b"\xff\xda") :]
