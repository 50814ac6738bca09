"""The decoder: untrusted bytes in, facts and thumbnails out.

Every library that parses a stranger's file runs here and nowhere else.  If one of them takes
the process down, the page this process shares with the supervisor says which task was in
hand, and the catalog charges that task alone.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import anyio
import anyio.to_thread

from actors.messages import (
    AnyMessage,
    Decoded,
    DecodeTask,
    DecodeTasks,
    Executing,
    Failed,
    Result,
    Skipped,
)
from actors.outbox import Outbox
from actors.photo.containers import risky
from actors.photo.errors import BadPhoto, HostAway, NoRoom, NotAPhoto, Unread
from actors.photo.original import read_original
from actors.photo.reading import decode_photo
from actors.puller import Puller
from actors.settings import DecodeSettings
from runtime import log
from runtime.actor import Actor
from runtime.errors import HostUnusable, RuntimeFault
from runtime.faults import fault
from runtime.messages import Down
from runtime.node import Line

T = TypeVar("T")

WINDOW = 16
COMMIT_S = 10.0
#: a 500-megapixel photo takes seconds; what takes this long will take for ever
PHOTO_S = 120.0
#: part of the time for draining that results may wait to be committed; the rest is for ending
DRAIN_SHARE = 0.8


class PhotoHangs(Exception):
    """A library does not come back from a photo; this process must not wait for it."""


async def in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """Run *function* in a thread that nobody waits for once its time is over."""
    return await anyio.to_thread.run_sync(function, *arguments, abandon_on_cancel=True)


class Decode(Actor):
    Settings: ClassVar[Any] = DecodeSettings
    messages: ClassVar[Any] = AnyMessage

    async def on_start(self) -> None:
        self.settings: DecodeSettings
        self._derived = Path(self.settings.derived)
        self._queue: deque[DecodeTask] = deque()
        self._changed = anyio.Event()
        self._catalog = self.ref("catalog")
        self._puller = Puller(self._catalog, "decode", WINDOW)
        self._outbox = Outbox(self._catalog, self._puller.settle)
        self._working = anyio.Lock()

    async def run(self) -> None:
        self.tasks.start_soon(self._outbox.run)
        self.tasks.start_soon(self._work)
        await self._puller.run()

    async def on_up(self, name: str) -> None:
        if name == "catalog":
            self._puller.renew()

    async def on_down(self, down: Down) -> None:
        """What was not begun goes back to the queue that the next catalog opens."""
        if down.name == "catalog":
            self._puller.settle(task.id for task in self._queue)
            self._queue.clear()

    async def on_drain(self) -> None:
        self._puller.close()
        self._queue.clear()
        with anyio.move_on_after(DRAIN_SHARE * self.drain_s):
            async with self._working:
                await self._outbox.wait_empty()

    async def handle(self, message: Any, line: Line) -> None:
        if not isinstance(message, DecodeTasks):
            raise NotImplementedError(type(message).__name__)
        if not self._puller.current(line):
            return
        new = set(self._puller.deliver(message.delivery, [task.id for task in message.tasks]))
        self._queue.extend(task for task in message.tasks if task.id in new)
        self._changed.set()

    async def _work(self) -> None:
        while True:
            while not self._queue:
                self._changed = anyio.Event()
                await self._changed.wait()
            task = self._queue.popleft()
            async with self._working:
                self.node.executing("decode", [task.id])
                fault("decode.begun")
                result = await self._decode(task)
                self.node.finished([task.id])
                self._outbox.put([result])

    async def _decode(self, task: DecodeTask) -> Result:
        """One file's outcome.  No exception of any library gets past this line."""
        try:
            with anyio.fail_after(PHOTO_S):
                original = await in_thread(read_original, task.path)
                if risky(original.name, original.data):
                    await self._catalog.ask(Executing([task.id]), COMMIT_S)
                photo = await in_thread(
                    partial(decode_photo, original, self._derived, spool=task.spool)
                )
        except TimeoutError:
            # No library can be interrupted; the page still names the task, so that dying here
            # charges it.
            raise PhotoHangs(f"no end after {PHOTO_S:g} s") from None
        except NotAPhoto as error:
            return Skipped(task.id, str(error))
        except BadPhoto as error:
            return Failed(task.id, "photo", str(error))
        except NoRoom as error:
            raise HostUnusable(f"{self._derived}: {error}; free some and start again") from error
        except HostAway as error:
            return Failed(task.id, "host", str(error))
        except (Unread, RuntimeFault) as error:
            return Failed(task.id, "busy", str(error))
        except Exception as error:
            reason = f"cannot be read: {type(error).__name__}"
            log.logger().exception("decode_failed", task=task.id)
            return Failed(task.id, "photo", reason)
        return Decoded(
            task.id, photo.digest, photo.facts, photo.thumb_256_bytes, photo.thumb_1024_bytes
        )
