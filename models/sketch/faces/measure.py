"""How well faces are found, and how well they are told apart: pure figures.

Found faces come from wherever they were found — a bare model, or the whole running system — next to
what the pictures are known to show.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

from models.faces.face import Face, iou

Box = tuple[float, float, float, float]  # left, top, right, bottom

_ENOUGH: Final = 0.5  #: IoU from which a found box is the told one


class FoundFace(NamedTuple):
    box: Box
    score: float
    vector: NDArray[np.float32] | None = None  #: any length but zero; None where there is none


class ToldFace(NamedTuple):
    box: Box
    identity: int


class FaceFigures(NamedTuple):
    face_ap50: float  #: average precision at IoU 0.5, 0 … 1
    face_auc: float  #: chance that two pictures of one person are more alike than of two persons
    told: int  #: faces that are there
    matched: int  #: … and were found, with a vector
    genuine: int  #: pairs of one person
    impostor: int  #: pairs of two


def measure_faces(
    found: Sequence[Sequence[FoundFace]], told: Sequence[Sequence[ToldFace]]
) -> FaceFigures:
    """Both figures over pictures, `found` and `told` in the same order.

    The area under the ROC takes only faces that were found: what was missed counts in the first
    figure.  It is NaN where there are no two vectors of one person, or of two.
    """
    vectors: list[NDArray[np.float32]] = []
    owners: list[int] = []
    for here, there in zip(found, told, strict=True):
        for position, face in _matches(here, there):
            vector = here[position].vector
            if vector is not None:
                vectors.append(vector)
                owners.append(there[face].identity)
    genuine, impostor = _pairs(np.array(owners))
    auc = float("nan")
    if genuine and impostor:
        auc = verification_auc(np.stack(vectors), np.array(owners))
    number = sum(map(len, told))
    return FaceFigures(
        average_precision(found, [[face.box for face in faces] for faces in told]),
        auc, number, len(owners), genuine, impostor,
    )  # fmt: skip


def average_precision(
    found: Sequence[Sequence[FoundFace]], told: Sequence[Sequence[Box]], least: float = _ENOUGH
) -> float:
    """Area under precision over recall, precision made falling (Pascal VOC since 2010).

    Boxes of all pictures are taken by falling score; each takes the told box of its picture that it
    overlaps most and nobody has taken yet, and is wrong if that is less than `least`.  NaN where
    nothing was told.
    """
    number = sum(map(len, told))
    if not number:
        return float("nan")
    right = {
        (picture, position)
        for picture, (here, there) in enumerate(zip(found, told, strict=True))
        for position, _ in _matches(here, [ToldFace(box, 0) for box in there], least)
    }
    every = [(-face.score, p, i) for p, here in enumerate(found) for i, face in enumerate(here)]
    hits = np.array([(p, i) in right for _, p, i in sorted(every)], bool)
    gained = hits.cumsum()
    precision = gained / np.arange(1, len(hits) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float(precision[hits].sum() / number)


def verification_auc(vectors: NDArray[np.float32], owners: NDArray[np.integer]) -> float:
    """Area under the ROC of cosine over all pairs: genuine above impostor, ties by half.

    Args:
        vectors: [n, d], of any length but zero.
        owners: whose they are, [n], with at least one pair of one owner and one of two.
    """
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    first, second = np.triu_indices(len(unit), 1)
    scores = np.round((unit @ unit.T)[first, second], 6)
    same = owners[first] == owners[second]
    genuine, impostor = scores[same], np.sort(scores[~same])
    below = np.searchsorted(impostor, genuine, "left")
    upto = np.searchsorted(impostor, genuine, "right")
    return float((below + upto).mean() / 2 / len(impostor))


def overlap(one: Box, other: Box) -> float:
    """IoU of two boxes, 0 … 1."""
    return iou(Face(*one, score=1), Face(*other, score=1))


def _matches(
    found: Sequence[FoundFace], told: Sequence[ToldFace], least: float = _ENOUGH
) -> list[tuple[int, int]]:
    """Positions (found, told) of one picture that belong together, best score first."""
    free = set(range(len(told)))
    pairs = []
    for position in sorted(range(len(found)), key=lambda i: -found[i].score):
        near = max(free, key=lambda i: overlap(found[position].box, told[i].box), default=None)
        if near is not None and overlap(found[position].box, told[near].box) >= least:
            free.remove(near)
            pairs.append((position, near))
    return pairs


def _pairs(owners: NDArray[np.integer]) -> tuple[int, int]:
    counts = np.unique(owners, return_counts=True)[1] if len(owners) else np.zeros(0, int)
    genuine = int((counts * (counts - 1) // 2).sum())
    return genuine, len(owners) * (len(owners) - 1) // 2 - genuine
