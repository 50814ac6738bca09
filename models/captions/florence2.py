"""Florence-2 (Xiao 2023): picture and question in one row, encoded together by a BART.

The picture comes first, then the words of the question.  Which question it is makes the kind of
answer; the authors' task names stand for whole sentences here as in their processor.
"""

import numpy as np

from models.captions.contract import FLOATS, check_eyes, check_input, check_output
from models.captions.decoder import HIDDEN, Decoder
from models.captions.decoding import Ids
from models.captions.vit_gpt2 import LAST, check_hidden
from models.captions.vocabulary import Vocabulary
from models.errors import ModelBroken
from models.pack import Caption
from models.session import Array, Kept, Session

#: What the tasks are called, and what the model was trained to be asked.
TASKS = {
    "<CAPTION>": "What does the image describe?",
    "<DETAILED_CAPTION>": "Describe in detail what is shown in the image.",
    "<MORE_DETAILED_CAPTION>": "Describe with a paragraph what is shown in the image.",
}


class Florence2:
    """Graphs "vision", "embed", "encoder" and "decoder".

    Raises:
        ModelBroken: they do not fit each other; nothing is run.
    """

    def __init__(
        self, graphs: dict[str, Session], caption: Caption, vocabulary: Vocabulary
    ) -> None:
        self._vision, self._embed, self._encoder = (
            graphs[name] for name in ("vision", "embed", "encoder")
        )
        self.decoder = Decoder(graphs["decoder"], "inputs_embeds")
        self.picture = check_eyes(self._vision, caption)
        kind = self.decoder.words.dtype.name
        check_output(self._vision, "image_features", FLOATS, 3)
        check_input(self._embed, "input_ids", ("int64",), 2)
        check_output(self._embed, "inputs_embeds", (kind,), 3)
        check_input(self._encoder, "inputs_embeds", (kind,), 3)
        check_input(self._encoder, "attention_mask", ("int64",), 2)
        check_hidden(self._encoder, self.decoder)
        self._question = np.array([vocabulary.ids(TASKS.get(caption.prompt, caption.prompt))])

    @property
    def sessions(self) -> tuple[Session, ...]:
        return self._vision, self._embed, self._encoder, self.decoder.session

    def look(self, tensor: Array) -> dict[str, Kept]:
        features = self._vision.run({self.picture.name: tensor}, ["image_features"])
        picture = features["image_features"]
        question = self.words(self._question)
        if picture.ndim != 3 or picture.shape[2] != question.shape[2]:
            raise ModelBroken(
                self._vision.path,
                f"expected image_features of {question.shape[2]} columns, found "
                f"{list(picture.shape)}",
            )
        rows = np.broadcast_to(question, (len(picture), *question.shape[1:]))
        both = np.concatenate([picture.astype(question.dtype, copy=False), rows], axis=1)
        _, kept = self._encoder.run_kept(
            {"inputs_embeds": both, "attention_mask": np.ones(both.shape[:2], np.int64)},
            fetched=[],
            kept=[LAST],
        )
        return {HIDDEN: kept[LAST]}

    def words(self, ids: Ids) -> Array:
        return self._embed.run({"input_ids": ids}, ["inputs_embeds"])["inputs_embeds"]
