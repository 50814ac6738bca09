"""What runs inside a child: arrange to die with the supervisor, then be an actor.

The first lines come before every heavy import, so that the time in which an orphan could
survive is the interpreter's own start.  Then come the signs of life by which `health` judges:
the handler that dumps all stacks (in C, so that it works under a kept GIL), an echo loop in C,
a ticking thread, a ticking loop.

Exit codes: 0 drained, 1 crashed, 71 out of memory, 74 nobody can work on this host, 78 cannot
work as configured, 86 wants a fresh process, 233 the supervisor is gone; `exits` has them all.
"""

import gc
import sys

from runtime.orphan import EXIT_ORPHAN, die_with, hold

if __name__ == "__main__":
    die_with(int(sys.argv[3]))
    # structlog looks for rich, to paint exceptions with; ours are lines of JSON.  Not to find it
    # saves a fifth of what a light process takes to start, and there are ten of them.
    sys.modules["rich"] = None  # type: ignore[assignment]
    # What imports make lives for ever: the collector need look at it neither now, which takes a
    # tenth of their time, nor later.
    gc.disable()

import contextlib
import faulthandler
import importlib
import os
import signal
import threading
import time
from pathlib import Path

import anyio
import msgspec

from runtime import log, rundir, wire
from runtime.actor import Actor, decode_settings
from runtime.errors import ActorUnusable, RecycleMe
from runtime.faults import fault
from runtime.messages import AnyControl, Up
from runtime.node import SUPERVISOR, Node
from runtime.page import TICK_S, Page, Stage
from runtime.priority import step_back
from runtime.process import LENGTH
from runtime.restart import EXIT_NO_MEMORY, EXIT_OK, EXIT_RECYCLE
from runtime.sockets import echo
from runtime.spec import Birth

if __name__ == "__main__":
    del sys.modules["rich"]


def _read(descriptor: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = os.read(descriptor, size - len(data))
        if not chunk:
            os._exit(EXIT_ORPHAN)
        data += chunk
    return data


def _tick(page: Page) -> None:
    while True:
        page.tick_thread(time.monotonic_ns())
        time.sleep(TICK_S)


async def _tick_loop(page: Page) -> None:
    while True:
        page.tick_loop(time.monotonic_ns())
        fault("actor.tick")  # at any time, whatever else is going on
        await anyio.sleep(TICK_S)


async def _live(actor: Actor, birth: Birth, page: Page) -> None:
    codec = wire.Codec(type(actor).messages | AnyControl)
    spec = birth.spec
    node = Node(spec.name, birth.incarnation, Path(birth.run_dir), codec, mailbox=spec.mailbox)
    node.page = page
    async with node.open(), anyio.create_task_group() as tasks:
        tasks.start_soon(_tick_loop, page)
        node.ref(SUPERVISOR)
        node.peer_up(Up(SUPERVISOR, 0))
        await actor.live(node)
        tasks.cancel_scope.cancel()


def main() -> None:
    lifeline = int(sys.argv[2])
    birth = msgspec.msgpack.decode(
        _read(lifeline, LENGTH.unpack(_read(lifeline, LENGTH.size))[0]), type=Birth
    )
    threading.Thread(target=hold, args=(lifeline,), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's to act on
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    run_dir = Path(birth.run_dir)
    page = Page(run_dir / f"{birth.spec.name}.page")
    page.stage(Stage.LOADING)  # from here on it may be asked for its stacks
    threading.Thread(target=_tick, args=(page,), daemon=True).start()
    heart = rundir.endpoint(run_dir, birth.spec.name, "hb")
    threading.Thread(target=echo, args=(heart,), daemon=True).start()
    step_back(birth.spec.nice)
    log.configure(birth.spec.name, birth.incarnation, birth.spec.log_level)
    code = EXIT_OK
    try:
        module, _, name = birth.spec.actor.partition(":")
        actor_type: type[Actor] = getattr(importlib.import_module(module), name)
        actor = actor_type(decode_settings(actor_type, birth.spec.settings))
        actor.run_id = birth.run
        gc.freeze()
        gc.enable()
        anyio.run(_live, actor, birth, page, backend=birth.spec.backend)
    except BaseException as error:  # every death has a code, and a reason on stderr
        code = _code_of(error)
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
        sys.stdout.flush()
    os._exit(code)  # native libraries' exit handlers can hang, and there is nothing left to do


def _code_of(error: BaseException) -> int:
    leaves = list(_leaves(error))
    for leaf in leaves:
        if isinstance(leaf, ActorUnusable):
            # the supervisor passes the reason on
            log.logger().critical(log.UNUSABLE, reason=" ".join(str(leaf).split()))
            return leaf.exit_code
    if leaves and all(isinstance(leaf, RecycleMe) for leaf in leaves):
        return EXIT_RECYCLE
    log.logger().critical("crashed", exc_info=error)
    return EXIT_NO_MEMORY if any(_for_want_of_memory(leaf) for leaf in leaves) else 1


def _for_want_of_memory(error: BaseException | None) -> bool:
    """Cleaning up after a `MemoryError` takes memory as well, and may fail in its own way."""
    while error is not None and not isinstance(error, MemoryError):
        error = error.__cause__ or error.__context__
    return error is not None


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in _leaves(each)]
    return [error]


if __name__ == "__main__":
    main()
