"""An index on disk, complete or not there.

    <data>/index/<space>/
        manifest.json              names one snapshot directory, its files, their BLAKE3
        snapshot-<seq>-<random>/   the files of the index

A snapshot saves a rebuild, nothing else: every vector is in the catalog.  So it may be refused
at the slightest doubt, and it must never be believed when it is wrong.

Writing: a new directory is filled and forced to disk, then the manifest that names it is put in
place by one rename, then older directories are removed.  A crash at any point leaves the
previous manifest with its files, or the new one with its own; what it leaves besides is removed
by the next writer.  The rename is the commit, as in any database with a pointer to its root.

Reading: the manifest carries a hash of itself, so that a flipped bit in `applied_seq` cannot
make the index skip a part of the feed.  Every file is compared in size and hash before the
index opens it, because the libraries behind it crash on damaged ones.

Files shared with the previous snapshot by a hard link (graphs) keep their hash without being
read again.  A checksum for each block, to find damage while running, was left out: memory is
not re-read from disk.
"""

import shutil
import tempfile
from pathlib import Path
from urllib.parse import quote

import blake3
import msgspec

from actors.vectors.errors import SnapshotBroken, SnapshotMissing
from actors.vectors.files import DataFile, digest, replace, sync
from actors.vectors.protocol import VectorIndex

FORMAT = 1
MANIFEST = "manifest.json"
PREFIX = "snapshot-"


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What one snapshot holds."""

    format: int
    backend: str
    space: str
    dimensions: int
    applied_seq: int  #: the last entry of the catalog's feed that is in it
    count: int  #: vectors
    directory: str
    files: list[DataFile]
    checksum: str = ""  #: BLAKE3 of this manifest with the checksum left empty


def space_directory(root: Path, space: str) -> Path:
    """Where the snapshots of *space* live below *root*; no space can escape from it."""
    name = quote(space, safe="")
    # `quote` lets dots through, and "." or ".." would name another directory.
    return root / (name.replace(".", "%2E") if not name.strip(".") else name)


def write(home: Path, space: str, index: VectorIndex, applied_seq: int) -> Manifest:
    """Make *index* the snapshot in *home*, which `space_directory` gave.

    Raises:
        OSError: the disk is full or gone; the previous snapshot still stands.
    """
    home.mkdir(parents=True, exist_ok=True)
    known = _hashes(home)
    directory = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{applied_seq}-", dir=home))
    try:
        index.save(directory)
        files = [
            _data_file(path, path.relative_to(directory).as_posix(), known)
            for path in sorted(directory.rglob("*"))
            if path.is_file()
        ]
        manifest = _signed(
            Manifest(
                format=FORMAT,
                backend=index.backend,
                space=space,
                dimensions=index.dimensions,
                applied_seq=applied_seq,
                count=len(index),
                directory=directory.name,
                files=files,
            )
        )
        for folder in [path for path in directory.rglob("*") if path.is_dir()]:
            sync(folder)
        sync(directory)
        replace(home / MANIFEST, msgspec.json.encode(manifest))
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    for old in home.glob(f"{PREFIX}*"):
        if old.name != directory.name:
            shutil.rmtree(old, ignore_errors=True)  # tried again by the next writer
    return manifest


def read(home: Path, space: str, index: VectorIndex) -> Manifest:
    """Load the snapshot in *home* into *index*.

    Raises:
        SnapshotMissing: there is none.
        SnapshotBroken: it is damaged, or of another space, kind or size; what the index holds
            afterwards is what it held before.
    """
    manifest = read_manifest(home)
    wanted = (space, index.backend, index.dimensions)
    there = (manifest.space, manifest.backend, manifest.dimensions)
    if there != wanted:
        raise SnapshotBroken(f"{home}: a snapshot of {there}, wanted is {wanted}")
    directory = home / manifest.directory
    for file in manifest.files:
        file.check(directory)
    index.load(directory)
    return manifest


def read_manifest(home: Path) -> Manifest:
    """What the snapshot in *home* says of itself.

    Raises:
        SnapshotMissing: there is none.
        SnapshotBroken: it is damaged, or written by a newer version of the program.
    """
    path = home / MANIFEST
    try:
        data = path.read_bytes()
        manifest = msgspec.json.decode(data, type=Manifest)
    except FileNotFoundError:
        raise SnapshotMissing(f"{home}: no snapshot yet") from None
    except OSError as error:
        raise SnapshotBroken(f"{path}: {error.strerror}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SnapshotBroken(f"{path}: {error}") from error
    if manifest.format != FORMAT:
        raise SnapshotBroken(f"{path}: format {manifest.format}, this program reads {FORMAT}")
    if manifest != _signed(manifest):
        raise SnapshotBroken(f"{path}: the content is damaged")
    return manifest


def _signed(manifest: Manifest) -> Manifest:
    plain = msgspec.json.encode(msgspec.structs.replace(manifest, checksum=""))
    return msgspec.structs.replace(manifest, checksum=blake3.blake3(plain).hexdigest())


def _data_file(path: Path, name: str, known: "dict[_Identity, str]") -> DataFile:
    sync(path)
    identity = _identity(path)
    return DataFile(name, identity[2], known.get(identity) or digest(path))


_Identity = tuple[int, int, int, int]  # device, inode, bytes, mtime_ns


def _identity(path: Path) -> _Identity:
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _hashes(home: Path) -> dict[_Identity, str]:
    """The hashes of the previous snapshot's files, as far as they are what they were."""
    try:
        manifest = read_manifest(home)
        files = [(home / manifest.directory / file.name, file) for file in manifest.files]
        return {_identity(path): file.blake3 for path, file in files}
    except (SnapshotBroken, OSError):
        return {}  # nothing is known then, and everything is read
