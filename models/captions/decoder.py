"""The graph that says how likely each id is to come next, in all the layouts it is published in.

What is fed in a step falls into three parts:

    words     `input_ids`, or `inputs_embeds` where another graph embeds them
    seen      the same in every step: `cross.0.key` … (the picture as every layer's keys and
              values) or `encoder_hidden_states`, with or without a mask of ones
    past      `past.0.key` …, also `past_key_values.0.key` or `….0.decoder.key`: what the layers
              remember of the ids before; comes back one longer as `present.0.key` …

and what tells the graph how much past there is: `past_len` where positions are counted from it,
`use_cache_branch` where it is two graphs merged into one.  The past of a first step has length
zero.

A merged graph that keeps keys and values of the picture as well (`past_key_values.0.encoder.key`)
computes them in the branch without past.  What it names so in the other branch is not valid; that
of the first step is kept and fed ever after.

A graph without any past is taken too: then everything is read again in every step.

Nothing that lasts longer than a step leaves the device.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from models.captions.contract import FLOATS, check_input, check_output
from models.captions.decoding import Ids
from models.errors import ModelBroken
from models.session import Array, Kept, Port, Session

_PAST = re.compile(r"past(?:_key_values)?\.(\d+\.(?:(encoder|decoder)\.)?(?:key|value))")
_SEEN = re.compile(r"cross\.\d+\.(?:key|value)|encoder_hidden_states")

HIDDEN, MASK = "encoder_hidden_states", "encoder_attention_mask"
LENGTH, BRANCH = "past_len", "use_cache_branch"

#: What a step tells the graph besides, where the graph asks: dtypes and ranks.
_TOLD: Mapping[str, tuple[tuple[str, ...], int, int]] = {
    LENGTH: (("int64",), 0, 1),
    BRANCH: (("bool",), 1, 1),
    MASK: (("int64",), 2, 2),
}


class Memory(NamedTuple):
    """What a decoder knows of the sequences in a batch, a row each."""

    seen: Mapping[str, Kept]
    past: Mapping[str, Kept]
    length: int  #: ids read


class Decoder:
    """One decoder graph, which gets its words as *words*: "input_ids" or "inputs_embeds".

    Raises:
        ModelBroken: the graph is none; nothing is run.
    """

    def __init__(self, session: Session, words: str) -> None:
        self.session = session
        self._past: dict[str, str] = {}  # input: the output that becomes it
        self._once: dict[str, str] = {}  # likewise, for what only a first step computes
        self.seen: dict[str, Port] = {}
        for name, port in session.inputs.items():
            if match := _PAST.fullmatch(name):
                part = self._once if match[2] == "encoder" else self._past
                part[name] = f"present.{match[1]}"
                check_input(session, name, FLOATS, 4)
                check_output(session, part[name], (port.dtype.name,), 4)
                if None in port.shape[1::2] or not port.shape:
                    raise ModelBroken(
                        session.path, f"does not tell how many heads {name!r} has, nor how wide"
                    )
            elif _SEEN.fullmatch(name):
                self.seen[name] = check_input(session, name, FLOATS, 3 if name == HIDDEN else 4)
            elif name in _TOLD:
                check_input(session, name, *_TOLD[name])
            elif name != words:
                raise ModelBroken(session.path, f"wants {name!r}, which no captioner has")
        if words == "inputs_embeds":
            self.words = check_input(session, words, FLOATS, 3)
        else:
            self.words = check_input(session, words, ("int64", "int32"), 2)
        if not self.seen or (not self._past and self._once):
            raise ModelBroken(
                session.path,
                f"expected inputs {HIDDEN!r} or 'cross.0.key', and 'past.0.key', found "
                f"{', '.join(map(repr, session.inputs))}",
            )
        logits = check_output(session, "logits", FLOATS, 2, 3)
        self.ids = logits.shape[-1] if logits.shape else None  #: how many there are, if it says so

    @property
    def cached(self) -> bool:
        """Does it remember what it read?"""
        return bool(self._past)

    def read(self, words: Array, memory: Memory) -> tuple[Array, Memory]:
        """Read *words* [r, s] or [r, s, d] after what *memory* holds.

        The logits [r, v] of what follows the last of them, and what is remembered now.

        Raises:
            OutOfMemory, DeviceLost, RanTooLong, ModelBroken: as `Session.run`.
        """
        session, first = self.session, not memory.length
        feeds: dict[str, Array | Kept] = {
            self.words.name: np.ascontiguousarray(words, self.words.dtype),
            **memory.seen,
            **memory.past,
        }
        if first:
            for name in (*self._past, *self._once):
                port = session.inputs[name]
                heads, wide = port.shape[1] or 0, port.shape[3] or 0
                feeds[name] = np.zeros((len(words), heads, 0, wide), port.dtype)
        if LENGTH in session.inputs:
            shape = session.inputs[LENGTH].shape
            feeds[LENGTH] = np.full([1] * len(shape), memory.length, np.int64)
        if BRANCH in session.inputs:
            feeds[BRANCH] = np.array([not first])
        if MASK in session.inputs:
            feeds[MASK] = np.ones((len(words), memory.seen[HIDDEN].shape[1]), np.int64)
        once = self._once if first else {}
        fetched, kept = session.run_kept(
            feeds, fetched=["logits"], kept=[*self._past.values(), *once.values()]
        )
        logits = fetched["logits"]
        if logits.ndim == 3:
            logits = logits[:, -1]
        if logits.ndim != 2 or len(logits) != len(words):
            raise ModelBroken(
                session.path,
                f"expected logits of {len(words)} sequences, found {list(fetched['logits'].shape)}",
            )
        return logits, Memory(
            {**memory.seen, **{name: kept[output] for name, output in once.items()}},
            {name: kept[output] for name, output in self._past.items()},
            memory.length + words.shape[1],
        )

    def choose(self, memory: Memory, parents: Ids, *, seen: bool) -> Memory:
        """The rows *parents* of *memory*; what was seen too, unless it is the same in them.

        Raises:
            OutOfMemory, DeviceLost, ModelBroken: as `Session.take`.
        """
        return memory._replace(
            past=self.session.take(memory.past, parents),
            seen=self.session.take(memory.seen, parents) if seen else memory.seen,
        )
