"""`doctor`: what this machine gives the program, what would be used and why, and what is wrong.

It looks and changes nothing, beside a running system or without one.  Each finding is one line; a
wrong one says what to do.  `--bundle` packs the findings, the settings and what the processes said
last for a report to strangers: no path, no text that anybody wrote, no secret.  So of the logs only
the event, its numbers and the kind of an exception are kept, and settings lose every path.
"""

import io
import platform
import re
import resource
import shutil
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import anyio
import msgspec
import typer
from rich.table import Table
from rich.text import Text

from actors import console
from actors.cli.common import EXIT_NO, DataOption, JsonOption, fail, folder, plain
from actors.client import NotRunning, find_run
from actors.logs.reading import Reader
from config.checks import check_disk, check_originals, check_room, check_writable, file_system
from config.errors import ConfigError
from config.loading import load
from config.machine import usable_cores
from config.settings import Settings
from models.errors import ModelsError
from models.inspection import driver, packs, versions
from models.pack import BUILT_IN, find_pack
from models.packages import PACKAGES, check_one_runtime
from models.session import CUDA, devices, runtime

State = Literal["ok", "note", "wrong"]

LIBRARIES = (
    "anyio",
    "faiss-cpu",
    "hnswlib",
    "huggingface-hub",
    "msgspec",
    "numpy",
    "nvidia-ml-py",
    "pi-heif",
    "pillow",
    "pyzmq",
    "rawpy",
    "sqlalchemy",
    "tokenizers",
)
#: open files below which a system of a dozen processes runs dry
LEAST_FILES = 256
#: records of the logs in a bundle
RECORDS = 2000
STYLES = {"ok": "green", "note": "yellow", "wrong": "red"}


class Finding(msgspec.Struct, frozen=True):
    """One line."""

    about: str
    state: State
    text: str


def doctor(
    bundle: Annotated[
        bool, typer.Option("--bundle", help="Write a file for a bug report, without your data.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(parser=folder, metavar="FOLDER", help="Where the bundle goes; default: here."),
    ] = None,
    as_json: JsonOption = False,
    data: DataOption = None,
) -> None:
    """What the program finds on this machine; exit status 1 when something is wrong."""
    try:
        settings = load({"data": data})
    except ConfigError as error:
        fail(str(error), error.exit_code)
    found = list(examine(settings))
    if as_json:
        console.print_json(found)
    else:
        _print(found)
    if bundle:
        place = (out or Path.cwd()) / f"obscura-doctor-{time.strftime('%Y%m%d-%H%M%S')}.tar.gz"
        try:
            write_bundle(place, settings, found)
        except OSError as error:
            fail(f"{error.filename or place}: cannot be written: {error.strerror}", EXIT_NO)
        sys.stderr.write(f"for a report: {plain(str(place))}\n")
    if any(each.state == "wrong" for each in found):
        raise typer.Exit(EXIT_NO)


def examine(settings: Settings) -> Iterator[Finding]:
    """Everything that is looked at, in the order it is told."""
    yield from _program()
    yield from _compute(settings)
    yield from _packs(settings)
    yield from _disk(settings)
    yield from _limits()
    yield from _data(settings)


# ── what is looked at ───────────────────────────────────────────────────────────────────────


def _program() -> Iterator[Finding]:
    yield Finding("python", "ok", f"{platform.python_version()} on {platform.platform()}")
    libraries = versions(LIBRARIES)
    text = ", ".join(f"{name} {version}" for name, version in libraries.items())
    yield Finding("libraries", "ok", text)
    runtimes = versions(PACKAGES)
    text = ", ".join(f"{name} {version}" for name, version in runtimes.items())
    try:
        check_one_runtime()
        known = runtime()
    except ModelsError as error:
        yield Finding("onnxruntime", "wrong", str(error))
        return
    cuda = f", built for CUDA {known.cuda}" if known.cuda else ""
    yield Finding("onnxruntime", "ok", f"{text or known.version}{cuda}")
    yield Finding("providers", "ok", f"compiled in: {', '.join(known.providers)}")


def _compute(settings: Settings) -> Iterator[Finding]:
    there = driver()
    if there is None:
        yield Finding("driver", "ok", "no NVIDIA driver on this machine")
    else:
        gpus = "; ".join(
            f"{gpu.name}, {gpu.free_mib} of {gpu.total_mib} MiB free" for gpu in there.gpus
        )
        state: State = "note" if there.problem else "ok"
        yield Finding("driver", state, f"{there.version} {gpus}{there.problem}".strip())
    try:
        found = devices()
    except ModelsError:
        return  # told above
    for each in found:
        if each.usable:
            yield Finding("device", "ok", f"{each.name} computes")
        else:
            broken = CUDA in runtime().providers and there is not None
            yield Finding("device", "wrong" if broken else "note", f"{each.name}: {each.reason}")
    usable = {each.name: each for each in found if each.usable}
    wanted = f"cuda:{settings.device.gpu}"
    if settings.device.gpu < 0:
        device, why = "cpu:0", "`device.gpu` is -1"
    elif wanted in usable:
        device, why = wanted, f"`device.gpu` is {settings.device.gpu} and it computes"
    else:
        reason = next((each.reason for each in found if each.name == wanted), "there is none")
        device, why = "cpu:0", f"{wanted} cannot be used: {reason}"
    threads = f" with {settings.device.threads} threads" if device == "cpu:0" else ""
    yield Finding("would use", "ok", f"{device}{threads}, because {why}")
    yield from _chosen(settings, device)


def _chosen(settings: Settings, device: str) -> Iterator[Finding]:
    from models.clip import ImageTower, TextTower  # noqa: PLC0415  with it comes Pillow

    name = settings.model.pack
    try:
        pack = find_pack(name, _places(settings))
        ImageTower.open(pack, device, settings.device.threads)
        TextTower.open(pack, settings.device.threads)
    except ModelsError as error:
        yield Finding("model", "wrong", str(error))
        return
    demo = "; a demo model, which understands drawings only" if pack.demo else ""
    compared = "" if device.startswith("cpu") else ", as the CPU computes it"
    text = f"{name} computes on {device}{compared}, because `model.pack` is {name}{demo}"
    yield Finding("model", "ok", text)


def _places(settings: Settings) -> list[Path]:
    return [*settings.model.search, settings.data / "packs", BUILT_IN]


def _packs(settings: Settings) -> Iterator[Finding]:
    for each in packs(_places(settings)):
        if each.problem:
            yield Finding("pack", "wrong", each.problem)
            continue
        kinds = "+".join(each.kinds) or "nothing known"
        yield Finding(
            "pack",
            "ok",
            f"{each.name}: {kinds}, revision {each.revision}, {each.precision or '-'}, "
            f"{each.mib} MiB, licence {each.licence}",
        )


def _disk(settings: Settings) -> Iterator[Finding]:
    place = settings.data
    while not place.exists() and place != place.parent:
        place = place.parent
    usage = shutil.disk_usage(place)
    kind = file_system(settings.data) or "unknown"
    checks: list[Callable[[], None]] = [
        lambda: check_disk(settings),
        lambda: check_writable(settings.data),
        lambda: check_writable(settings.library.derived),
        lambda: check_room(settings.data),
    ]
    if settings.originals:
        checks.append(lambda: check_originals(settings))
    problems = []
    for check in checks:
        try:
            check()
        except ConfigError as error:
            problems.append(Finding("disk", "wrong", str(error).removeprefix("config error: ")))
    free = f"{usage.free / 1e9:.0f} of {usage.total / 1e9:.0f} GB free, {kind}"
    yield from problems or [Finding("disk", "ok", free)]


def _limits() -> Iterator[Finding]:
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = 0 <= files < LEAST_FILES
    text = f"{files} open files (at most {most})"
    if few:
        text += f"; at least {LEAST_FILES} are needed: raise it with `ulimit -n`"
    yield Finding("limits", "wrong" if few else "ok", text)
    yield Finding("cores", "ok", f"{usable_cores()} usable")
    memory = _memory()
    yield Finding("memory", "ok", ", ".join(memory) or "the kernel does not tell")
    watches = _number(Path("/proc/sys/fs/inotify/max_user_watches"))
    if watches is not None:
        yield Finding("watches", "ok", f"{watches} folders may be watched")


def _memory() -> list[str]:
    found = []
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        text = ""
    for field, words in (("MemTotal", "in all"), ("MemAvailable", "available")):
        if told := re.search(rf"^{field}:\s+(\d+) kB$", text, re.MULTILINE):
            found.append(f"{int(told.group(1)) / 2**20:.1f} GiB {words}")
    limit = _number(Path("/sys/fs/cgroup/memory.max"))
    return found if limit is None else [*found, f"{limit / 2**30:.1f} GiB allowed"]


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):  # "max" is no number and no limit
        return None


def _data(settings: Settings) -> Iterator[Finding]:
    if not settings.data.is_dir():
        yield Finding("data", "ok", "not made yet; the first start does")
        return
    try:
        find_run(settings.data)
        yield Finding("system", "ok", "running")
    except NotRunning:
        yield Finding("system", "ok", "not running")
    token = settings.data / "token"
    try:
        if token.stat().st_mode & 0o077:
            text = "others may read the token: chmod 600 it, or remove it to have a new one"
            yield Finding("token", "wrong", text)
    except OSError:
        pass  # none yet: the first start makes it
    yield from _catalog(settings)
    left = [each for each in (settings.data / "packs").glob(".*.partial") if each.is_dir()]
    if left:
        yield Finding("packs", "note", f"{len(left)} unfinished imports; the next import cleans up")


def _catalog(settings: Settings) -> Iterator[Finding]:
    if not settings.database_path.exists():
        yield Finding("catalog", "ok", "none yet")
        return
    # With it comes SQLAlchemy, a third of a second.
    from sqlalchemy import make_url  # noqa: PLC0415

    from actors.library.database import version_at  # noqa: PLC0415
    from actors.library.errors import LibraryError  # noqa: PLC0415

    try:
        version = anyio.run(version_at, make_url(settings.library.database))
    except LibraryError as error:
        yield Finding("catalog", "wrong", str(error))
        return
    except Exception as error:
        yield Finding("catalog", "wrong", f"cannot be read: {type(error).__name__}")
        return
    size = settings.database_path.stat().st_size
    yield Finding("catalog", "ok", f"schema {version}, {size / 1e6:.1f} MB")


# ── what is told ────────────────────────────────────────────────────────────────────────────


def _print(found: list[Finding]) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("what", "", "found"):
        table.add_column(column, overflow="fold")
    for each in found:
        table.add_row(each.about, Text(each.state, STYLES[each.state]), Text(plain(each.text)))
    console.print_table(table)


# ── what is sent ────────────────────────────────────────────────────────────────────────────


def write_bundle(place: Path, settings: Settings, found: list[Finding]) -> None:
    """Write what strangers may read to *place*.

    Raises:
        OSError: it cannot be written, or the logs cannot be read.
    """
    hide = Hiding(settings)
    findings = [msgspec.structs.replace(each, text=hide(each.text)) for each in found]
    parts = {
        "findings.json": msgspec.json.format(msgspec.json.encode(findings), indent=2),
        "settings.json": msgspec.json.format(msgspec.json.encode(hide.settings()), indent=2),
        "logs.jsonl": b"".join(msgspec.json.encode(each) + b"\n" for each in _said(settings)),
    }
    with tarfile.open(place, "x:gz") as bundle:
        for name, content in parts.items():
            info = tarfile.TarInfo(f"obscura-doctor/{name}")
            info.size, info.mtime = len(content), int(time.time())
            bundle.addfile(info, io.BytesIO(content))


class Hiding:
    """Takes paths out of texts: known ones get a name, all others a mark."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        known: dict[Path, str] = {Path.home(): "<home>", Path.cwd(): "<here>"}
        known |= {BUILT_IN: "<program>/models/packs", BUILT_IN.parents[1]: "<program>"}
        known |= {path: f"<packs {n}>" for n, path in enumerate(settings.model.search)}
        known |= {path: f"<originals {n}>" for n, path in enumerate(settings.originals)}
        known |= {settings.library.derived: "<derived>", settings.data: "<data>"}
        longest = sorted(known, key=lambda path: len(str(path)), reverse=True)
        self._known = [(str(path), known[path]) for path in longest if len(path.parts) > 1]

    def __call__(self, text: str) -> str:
        for path, name in self._known:
            text = text.replace(path, name)
        text = re.sub(r"(<originals \d+>)/[^:;,'\"]*", r"\1/…", text)
        return re.sub(r"(?<![\w>.])/[^\s'\",;:)]+", "<path>", text)

    def settings(self) -> Any:
        """All settings, their paths hidden."""

        def hidden(value: Any) -> Any:
            if isinstance(value, dict):
                return {key: hidden(each) for key, each in value.items()}
            if isinstance(value, list | tuple):
                return [hidden(each) for each in value]
            return self(value) if isinstance(value, str) else value

        told = msgspec.to_builtins(self._settings, enc_hook=str)
        return hidden(told)


def _said(settings: Settings) -> Iterator[dict[str, Any]]:
    """What the processes said last, without a word that may be somebody's."""
    reader = Reader(settings.data / "logs")
    try:
        records = reader.last(RECORDS)
    finally:
        reader.close()
    for each in records:
        numbers = {
            key: value
            for key, value in each.fields.items()
            if isinstance(value, bool | int | float) and re.fullmatch("[a-z_]+", key)
        }
        kind = each.exception.strip().rpartition("\n")[2].partition(":")[0]
        words = {"at": each.at, "name": each.name, "level": each.level}
        event = each.event if re.fullmatch("[a-z_]+", each.event) else "…"
        exception = kind if re.fullmatch(r"[\w.]+", kind) else ""
        yield words | {"event": event, "fields": numbers, "exception": exception}
