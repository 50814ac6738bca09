"""Named points at which a process can be made to fail, for tests and for chaos.

Faults from outside rarely hit the instant that matters: between the commit and its answer,
between a send and the note that it was sent.  So the code itself names such instants, as
FoundationDB does with BUGGIFY: `fault("catalog.committed")` stands between two steps and does
nothing, unless the environment arms it:

    RUNTIME_FAULTS       "catalog.committed=kill@3 embed.run=gil:5 index.reply=raise%0.01"
    RUNTIME_FAULTS_SEED  number; makes `%` repeatable
    RUNTIME_FAULTS_ONCE  directory; a fault that has left its name there does not strike again,
                         not even in the next incarnation
    RUNTIME_FAULTS_ORDERS  directory; an act that lies there in a file called `<pid>.<point>`
                         is done, once, by that process when it passes that point

`point=act` strikes each time the point is passed, `@n` only the n-th time, `%p` with
probability p.  The acts are those of `ACTS`; `act:argument` where one takes an argument.

Orders are for whoever disturbs a running system and wants to say when, and whom.  Nothing but
the environment at start opens that door, and it leads into a directory, so that whoever could
give an order could have sent the process a signal as well.
"""

import ctypes
import os
import random
import re
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from runtime.errors import SpecInvalid

#: long enough for any deadline to pass
FOR_EVER_S = 3600.0


class Injected(Exception):
    """What the act `raise` raises: an error that nobody can have planned for."""


def _kill(_: float) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _stop(_: float) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _exit(code: float) -> None:
    os._exit(int(code))


def _raise(_: float) -> None:
    raise Injected


def _segfault(_: float) -> None:
    ctypes.string_at(0)


def _out_of_memory(_: float) -> None:
    """Take memory until the kernel or a limit says no."""
    hoard = []
    while True:
        hoard.append(bytearray(os.urandom(1 << 16)) * 64)


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


def _hold_gil(seconds: float) -> None:
    """Wait in native code that keeps the GIL, in one call that no signal ends."""
    mutex = ctypes.create_string_buffer(64)  # zeros are PTHREAD_MUTEX_INITIALIZER
    libc = ctypes.PyDLL(None)
    libc.pthread_mutex_lock(mutex)
    until = _Timespec(int(time.time() + seconds), 0)
    libc.pthread_mutex_timedlock(mutex, ctypes.byref(until))


def _spin_gil(_: float) -> None:
    """Compute in native code that keeps the GIL, in one call that takes hours."""
    re.match(r"(a|aa)+$", "a" * 80 + "b")


def _spin(seconds: float) -> None:
    """Compute in Python; other threads get their turns."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def _deadlock(seconds: float) -> None:
    """Wait for a lock that this very thread holds; other threads run on."""
    lock = threading.Lock()
    with lock:
        lock.acquire(timeout=seconds)


#: what a process can be made to do to itself: name → (act, its argument when none is given)
ACTS: Final[dict[str, tuple[Callable[[float], None], float]]] = {
    "kill": (_kill, 0),
    "stop": (_stop, 0),
    "exit": (_exit, 1),
    "raise": (_raise, 0),
    "segfault": (_segfault, 0),
    "abort": (lambda _: os.abort(), 0),
    "oom": (_out_of_memory, 0),
    "sleep": (time.sleep, FOR_EVER_S),
    "gil": (_hold_gil, FOR_EVER_S),
    "spin-gil": (_spin_gil, 0),
    "spin": (_spin, FOR_EVER_S),
    "deadlock": (_deadlock, FOR_EVER_S),
}


def strike(act: str) -> None:
    """Do *act*, as in "kill" or "exit:70", to this process now.

    Raises:
        SpecInvalid: there is no such act.
        Injected: that was the act.
    """
    name, _, argument = act.partition(":")
    if name not in ACTS:
        raise SpecInvalid(f"no act is called {name!r}; there are {', '.join(ACTS)}")
    do, usual = ACTS[name]
    do(float(argument) if argument else usual)


class Fault(msgspec.Struct):
    """What happens at one point."""

    act: str
    at: int = 0  #: only the n-th time; 0 = each time
    chance: float = 1.0
    passed: int = 0


class Plan:
    """Which points are armed.

    Args:
        text: as in `RUNTIME_FAULTS`, see the head of the module.
        seed: makes chances repeatable.
        once: directory of the faults that struck already.
        orders: directory of acts to be done by this process, see `order`.

    Raises:
        SpecInvalid: *text* is no plan.
    """

    def __init__(
        self,
        text: str,
        seed: int | None = None,
        once: Path | None = None,
        orders: Path | None = None,
    ) -> None:
        self._faults = dict(_parse(word) for word in text.split())
        self._rng = random.Random(seed)
        self._once = once
        self._orders = orders

    def due(self, point: str) -> str:
        """The act that strikes at *point* this time, "" when none does."""
        if self._orders is not None and (act := _taken(self._orders / f"{os.getpid()}.{point}")):
            return act
        fault = self._faults.get(point)
        if fault is None:
            return ""
        fault.passed += 1
        if fault.at not in {0, fault.passed} or self._rng.random() >= fault.chance:
            return ""
        if self._once is not None:
            try:
                (self._once / point).touch(exist_ok=False)
            except FileExistsError:
                return ""
        return fault.act


def _parse(word: str) -> tuple[str, Fault]:
    match = re.fullmatch(r"([\w.-]+)=([a-z-]+)(:[\d.]+)?(?:@(\d+))?(?:%([\d.]+))?", word)
    if match is None or match[2] not in ACTS:
        raise SpecInvalid(f"{word!r} is no fault: point=act[:argument][@n][%chance]")
    return match[1], Fault(match[2] + (match[3] or ""), int(match[4] or 0), float(match[5] or 1))


def _taken(order: Path) -> str:
    """What *order* says, "" where there is none.  It is gone before it is carried out."""
    try:
        act = order.read_text()
        order.unlink()
    except FileNotFoundError:
        return ""
    return act


def order(orders: Path, pid: int, point: str, act: str) -> Path:
    """Have process *pid* do *act* when it next passes *point*.

    *orders* is what it was told at its start in `RUNTIME_FAULTS_ORDERS`.  The file returned is
    gone once the order was taken; removing it takes the order back.
    """
    path = orders / f"{pid}.{point}"
    written = orders / f".{pid}.{point}"
    written.write_text(act)
    return written.replace(path)


def _armed() -> Plan | None:
    text = os.environ.get("RUNTIME_FAULTS", "")
    seed, once = os.environ.get("RUNTIME_FAULTS_SEED"), os.environ.get("RUNTIME_FAULTS_ONCE")
    orders = os.environ.get("RUNTIME_FAULTS_ORDERS")
    if not (text or orders):
        return None
    return Plan(
        text,
        int(seed) if seed else None,
        Path(once) if once else None,
        Path(orders) if orders else None,
    )


_plan = _armed()


def fault(point: str) -> None:
    """Fail here, if the environment says so."""
    if _plan is not None and (act := _plan.due(point)):
        strike(act)
