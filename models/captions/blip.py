"""BLIP (Li 2022): a ViT, and a BERT that looks at it in every layer.

The encoder ends in what those layers need of the picture, their keys and values, so that it is
computed once and not in every step.  They are large, 42 MB a picture in fp32, and never leave the
device.
"""

from models.captions.contract import check_eyes, check_output
from models.captions.decoder import Decoder
from models.captions.decoding import Ids
from models.pack import Caption
from models.session import Array, Kept, Session


class Blip:
    """Graphs "encoder" and "decoder".

    Raises:
        ModelBroken: they do not fit each other; nothing is run.
    """

    def __init__(self, graphs: dict[str, Session], caption: Caption) -> None:
        self._encoder = graphs["encoder"]
        self.decoder = Decoder(graphs["decoder"], "input_ids")
        self.picture = check_eyes(self._encoder, caption)
        for name, port in self.decoder.seen.items():
            check_output(self._encoder, name, (port.dtype.name,), len(port.shape))

    @property
    def sessions(self) -> tuple[Session, ...]:
        return self._encoder, self.decoder.session

    def look(self, tensor: Array) -> dict[str, Kept]:
        return self._encoder.run_kept(
            {self.picture.name: tensor}, fetched=[], kept=[*self.decoder.seen]
        )[1]

    def words(self, ids: Ids) -> Array:
        return ids
