r"""The `.env` file: `NAME=value` lines, shared with compose files and other programs.

There is no standard; this reads what the common readers agree on:

    NAME=plain text        # a comment, after a blank
    export NAME=value
    NAME='taken literally, may span lines'
    NAME="knows \n \r \t \" \\ \$, may span lines"
    NAME                   passes a variable through elsewhere; it sets nothing

`${OTHER}` is not expanded: the readers differ on what it sees, and a path that silently
differs from the one meant is worse than an error.  Such a value is marked, and refused by
whoever needs it; the ones meant for other programs do no harm.
"""

import re
from collections.abc import Iterator

import msgspec

_NOTHING = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)")
_NAME = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.]*)[ \t]*")
_LITERAL = re.compile(r"=[ \t]*'([^']*)'")
_QUOTED = re.compile(r'=[ \t]*"((?:[^"\\]|\\.)*)"', re.DOTALL)
_PLAIN = re.compile(r"=(?![ \t]*['\"])([^\n]*)")
_COMMENT = re.compile(r"[ \t]#.*")
_ESCAPE = re.compile(r"\\([nrt\"\\$])")
_MEANING = {"n": "\n", "r": "\r", "t": "\t"}


class Malformed(ValueError):
    """Line *line* is no assignment."""

    def __init__(self, line: int) -> None:
        super().__init__(f"line {line} is not NAME=value")


class Assignment(msgspec.Struct, frozen=True):
    """One `NAME=value`."""

    name: str
    value: str
    line: int  #: counted from 1
    expands: bool = False  #: holds a `${…}` that other readers would replace


def parse(text: str) -> Iterator[Assignment]:
    """The assignments of *text*, in order; the last of a name is the one that counts.

    Raises:
        Malformed: a line is neither blank, comment nor assignment, or a quote stays open.
    """
    text = text.replace("\r\n", "\n")
    at = 0
    while at < len(text):
        line = text.count("\n", 0, at) + 1
        if nothing := _NOTHING.match(text, at):
            at = nothing.end()
            continue
        name = _NAME.match(text, at)
        if name is None:
            raise Malformed(line)
        at = name.end()
        if literal := _LITERAL.match(text, at):
            at = literal.end()
            yield Assignment(name[1], literal[1], line)
        elif quoted := _QUOTED.match(text, at):
            at = quoted.end()
            expands = re.search(r"(?<!\\)\$\{", quoted[1]) is not None
            value = _ESCAPE.sub(lambda escape: _MEANING.get(escape[1], escape[1]), quoted[1])
            yield Assignment(name[1], value, line, expands)
        elif plain := _PLAIN.match(text, at):
            at = plain.end()
            value = _COMMENT.sub("", plain[1]).strip()
            yield Assignment(name[1], value, line, "${" in value)
        end = _NOTHING.match(text, at)
        if end is None:
            raise Malformed(line)
        at = end.end()
