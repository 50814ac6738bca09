"""Actors that tests start as real processes."""

import os
import signal
import sys
import time

import msgspec

from runtime.actor import Actor
from runtime.errors import ActorUnusable, HostUnusable
from runtime.messages import Ok
from runtime.node import Line


class Say(msgspec.Struct, frozen=True, tag="say", tag_field="t"):
    text: str


class WhoAreYou(msgspec.Struct, frozen=True, tag="who", tag_field="t"):
    pass


class Me(msgspec.Struct, frozen=True, tag="me", tag_field="t"):
    pid: int
    incarnation: int
    heard: list[str]


class Do(msgspec.Struct, frozen=True, tag="do", tag_field="t"):
    """crash, full, kill, unusable, hold, raise"""

    what: str


AnyWord = Say | WhoAreYou | Me | Do


class Echo(Actor):
    """Answers, remembers who came and went, and dies on request."""

    messages = AnyWord

    async def on_start(self):
        self.heard = []

    async def on_up(self, name):
        self.heard.append(f"up {name}")

    async def on_down(self, down):
        self.heard.append(f"down {down.name} {down.exit} {down.executing}")

    async def handle(self, message, line: Line):
        match message:
            case Say():
                return message
            case WhoAreYou():
                return Me(os.getpid(), self.node.incarnation, self.heard)
            case Do(what):
                act(self, what)
                return Ok()


def act(actor: Actor, what: str) -> None:
    match what:
        case "crash":
            raise SystemExit(3)
        case "kill":
            actor.node.executing("busy", [7, 9])
            os.kill(os.getpid(), signal.SIGKILL)
        case "raise":
            raise ValueError("as asked")
        case "unusable":
            raise ActorUnusable("the token is gone")
        case "full":
            raise HostUnusable("the disk is full")
        case "hold":
            time.sleep(3600)


class Broken(Actor):
    """Fails every start."""

    async def on_start(self):
        sys.exit(1)


class Misconfigured(Actor):
    async def on_start(self):
        raise ActorUnusable("the model file\nis not there")
