"""From flags, environment and files to one `Settings`, or to one line that says what is wrong.

Strongest first:

    1  command line                   --profile P2
    2  environment                    DEPLOY_PROFILE=P2, OBSCURA__GATEWAY__PORT=0
    3  .env in the working directory  the same names
    4  .env in the data directory
    5  obscura.toml in the data directory
    6  $XDG_CONFIG_HOME/obscura/config.toml
    7  the profile's defaults, then those of `settings`

Which data directory the fourth and fifth lie in is decided by the other sources alone, so
`data` cannot be set inside it.

Every value remembers where it came from until the end, for three reasons: an error names the
place to edit, a relative path is meant relative to the file it stands in, and text from the
environment is converted (`"8765"` is a port) where text in a TOML file is not.

Unknown keys are errors, except in a `.env`, which other programs share: there only names that
begin with OBSCURA__ are known to be meant for us.  A variable set to nothing counts as not
set, as everywhere in the environment.

msgspec could decode the file straight into `Settings`; it was not used for that because its
messages know neither the file nor the nearest right name, and stop at the first source.
"""

import os
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from config import database, dotenv
from config.errors import ConfigError, NotBuilt
from config.paths import absolute
from config.profiles import profile
from config.settings import Database, Part, ProfileName, Settings

PREFIX = "OBSCURA__"

#: Names that people already have in their environment, besides OBSCURA__SECTION__KEY.
SHORT_NAMES = {
    "DEPLOY_PROFILE": "profile",
    "ORIGINALS_PATH": "originals",
    "OBSCURA_DATA": "data",
    "DATABASE_URL": "library.database",
    "DERIVED_PATH": "library.derived",
    "VECTOR_BACKEND": "vectors.backend",
}


class Given(msgspec.Struct, frozen=True):
    """One value as somebody wrote it."""

    value: Any
    name: str  #: as it is called there: gateway.port, OBSCURA__GATEWAY__PORT
    where: str  #: a file, "environment" or "command line"
    base: Path  #: what a relative path is relative to
    home: str  #: what ~ stands for
    typed: bool = False  #: from TOML, which knows numbers; elsewhere all is text

    def error(self, what: str, kind: type[ConfigError] = ConfigError) -> ConfigError:
        return kind(f"`{self.name}` {what}", where=self.where)


Layer = dict[str, Given]  #: dotted key → value


@cache
def sections() -> dict[str, type[Part]]:
    """Section name → struct, in the order of `settings`."""
    hints = get_type_hints(Settings)
    return {n: t for n, t in hints.items() if isinstance(t, type) and issubclass(t, Part)}


@cache
def keys() -> dict[str, Any]:
    """Every dotted key → its annotated type, in the order of `settings`."""
    top = get_type_hints(Settings, include_extras=True)
    found = {name: kind for name, kind in top.items() if name not in sections()}
    for section, part in sections().items():
        for name, kind in get_type_hints(part, include_extras=True).items():
            found[f"{section}.{name}"] = kind
    return found


def load(
    flags: Mapping[str, Any] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Settings:
    """The settings that hold now.

    Args:
        flags: dotted key → value from the command line; None means not given.  Text is
            converted as in the environment.
        environ: defaults to the process's own.
        cwd: defaults to the working directory.

    Raises:
        ConfigError: something given is unknown, of the wrong type or contradictory.
        NotBuilt: it is right and not there yet.
    """
    environ = os.environ if environ is None else environ
    cwd = Path.cwd() if cwd is None else cwd
    home = environ.get("HOME") or str(Path.home())

    command_line = _from_flags(flags or {}, cwd, home)
    environment = _from_variables(
        ((name, value, "environment") for name, value in environ.items()), cwd, home
    )
    here = cwd / ".env"
    working = _from_dotenv(here, home)
    config_home = environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
    user = _from_toml(Path(config_home, "obscura", "config.toml"), home)

    outside = user | working | environment | command_line
    default = Given("~/.obscura", "data", "default", cwd, home)
    data: Path = _convert("data", outside.get("data", default))

    inside = _from_toml(data / "obscura.toml", home)
    beside = data / ".env"
    if not (here.exists() and beside.exists() and here.samefile(beside)):
        inside |= _from_dotenv(beside, home)
    if "data" in inside and _convert("data", inside["data"]) != data:
        raise inside["data"].error("cannot be set inside the data directory itself")

    given = user | inside | working | environment | command_line
    name: ProfileName = _convert("profile", given["profile"]) if "profile" in given else "P1"
    values = {
        "profile": name,
        "data": data,
        "library.database": database.sqlite_url(data / "catalog.sqlite"),
        "library.derived": data / "derived",
        **profile(name).defaults,
        **{key: _convert(key, each) for key, each in given.items() if key != "data"},
    }
    tree: dict[str, Any] = {section: {} for section in sections()}
    for key, value in values.items():
        section, _, field = key.rpartition(".")
        (tree[section] if section else tree)[field] = value
    settings = msgspec.convert(tree, Settings)
    _refuse_contradictions(settings, given)
    return settings


# ── sources ─────────────────────────────────────────────────────────────────────────────────


def _variable(key: str) -> str:
    return PREFIX + key.upper().replace(".", "__")


def _from_flags(flags: Mapping[str, Any], cwd: Path, home: str) -> Layer:
    layer: Layer = {}
    for key, value in flags.items():
        if value is None:
            continue
        if key not in keys():
            raise _unknown("key", key, _nearest(key, keys()), "command line")
        layer[key] = Given(value, key, "command line", cwd, home)
    return layer


def _from_variables(variables: Iterable[tuple[str, str, str]], base: Path, home: str) -> Layer:
    """The *variables*, each (name, value, where), that are meant for us."""
    long_names = {_variable(key): key for key in keys()}
    layer: Layer = {}
    for name, value, where in variables:
        key = SHORT_NAMES.get(name) or long_names.get(name)
        if key is None:
            if name.startswith(PREFIX):
                key = _nearest(name.removeprefix(PREFIX).lower().replace("__", "."), keys())
                raise _unknown("variable", name, key and _variable(key), where)
            continue
        if not value:
            continue
        given = Given(value, name, where, base, home)
        if key in layer and layer[key].value != value:
            raise given.error(f"contradicts `{layer[key].name}`: remove one of them")
        layer[key] = given
    return layer


def _from_dotenv(path: Path, home: str) -> Layer:
    text = _text(path)
    if text is None:
        return {}
    try:
        last = {each.name: each for each in dotenv.parse(text)}
    except dotenv.Malformed as error:
        raise ConfigError(str(error), where=str(path)) from None
    layer = _from_variables(
        ((each.name, each.value, f"{path}, line {each.line}") for each in last.values()),
        path.parent,
        home,
    )
    for given in layer.values():
        if last[given.name].expands:
            raise given.error("holds `${`, which is not expanded here: write the value out")
    return layer


def _from_toml(path: Path, home: str) -> Layer:
    text = _text(path)
    if text is None:
        return {}
    import tomllib  # noqa: PLC0415 - 4 ms that every process would pay, for a rare file

    where = str(path)
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not valid TOML: {error}", where=where) from None
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if name not in sections():
            flat[name] = value
        elif isinstance(value, dict):
            flat |= {f"{name}.{inner}": leaf for inner, leaf in value.items()}
        else:
            raise ConfigError(f"`{name}` must be a table, not {_shown(value)}", where=where)
    for key, value in flat.items():
        if key not in keys():
            tables = isinstance(value, dict) and key in tree
            raise _unknown("key", key, _nearest(key, sections() if tables else keys()), where)
    return {
        key: Given(value, key, where, path.parent, home, typed=True) for key, value in flat.items()
    }


def _text(path: Path) -> str | None:
    """What *path* says, None where there is no such file."""
    try:
        return path.read_text("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=str(path)) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"not UTF-8 text, at byte {error.start}", where=str(path)) from None


def _unknown(what: str, name: str, nearest: str | None, where: str) -> ConfigError:
    hint = f" (did you mean `{nearest}`?)" if nearest else ""
    return ConfigError(f"unknown {what} `{name}`{hint}", where=where)


def _nearest(key: str, known: Iterable[str]) -> str | None:
    """The key among *known* that somebody who wrote *key* may have meant."""
    import difflib  # noqa: PLC0415 - costs 3 ms, and only ever needed on the way out

    known = list(known)
    section, _, leaf = key.rpartition(".")
    leaves: dict[str, str] = {}
    # Leaves alone are compared, or a long right section would make any wrong leaf look near;
    # those of the same section come last and so win over their namesakes.
    for each in sorted(known, key=lambda each: each.rpartition(".")[0] == section):
        leaves[each.rpartition(".")[2]] = each
    whole = {} if section in sections() else {each: each for each in known}
    for wanted, choices in ((key, whole), (leaf, leaves)):
        for found in difflib.get_close_matches(wanted, choices, n=1):
            return choices[found]
    return None


# ── values ──────────────────────────────────────────────────────────────────────────────────


def _convert(key: str, given: Given) -> Any:
    """The final value of *key*.

    Raises:
        ConfigError: it is not what the key's type says.
    """
    kind = keys()[key]
    value = given.value
    plain = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    textual = isinstance(value, str) and not given.typed
    if kind is Path:
        return _path(value, given)
    if kind is Database:
        return _database(value, given)
    if plain == tuple[Path, ...]:
        if textual:
            value = [part for part in value.split(os.pathsep) if part]
        if not isinstance(value, (list, tuple)):
            raise given.error(f"must be a list of paths, not {_shown(value)}")
        return tuple(_path(each, given) for each in value)
    if textual and get_origin(plain) is tuple:
        value = [part.strip() for part in value.split(",")]
    try:
        return msgspec.convert(value, type=kind, strict=not textual)
    except msgspec.ValidationError:
        raise given.error(f"must be {_expectation(kind)}, not {_shown(given.value)}") from None


def _path(value: Any, given: Given) -> Path:
    if not isinstance(value, (str, Path)):
        raise given.error(f"must be a path, not {_shown(value)}")
    try:
        return absolute(str(value), given.base, given.home)
    except ValueError as error:
        raise given.error(str(error)) from None


def _database(value: Any, given: Given) -> str:
    if not isinstance(value, str):
        raise given.error(f"must be a database URL, not {_shown(value)}")
    try:
        return database.async_url(value, given.base, given.home)
    except ValueError as error:
        raise given.error(str(error)) from None


def _expectation(kind: Any) -> str:
    """What a value of *kind* looks like, as the end of a sentence."""
    for meta in getattr(kind, "__metadata__", ()):
        return str(meta.description)
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(get_args(kind))
    return {bool: "true or false", str: "text"}[kind]


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"' if len(value) <= 60 else f'"{value[:60]}…"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_shown(each) for each in value) + "]"
    return str(value)


def _refuse_contradictions(settings: Settings, given: Layer) -> None:
    """Rules that one type cannot tell, or that deserve a better sentence."""

    def wrong(key: str, what: str, kind: type[ConfigError] = ConfigError) -> ConfigError:
        return given[key].error(what, kind) if key in given else kind(f"`{key}` {what}")

    if settings.vectors.backend == "qdrant":
        raise wrong(
            "vectors.backend", "asks for qdrant: not built yet; use faiss or hnswlib", NotBuilt
        )
    if settings.library.database.startswith(database.POSTGRES):
        raise wrong(
            "library.database", "asks for Postgres: not built yet; use a sqlite URL", NotBuilt
        )
    url = settings.library.database
    if any("\ud800" <= letter <= "\udfff" for letter in url):
        raise wrong(
            "library.database" if "library.database" in given else "data",
            "must be UTF-8, because the database is opened by a URL",
        )
    if settings.gateway.host != "127.0.0.1":
        raise wrong("gateway.host", "must be 127.0.0.1: only this machine is served so far")
    sizes = {
        "embed.buckets": settings.embed.buckets,
        "faces.buckets": settings.faces.buckets,
        "captions.buckets": settings.captions.buckets,
    }
    for key, buckets in sizes.items():
        if list(buckets) != sorted(set(buckets)):
            raise wrong(key, f"must ascend, not {_shown(buckets)}")
    # Where waiting alone outlasts the period, the limit is never reached and a broken process
    # is restarted for ever.  `runtime.restart` refuses the same with less to say about where;
    # 1.2 is its jitter.
    runtime = settings.runtime
    longest = sum(
        1.2 * min(runtime.backoff_cap, runtime.backoff * 2.0 ** min(n, 60))
        for n in range(runtime.restarts + 1)
    )
    if longest >= runtime.period:
        raise wrong(
            "runtime.period",
            f"must be above {longest:.0f}, the seconds that {runtime.restarts} restarts may wait,"
            " or their limit is never reached",
        )
