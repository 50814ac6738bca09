"""The face worker: pictures in; boxes, landmarks and vectors of the faces in them out.

Faces are looked for when everything else is done, so this process loads its models with the first
batch, and gives their memory back when there was nothing to do for a while (`worker`).  The
libraries they need come with them: every start of the system would wait for their import.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from actors.messages import EmbedTask, Faced, Failed, FoundFace, Result
from actors.photo.spool import SIDE, faces_from
from actors.pictures import read_each
from actors.settings import FaceSettings
from actors.worker import Ready, Worker
from models.errors import PictureBroken
from models.pack import Pack

if TYPE_CHECKING:
    from actors.face_models import FaceModels, Known, Pixels

IDLE_S = 600.0


class Face(Worker["FaceModels", "list[Pixels]"]):
    Settings: ClassVar[Any] = FaceSettings
    kind = "face"
    eager = False
    idle_s = IDLE_S

    def load(self, pack: Pack) -> "FaceModels":
        from actors.face_models import FaceModels  # noqa: PLC0415

        return FaceModels.open(pack, self.settings.device, self.settings.threads)

    def read(
        self, loaded: "FaceModels", tasks: list[EmbedTask]
    ) -> "tuple[list[Result], Ready[FaceModels, list[Pixels]]]":
        """The largest picture there is of each of *tasks*."""
        import numpy as np  # noqa: PLC0415

        from models.image import open_thumbnail  # noqa: PLC0415

        derived = Path(self.settings.derived)
        failed, good, pictures = read_each(
            tasks,
            lambda task: faces_from(derived, task.digest, task.width, task.height),
            lambda path, _: np.asarray(open_thumbnail(path, SIDE)),
        )
        return failed, Ready(good, pictures, loaded)

    def compute(self, ready: "Ready[FaceModels, list[Pixels]]") -> list[Result]:
        """All faces of each picture, so that half a photo is never told."""
        looked = ready.loaded.look(ready.data)
        return [
            Failed(task.id, "photo", str(known))
            if isinstance(known, PictureBroken)
            else Faced(
                task.id,
                task.content,
                ready.loaded.space,
                [_found(task, picture, each) for each in known],
            )
            for task, picture, known in zip(ready.tasks, ready.data, looked, strict=True)
        ]


def _found(task: EmbedTask, picture: "Pixels", known: "Known") -> FoundFace:
    height, width = picture.shape[:2]
    face, quality = known.face, known.quality
    return FoundFace(
        face.left / width,
        face.top / height,
        face.right / width,
        face.bottom / height,
        face.score,
        [part for x, y in face.landmarks for part in (x / width, y / height)],
        quality.size * max(task.width, task.height) / max(width, height),
        quality.sharpness,
        quality.yaw,
        quality.roll,
        known.vector.astype("<f4", copy=False).tobytes(),
    )
