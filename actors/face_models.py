"""A face detector and a recogniser on one device: pictures in, faces with vectors out."""

import time
from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from actors.fitted import BATCH_S, BREAK_OFF, Fit, budget_s, ends_with_device, on_device
from models.errors import OutOfMemory, PictureBroken, RowsBroken
from models.faces.alignment import align
from models.faces.detector import FaceDetector
from models.faces.face import Face
from models.faces.quality import Quality, quality
from models.faces.recogniser import FaceRecogniser
from models.pack import Pack

Pixels = NDArray[np.uint8]


class Known(NamedTuple):
    """A face that can be told from others."""

    face: Face  #: in pixels of the picture
    quality: Quality
    vector: NDArray[np.float32]


class FaceModels:
    """Both halves of [faces] of a pack.

    The detector sees one picture at a time; what it finds in all pictures of a batch is
    recognised together.
    """

    def __init__(self, detector: FaceDetector, recogniser: FaceRecogniser) -> None:
        self._detector = detector
        self._recogniser = recogniser
        self._fit = Fit(min(recogniser.buckets))
        self.space = recogniser.space
        self.batch_s = BATCH_S  #: what one batch may take

    @classmethod
    def open(cls, pack: Pack, device: str, threads: int) -> Self:
        """Load and warm both; on the CPU where *device* cannot be used.

        Raises:
            ModelsError: one cannot be, or does not fit.
            runtime.errors.DeviceLost: only a new process can go on.
        """
        models = cls(
            on_device(lambda place: FaceDetector.open(pack, place, threads), device),
            on_device(lambda place: FaceRecogniser.open(pack, place, threads), device),
        )
        models._warm_up()
        return models

    def _warm_up(self) -> None:
        begin = time.monotonic()
        with ends_with_device():
            self._detector.warm_up()
        try:
            with ends_with_device():
                self._recogniser.warm_up()
        except OutOfMemory as error:
            self._fit.shrink(error)
        self.batch_s = budget_s(time.monotonic() - begin)
        self._detector.limit(BREAK_OFF * self.batch_s)
        self._recogniser.limit(BREAK_OFF * self.batch_s)

    def look(self, pictures: Sequence[Pixels]) -> list[list[Known] | PictureBroken]:
        """The faces of each picture (uint8 RGB [h, w, 3]), best first, or what is wrong with it.

        Raises:
            MemoryError, runtime.errors.DeviceLost: see `Fit.run`.
        """
        seen: list[list[Face] | PictureBroken] = [self._detect(each) for each in pictures]
        faces = [
            (number, picture, face)
            for number, (picture, found) in enumerate(zip(pictures, seen, strict=True))
            if not isinstance(found, PictureBroken)
            for face in found
        ]
        known: list[list[Known] | PictureBroken] = [
            each if isinstance(each, PictureBroken) else [] for each in seen
        ]
        if not faces:
            return known
        size = self._recogniser.size
        crops = np.stack([align(picture, face, size) for _, picture, face in faces])
        vectors, broken = self._recognise(crops)
        for row, (number, picture, face) in enumerate(faces):
            of = known[number]
            if isinstance(of, PictureBroken):
                continue
            if row in broken:
                known[number] = PictureBroken("the model gives no finite vector for a face in it")
                continue
            of.append(Known(face, quality(picture, face, crops[row]), vectors[row]))
        return known

    def _detect(self, picture: Pixels) -> list[Face] | PictureBroken:
        try:
            # One picture is the least that there is.
            return self._fit.run(lambda _: self._detector.detect(picture))
        except PictureBroken as error:
            return error

    def _recognise(self, crops: Pixels) -> tuple[NDArray[np.float32], tuple[int, ...]]:
        try:
            return self._fit.run(lambda most: self._recogniser.embed(crops, largest=most)), ()
        except RowsBroken as error:
            return error.vectors, error.rows
