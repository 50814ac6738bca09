"""What makes two vectors comparable, or two captions of one hand."""

from typing import Literal

import msgspec


class Space(msgspec.Struct, frozen=True):
    """One revision of a model with one revision of its preprocessing."""

    name: str  #: how everybody else calls it
    pack: str
    revision: str
    preprocess: str
    precision: str  #: of the model; vectors are float32 in any case
    dimensions: int  #: 0 of captions, which have no vectors
    #: vectors of whole pictures, or of the faces in them, or captions
    kind: Literal["embed", "face", "caption"] = "embed"
