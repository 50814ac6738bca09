"""`models`: which packs there are, and how they come and go.

    list      built in, here, or to be pulled
    pull      fetch a known one from the hub: `models.supply.pulling`
    import    take one from a folder
    verify    read every file and compare it
    remove    take one away
    use       serve the library with another one: `library.spaces`

Fetching and removing hold a lock of their own, not that of the data directory: a system may run
meanwhile, and goes on with the files it has open.
"""

import contextlib
import errno
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from actors import console
from actors.cli.common import (
    EXIT_CONFIG,
    EXIT_DISK,
    EXIT_NO,
    EXIT_NO_INPUT,
    EXIT_NO_PERMISSION,
    EXIT_NO_WRITE,
    EXIT_TRY_AGAIN,
    EXIT_USAGE,
    DataOption,
    JsonOption,
    fail,
    folder,
    plain,
)
from actors.cli.reach import Door, reach
from actors.cli.transfer import Transfer
from actors.client import NotRunning, find_run
from actors.library.space import Space
from actors.messages import Class, Dropped, DropSpace, Used, UsePack
from actors.packs import chosen, serving, spaces_of
from config.checks import check_writable, room
from config.errors import ConfigError
from config.loading import load
from config.settings import Settings
from models.errors import ModelsError
from models.importing import import_pack
from models.pack import Pack
from models.supply.errors import (
    HubRefuses,
    HubUnreachable,
    LicenceNeeded,
    NoRoom,
    NotOnHub,
    PackUnknown,
)
from models.supply.known import Known, find_known, known
from models.supply.lock import Lock
from models.supply.shelf import Held, Shelf
from runtime import rundir
from runtime.errors import AlreadyRunning

models = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Model packs: list, pull, import, verify, remove, use.",
)

NameArgument = Annotated[str, typer.Argument(help="Its name, as `list` shows it.")]

#: what is wrong → exit status; anything else of `models` is EXIT_CONFIG
_CODES: tuple[tuple[type[ModelsError], int], ...] = (
    (PackUnknown, EXIT_NO_INPUT),
    (NotOnHub, EXIT_NO_INPUT),
    (LicenceNeeded, EXIT_NO_PERMISSION),
    (HubRefuses, EXIT_NO_PERMISSION),
    (HubUnreachable, EXIT_TRY_AGAIN),
    (NoRoom, EXIT_DISK),
)
_GOES_ON = "stopped; what was fetched stays, and the next pull goes on from there\n"
_LIBRARY = {"active": "in use, ", "building": "being built, ", "retired": "can be gone back to, "}
#: a library that is busy may take its time to write a wish down
USE_S = 60.0
#: kinds of which packs can be made of what the hub has
_MADE = {"search", "faces", "captions"}
#: kinds of spaces, as people call them
_OFFERS = {"embed": "search", "face": "faces", "caption": "captions"}
#: what a pack does that serves no whole pictures, and how far it has come
_DOES = {"face": ("faces", "looked at"), "caption": ("captions", "described")}


@models.command("list")
def list_(as_json: JsonOption = False, data: DataOption = None) -> None:
    """Which packs there are; whether files are there is looked at, `verify` reads them."""
    with _failures():
        settings = load({"data": data})
        rows = _rows(settings, _shelf(settings))
    if as_json:
        console.print_json(rows)
        return
    table = Table(box=None, pad_edge=False)
    for column in ("pack", "for", "where", "size", "licence", "state"):
        table.add_column(column, justify="right" if column == "size" else "left", overflow="fold")
    for row in rows:
        for_ = ", ".join(row["offers"]) or row["kind"]
        cells = (row["name"], for_, row["where"], _mb(row["size"]), row["licence"])
        state = _LIBRARY.get(row["library"], "") + row["state"]
        table.add_row(*(Text(plain(each)) for each in (*cells, state)))
    console.print_table(table)


@models.command()
def pull(
    name: NameArgument,
    revision: Annotated[
        str, typer.Option(help="A commit of its repository (40 hex digits), instead of the known.")
    ] = "",
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="Agree to a licence with limits.")
    ] = False,
    as_json: JsonOption = False,
    data: DataOption = None,
) -> None:
    """Fetch a known pack; ended in the middle, the next pull goes on."""
    if revision and not re.fullmatch("[0-9a-f]{40}", revision):
        fail("models pull: --revision takes a commit of 40 hex digits", EXIT_USAGE)
    with _failures(stopped=_GOES_ON), Transfer(name, quiet=as_json) as transfer:
        settings = load({"data": data})
        pack = find_known(name)
        pack.require_repo()
        # The hub's library takes a third of a second, and most commands need nothing of it.
        from models.supply import hub, pulling  # noqa: PLC0415

        with _claimed(settings) as shelf:
            pulling.check_licence(pack, Lock.read(shelf.data), accepted=accept_licence)
            transfer.say(f"{name}: {pack.summary}")
            transfer.say(f"licence: {pack.licence}, see {pack.link}")
            done = pulling.pull(
                pack,
                hub.Hub(settings.model.hub),
                shelf,
                transfer,
                revision=revision,
                accepted=accept_licence,
                make=import_pack if pack.kind in _MADE else None,
                room=room,
            )
            held = shelf.find(name)
    if as_json:
        there = {"name": name, "directory": str(held.directory), "unchanged": done is None}
        console.print_json(there | (msgspec.structs.asdict(done) if done is not None else {}))
    elif done is None:
        sys.stdout.write(f"{name} is here already, unchanged\n")
    else:
        sys.stdout.write(
            f"{name} is here: {_mb(done.size)}, of which {_mb(done.fetched)} were fetched now\n"
        )


@models.command("import")
def import_(
    source: Annotated[
        Path, typer.Argument(parser=folder, metavar="FOLDER", help="Its files; they stay.")
    ],
    name: Annotated[
        str | None, typer.Option(help="What it is to be called; default: the folder's name.")
    ] = None,
    as_json: JsonOption = False,
    data: DataOption = None,
) -> None:
    """Make a pack of the files in a folder."""
    called = name if name is not None else _name_of(source)
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", called):
        fail(
            f"models import: {called!r} is no name for a pack: small letters, digits, `.`, `_` and"
            " `-` make one; say --name",
            EXIT_USAGE,
        )
    if not source.is_dir():
        fail(f"{source} is no folder that can be read", EXIT_NO_INPUT)
    with _failures():
        settings = load({"data": data})
        with _claimed(settings) as shelf:
            if shelf.own(called) is not None:
                fail(
                    f"a pack {called!r} is here already: say another --name, or: models remove"
                    f" {called}",
                    EXIT_NO,
                )
            pack = import_pack(source, shelf.workshop(called), called)
            directory = shelf.publish(pack.directory, called)
            shelf.sweep()
    if as_json:
        console.print_json({"name": called, "directory": str(directory)})
    else:
        sys.stdout.write(f"{called} is here\n")


@models.command()
def verify(
    name: Annotated[str | None, typer.Argument(help="Only this pack.")] = None,
    as_json: JsonOption = False,
    data: DataOption = None,
) -> None:
    """Read every file and compare its checksum; exit status 1 when one is not what it should be."""
    with _failures():
        shelf = _shelf(load({"data": data}))
        packs = [shelf.find(name)] if name is not None else shelf.held()
        checked = [
            {
                "name": held.name,
                "directory": str(held.directory),
                "file": file,
                "ok": fault is None,
                "problem": fault.what if fault is not None else "",
            }
            for held in packs
            for file, fault in held.faults(read=True)
        ]
    wrong = [each for each in checked if not each["ok"]]
    if as_json:
        console.print_json({"ok": not wrong, "files": checked})
    else:
        table = Table(box=None, pad_edge=False)
        for column in ("pack", "file", "state"):
            table.add_column(column, overflow="fold")
        for each in checked:
            state = str(each["problem"]) or "ok"
            table.add_row(*(Text(plain(str(x))) for x in (each["name"], each["file"], state)))
        console.print_table(table)
    if wrong:
        files = "; ".join(f"{each['directory']}/{each['file']} {each['problem']}" for each in wrong)
        fail(f"damaged: {files}", EXIT_NO)


@models.command()
def remove(
    name: NameArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    with_vectors: Annotated[
        bool,
        typer.Option("--with-vectors", help="And what the library has of it, if it served once."),
    ] = False,
    as_json: JsonOption = False,
    data: DataOption = None,
) -> None:
    """Take a pack away, or what is there of a pull that was not finished."""
    if not yes and not sys.stdin.isatty():
        fail("models remove: say --yes where nobody can be asked", EXIT_USAGE)
    with _failures():
        settings = load({"data": data})
        with _claimed(settings) as shelf:
            size = shelf.begun().get(name, 0)
            if shelf.own(name) is None and size:
                _ask(f"Remove the {_mb(size)} that were pulled of {name}?", yes=yes)
                shelf.give_up(name)
            else:
                now = serving(settings.database_path)
                used = settings.model.pack if now is None else now.pack
                held = shelf.require_removable(name, used)
                gone = _refuse_needed(held, shelf, settings, with_vectors=with_vectors)
                size = held.size
                more = ", and its vectors of the library" if gone else ""
                _ask(f"Remove {name}, {_mb(size)}{more}?", yes=yes)
                if gone:
                    reach(data, partial(_drop, gone, settings.data / "index"))
                shelf.remove(held)
                shelf.give_up(name)
            shelf.sweep()
    if as_json:
        console.print_json({"removed": name, "size": size})
    else:
        sys.stdout.write(f"{name} is removed: {_mb(size)}\n")


@models.command()
def use(
    name: NameArgument,
    as_json: JsonOption = False,
    data: DataOption = None,
) -> None:
    """Serve the library with another pack, or with an earlier one again.

    Its vectors, or captions, are built beside those that serve, the newest photos first.  Search
    stays on the old ones until the new are complete; going back costs nothing, because they stay.
    """
    with _failures():
        settings = load({"data": data})
        with _claimed(settings) as shelf:
            spaces = _require_usable(shelf.find(name))
            at_once = not _can_search(settings, shelf)
            wishes = [UsePack(each, at_once=at_once and each.kind == "embed") for each in spaces]
            reach(data, partial(_say_wishes, wishes, as_json=as_json))


async def _say_wishes(wishes: list[UsePack], door: Door, *, as_json: bool) -> None:
    answers = [(wish, await door.ask(wish, Used, USE_S)) for wish in wishes]
    if as_json:
        # What it says of pictures stands at the top, as it did before there were faces.
        said = {wish.space.kind: msgspec.structs.asdict(used) for wish, used in answers}
        first = wishes[0].space
        rest = {f"{kind}s": of for kind, of in said.items() if kind != first.kind}
        console.print_json({"pack": first.pack, **said[first.kind], **rest})
        return
    for wish, used in answers:
        _tell(wish, used, running=door.running)


def _tell(wish: UsePack, used: Used, *, running: bool) -> None:
    name = wish.space.pack
    here = f"{used.vectors} of {used.photos} photos"
    if wish.space.kind in _DOES:
        what, done = _DOES[wish.space.kind]
        name, here = f"{name} ({what})", f"{done} {here}"
    if used.state == "active":
        text = f"{name} serves the library ({here})"
    elif used.vectors == used.photos:
        text = f"{name} has every photo, and takes over from {used.before} in a moment"
    else:
        text = (
            f"{name} is built beside {used.before} ({here}); search stays on {used.before} until"
            " it is complete, and `status` tells how far it is"
        )
        if not running:
            text += "; it goes on with the next start"
    sys.stdout.write(f"{text}\n")


def _require_usable(held: Held) -> list[Space]:
    """The spaces of *held*, once it was seen to work."""
    spaces = [] if held.pack is None else spaces_of(held.pack)
    if held.pack is None or not spaces:
        why = held.broken or f"nothing uses packs of the kind {held.kind!r} yet"
        fail(f"{held.name} cannot serve: {why}", EXIT_CONFIG)
    for file, fault in held.faults(read=True):
        if fault is not None:
            fail(f"{held.name} is damaged: {held.directory / file} {fault.what}", EXIT_CONFIG)
    # With these comes the runtime of the models, which no other command needs.
    from models.captions.captioner import Captioner  # noqa: PLC0415
    from models.clip import ImageTower, TextTower  # noqa: PLC0415
    from models.faces.detector import FaceDetector  # noqa: PLC0415
    from models.faces.recogniser import FaceRecogniser  # noqa: PLC0415

    openers: dict[Class, Sequence[Callable[[Pack], object]]] = {
        "embed": (TextTower.open, ImageTower.open),
        "face": (FaceDetector.open, FaceRecogniser.open),
        "caption": (Captioner.open,),
    }
    for space in spaces:
        for opened in openers[space.kind]:
            opened(held.pack)
    return spaces


def _can_search(settings: Settings, shelf: Shelf) -> bool:
    """Is the pack that serves there, and still the same?"""
    now = serving(settings.database_path)
    if now is None:
        return True
    try:
        pack = shelf.find(now.pack).pack
    except ModelsError:
        return False
    return pack is not None and pack.embed is not None and pack.embed.space == now.space


# ── what they share ─────────────────────────────────────────────────────────────────────────


def _shelf(settings: Settings) -> Shelf:
    return Shelf(settings.data, settings.model.search)


@contextlib.contextmanager
def _claimed(settings: Settings) -> Iterator[Shelf]:
    """The packs of *settings*, with nobody else who fetches or removes."""
    check_writable(settings.data)
    shelf = _shelf(settings)
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    shelf.packs.mkdir(exist_ok=True)
    try:
        lock = rundir.lock(shelf.packs / ".lock")
    except AlreadyRunning as error:
        fail(f"{error}: a pack is being pulled, imported or removed; come again", EXIT_TRY_AGAIN)
    try:
        shelf.sweep()
        yield shelf
    finally:
        os.close(lock)


@contextlib.contextmanager
def _failures(stopped: str = "") -> Iterator[None]:
    """Failures as one line and an exit status; *stopped* is said after Ctrl-C."""
    try:
        yield
    except ConfigError as error:
        fail(str(error), error.exit_code)
    except ModelsError as error:
        fail(
            str(error),
            next((code for kind, code in _CODES if isinstance(error, kind)), EXIT_CONFIG),
        )
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        reason = f"{error.filename or 'the data directory'}: {error.strerror or error}"
        fail(reason, EXIT_DISK if full else EXIT_NO_WRITE)
    except KeyboardInterrupt:
        sys.stderr.write(stopped)
        raise typer.Exit(128 + signal.SIGINT) from None


def _refuse_needed(
    held: Held, shelf: Shelf, settings: Settings, *, with_vectors: bool
) -> list[str]:
    """Go on where nobody needs the pack; the spaces whose vectors go with it.

    What serves is asked for with every query, what is built with every photo.
    """
    name = held.name
    if shelf.find(name).directory != held.directory:
        return []
    state = _states(settings).get(name)
    if state == "active":
        fail(f"{name} serves the library: choose another with `models use` first", EXIT_CONFIG)
    if state == "building":
        fail(f"{name} is being built: choose another with `models use` first", EXIT_CONFIG)
    if state == "retired" and not with_vectors:
        fail(
            f"{name} is kept, because the library can go back to it: --with-vectors gives that up",
            EXIT_CONFIG,
        )
    with contextlib.suppress(NotRunning):  # it may have been started with other settings
        if state is None and find_run(settings.data).pack == name:
            fail(f"{name} is in use by the running system: stop it first", EXIT_CONFIG)
    spaces = chosen(settings.database_path)
    return [each.space for each in spaces if each.pack == name and each.state == "retired"]


async def _drop(spaces: list[str], indexes: Path, door: Door) -> None:
    from actors.vectors.snapshot import space_directory  # noqa: PLC0415  with it comes numpy

    for space in spaces:
        dropped = Dropped(0)
        while dropped.more:
            dropped = await door.ask(DropSpace(space, dropped.after), Dropped, USE_S)
        # a view that is being put away may come again; it is read by nobody, and follows the feed
        shutil.rmtree(space_directory(indexes, space), ignore_errors=True)


def _states(settings: Settings) -> dict[str, str]:
    """Pack → what it is to the library: active, building or retired."""
    spaces = chosen(settings.database_path)
    order = {"retired": 0, "building": 1, "active": 2}
    return {each.pack: each.state for each in sorted(spaces, key=lambda each: order[each.state])}


def _rows(settings: Settings, shelf: Shelf) -> list[dict[str, Any]]:
    """Every pack, those that are here first."""
    here = shelf.held()
    begun = shelf.begun()
    seen: set[str] = set()
    rows = []
    states = _states(settings) or {settings.model.pack: "active"}
    for held in here:
        first = held.name not in seen
        seen.add(held.name)
        rows.append(_here(held, states.get(held.name, "") if first else "", hidden=not first))
    rows += [
        _to_pull(pack, begun.get(pack.name, 0))
        for pack in known().values()
        if pack.name not in seen
    ]
    return rows


def _here(held: Held, library: str, *, hidden: bool) -> dict[str, Any]:
    public = known().get(held.name)
    spaces = [] if held.pack is None else spaces_of(held.pack)
    wrong = [fault for _, fault in held.faults(read=False) if fault is not None]
    state = "ok"
    if wrong:
        state = f"damaged: {wrong[0].file} {wrong[0].what}"
    elif hidden:
        state = "hidden by one of the same name"
    elif held.kind not in _MADE and (held.pack is None or held.pack.caption is None):
        state = "ok, but nothing uses it yet"
    elif held.pack is not None and held.pack.demo:
        state = "ok, understands drawings only"
    return {
        "name": held.name,
        "kind": held.kind,
        "offers": [_OFFERS[each.kind] for each in spaces],
        "where": {"data": "here", "search": str(held.directory.parent)}.get(held.place, held.place),
        "directory": str(held.directory),
        "size": held.size,
        "licence": held.licence,
        "commercial": public.commercial if public is not None else True,
        "revision": _revision(held),
        "in_use": library == "active",
        "library": library,
        "ok": not wrong,
        "state": state,
    }


def _revision(held: Held) -> str:
    if held.entry is not None:
        return held.entry.revision
    return held.pack.revision if held.pack is not None else ""


def _to_pull(pack: Known, there: int) -> dict[str, Any]:
    state = "to be pulled"
    if not pack.commercial:
        state += " with --accept-licence"
    if not pack.revision:
        state += ", unpinned: no revision is known here"
    if pack.missing:
        state = f"cannot be pulled: {pack.missing}"
    elif there:
        state = f"{_mb(there)} pulled; pull again to go on"
    return {
        "name": pack.name,
        "kind": pack.kind,
        "offers": [],
        "where": "hub" if pack.repo else "",
        "directory": "",
        "size": pack.size,
        "licence": pack.licence,
        "commercial": pack.commercial,
        "revision": pack.revision,
        "in_use": False,
        "library": "",
        "ok": None,
        "state": state,
    }


def _name_of(source: Path) -> str:
    """A folder's name as that of a pack."""
    return re.sub(r"[^a-z0-9._-]+", "-", source.resolve().name.lower()).strip("-._")


def _ask(question: str, *, yes: bool) -> None:
    if not yes and not typer.confirm(question, err=True):
        fail("nothing was removed", EXIT_NO)


def _mb(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size else ""
