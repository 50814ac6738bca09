"""A picture in the frame that a detector looks at, and the way back.

Resizing is Pillow's bilinear, which averages where it shrinks: without that, a face in a large
photo is noise.  A letterboxed picture lies at the upper left and the rest is black, as the
detectors were trained; a small picture is enlarged.  With a border around it, a face that fills
the picture has the surroundings that detectors expect of a face.
"""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.faces.candidates import Candidates

Pixels = NDArray[np.uint8]


class Fitted(NamedTuple):
    """*pixels* [h, w, 3], in which the picture begins at *left*, *top* and is *wide* × *high*.

    One pixel of the picture is *across* × *down* of the frame.
    """

    pixels: Pixels
    left: int
    top: int
    wide: int
    high: int
    across: float
    down: float

    def back(self, found: Candidates) -> Candidates:
        """*found*, given in pixels of the frame, in pixels of the picture."""
        return found.moved(-self.left, -self.top).scaled(1 / self.across, 1 / self.down)

    def turned(self) -> Self:
        """The same with the picture standing on its head."""
        pixels = np.zeros_like(self.pixels)
        part = np.s_[self.top : self.top + self.high, self.left : self.left + self.wide]
        pixels[part] = self.pixels[part][::-1, ::-1]
        return self._replace(pixels=pixels)


def letterbox(picture: Pixels, width: int, height: int, border: float = 0) -> Fitted:
    """*picture* in a frame of *width* × *height*, its proportions kept.

    *border* is the part of the frame that stays free on each side of the longer one.
    """
    inside = 1 - 2 * border
    scale = inside * min(width / picture.shape[1], height / picture.shape[0])
    return _fit(picture, (width, height), border, scale, scale)


def stretch(picture: Pixels, width: int, height: int, border: float = 0) -> Fitted:
    """*picture* filling a frame of *width* × *height*, but for *border*; proportions are lost."""
    inside = 1 - 2 * border
    across, down = inside * width / picture.shape[1], inside * height / picture.shape[0]
    return _fit(picture, (width, height), border, across, down)


def _fit(
    picture: Pixels, frame: tuple[int, int], border: float, across: float, down: float
) -> Fitted:
    wide = max(1, round(picture.shape[1] * across))
    high = max(1, round(picture.shape[0] * down))
    left, top = ((frame[0] - wide) // 2, (frame[1] - high) // 2) if border else (0, 0)
    pixels = np.zeros((frame[1], frame[0], 3), np.uint8)
    resized = Image.fromarray(picture).resize((wide, high), Image.Resampling.BILINEAR)
    pixels[top : top + high, left : left + wide] = np.asarray(resized)
    return Fitted(pixels, left, top, wide, high, across, down)
