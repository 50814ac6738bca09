"""What can go wrong between processes, drawn once.

    RuntimeFault
    ├─ PeerAway            the system: no incarnation of the peer is up
    ├─ PeerRestarted       the system: the peer died while it held the question
    ├─ DeadlinePassed      the system: no answer in time
    ├─ PeerRefused         the peer answered Nack
    │  ├─ Busy             … because its mailbox is full; come again
    │  ├─ Unsupported      … because it does not know this message
    │  └─ HandlerFailed    … because handling it raised
    ├─ FrameBroken         the sender: bytes that are no message of ours
    ├─ WindowBroken        this process: it told a peer more than the peer has room for
    ├─ ActorUnusable       the owner: the actor cannot work as configured; exit 78, one line
    │  ├─ DeviceLost       the GPU: it fails this process for good; exit 70, a new one may work
    │  └─ HostUnusable     the host: nobody can work here, the disk is full; exit 74, one line
    ├─ RecycleMe           nobody: the actor wants a fresh process; exit 86
    ├─ SpecInvalid         the owner: a child specification that cannot work
    ├─ PlatformUnsupported the host: kernel or machine without what we stand on
    └─ RunDirUnsafe        the host: the run directory is not ours alone
       └─ AlreadyRunning   … or another instance holds it

Names are events; a caller picks the width of its `except` from the drawing.
"""

from typing import ClassVar


class RuntimeFault(Exception):
    """Base of everything this package raises on purpose."""


class PeerAway(RuntimeFault):
    def __init__(self, peer: str) -> None:
        super().__init__(f"{peer} is not up")


class PeerRestarted(RuntimeFault):
    def __init__(self, peer: str) -> None:
        super().__init__(f"{peer} died before it answered")


class DeadlinePassed(RuntimeFault):
    def __init__(self, peer: str, seconds: float) -> None:
        super().__init__(f"{peer} did not answer within {seconds:g} s")


class PeerRefused(RuntimeFault):
    """The peer answered, and the answer is no."""


class Busy(PeerRefused):
    pass


class Unsupported(PeerRefused):
    pass


class HandlerFailed(PeerRefused):
    pass


class FrameBroken(RuntimeFault):
    pass


class WindowBroken(RuntimeFault):
    pass


class ActorUnusable(RuntimeFault):
    """Trying again without a change cannot help.  The text is the one line the owner reads."""

    exit_code: ClassVar[int] = 78  # EX_CONFIG


class HostUnusable(ActorUnusable):
    """No process of the system can go on: it stops as a whole."""

    exit_code = 74  # EX_IOERR


class DeviceLost(ActorUnusable):
    """The GPU no longer answers this process; a new one may have it again."""

    exit_code = 70  # EX_SOFTWARE


class RecycleMe(RuntimeFault):
    pass


class SpecInvalid(RuntimeFault):
    pass


class PlatformUnsupported(RuntimeFault):
    pass


class RunDirUnsafe(RuntimeFault):
    pass


class AlreadyRunning(RunDirUnsafe):
    pass
