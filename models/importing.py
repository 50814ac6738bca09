"""From a folder somebody published to a pack of ours.

    source ─► read_layout ─► what its configs say ─┐
              read_graph  ─► whole? beside what?   ├─► Manifest ─► <into>/<name>/pack.toml
              Session     ─► names, dtypes, shapes │
              one run     ─► width, length, causal ┘

Configs are believed where the graph cannot tell (mean, filter, padding) and the graph wherever it
can: one test picture and one word are run, so a graph that does not fit its config is refused here
and not by the first photo.  Vocabularies that are CLIP's own are kept as OpenAI's merges, which
give the reference's ids; all others run in the tokenizers library.

Files keep their paths, because a graph names its weights by theirs.  They are copied beside the
place where the pack will lie and renamed in one step, hashed on the way: whatever happens, there
is a whole pack or none.

A pack made here has a space of its own, even if another import of the same weights gives the same
vectors: two precisions would not, and nobody could tell them apart later.

Rejected: reading weights to learn the activation (GELU or its quick cousin).  The exporter has
baked it in, and the wrong one is wrong before it comes here.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from models import image
from models.captions.captioner import Captioner
from models.captions.trial import caption_section
from models.clip import ImageTower, TextTower
from models.configs import Eyes
from models.errors import ModelBroken, PackBroken
from models.faces.contract import detect_graph, finds_faces, recognise_graph
from models.faces.detector import FaceDetector
from models.faces.recogniser import FaceRecogniser
from models.graphfile import GraphFile, read_graph
from models.layouts import Folder, Words, read_layout
from models.memory import measured
from models.pack import (
    MANIFEST,
    Caption,
    Embed,
    Faces,
    ImageGraph,
    Manifest,
    Pack,
    Precision,
    TextGraph,
    check_file,
    load_pack,
    to_toml,
    verify,
)
from models.probing import buckets, has_length_one, layout, mib, only_input, run, vector
from models.session import Session
from models.tokenizer import Tokenizer, clip_merges, id_of
from models.tower import sample_picture, unit

#: Written by us into packs whose vocabulary is CLIP's.
MERGES = "merges.txt.gz"

#: Stands in for the checksum of a file that is not copied yet.
UNKNOWN = "0" * 64

#: Two vectors of one thing.
SAME = 0.9999

CHUNK = 1 << 20
LONGEST_NAME = 48  # a space adds nine to it, and may have 64


def import_pack(
    source: Path,
    into: Path,
    name: str | None = None,
    *,
    precision: Precision | None = None,
    licence: str = "",
    revision: str = "",
    summary: str = "",
    expected: Mapping[str, str] | None = None,
) -> Pack:
    """Make the pack `<into>/<name>` of the folder *source*, which is only read.

    Args:
        source: a pack of ours, or one of the layouts of `models.layouts`.
        into: folder of packs; made if it is missing.
        name: of the pack; by default made of the folder's.
        precision: which files to take where there are several.
        licence: by default what the folder's README.md says, else "unknown".
        revision: by default made of the files' checksums.
        summary: one line for people.
        expected: sha256 in hex, by path below *source*; compared before anything is loaded.

    Raises:
        PackBroken: a file is missing, is not the expected one, or says what is not understood; a
            pack of that name is there; or it cannot be written.
        ModelBroken: a graph or vocabulary is torn, or does not do what its config says.
        NoRuntime, TwoRuntimes: onnxruntime cannot be used.
    """
    name = name or _name(source)
    if not re.fullmatch("[a-z0-9][a-z0-9._-]*", name) or len(name) > LONGEST_NAME:
        raise PackBroken(
            source,
            f"expected a name of at most {LONGEST_NAME} small letters, digits, `.`, `_`, `-`; "
            f"found {name!r}",
        )
    for file, sha256 in (expected or {}).items():
        check_file(source / file, sha256)
    target = into / name
    _refuse_existing(target)
    try:
        with _beside(target) as partial:
            if (source / MANIFEST).exists():
                manifest = _adopt(source, partial, name)
            else:
                told = _Told(name, licence or _licence(source), revision, summary)
                manifest = _make(source, partial, told, read_layout(source, precision))
            text = f"# Imported from {_one_line(source.name)}.\n{to_toml(manifest)}"
            (partial / MANIFEST).write_text(text, encoding="utf-8")
            load_pack(partial)  # what was written can be read
            _refuse_existing(target)
            partial.rename(target)
    except OSError as error:
        place = error.filename or target
        raise PackBroken(Path(place), f"cannot be copied: {error.strerror}") from error
    return load_pack(target)


class _Told(msgspec.Struct, frozen=True):
    """What the caller says of the pack."""

    name: str
    licence: str
    revision: str
    summary: str


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A new folder that becomes *target* when it is renamed, and else is removed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(".*.partial"):  # by an import that was killed
        pid = left.name.split(".")[-2]
        if pid.isdigit() and not Path("/proc", pid).exists():
            shutil.rmtree(left, ignore_errors=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    partial.mkdir()
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _refuse_existing(target: Path) -> None:
    if os.path.lexists(target):
        raise PackBroken(target, "expected no pack of that name: remove it, or choose another name")


def _adopt(source: Path, partial: Path, name: str) -> Manifest:
    """Copy a pack of ours, under *name*."""
    pack = load_pack(source)
    verify(pack)
    if pack.embed is not None:
        ImageTower.open(pack)
        TextTower.open(pack)
    if pack.faces is not None and pack.faces.detect is not None:
        FaceDetector.open(pack)
    if pack.faces is not None and pack.faces.recognise is not None:
        FaceRecogniser.open(pack)
    if pack.caption is not None:
        Captioner.open(pack)
    for file, sha256 in pack.checksums().items():
        read_if_graph(pack.path(file))
        if _copy(source, partial, file) != sha256:
            raise PackBroken(pack.path(file), "changed while it was copied")
    told = {field: getattr(pack, field) for field in Manifest.__struct_fields__}
    return Manifest(**(told | {"name": name}))


def read_if_graph(path: Path) -> None:
    """Refuse the graph at *path* if it is torn or its weights are; other files pass.

    Raises:
        ModelBroken: as `read_graph`.
    """
    if path.suffix == ".onnx":
        read_graph(path)


def _make(source: Path, partial: Path, told: _Told, folder: Folder) -> Manifest:
    folder = _sorted_out(source, folder)
    sums: dict[str, str] = {}
    files: dict[str, str] = {}
    graphs: dict[str, GraphFile] = {}
    both = (folder.eyes.file, folder.words.file) if folder.eyes and folder.words else ()
    telling = folder.telling
    written = tuple(telling.graphs.values()) if telling else ()
    for file in (*both, *written, folder.detection, folder.recognition):
        if file:
            graphs[file] = read_graph(source / file)
    images = texts = None
    if folder.eyes and folder.words:
        images, width = _see(source, folder.eyes, graphs[folder.eyes.file])
        texts = _read(source, partial, folder.words, graphs[folder.words.file], width)
    for file, graph in graphs.items():
        sums[file] = _copy(source, partial, file)
        for beside in graph.external:
            weights = str(Path(file).parent / beside)
            files[weights] = _copy(source, partial, weights)
    embed = faces = None
    if images and texts:
        if not (partial / texts.tokenizer).exists():
            _copy(source, partial, texts.tokenizer)
        tokenizer = hashlib.sha256((partial / texts.tokenizer).read_bytes()).hexdigest()
        images = msgspec.structs.replace(images, sha256=sums[images.file])
        texts = msgspec.structs.replace(texts, sha256=sums[texts.file], tokenizer_sha256=tokenizer)
        # All of it but what was measured, which two machines do not measure alike.
        same = [msgspec.structs.replace(each, memory_mib=1) for each in (images, texts)]
        space = f"{told.name}-{_digest(repr((same, sorted(files.items()))))[:8]}"
        embed = Embed(width, space, images, texts)
    if folder.detection or folder.recognition:
        faces = _faces(source, folder, graphs, sums, told.name)
    caption = None
    if telling:
        sums[telling.tokenizer] = _copy(source, partial, telling.tokenizer)
        space = f"{told.name}-{_digest(repr((telling, sorted((sums | files).items()))))[:8]}"
        caption = caption_section(source, telling, graphs, sums, space=space)
    everything = sorted((sums | files).items())
    return Manifest(
        name=told.name,
        revision=told.revision or f"sha256-{_digest(repr(everything))[:12]}",
        licence=told.licence,
        summary=told.summary or _summary(embed, faces, caption),
        source=f"{folder.layout}: {_one_line(source.name)}",
        files=files,
        embed=embed,
        faces=faces,
        caption=caption,
    )


# ── pictures ────────────────────────────────────────────────────────────────────────────────


def _see(source: Path, eyes: Eyes, graph: GraphFile) -> tuple[ImageGraph, int]:
    """The image graph as the manifest will tell it, and the width of its vectors."""
    path = source / eyes.file
    with measured() as peak:
        session = Session.open(path)
        port = only_input(session)
        told = ImageGraph(
            file=eyes.file,
            sha256=UNKNOWN,
            precision=graph.precision,
            memory_mib=1,
            buckets=buckets(port),
            size=eyes.size,
            resize=eyes.resize,
            resample=eyes.resample,
            mean=eyes.mean,
            std=eyes.std,
            colour=eyes.colour,
            layout=layout(port),
            preprocess="1",
            input=port.name,
            output=vector(session),
            normalised=False,
        )
        ImageTower.check(session, told)
        picture = sample_picture(eyes.size)
        tensor = image.prepare([picture, picture[::-1].copy()], told, port.dtype)
        raw = run(session, port, tensor, told.output)
        session.warm_up(port.name, tensor[:1], told.output, told.buckets)
    return (
        msgspec.structs.replace(
            told,
            memory_mib=max(peak.mib, mib(path, graph)),
            normalised=has_length_one(raw),
        ),
        raw.shape[1],
    )


# ── words ───────────────────────────────────────────────────────────────────────────────────


def _read(source: Path, partial: Path, words: Words, graph: GraphFile, width: int) -> TextGraph:
    """The text graph as the manifest will tell it.  Writes the merges, if they are CLIP's."""
    path = source / words.file
    vocabulary = source / words.tokenizer
    merges = clip_merges(vocabulary)
    tokenizer = words.tokenizer
    if merges is not None:
        tokenizer = MERGES
        (partial / MERGES).write_bytes(merges)
    with measured() as peak:
        session = Session.open(path)
        port = only_input(session)
        pad = id_of(vocabulary, words.pad)
        if merges is not None and words.causal is False:
            pad = 0  # what open_clip pads with; only a causal tower forgives another
        told = TextGraph(
            file=words.file,
            sha256=UNKNOWN,
            tokenizer=tokenizer,
            tokenizer_sha256=UNKNOWN,
            kind="tokenizers" if merges is None else "clip-bpe",
            context=(port.shape[1:] or (None,))[0] or words.context,
            pad=pad,
            input=port.name,
            output=vector(session),
            normalised=False,
            causal=words.causal is not False,
            canonical=words.canonical,
            precision=graph.precision,
        )
        TextTower.check(session, told, width)
        place = partial / tokenizer if merges is not None else vocabulary
        make = Tokenizer.library if merges is None else Tokenizer.clip
        ids = make(place, context=told.context, pad=pad, canonical=told.canonical).batch(
            ["photo", "a dog on a beach"]
        )
        raw = run(session, port, ids.astype(port.dtype), told.output)
        if raw.shape[1] != width:
            raise ModelBroken(
                path, f"expected vectors of {width} numbers as the pictures', found {raw.shape[1]}"
            )
        # Another filling, outside the text only.  A tower that sees no difference is causal.
        length = len(make(place, context=told.context, pad=pad).encode("photo"))
        other = ids[:1].copy()
        other[:, length:] = 0 if pad else 1
        filled = run(session, port, other.astype(port.dtype), told.output)
        blind = float((unit(raw[:1])[0] * unit(filled)[0]).sum()) > SAME
        session.warm_up(port.name, ids[:1].astype(port.dtype), told.output, buckets(port))
    return msgspec.structs.replace(
        told,
        causal=told.causal and blind,
        memory_mib=max(peak.mib, mib(path, graph)),
        normalised=has_length_one(raw),
    )


# ── faces ───────────────────────────────────────────────────────────────────────────────────


def _sorted_out(source: Path, folder: Folder) -> Folder:
    """*folder* with each of its bare graphs in its place."""
    places: dict[str, str] = {}
    for file in folder.bare:
        read_graph(source / file)  # a torn one says so itself
        place = "detection" if finds_faces(source / file) else "recognition"
        if place in places:
            raise PackBroken(
                source, f"expected one graph for {place}, found {places[place]} and {file}"
            )
        places[place] = file
    return msgspec.structs.replace(folder, **places)


def _faces(
    source: Path,
    folder: Folder,
    graphs: Mapping[str, GraphFile],
    sums: Mapping[str, str],
    name: str,
) -> Faces:
    detect = recognise = None
    if file := folder.detection:
        detect = detect_graph(source, file, graphs[file], sums[file])
    if file := folder.recognition:
        space = f"{name}-{sums[file][:8]}"
        recognise = recognise_graph(source, file, graphs[file], sums[file], space)
    return Faces(detect, recognise)


# ── files and words ─────────────────────────────────────────────────────────────────────────


def _copy(source: Path, partial: Path, file: str) -> str:
    """Copy *file* from one folder to the other; its sha256."""
    place = partial / file
    place.parent.mkdir(parents=True, exist_ok=True)
    sha256 = hashlib.sha256()
    with (source / file).open("rb") as reader, place.open("wb") as writer:
        while chunk := reader.read(CHUNK):
            sha256.update(chunk)
            writer.write(chunk)
    return sha256.hexdigest()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _name(source: Path) -> str:
    plain = re.sub("[^a-z0-9._-]+", "-", source.resolve().name.lower()).strip("-._")
    return plain[:LONGEST_NAME].rstrip("-._") or "imported"


def _one_line(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in text)


def _licence(source: Path) -> str:
    """What the head of README.md says, as model hubs write it."""
    try:
        text = (source / "README.md").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "unknown"
    head = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
    found = re.search(r"^license:\s*(\S+)\s*$", head.group(1), re.MULTILINE) if head else None
    return found.group(1) if found else "unknown"


def _summary(embed: Embed | None, faces: Faces | None, caption: Caption | None) -> str:
    parts: list[str] = []
    if embed is not None:
        parts.append(f"pictures of {embed.image.size} px and words as {embed.dimensions} numbers")
    if faces is not None:
        each: Sequence[Any] = (faces.detect, faces.recognise)
        parts += [
            what for what, graph in zip(("finds faces", "tells faces"), each, strict=True) if graph
        ]
    if caption is not None:
        parts.append(f"tells pictures of {caption.size} px in words")
    return "; ".join(parts)
