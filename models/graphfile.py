"""What an .onnx file says of itself before any runtime loads it.

Two questions that onnxruntime answers badly: is the file whole, and which other files does it
need?  Large graphs keep their weights beside them (`model.onnx.data`, `model.onnx_data`) under
names that stand inside the graph; a missing or short one becomes an error deep in the loader, or
none at all until those weights are read.  And in which numbers the weights are kept, no session
tells at all.

So the protobuf is walked here, by its lengths, over a memory map: the weights themselves are
skipped, and a graph of 350 MB takes some milliseconds.  Field numbers are those of onnx.proto3.
Rejected: the onnx package, which reads the whole graph into memory and is 20 MB that nobody needs
to run one.
"""

import math
import mmap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import msgspec

from models.errors import ModelBroken
from models.pack import Precision

#: TensorProto.DataType of the numbers weights come in, and bytes of one.
FLOAT, UINT8, INT8, FLOAT16, BFLOAT16 = 1, 2, 3, 10, 16

#: Wire types of protobuf.
VARINT, EIGHT_BYTES, LENGTH, FOUR_BYTES = 0, 1, 2, 5

#: How many nodes are the head: constants may stand between the two that scale.
HEAD = 8


class GraphFile(msgspec.Struct, frozen=True):
    """What is known of a whole graph without loading it."""

    external: dict[str, int]  #: files beside it that hold weights, and the bytes each must have
    elements: dict[int, int]  #: how many numbers it keeps, by TensorProto.DataType
    head: tuple[str, ...] = ()  #: operators of its first nodes, as they stand in the file

    @property
    def precision(self) -> Precision:
        """By the numbers that most weights are kept in."""
        eight = self.elements.get(INT8, 0) + self.elements.get(UINT8, 0)
        sixteen = self.elements.get(FLOAT16, 0)
        if eight > self.elements.get(FLOAT, 0) + sixteen:
            return "int8"
        return "fp16" if sixteen > self.elements.get(FLOAT, 0) else "fp32"

    @property
    def scales_itself(self) -> bool:
        """Does it begin with arithmetic that makes pixels 0–255 small, (x - mean) * scale?"""
        return "Sub" in self.head and not {"Mul", "Div"}.isdisjoint(self.head)


class _Field(NamedTuple):
    number: int
    wire: int
    value: int  #: of a varint
    start: int  #: of what has a length
    end: int


class _Torn(Exception):
    """A length leads past the end."""


def read_graph(path: Path) -> GraphFile:
    """Walk the graph at *path*, and look whether the files beside it are there and long enough.

    Raises:
        ModelBroken: it cannot be read, is torn or no ONNX graph at all, names weights outside its
            folder, or a file of weights is missing or too short.
    """
    walk = _Walk()
    try:
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            graphs = [each for each in _fields(data, 0, len(data)) if each.number == 7]
            if not any(each.wire == LENGTH for each in graphs):
                raise ModelBroken(path, "expected an ONNX graph, found none in the file")
            for each in graphs:
                walk.graph(data, each.start, each.end)
    except OSError as error:
        raise ModelBroken(path, f"expected an ONNX graph: {error.strerror}") from error
    except (_Torn, ValueError, RecursionError) as error:  # ValueError: an empty file, no number
        size = path.stat().st_size
        raise ModelBroken(
            path, f"expected a whole ONNX graph, found {size} bytes that are torn or none"
        ) from error
    _check_external(path, walk.external)
    return GraphFile(walk.external, dict(walk.elements), walk.first())


def _check_external(path: Path, external: dict[str, int]) -> None:
    for name, least in external.items():
        parts = PurePosixPath(name).parts
        if not parts or ".." in parts or PurePosixPath(name).is_absolute():
            raise ModelBroken(path, f"keeps weights in {name!r}, which is not beside it")
        file = path.parent / name
        try:
            found = file.stat().st_size
        except OSError as error:
            raise ModelBroken(
                file, f"expected the weights of {path.name}: {error.strerror}"
            ) from error
        if found < least:
            raise ModelBroken(
                file, f"expected at least {least} bytes of weights of {path.name}, found {found}"
            )


class _Walk:
    """Collects what all graphs of one file keep."""

    def __init__(self) -> None:
        self.external: dict[str, int] = {}
        self.elements: Counter[int] = Counter()
        self.head: list[bytes] = []

    def graph(self, data: mmap.mmap, start: int, end: int) -> None:
        for field in _fields(data, start, end):
            if field.number == 5 and field.wire == LENGTH:  # initializer
                self._tensor(data, field)
            elif field.number == 1 and field.wire == LENGTH:  # node
                for attribute in _fields(data, field.start, field.end):
                    if attribute.number == 5 and attribute.wire == LENGTH:
                        self._attribute(data, attribute)
                    elif (attribute.number, attribute.wire) == (4, LENGTH):  # op_type
                        self.head.append(data[attribute.start : attribute.end])

    def first(self) -> tuple[str, ...]:
        return tuple(name.decode("utf-8", "replace") for name in self.head[:HEAD])

    def _attribute(self, data: mmap.mmap, attribute: _Field) -> None:
        for field in _fields(data, attribute.start, attribute.end):
            if field.wire != LENGTH:
                continue
            if field.number in {5, 10}:  # t, tensors
                self._tensor(data, field)
            elif field.number in {6, 11}:  # g, graphs
                self.graph(data, field.start, field.end)

    def _tensor(self, data: mmap.mmap, tensor: _Field) -> None:
        dims: list[int] = []
        kind = 0
        entries: dict[bytes, bytes] = {}
        for field in _fields(data, tensor.start, tensor.end):
            if field.number == 1:
                packed = field.wire == LENGTH
                dims += _varints(data, field.start, field.end) if packed else [field.value]
            elif field.number == 2 and field.wire == VARINT:
                kind = field.value
            elif field.number == 13 and field.wire == LENGTH:
                texts = {
                    each.number: data[each.start : each.end]
                    for each in _fields(data, field.start, field.end)
                    if each.wire == LENGTH
                }
                entries[texts.get(1, b"")] = texts.get(2, b"")
        self.elements[kind] += math.prod(dims)
        if location := entries.get(b"location", b"").decode("utf-8", "surrogateescape"):
            needed = int(entries.get(b"offset") or 0) + int(entries.get(b"length") or 0)
            self.external[location] = max(needed, self.external.get(location, 0))


def _fields(data: mmap.mmap, start: int, end: int) -> Iterator[_Field]:
    """The fields of the message between *start* and *end*.

    Raises:
        _Torn: it is none, or not all there.
    """
    while start < end:
        key, start = _varint(data, start, end)
        number, wire = key >> 3, key & 7
        value, begin = 0, start
        if wire == VARINT:
            value, start = _varint(data, start, end)
        elif wire == EIGHT_BYTES:
            start += 8
        elif wire == FOUR_BYTES:
            start += 4
        elif wire == LENGTH:
            length, begin = _varint(data, start, end)
            start = begin + length
        else:
            raise _Torn
        if start > end or not number:
            raise _Torn
        yield _Field(number, wire, value, begin, start)


def _varint(data: mmap.mmap, start: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while start < end and shift < 70:
        byte = data[start]
        start += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, start
        shift += 7
    raise _Torn


def _varints(data: mmap.mmap, start: int, end: int) -> list[int]:
    values = []
    while start < end:
        value, start = _varint(data, start, end)
        values.append(value)
    return values
