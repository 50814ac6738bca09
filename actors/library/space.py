"""What makes two vectors comparable."""

import msgspec


class Space(msgspec.Struct, frozen=True):
    """One revision of a model with one revision of its preprocessing."""

    name: str  #: how everybody else calls it
    pack: str
    revision: str
    preprocess: str
    precision: str  #: of the model; vectors are float32 in any case
    dimensions: int
