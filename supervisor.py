"""The composition root and the command line: settings → the tree of processes → one system.

    supervisor                  supervises; does no photo work; tells who is up and who died
    ├─ core                     catalog    the database, its only writer; the durable queue
    │                           index      nearest neighbours; a follower of the catalog's feed
    ├─ inference  (isolate)     scheduler  device leases and batches
    │                           embed      pictures → vectors, one solo process
    ├─ intake     (isolate)     ingest     walks and watches folders
    │                           decode ×N  untrusted bytes → facts, thumbnails
    └─ edge       (isolate)     text       words → vectors, for queries only
                                gateway    websocket, HTTP, the page

`python -m supervisor --originals FOLDER` runs it; the other commands talk to a running one.
"""

from actors.cli import prelude

if __name__ == "__main__":
    prelude.begin()

import contextlib
import os
import secrets
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, get_args

import anyio
import anyio.abc
import msgspec
import typer

from actors import console
from actors.cli import bars
from actors.cli.commands import Commands
from actors.cli.common import EXIT_GAVE_UP, EXIT_TRY_AGAIN, DataOption, JsonOption, fail, folder
from actors.client import Client, NotRunning, Run
from actors.console import Console, event_record
from actors.library.paths import printable
from actors.library.space import Space
from actors.logs.journal import Journal
from actors.messages import CatalogStatus, Class, Status, Totals
from actors.packs import captions_of, faces_of, serving, space_of
from actors.settings import (
    CaptionSettings,
    CatalogSettings,
    DecodeSettings,
    EmbedSettings,
    FaceSettings,
    GatewaySettings,
    IndexSettings,
    IngestSettings,
    SchedulerSettings,
    TextSettings,
    WorkerSettings,
)
from config.checks import LEAST_FREE, LEAST_LEFT, check, room
from config.errors import ConfigError, DataUnwritable
from config.loading import load
from config.settings import Model, Settings
from models.errors import ModelsError, PackNotFound
from models.pack import Pack, find_pack, verify
from models.packages import check_one_runtime
from runtime import log, rundir
from runtime.errors import AlreadyRunning, RunDirUnsafe, RuntimeFault
from runtime.exits import ExitClass
from runtime.messages import ProcessState
from runtime.restart import EXIT_CONFIG, EXIT_HOST, Backoff, Intensity, OnLimit
from runtime.spec import ChildSpec, GroupSpec
from runtime.supervision import Supervisor

PACKS = Path(__file__).resolve().parent / "models" / "packs"
#: libraries of numbers start a thread a core unless told otherwise; we have our own processes
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
#: A decoder takes and frees the same tens of megabytes for every photo.  The C library gives them
#: back to the kernel each time, which has to clear them again: a sixth of the time for a photo of
#: 12 megapixels (bench/RESULTS.md).  32 MiB is the most that glibc takes from a heap at all.
KEPT_BUFFERS = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(64 << 20)}
#: nice value of what must yield to the user, and to search
BACKGROUND = 19
POLL_S = 0.05
#: how often it is looked whether the disk fills up
ROOM_S = 1.0


def tree(
    settings: Settings, pack: Pack, others: list[Space], *, port: int, once: bool
) -> GroupSpec:
    """Every process of one system, and what each is told."""
    folders = [str(each) for each in _folders(settings)]
    place = str(settings.database_path)
    derived, database = str(settings.library.derived), settings.library.database
    roots = [os.fsencode(each) for each in settings.originals]
    classes: dict[Class, list[int]] = {
        "embed": list(settings.embed.buckets),
        "face": list(settings.faces.buckets),
        "caption": list(settings.captions.buckets),
    }
    decoders = tuple(f"decode.{n}" for n in range(settings.decode.processes))
    workers = ("ingest", *decoders, "scheduler", *classes)
    device = "cpu:0" if settings.device.gpu < 0 else f"cuda:{settings.device.gpu}"
    space = space_of(pack)
    catalog = CatalogSettings(
        database,
        str(settings.data),
        space,
        roots,
        derived,
        others=others,
        spool_bytes=int(settings.faces.spool * 2**30),
        watch=not once,
    )
    index = IndexSettings(
        database,
        str(settings.data / "index"),
        space.name,
        space.dimensions,
        backend=settings.vectors.backend,
        seal_rows=settings.vectors.seal_rows,
        build_threads=settings.device.threads,
    )
    ingest = IngestSettings(
        database, roots, settings.ingest.watch and not once, settings.ingest.scan_interval
    )
    gateway = GatewaySettings(
        data=os.fsencode(settings.data),
        derived=os.fsencode(settings.library.derived),
        database=database,
        pack=pack.name,
        demo=pack.demo,
        profile=settings.profile,
        roots=tuple(printable(each) for each in roots),
        host=settings.gateway.host,
        port=port,
        auth=settings.gateway.auth,
        folders=folders,
    )

    def child(
        name: str,
        told: msgspec.Struct,
        *peers: str,
        nice: int = 0,
        env: dict[str, str] = ONE_THREAD,
    ) -> ChildSpec:
        module = name.partition(".")[0]
        return ChildSpec(
            name=name,
            actor=f"actors.{module}:{module.capitalize()}",
            settings=msgspec.msgpack.encode(told),
            peers=peers,
            on_limit=OnLimit.ESCALATE if module in {"catalog", "index"} else OnLimit.ISOLATE,
            nice=nice,
            startup_s=settings.runtime.startup,
            drain_s=settings.runtime.shutdown / 2,
            env=env,
            log_level=settings.logs.level,
        )

    def group(name: str, *children: ChildSpec) -> GroupSpec:
        return GroupSpec(name=name, children=children, intensity=intensity, backoff=backoff)

    intensity = Intensity(settings.runtime.restarts, settings.runtime.period)
    backoff = Backoff(settings.runtime.backoff, settings.runtime.backoff_cap)
    pack_dir = str(pack.directory)
    common: dict[str, Any] = {
        "pack": pack_dir,
        "derived": derived,
        "device": device,
        "threads": settings.device.threads,
        "folders": folders,
        "database": place,
    }
    devoted: dict[Class, WorkerSettings] = {
        "embed": EmbedSettings(buckets=classes["embed"], **common),
        "face": FaceSettings(buckets=classes["face"], **common),
        "caption": CaptionSettings(
            buckets=classes["caption"],
            idle_s=settings.captions.idle,
            batch_s=settings.captions.deadline,
            **common,
        ),
    }
    return GroupSpec(
        name="root",
        intensity=intensity,
        backoff=backoff,
        children=(
            group(
                "core",
                child("catalog", catalog, "index", "text", *workers),
                child("index", index, "catalog"),
            ),
            group(
                "inference",
                child(
                    "scheduler",
                    SchedulerSettings(classes, device, settings.scheduler.settle),
                    "catalog",
                    *classes,
                    "gateway",  # what it asked for is not to be done when it is gone
                    nice=BACKGROUND,
                ),
                *(
                    child(name, told, "catalog", "scheduler", nice=BACKGROUND)
                    for name, told in devoted.items()
                ),
            ),
            group(
                "intake",
                child("ingest", ingest, "catalog", nice=BACKGROUND),
                *(
                    child(
                        each,
                        DecodeSettings(derived),
                        "catalog",
                        nice=BACKGROUND,
                        env=ONE_THREAD | KEPT_BUFFERS,
                    )
                    for each in decoders
                ),
            ),
            group(
                "edge",
                child("text", TextSettings(pack_dir, folders=folders, database=place)),
                child("gateway", gateway, "text", "index", "catalog", "scheduler"),
            ),
        ),
    )


# ── running ─────────────────────────────────────────────────────────────────────────────────


class Summary(msgspec.Struct, frozen=True):
    """What `--once` did; files = indexed + skipped + dead + duplicates."""

    files: int
    indexed: int
    skipped: int
    dead: int
    duplicates: int
    inferences: dict[str, int]
    decodes: int
    restarts: dict[str, int]
    seconds: float
    ready_seconds: float


class Session:
    """One run of the tree on one data directory, from lock to exit status.

    Args:
        out: what a person sees.
        progress: whether `--once` shows how far it is.
        others: what finds faces, and describes, in a library that knows nobody who does.
    """

    def __init__(
        self,
        settings: Settings,
        pack: Pack,
        run_dir: Path,
        out: Console,
        *,
        progress: bool,
        others: list[Space],
    ) -> None:
        self.settings = settings
        self.out = out
        self.progress = progress
        self.run_dir = run_dir
        self.run_id = secrets.token_hex(8)
        self._pack = pack
        self._others = others
        self._started = time.monotonic()
        self._journal = Journal(settings.data / "logs", out.say)
        self._least = log.LEVELS[settings.logs.level]
        self._up = False
        self._reasons: dict[str, str] = {}  # why somebody was set aside
        self._interrupted = 0
        self._code = EXIT_GAVE_UP
        self.summary: Summary | None = None
        self.problem = ""

    async def serve(self, *, once: bool) -> int:
        """Run until stopped, or until everything is indexed; the exit status."""
        port = 0 if once else self.settings.gateway.port
        supervisor = Supervisor(
            tree(self.settings, self._pack, self._others, port=port, once=once),
            run_dir=self.run_dir,
            run=self.run_id,
            on_line=lambda name, line: self._hear(log.parse(name, line)),
            on_event=self._note,
            excuse=_is_a_photos_fault,
            shutdown_s=self.settings.runtime.shutdown,
        )
        async with anyio.create_task_group() as tasks:
            await tasks.start(self._obey_signals, supervisor)  # before there is anybody to stop
            async with supervisor.running():
                tasks.start_soon(self._watch_room, supervisor)
                tasks.start_soon(self._accompany, supervisor, once)
                code = await supervisor.wait_stopped()
            tasks.cancel_scope.cancel()
        self._hear(event_record("stopped", {"exit": code}))
        self._journal.close()
        if code:
            self.problem = supervisor.problem
            self._code = code if code in {EXIT_CONFIG, EXIT_HOST} else EXIT_GAVE_UP
        if self.problem:
            return self._code
        done = self.summary is not None if once else self._up
        return 0 if done else self._interrupted

    def _note(self, event: str, fields: dict[str, object]) -> None:
        if event in {"set_aside", "isolated"}:
            self._reasons[str(fields["name"])] = str(fields.get("reason") or "keeps dying")
        self._hear(event_record(event, fields))

    def _hear(self, record: log.Record) -> None:
        if log.LEVELS[record.level] >= self._least:
            self._journal.keep(record)
            self.out.show(record)

    def _end(self, supervisor: Supervisor, code: int, problem: str) -> None:
        """Stop in order, because *problem* leaves nothing else to do."""
        self.problem, self._code = problem, code
        supervisor.stop()

    async def _obey_signals(
        self,
        supervisor: Supervisor,
        *,
        task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        """First Ctrl-C: an orderly stop.  Second: at once."""
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for number in signals:
                if supervisor.stopping:
                    supervisor.kill()
                    self.out.say("stopped at once; the next start resumes")
                    os._exit(128 + number)
                self.out.say("stopping; press Ctrl-C again to stop at once")
                self._interrupted = 128 + number
                supervisor.stop()

    async def _watch_room(self, supervisor: Supervisor) -> None:
        """Stop in order while there is still room to do it."""
        library = self.settings.library
        places = {self.settings.data, library.derived, self.settings.database_path.parent}
        while not supervisor.stopping:
            for place in places:
                with contextlib.suppress(OSError):  # whoever needs the place will tell
                    if (left := room(place)) < LEAST_LEFT:
                        self._end(supervisor, EXIT_HOST, _no_room(place, left))
            await anyio.sleep(ROOM_S)

    async def _accompany(self, supervisor: Supervisor, once: bool) -> None:  # noqa: FBT001
        await supervisor.all_tried.wait()
        ready_s = time.monotonic() - self._started
        try:
            _write_run(self.settings.data, self._run(_http_address(self.run_dir)))
        except OSError as error:
            problem = f"{self.settings.data}: run.json cannot be written: {error.strerror}"
            self._end(supervisor, EXIT_HOST, problem)
            return
        async with Client.connect(self.settings.data) as client:
            if not once:
                self._up = True
                await self._greet(client, ready_s)
                return
            await self._index_all(client, supervisor, ready_s)
        supervisor.stop()

    async def _greet(self, client: Client, ready_s: float) -> None:
        try:
            link = await client.link()
        except (RuntimeFault, NotRunning) as error:  # it may come back; all else works without
            link = f"the page did not answer: {error}"
        self.out.say(f"ready after {ready_s:.1f} s: {link}")
        if self._pack.demo:
            self.out.say("demo model: understands drawings only")

    async def _index_all(self, client: Client, supervisor: Supervisor, ready_s: float) -> None:
        """Wait until nothing is left to do, then sum up."""
        async with anyio.create_task_group() as tasks:
            if self.progress:
                tasks.start_soon(self._show_progress, client)
            end = await self._wait_settled(client, supervisor)
            tasks.cancel_scope.cancel()
        if end is None:
            return
        catalog, totals = end
        if catalog.scan_error:
            self.out.say(f"not all folders could be read: {catalog.scan_error}")
        seconds = time.monotonic() - self._started
        self.summary = _sum_up(totals, catalog, supervisor, seconds, ready_s)

    async def _wait_settled(
        self, client: Client, supervisor: Supervisor
    ) -> tuple[CatalogStatus, Totals] | None:
        """How it ended; None where somebody is missing, with whom it would never end."""
        while True:
            if lost := _lost(supervisor.processes()):
                self.problem = "; ".join(f"{name}: {self._reasons.get(name)}" for name in lost)
                return None
            with contextlib.suppress(RuntimeFault, NotRunning):
                status = await client.status()
                if status.catalog is not None and _held_up(status.catalog):
                    resume = f"go on with: python -m supervisor resume --data {self.settings.data}"
                    problem = f"the library is {console.pause(status.catalog)}; {resume}"
                    self._end(supervisor, EXIT_TRY_AGAIN, problem)
                    return None
                if status.catalog is not None and _settled(status, status.catalog):
                    return status.catalog, await client.totals()
            await anyio.sleep(POLL_S)

    async def _show_progress(self, client: Client) -> None:
        with bars.shown_on(self.out.rich, self.out.say) as show:
            while True:
                with contextlib.suppress(NotRunning):  # we are: only too busy to answer
                    await bars.follow(client, show)

    def _run(self, http: str) -> Run:
        return Run(os.getpid(), self.run_id, str(self.run_dir), http, self._pack.name)


def _is_a_photos_fault(name: str, kind: ExitClass, executing: list[int]) -> bool:
    """A worker that dies over a photo does not count it; the catalog charges the photo.

    A lost GPU has nothing to do with photos.  How much memory a photo takes to decode depends on
    the photo; to embed it takes as much as any other, so there it is the worker that counts.
    """
    if name.startswith("decode."):
        return bool(executing) and kind is not ExitClass.GPU
    excusable = kind not in {ExitClass.GPU, ExitClass.OOM}
    return name in get_args(Class) and bool(executing) and excusable


def _settled(status: Status, catalog: CatalogStatus) -> bool:
    return catalog.settled and status.index is not None and status.index.seq >= catalog.feed_seq


def _held_up(catalog: CatalogStatus) -> bool:
    """Is there work that nobody will do, because the owner has paused it?"""
    in_hand = any(queue.leased for queue in catalog.queues)
    return catalog.paused and catalog.scanned and not (catalog.settled or in_hand)


def _lost(processes: Iterable[ProcessState]) -> list[str]:
    """Who will not come back by itself."""
    return [each.name for each in processes if each.state in {"broken", "isolated"}]


def _no_room(place: Path, left: int) -> str:
    return (
        f"{place}: only {left / 1e6:.0f} MB are left; stopped before the disk is full, and"
        f" nothing is lost: free {LEAST_FREE / 1e9:.0f} GB and start again"
    )


def _sum_up(
    totals: Totals, catalog: CatalogStatus, supervisor: Supervisor, seconds: float, ready_s: float
) -> Summary:
    return Summary(
        files=totals.files,
        indexed=totals.indexed,
        skipped=totals.skipped,
        dead=totals.dead,
        duplicates=totals.duplicates,
        inferences={
            "embed": catalog.embeds,
            "face": catalog.faces,
            "caption": catalog.captions,
        },
        decodes=catalog.decodes,
        restarts={each.name: each.restarts for each in supervisor.processes()},
        seconds=round(seconds, 3),
        ready_seconds=round(ready_s, 3),
    )


def _http_address(run_dir: Path) -> str:
    """Where the page is, "" while the gateway is away."""
    try:
        data = (run_dir / "gateway.json").read_bytes()
    except FileNotFoundError:
        return ""
    bound = msgspec.json.decode(data, type=dict[str, Any])
    return f"http://{bound['host']}:{bound['port']}"


def _write_run(data: Path, run: Run) -> None:
    """`run.json` in one step, for its owner's eyes."""
    partial = data / "run.json.partial"
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(run))
    partial.replace(data / "run.json")


@contextlib.contextmanager
def _claimed(data: Path) -> Iterator[Path]:
    """The data directory, locked, and a run directory for it; both let go at the end."""
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = rundir.lock(data / "lock")
    except OSError as error:
        raise DataUnwritable(
            f"cannot be written: {error.strerror}; choose another place or give this user access",
            where=str(error.filename or data),
        ) from error
    try:
        run_dir = rundir.make(data, secrets.token_hex(4))
        try:
            yield run_dir
        finally:
            (data / "run.json").unlink(missing_ok=True)
            shutil.rmtree(run_dir, ignore_errors=True)
    finally:
        os.close(lock)


def _folders(settings: Settings) -> list[Path]:
    """Where packs are looked for, in that order."""
    return [*settings.model.search, settings.data / "packs", PACKS]


def _find_pack(settings: Settings) -> Pack:
    """The pack that serves: what `models use` has chosen, or else the setting."""
    check_one_runtime()
    chosen = serving(settings.database_path)
    name = settings.model.pack if chosen is None else chosen.pack
    try:
        pack = find_pack(name, _folders(settings))
    except PackNotFound as error:
        if chosen is None:
            raise
        raise ConfigError(
            f"{error}; it serves this library: bring it back, or choose another by `models use`"
        ) from error
    verify(pack)
    return pack


def _find_others(settings: Settings, pack: Pack) -> list[Space]:
    """What finds faces and what describes: what `models use` has chosen, the setting, or *pack*.

    Without them the rest of the system works, and that class of work waits for them.
    """
    wishes: dict[Class, tuple[str, str, Callable[[Pack], Space | None]]] = {
        "face": ("faces", settings.faces.pack, faces_of),
        "caption": ("captions", settings.captions.pack, captions_of),
    }
    found = []
    for kind, (key, wish, of) in wishes.items():
        chosen = serving(settings.database_path, kind)
        name = chosen.pack if chosen is not None else wish
        try:
            other = find_pack(name, _folders(settings)) if name not in {"", pack.name} else pack
            if other is not pack:
                verify(other)
        except ModelsError:
            if chosen is None:
                raise  # somebody has just written it
            continue
        if chosen is None and name and of(other) is None:
            raise ConfigError(
                f"{key}.pack: {name} has no models for {key}; `models list` tells which"
            )
        found.append(of(other))
    return [each for each in found if each is not None]


def _other_wish(settings: Settings, pack: Pack) -> str:
    """What to say where a setting names a pack that does not serve; "" where none does."""
    wish = settings.model.pack
    if wish in {pack.name, Model().pack}:
        return ""
    return (
        f"`model.pack` names {wish}, which is for a new library; this one is served by"
        f" {pack.name}: to change that, say `models use {wish}`"
    )


# ── command line ────────────────────────────────────────────────────────────────────────────

app = typer.Typer(
    cls=Commands,
    add_completion=False,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    help="Obscura makes a private photo library searchable, on this machine only.",
)


@app.callback()
def run(
    context: typer.Context,
    profile: Annotated[str | None, typer.Option(help="P1 (default) or P2.")] = None,
    originals: Annotated[
        list[Path] | None,
        typer.Option(
            parser=folder, metavar="FOLDER", help="Folder of photos, only ever read; repeatable."
        ),
    ] = None,
    data: DataOption = None,
    once: Annotated[
        bool, typer.Option("--once", help="Index everything, print a summary, exit.")
    ] = False,
    as_json: JsonOption = False,
    port: Annotated[int | None, typer.Option(help="Port of the page; 0 for any.")] = None,
    log_json: Annotated[
        bool, typer.Option("--log-json", help="Everything as JSON lines on stderr.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show more than warnings on stderr.")
    ] = False,
    progress: Annotated[
        bool | None, typer.Option(help="With --once on stderr; default: unless --json is given.")
    ] = None,
) -> None:
    """Run the system on a folder of photos."""
    prelude.end()  # the command, if one was named, is imported by now
    if context.invoked_subcommand is not None:
        return
    try:
        settings = load(
            {
                "profile": profile,
                "originals": tuple(originals) if originals else None,
                "data": data,
                "gateway.port": port,
            }
        )
        check(settings)
        pack = _find_pack(settings)
        with _claimed(settings.data) as run_dir:
            out = Console(verbose=verbose, as_json=log_json)
            if other := _other_wish(settings, pack):
                out.say(other)
            shows = progress if progress is not None else not (as_json or log_json)
            others = _find_others(settings, pack)
            session = Session(settings, pack, run_dir, out, progress=shows, others=others)
            code = anyio.run(lambda: session.serve(once=once))
    except ConfigError as error:
        fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        raise typer.Exit(128 + signal.SIGINT) from None
    except (ModelsError, RunDirUnsafe) as error:
        fail(str(error), EXIT_TRY_AGAIN if isinstance(error, AlreadyRunning) else EXIT_CONFIG)
    if session.problem:
        fail(session.problem, code)
    if session.summary is not None:
        console.print_summary(session.summary, as_json=as_json)
    raise typer.Exit(code)


if __name__ == "__main__":
    app()
