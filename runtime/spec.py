"""What a child is, in full: enough to start it, to judge its death and to start it again."""

from typing import TypeAlias

import msgspec

from runtime.restart import (
    AutoShutdown,
    Backoff,
    Breaker,
    Intensity,
    OnLimit,
    Policy,
    RestartType,
    Strategy,
)


class ChildSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One process.

    A spec travels to the child as msgpack, so it holds plain values only.
    """

    name: str
    actor: str  #: "package.module:Class"
    settings: bytes = b""  #: msgpack of the class's `Settings`
    peers: tuple[str, ...] = ()  #: whose `Up` and `Down` it hears; a superset of whom it dials
    restart: RestartType = RestartType.PERMANENT
    significant: bool = False
    on_limit: OnLimit = OnLimit.ESCALATE
    nice: int = 0  #: 19 also means idle I/O priority
    startup_s: float = 120.0  #: from spawn, or from the last `Progress`, to `Ready`
    drain_s: float = 10.0  #: from `Drain` to exit, before TERM
    mailbox: int = 4096
    backend: str = "asyncio"
    log_level: str = "info"
    env: dict[str, str] = {}

    @property
    def policy(self) -> Policy:
        return Policy(self.name, self.restart, self.significant, self.on_limit)


class GroupSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A supervisor inside the supervisor: an object, not a process."""

    name: str
    children: "tuple[ChildSpec | GroupSpec, ...]"
    strategy: Strategy = Strategy.ONE_FOR_ONE
    intensity: Intensity = Intensity()
    backoff: Backoff = Backoff()
    breaker: Breaker = Breaker()
    auto_shutdown: AutoShutdown = AutoShutdown.NEVER
    on_limit: OnLimit = OnLimit.ESCALATE

    @property
    def policy(self) -> Policy:
        return Policy(self.name, on_limit=self.on_limit)


AnySpec: TypeAlias = ChildSpec | GroupSpec


class Birth(msgspec.Struct, frozen=True):
    """What the supervisor hands a child through its lifeline, as msgpack."""

    spec: ChildSpec
    incarnation: int
    run: str  #: id of the supervisor's run
    run_dir: str
