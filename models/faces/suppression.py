"""Many boxes around one face become one: non-maximum suppression.

Greedy, as every detector here was trained to be read: the best box stays, and what overlaps it
too much goes.
"""

import numpy as np

from models.faces.candidates import Candidates, Floats


def suppress(found: Candidates, overlap: float, *, whole_pixels: bool = False) -> Candidates:
    """The rows of *found* that are left, best first; of two, at most *overlap* (IoU) is shared.

    With *whole_pixels* what lies behind the point is cut off corners and sides before they are
    compared, as OpenCV does.
    """
    order = np.argsort(-found.scores, kind="stable")
    boxes = found.boxes[order]
    if whole_pixels:
        corners = np.trunc(boxes[:, :2])
        boxes = np.concatenate([corners, corners + np.trunc(boxes[:, 2:] - boxes[:, :2])], axis=1)
    kept: list[int] = []
    left = np.arange(len(order))
    while left.size:
        best, left = left[0], left[1:]
        kept.append(int(order[best]))
        left = left[overlaps(boxes[best], boxes[left]) <= overlap]
    return found.chosen(kept)


def overlaps(box: Floats, boxes: Floats) -> Floats:
    """IoU of *box* [4] with each of *boxes* [n, 4]; 0 where neither has an area."""
    corner = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    shared = np.prod(np.maximum(corner, 0), axis=1)
    together = np.prod(box[2:] - box[:2]) + np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) - shared
    found: Floats = np.divide(shared, together, out=np.zeros_like(shared), where=together > 0)
    return found
