"""A model pack: a folder with a `pack.toml` that says what lies in it and how to use it.

The toml is the contract between whoever made the graphs and the adapters here: files and their
sha256, licence, how a picture becomes a tensor, how words become ids, which tensor carries what.
What a graph can tell about itself — dtypes, shapes, whether its batch is fixed — is read from the
graph and not repeated; what was measured once, memory and parity, is.  A key nobody knows is an
error with its path: a misspelt `resample` would otherwise give vectors that are a little wrong for
ever.

Sections are optional; a pack offers what it has.  *space* names the vectors: two packs may be
compared only where it is equal, so a new training, another precision or another preprocessing is
a new space.

Unknown here: where packs are fetched from, and whether their licence was agreed to.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import msgspec

from models.errors import PackBroken, PackNotFound

#: Packs that come with the program; the last place to look.
BUILT_IN = Path(__file__).parent / "packs"

MANIFEST = "pack.toml"

Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Name = Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9._-]*$", max_length=64)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Precision = Literal["fp32", "fp16", "fp16-weights", "int8"]
Cosine = Annotated[float, msgspec.Meta(ge=-1, le=1)]
Share = Annotated[float, msgspec.Meta(gt=0, lt=1)]
Channels = tuple[float, float, float]
Buckets = tuple[Positive, ...]  # batch sizes a graph is run with, rising
Colour = Literal["RGB", "BGR"]
Layout = Literal["NCHW", "NHWC"]
Resample = Literal["bicubic", "bilinear", "lanczos", "hamming", "box", "nearest"]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of everything in a pack.toml."""


class ImageGraph(Section, frozen=True):
    """The graph that turns pictures into vectors, and the way from pixels to its tensor."""

    file: str
    sha256: Sha256
    precision: Precision
    memory_mib: Positive  #: measured peak at the largest bucket
    buckets: Buckets
    size: Positive  #: side of the square the graph takes, pixels
    resize: Literal["shortest", "squash"]  #: shorter side to *size* and centre crop, or both sides
    resample: Resample
    mean: Channels  #: on the scale 0–1, in the order of *colour*
    std: Channels
    colour: Colour
    layout: Layout
    preprocess: str  #: revision of the lines above, part of a task's key
    input: str
    output: str
    normalised: bool  #: whether the graph ends in an L2 norm; we normalise either way
    parity: Cosine | None = None  #: smallest to the model it was exported from, if measured

    def __post_init__(self) -> None:
        check_relative(self.file)
        _check_buckets(self.buckets)
        _check_std(self.std)


class TextGraph(Section, frozen=True):
    """The graph that turns words into vectors of the same space, and its vocabulary."""

    file: str
    sha256: Sha256
    tokenizer: str
    tokenizer_sha256: Sha256
    kind: Literal["tokenizers", "clip-bpe"]  #: a tokenizer.json, or OpenAI's merges in gzip
    context: Annotated[int, msgspec.Meta(ge=2)]  #: ids a row, start and end included
    pad: Annotated[int, msgspec.Meta(ge=0)]  #: id that fills a row up
    input: str
    output: str
    normalised: bool
    causal: bool = True  #: nothing looks past a text's end, so that *pad* makes no difference
    canonical: bool = False  #: lower-case, without punctuation, before the tokenizer (SigLIP)
    precision: Precision = "fp32"
    memory_mib: Positive | None = None  #: measured peak at the largest bucket
    parity: Cosine | None = None  #: as that of the image graph

    def __post_init__(self) -> None:
        check_relative(self.file)
        check_relative(self.tokenizer)


class Embed(Section, frozen=True):
    """Pictures and words as vectors of one space."""

    dimensions: Positive
    space: Name
    image: ImageGraph
    text: TextGraph


class DetectGraph(Section, frozen=True):
    """The graph that finds faces in one picture at a time.

    Values are (x / 255 - mean) / std, of x from 0 to 255.  A graph that wants the bare x says
    mean 0 and std 1/255, one that wants (x - 127.5) / 128 says mean 0.5 and std 128/255.
    """

    file: str
    sha256: Sha256
    kind: Literal["scrfd", "yunet", "ultralight"]  #: how its outputs are read
    precision: Precision
    size: Positive  #: side of the square, pixels; ultralight: width of a frame of 4:3
    mean: Channels  #: on the scale 0–1, in the order of *colour*
    std: Channels
    colour: Colour
    input: str
    outputs: tuple[str, ...]  #: in the graph's order
    memory_mib: Positive | None = None
    threshold: Share | None = None  #: score above which it is a face; by default its kind's
    nms: Share | None = None  #: two boxes of one face share more of their area (IoU); likewise
    sure: Share | None = None  #: faces that score less are looked at upside down as well; likewise

    def __post_init__(self) -> None:
        check_relative(self.file)
        _check_std(self.std)
        if self.kind != "ultralight" and self.size % 32:
            raise ValueError("size must be a multiple of 32, the largest cells of its grid")


class RecogniseGraph(Section, frozen=True):
    """The graph that turns an aligned face into a vector.

    mean and std as in `DetectGraph`: (x - 127.5) / 127.5 is mean 0.5 and std 0.5, and a graph that
    scales inside takes mean 0 and std 1/255.
    """

    file: str
    sha256: Sha256
    precision: Precision
    buckets: Buckets
    size: Positive  #: side of the aligned square, pixels
    mean: Channels
    std: Channels
    colour: Colour
    layout: Layout
    input: str
    output: str
    dimensions: Positive
    space: Name
    memory_mib: Positive | None = None

    def __post_init__(self) -> None:
        check_relative(self.file)
        _check_buckets(self.buckets)
        _check_std(self.std)


class Faces(Section, frozen=True):
    """Where faces are, and whose."""

    detect: DetectGraph | None = None
    recognise: RecogniseGraph | None = None


class CaptionGraph(Section, frozen=True):
    """One of the graphs that write a caption together."""

    file: str
    sha256: Sha256

    def __post_init__(self) -> None:
        check_relative(self.file)


#: The graphs of each kind of captioner, by what they do.
CAPTION_GRAPHS: dict[str, tuple[str, ...]] = {
    "blip": ("encoder", "decoder"),
    "vit-gpt2": ("encoder", "decoder"),
    "florence2": ("vision", "embed", "encoder", "decoder"),
}


class Caption(Section, frozen=True):
    """Pictures told in words, one id after the other.

    *kind* says how the graphs fit together.  blip: the encoder gives the keys and values of every
    layer's cross-attention, the decoder takes a past that may be empty.  vit-gpt2: the encoder
    gives hidden states, the decoder is a merged one.  florence2: the picture's features and the
    words of *prompt* are encoded together, the decoder is a merged one too.  Names and what else
    is taken: `models.captions.decoder`.
    """

    kind: Literal["blip", "vit-gpt2", "florence2"]
    space: Name  #: name of its captions: another training or precision is another
    precision: Precision
    graphs: dict[str, CaptionGraph]  #: see `CAPTION_GRAPHS`
    buckets: Buckets
    size: Positive  #: side of the square the graph takes, pixels
    resize: Literal["shortest", "squash"]
    resample: Resample
    mean: Channels  #: on the scale 0–1, in the order of *colour*
    std: Channels
    colour: Colour
    preprocess: str  #: revision of the lines above
    tokenizer: str
    tokenizer_sha256: Sha256
    vocabulary: Literal["tokenizers", "wordpiece"]  #: a tokenizer.json, or BERT's vocab.txt
    begin: tuple[Annotated[int, msgspec.Meta(ge=0)], ...]  #: ids before the first that is written
    stop: Annotated[int, msgspec.Meta(ge=0)]  #: id that ends a caption
    pad: Annotated[int, msgspec.Meta(ge=0)]
    longest: Positive  #: ids of a caption at most, the one that ends it included
    shortest: Annotated[int, msgspec.Meta(ge=0)] = 0  #: ids at least, before it may end
    beams: Positive = 1
    no_repeat: Annotated[int, msgspec.Meta(ge=0)] = 0  #: no run of so many ids comes twice; 0: may
    prompt: str = ""  #: what florence2 is asked, or one of its tasks: <CAPTION> …
    memory_mib: Positive | None = None  #: measured peak at the largest bucket

    def __post_init__(self) -> None:
        check_relative(self.tokenizer)
        _check_buckets(self.buckets)
        _check_std(self.std)
        if set(self.graphs) != set(CAPTION_GRAPHS[self.kind]):
            raise ValueError(f"graphs of {self.kind} are {', '.join(CAPTION_GRAPHS[self.kind])}")
        if not self.begin:
            raise ValueError("begin must have an id: the decoder needs something to go on from")
        if self.shortest >= self.longest:
            raise ValueError("shortest must leave room below longest for the id that ends it")

    @property
    def layout(self) -> Layout:
        """That of every captioner there is."""
        return "NCHW"


class Manifest(Section, frozen=True):
    """A pack.toml, word for word."""

    name: Name
    revision: str
    licence: str
    summary: str
    demo: bool = False  #: understands too little to be trusted; whoever shows its answers says so
    source: str = ""  #: where it was made from, for people
    files: dict[str, Sha256] = {}  #: further files: weights beside a graph, what later kinds need
    embed: Embed | None = None
    faces: Faces | None = None
    caption: Caption | None = None

    def __post_init__(self) -> None:
        for file in self.files:
            check_relative(file)


class Pack(Manifest, frozen=True, kw_only=True):
    """A manifest and the folder it was read from."""

    directory: Path

    def path(self, file: str) -> Path:
        return self.directory / file

    def checksums(self) -> dict[str, str]:
        """Each file the manifest names, with its sha256 in hex."""
        sums = dict(self.files)
        if self.embed is not None:
            image, text = self.embed.image, self.embed.text
            sums |= {
                image.file: image.sha256,
                text.file: text.sha256,
                text.tokenizer: text.tokenizer_sha256,
            }
        if self.faces is not None:
            graphs = (self.faces.detect, self.faces.recognise)
            sums |= {graph.file: graph.sha256 for graph in graphs if graph is not None}
        if self.caption is not None:
            sums |= {graph.file: graph.sha256 for graph in self.caption.graphs.values()}
            sums[self.caption.tokenizer] = self.caption.tokenizer_sha256
        return sums

    @property
    def kinds(self) -> tuple[str, ...]:
        """What it offers: "embed", "detect", "recognise", "caption"."""
        faces = self.faces or Faces()
        offers = {
            "embed": self.embed,
            "detect": faces.detect,
            "recognise": faces.recognise,
            "caption": self.caption,
        }
        return tuple(kind for kind, section in offers.items() if section is not None)

    def require_embed(self) -> Embed:
        """The [embed] section.

        Raises:
            PackBroken: this pack has none.
        """
        if self.embed is None:
            raise PackBroken(self.path(MANIFEST), "has no [embed] section: it cannot search")
        return self.embed

    def require_detect(self) -> DetectGraph:
        """The section [faces.detect].

        Raises:
            PackBroken: this pack has none.
        """
        if self.faces is None or self.faces.detect is None:
            raise PackBroken(
                self.path(MANIFEST), "has no [faces.detect] section: it cannot find faces"
            )
        return self.faces.detect

    def require_recognise(self) -> RecogniseGraph:
        """The section [faces.recognise].

        Raises:
            PackBroken: this pack has none.
        """
        if self.faces is None or self.faces.recognise is None:
            raise PackBroken(
                self.path(MANIFEST),
                "has no [faces.recognise] section: it cannot tell faces apart",
            )
        return self.faces.recognise

    def require_faces(self) -> tuple[DetectGraph, RecogniseGraph]:
        """Both halves of [faces].

        Raises:
            PackBroken: one is missing.
        """
        return self.require_detect(), self.require_recognise()

    def require_caption(self) -> Caption:
        """The [caption] section.

        Raises:
            PackBroken: this pack has none.
        """
        if self.caption is None:
            raise PackBroken(self.path(MANIFEST), "has no [caption] section: it cannot describe")
        return self.caption


def load_pack(directory: Path) -> Pack:
    """Read *directory*'s pack.toml.  The files it names are not touched: see `verify`.

    Raises:
        PackBroken: there is no pack.toml, or it is no toml, or a key or value is wrong.
    """
    path = directory / MANIFEST
    try:
        manifest = msgspec.toml.decode(path.read_bytes(), type=Manifest)
    except OSError as error:
        raise PackBroken(path, f"cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PackBroken(path, str(error)) from error
    return pack_of(manifest, directory)


def pack_of(manifest: Manifest, directory: Path) -> Pack:
    """*manifest* as the pack whose files lie in *directory*."""
    fields = {name: getattr(manifest, name) for name in manifest.__struct_fields__}
    return Pack(directory=directory, **fields)


def to_toml(manifest: Manifest) -> str:
    """*manifest* as `load_pack` reads it back; what has no value is left out."""
    lines = _toml("", {name: getattr(manifest, name) for name in Manifest.__struct_fields__})
    return "\n".join(lines).strip() + "\n"


def _toml(section: str, values: dict[str, object]) -> Iterator[str]:
    tables: list[tuple[str, dict[str, object]]] = []
    if section and any(not isinstance(each, msgspec.Struct) for each in values.values()):
        yield f"\n[{section}]"
    for key, value in values.items():
        if isinstance(value, msgspec.Struct):
            tables.append((f"{section}.{key}".lstrip("."), msgspec.structs.asdict(value)))
        elif isinstance(value, dict):
            tables += [(f"{section}.{key}".lstrip("."), value)] if value else []
        elif value is not None:
            name = key if re.fullmatch("[A-Za-z0-9_-]+", key) else _scalar(key)
            yield f"{name} = {_scalar(value)}"
    for name, table in tables:
        yield from _toml(name, table)


def _scalar(value: object) -> str:
    """JSON's scalars and lists are TOML's, but for one control character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def find_pack(name: str, search: list[Path]) -> Pack:
    """The pack *name* in the first folder of *search* that has a subfolder of that name.

    Raises:
        PackNotFound: no folder has one; the error lists those that are there.
        PackBroken: the folder is there and does not hold that pack.
    """
    plain = re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name)
    for folder in search if plain else ():
        directory = folder / name
        if not directory.is_dir():
            continue
        pack = load_pack(directory)
        if pack.name != name:
            raise PackBroken(
                directory / MANIFEST, f"names itself {pack.name!r}, but lies in a folder {name!r}"
            )
        return pack
    present = {toml.parent.name for folder in search for toml in folder.glob(f"[!.]*/{MANIFEST}")}
    raise PackNotFound(name, search, sorted(present))


def verify(pack: Pack) -> None:
    """Read every file of *pack* and compare its sha256 (some 400 MiB/s without SHA instructions).

    Raises:
        PackBroken: a file is missing, cannot be read, or is not the one the manifest names.
    """
    for file, expected in pack.checksums().items():
        check_file(pack.path(file), expected)


def check_file(path: Path, expected: str) -> None:
    """Read the file at *path* and compare its sha256 with *expected*, in hex.

    Raises:
        PackBroken: it is missing, cannot be read, or is another.
    """
    try:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
            size = stream.tell()
    except OSError as error:
        raise PackBroken(
            path, f"expected a file with sha256 {expected}: {error.strerror}"
        ) from error
    if found != expected:
        raise PackBroken(
            path, f"expected sha256 {expected}, found {found} in {size} bytes: fetch it again"
        )


def _check_buckets(buckets: tuple[int, ...]) -> None:
    if not buckets or list(buckets) != sorted(set(buckets)):
        raise ValueError("buckets must rise and not repeat")


def _check_std(std: Channels) -> None:
    if not all(value > 0 for value in std):
        raise ValueError("std must be above zero")


def check_relative(file: str) -> None:
    """A fetched manifest must not point at the rest of the disk."""
    parts = PurePosixPath(file).parts
    if not file or "\0" in file or ".." in parts or PurePosixPath(file).is_absolute():
        raise ValueError(f"{file!r} is not a file inside the pack")
