"""What runs inside a child: arrange to die with the supervisor, then be an actor.

The first lines come before every heavy import, so that the time in which an orphan could
survive is the interpreter's own start.  Exit codes: 0 drained, 1 crashed, 78 cannot work as
configured, 86 wants a fresh process, 233 the supervisor is gone.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_EXIT_ORPHAN = 233


def _die_with(parent: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the line above
        os._exit(_EXIT_ORPHAN)


if __name__ == "__main__":
    _die_with(int(sys.argv[3]))

import contextlib  # noqa: E402
import faulthandler  # noqa: E402
import gc  # noqa: E402
import importlib  # noqa: E402
import platform  # noqa: E402
import threading  # noqa: E402
import traceback  # noqa: E402
from pathlib import Path  # noqa: E402

import anyio  # noqa: E402
import msgspec  # noqa: E402

from runtime import log, wire  # noqa: E402
from runtime.actor import Actor, decode_settings  # noqa: E402
from runtime.errors import ActorUnusable, RecycleMe  # noqa: E402
from runtime.messages import AnyControl, Up  # noqa: E402
from runtime.node import SUPERVISOR, Node  # noqa: E402
from runtime.page import Page  # noqa: E402
from runtime.process import LENGTH  # noqa: E402
from runtime.restart import EXIT_CONFIG, EXIT_OK, EXIT_RECYCLE  # noqa: E402
from runtime.spec import Birth  # noqa: E402

_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}
_IOPRIO_IDLE = 3 << 13


def _read(descriptor: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = os.read(descriptor, size - len(data))
        if not chunk:
            os._exit(_EXIT_ORPHAN)
        data += chunk
    return data


def _hold(lifeline: int) -> None:
    """Block until the supervisor's end of the pipe is closed, which is its death."""
    while os.read(lifeline, 1):
        pass
    os._exit(_EXIT_ORPHAN)


def _step_back(nice: int) -> None:
    """Yield the processor, and at 19 the disk as well, to whoever wants it."""
    if nice:
        os.nice(nice)
        # Every child leads a session of its own, and where the kernel groups sessions
        # (sched_autogroup, on by default) nice counts inside a session only; between them
        # the group's own nice value does.
        with contextlib.suppress(OSError):
            Path("/proc/self/autogroup").write_text(str(nice), encoding="ascii")
    number = _IOPRIO_SET.get(platform.machine())
    if nice == 19 and number is not None:
        ctypes.CDLL(None).syscall(number, 1, 0, _IOPRIO_IDLE)


async def _live(actor: Actor, birth: Birth) -> None:
    codec = wire.Codec(type(actor).messages | AnyControl)
    run_dir = Path(birth.run_dir)
    spec = birth.spec
    node = Node(spec.name, birth.incarnation, run_dir, codec, mailbox=spec.mailbox)
    node.page = Page(run_dir / f"{spec.name}.page")
    async with node.open():
        node.ref(SUPERVISOR)
        node.peer_up(Up(SUPERVISOR, 0))
        await actor.live(node)


def main() -> None:
    lifeline = int(sys.argv[2])
    birth = msgspec.msgpack.decode(
        _read(lifeline, LENGTH.unpack(_read(lifeline, LENGTH.size))[0]), type=Birth
    )
    threading.Thread(target=_hold, args=(lifeline,), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's to act on
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    _step_back(birth.spec.nice)
    log.configure(birth.spec.name, birth.incarnation, birth.spec.log_level)
    code = EXIT_OK
    try:
        module, _, name = birth.spec.actor.partition(":")
        actor_type: type[Actor] = getattr(importlib.import_module(module), name)
        actor = actor_type(decode_settings(actor_type, birth.spec.settings))
        actor.run_id = birth.run
        gc.freeze()  # what the imports made lives for ever; the collector need not look again
        anyio.run(_live, actor, birth, backend=birth.spec.backend)
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
            print(leaf, file=sys.stderr)  # noqa: T201 - the supervisor reads it
            return EXIT_CONFIG
    if leaves and all(isinstance(leaf, RecycleMe) for leaf in leaves):
        return EXIT_RECYCLE
    traceback.print_exception(error)
    return 1


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in _leaves(each)]
    return [error]


if __name__ == "__main__":
    main()
