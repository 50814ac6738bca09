"""What goes wrong while packs are fetched, kept and removed, and whose fault it is.

SupplyError (a ModelsError)
├─ PackUnknown      host  no pack of that name is known or here
├─ NotPullable      host  the pack is known, but nobody knows where to fetch it
├─ LicenceNeeded    host  its licence has to be agreed to first
├─ PackKept         host  it is built in, in use, or not ours: it stays as it is
├─ LockBroken       host  models.lock does not say what it should
├─ LockDiffers      host  the hub offers something else than models.lock holds
├─ NoRoom           host  the disk has too little room for it, or became full
├─ HubUnreachable   busy  no connection, or no answer in time
│  └─ HubCut        busy  … in the middle of a file
│     └─ RangeRefused  busy  … because the hub has nothing from there on
├─ NotOnHub         host  the repository, the revision or a file of it is not there
├─ HubRefuses       host  it wants a login, or its terms to be agreed to
├─ HubOdd           host  what answers is no model hub, or contradicts itself
└─ Corrupt          host  bytes that are not those the hub names
"""

from typing import ClassVar

from models.errors import Fault, ModelsError


class SupplyError(ModelsError):
    """Base of everything `models.supply` raises on purpose."""

    fault: ClassVar[Fault] = "host"


class PackUnknown(SupplyError):
    """No pack of that name is known or here."""


class NotPullable(SupplyError):
    """The pack is known, but nobody knows where to fetch it."""


class LicenceNeeded(SupplyError):
    """A licence with limits has to be agreed to before anything is fetched."""


class PackKept(SupplyError):
    """The pack is built in, in use, or not ours."""


class LockBroken(SupplyError):
    """models.lock cannot be read, or does not say what it should."""


class LockDiffers(SupplyError):
    """The hub offers other bytes under the name of those that were fetched before."""


class NoRoom(SupplyError):
    """The disk has too little room."""


class HubUnreachable(SupplyError):
    """No connection, or no answer in time."""

    fault = "busy"


class HubCut(HubUnreachable):
    """The connection ended in the middle of a file; it can be gone on with."""


class RangeRefused(HubCut):
    """The hub has nothing from the position that was asked for: what we have is not its file."""


class NotOnHub(SupplyError):
    """The repository, the revision or a file of it is not on the hub."""


class HubRefuses(SupplyError):
    """The hub wants a login, or terms to be agreed to on its page."""


class HubOdd(SupplyError):
    """What answers is no model hub, or it contradicts itself."""


class Corrupt(SupplyError):
    """A file that was fetched is not the one the hub names."""
