"""A photo described while somebody looks on.

The question goes to the scheduler, past everything that is queued, and what is written comes back
word by word: each `Saying` is all of it so far, so that a reader who is slow misses words but
no text.  Nothing is kept of it; the library describes the photo when its turn comes.

Whoever asks hears within `SILENCE_S` of anything that went wrong: the model may have to be loaded
first, which takes its time, and one whose process is gone never says a word.
"""

import itertools
from collections.abc import AsyncGenerator
from typing import Final

import anyio

from actors.messages import AskCaption, Saying
from actors.web.board import Board
from actors.web.errors import Refusal
from actors.web.library import LARGEST_ID, Library
from runtime.errors import Busy, PeerAway
from runtime.node import Ref

#: without a word
SILENCE_S: Final = 60.0
#: photos at once; each waits for those before it
MOST: Final = 16
#: the process that writes
WRITER: Final = "caption"
#: states in which it comes back in a while, or never
GONE: Final = frozenset({"isolated", "broken"})


class _Ask:
    """What was heard last, until somebody has read it."""

    def __init__(self) -> None:
        self.saying: Saying | None = None
        self.heard = anyio.Event()

    def hear(self, saying: Saying) -> None:
        self.saying = saying
        self.heard.set()

    async def next(self) -> Saying:
        await self.heard.wait()
        self.heard = anyio.Event()
        assert self.saying is not None
        return self.saying


class Describer:
    """Asks for captions on behalf of those who wait; one for the process."""

    def __init__(self, *, scheduler: Ref, library: Library, board: Board) -> None:
        self._scheduler = scheduler
        self._library = library
        self._board = board
        self._asks: dict[int, _Ask] = {}
        self._numbers = itertools.count(1)

    async def begin(self, content: int) -> int:
        """Ask for a caption of *content*; the number under which `sayings` tells it.

        Raises:
            Refusal: not_found, no_caption_model, busy, or somebody is away.
        """
        serving = await self._library.serving(WRITER)
        if serving is None:
            raise Refusal("no_caption_model", "no model describes photos in this library")
        rows = await self._library.rows([content]) if 0 < content <= LARGEST_ID else {}
        if content not in rows:
            raise Refusal("not_found", f"there is no photo {content}")
        if len(self._asks) >= MOST:
            raise Refusal("busy", f"{MOST} photos are being described; try again")
        await self._require_writer()
        row, number = rows[content], next(self._numbers)
        question = AskCaption(number, content, row.digest, row.width, row.height, serving.pack)
        try:
            self._scheduler.tell(question)
        except PeerAway as error:
            message = "the scheduler is not up; try again in a moment"
            raise Refusal("caption_away", message) from error
        except Busy as error:
            raise Refusal("busy", "the scheduler has too much to do; try again") from error
        self._asks[number] = _Ask()
        return number

    async def sayings(self, number: int) -> AsyncGenerator[Saying, None]:
        """What is said under *number*, until it is done; then, or when left, it is forgotten."""
        ask = self._asks[number]
        try:
            saying = Saying(number, "")
            while not saying.done:
                with anyio.move_on_after(SILENCE_S) as patience:
                    saying = await ask.next()
                if patience.cancelled_caught:
                    error = f"nothing was said within {SILENCE_S:g} s"
                    saying = Saying(number, saying.text, done=True, error=error)
                yield saying
        finally:
            self._asks.pop(number, None)

    def heard(self, saying: Saying) -> None:
        """The scheduler passed on a word; nobody may wait for it any more."""
        if saying.ask in self._asks:
            self._asks[saying.ask].hear(saying)

    def lost(self) -> None:
        """The scheduler died, and with it what it was asked."""
        for number, ask in self._asks.items():
            error = "the scheduler was started anew meanwhile; ask again"
            ask.hear(Saying(number, "", done=True, error=error))

    async def _require_writer(self) -> None:
        """A process that was set aside says nothing for long; one that starts is waited for."""
        for each in (await self._board.status()).processes:
            if each.name == WRITER and each.state in GONE:
                message = f"the caption model is not up ({each.state}); `status` tells more"
                raise Refusal("caption_away", message)
