"""What each kind of captioner has to bring: eyes, and a decoder to read with."""

from collections.abc import Sequence
from typing import Protocol

from models.captions.decoder import Decoder
from models.captions.decoding import Ids
from models.session import Array, Kept, Port, Session


class Teller(Protocol):
    """The graphs of one kind, checked and not yet run."""

    picture: Port  #: where pictures go in
    decoder: Decoder

    @property
    def sessions(self) -> Sequence[Session]: ...

    def look(self, tensor: Array) -> dict[str, Kept]:
        """What the decoder has to see of the pictures [n, 3, s, s], by the names of its inputs.

        Raises:
            OutOfMemory, DeviceLost, RanTooLong, ModelBroken: as `Session.run`.
        """

    def words(self, ids: Ids) -> Array:
        """*ids* [r, s] as the decoder reads them.

        Raises:
            OutOfMemory, DeviceLost, RanTooLong, ModelBroken: as `Session.run`.
        """
