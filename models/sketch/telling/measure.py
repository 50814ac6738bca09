"""How many captions are right word for word, and what is wrong in the others: pure figures."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from models.sketch.spec import Spec
from models.sketch.telling.reading import read_back

if TYPE_CHECKING:
    from collections.abc import Sequence


class CaptionFigures(NamedTuple):
    caption_exact: float  #: share of captions equal to the canonical ones, 0 … 1; NaN of none
    number: int
    #: Column of a spec → captions that have it wrong; a caption may have several.
    wrong: dict[str, int]
    unreadable: int  #: captions that no drawing has

    def __str__(self) -> str:
        wrong = "  ".join(f"{name} {count}" for name, count in self.wrong.items())
        return f"exact {self.caption_exact:.3f} of {self.number}, wrong: {wrong or 'none'}" + (
            f", unreadable {self.unreadable}" if self.unreadable else ""
        )


def measure_captions(told: Sequence[str], canonical: Sequence[str]) -> CaptionFigures:
    """Compare captions with the canonical ones of the same pictures, in the same order.

    Raises:
        ValueError: one of *canonical* is no canonical caption, or their numbers differ.
    """
    wrong: Counter[str] = Counter()
    unreadable = exact = 0
    for text, expected in zip(told, canonical, strict=True):
        drawn, read = read_back(expected), read_back(text)
        if drawn is None:
            raise ValueError(f"not a canonical caption: {expected!r}")
        exact += text == expected
        if read is None:
            unreadable += 1
        else:
            names = zip(Spec._fields, read, drawn, strict=True)
            wrong.update(name for name, value, right in names if value != right)
    share = exact / len(told) if told else float("nan")
    return CaptionFigures(share, len(told), dict(wrong.most_common()), unreadable)
