"""A ViT and a GPT-2 that looks at its last layer, as optimum exports them.

The decoder computes keys and values of the picture anew in every step; that is how it is published.
"""

from models.captions.contract import check_eyes, check_output
from models.captions.decoder import HIDDEN, Decoder
from models.captions.decoding import Ids
from models.errors import ModelBroken
from models.pack import Caption
from models.session import Array, Kept, Session

#: What encoders call their last layer.
LAST = "last_hidden_state"


class VitGpt2:
    """Graphs "encoder" and "decoder".

    Raises:
        ModelBroken: they do not fit each other; nothing is run.
    """

    def __init__(self, graphs: dict[str, Session], caption: Caption) -> None:
        self._encoder = graphs["encoder"]
        self.decoder = Decoder(graphs["decoder"], "input_ids")
        self.picture = check_eyes(self._encoder, caption)
        check_hidden(self._encoder, self.decoder)

    @property
    def sessions(self) -> tuple[Session, ...]:
        return self._encoder, self.decoder.session

    def look(self, tensor: Array) -> dict[str, Kept]:
        _, kept = self._encoder.run_kept({self.picture.name: tensor}, fetched=[], kept=[LAST])
        return {HIDDEN: kept[LAST]}

    def words(self, ids: Ids) -> Array:
        return ids


def check_hidden(encoder: Session, decoder: Decoder) -> None:
    """Refuse an encoder whose last layer *decoder* does not take.

    Raises:
        ModelBroken: it does not.
    """
    if set(decoder.seen) != {HIDDEN}:
        wanted = ", ".join(map(repr, decoder.seen))
        raise ModelBroken(decoder.session.path, f"expected it to see {HIDDEN!r}, found {wanted}")
    check_output(encoder, LAST, (decoder.seen[HIDDEN].dtype.name,), 3)
