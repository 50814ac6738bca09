import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import ConfigError, NotBuilt, load
from config.database import sqlite_url
from config.document import render
from config.loading import SHORT_NAMES, keys
from config.settings import Settings, decode, encode


class Place:
    """A home, a working directory and a data directory to load from."""

    def __init__(self, root: Path) -> None:
        self.home = root / "home"
        self.cwd = root / "work"
        self.data = root / "data"
        for folder in (self.home, self.cwd, self.data):
            folder.mkdir()
        self.user_file = self.home / ".config" / "obscura" / "config.toml"
        self.user_file.parent.mkdir(parents=True)
        self.data_file = self.data / "obscura.toml"

    def load(self, flags: dict[str, Any] | None = None, **environ: str) -> Settings:
        environ = {"HOME": str(self.home), "OBSCURA_DATA": str(self.data)} | environ
        return load(flags, environ=environ, cwd=self.cwd)

    def refusal(self, flags: dict[str, Any] | None = None, **environ: str) -> str:
        with pytest.raises(ConfigError) as caught:
            self.load(flags, **environ)
        return str(caught.value)


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


# ── precedence ──────────────────────────────────────────────────────────────────────────────


def test_each_source_is_overruled_by_the_stronger_ones(place):
    def port() -> int:
        return int(place.load().gateway.port)

    assert port() == 8765
    place.user_file.write_text("gateway.port = 1")
    assert port() == 1
    place.data_file.write_text("[gateway]\nport = 2")
    assert port() == 2
    (place.data / ".env").write_text("OBSCURA__GATEWAY__PORT=3")
    assert port() == 3
    (place.cwd / ".env").write_text("OBSCURA__GATEWAY__PORT=4")
    assert port() == 4
    assert place.load(OBSCURA__GATEWAY__PORT="5").gateway.port == 5
    assert place.load({"gateway.port": 6}, OBSCURA__GATEWAY__PORT="5").gateway.port == 6


def test_a_flag_that_was_not_given_hides_nothing(place):
    assert place.load({"gateway.port": None}, OBSCURA__GATEWAY__PORT="5").gateway.port == 5


def test_the_profile_changes_defaults_and_nothing_that_was_set(place):
    assert place.load().vectors.backend == "faiss"
    assert place.load({"profile": "P2"}).vectors.backend == "hnswlib"
    assert place.load({"profile": "P2"}, VECTOR_BACKEND="faiss").vectors.backend == "faiss"
    assert place.load().ingest.scan_interval == 7 * 86_400
    assert place.load({"profile": "P2"}).ingest.scan_interval == 86_400


def test_the_first_profile_is_the_default(place):
    assert place.load().profile == "P1"
    assert place.load(DEPLOY_PROFILE="P2").profile == "P2"


def test_the_data_directory_defaults_to_the_home(place):
    settings = load({}, environ={"HOME": str(place.home)}, cwd=place.cwd)
    assert settings.data == place.home / ".obscura"
    assert settings.library.derived == settings.data / "derived"
    assert settings.database_path == settings.data / "catalog.sqlite"


def test_the_user_file_may_choose_the_data_directory_whose_file_is_then_read(place):
    place.user_file.write_text(f'data = "{place.data}"')
    place.data_file.write_text("gateway.port = 7")
    settings = load({}, environ={"HOME": str(place.home)}, cwd=place.cwd)
    assert (settings.data, settings.gateway.port) == (place.data, 7)


def test_the_data_directory_cannot_be_moved_from_within(place):
    place.data_file.write_text('data = "/elsewhere"')
    assert place.refusal() == (
        f"config error: {place.data_file}: `data` cannot be set inside the data directory itself"
    )


def test_one_env_file_in_a_common_directory_is_read_once(place):
    (place.data / ".env").write_text("OBSCURA__GATEWAY__PORT=3\nOBSCURA_DATA=.\n")
    settings = load({}, environ={"HOME": str(place.home)}, cwd=place.data)
    assert (settings.data, settings.gateway.port) == (place.data, 3)


def test_xdg_config_home_moves_the_user_file(place, tmp_path):
    moved = tmp_path / "xdg" / "obscura" / "config.toml"
    moved.parent.mkdir(parents=True)
    moved.write_text("gateway.port = 9")
    assert place.load(XDG_CONFIG_HOME=str(tmp_path / "xdg")).gateway.port == 9


# ── the names people already have ───────────────────────────────────────────────────────────


def test_the_small_example_environment_loads(place):
    (place.cwd / ".env").write_text(
        "DEPLOY_PROFILE=P1\n"
        "DATABASE_URL=sqlite:///./metadata.sqlite\n"
        "VECTOR_BACKEND=faiss\n"
        "ORIGINALS_PATH=/mnt/photos\n"
        "DERIVED_PATH=./derived\n"
    )
    settings = place.load()
    assert settings.originals == (Path("/mnt/photos"),)
    assert settings.library.derived == place.cwd / "derived"
    assert settings.database_path == place.cwd / "metadata.sqlite"
    assert settings.library.database == f"sqlite+aiosqlite:///{place.cwd}/metadata.sqlite"


def test_the_large_example_environment_is_refused_as_not_built(place):
    with pytest.raises(NotBuilt) as caught:
        place.load(
            DEPLOY_PROFILE="P3",
            DATABASE_URL="postgresql+psycopg://user:pass@db:5432/photo",
            VECTOR_BACKEND="qdrant",
            QDRANT_URL="http://qdrant:6333",
            ORIGINALS_PATH="/nas/photos",
            DERIVED_PATH="/nvme/derived",
        )
    assert str(caught.value) == (
        "config error: profile P3 needs Postgres: not built yet; use P1 or P2"
    )
    assert caught.value.exit_code == 78


def test_postgres_is_understood_refused_and_its_password_kept_quiet(place):
    with pytest.raises(NotBuilt) as caught:
        place.load(DATABASE_URL="postgresql+psycopg://user:secret@db:5432/photo")
    assert str(caught.value) == (
        "config error: environment: `DATABASE_URL` asks for Postgres: not built yet;"
        " use a sqlite URL"
    )


def test_qdrant_is_understood_and_refused(place):
    with pytest.raises(NotBuilt) as caught:
        place.load(VECTOR_BACKEND="qdrant", QDRANT_URL="http://qdrant:6333")
    assert str(caught.value) == (
        "config error: environment: `VECTOR_BACKEND` asks for qdrant: not built yet;"
        " use faiss or hnswlib"
    )


def test_several_originals_are_separated_as_in_path(place):
    settings = place.load(ORIGINALS_PATH=f"/a{os.pathsep}b{os.pathsep}~/c")
    assert settings.originals == (Path("/a"), place.cwd / "b", place.home / "c")


def test_a_photo_folder_with_a_name_that_is_no_text_survives(place):
    folder = os.fsdecode(b"/photos/\xff\xfe")
    settings = place.load(ORIGINALS_PATH=folder)
    assert settings.originals == (Path(folder),)
    assert decode(encode(settings)) == settings


def test_relative_paths_belong_to_the_file_they_stand_in(place):
    place.user_file.write_text('originals = ["a", "/b", "~/c"]')
    assert place.load().originals == (
        place.user_file.parent / "a",
        Path("/b"),
        place.home / "c",
    )
    assert place.load({"originals": ["d"]}).originals == (place.cwd / "d",)


def test_variables_of_other_programs_are_left_alone(place):
    (place.cwd / ".env").write_text("PORT=80\nOBSCURA_SOMETHING=1\nSECRET=${VAULT}\n")
    place.load(PORT="80", OBSCURA="x")


def test_a_variable_set_to_nothing_is_not_set(place):
    assert place.load(DEPLOY_PROFILE="", OBSCURA__GATEWAY__PORT="").gateway.port == 8765


def test_every_setting_can_come_from_the_environment(place):
    names = {f"OBSCURA__{key.upper().replace('.', '__')}": key for key in keys()}
    assert len(names) == len(keys())
    texts = {
        "profile": "P2",
        "originals": "/o",
        "data": str(place.data),
        "library.database": "sqlite:////x/y.sqlite",
        "library.derived": "/d",
        "ingest.watch": "false",
        "ingest.scan_interval": "60",
        "decode.processes": "3",
        "device.gpu": "-1",
        "device.threads": "2",
        "embed.buckets": "1, 4",
        "faces.pack": "yunet",
        "faces.spool": "0.5",
        "faces.buckets": "2, 16",
        "captions.pack": "blip",
        "captions.buckets": "1, 2",
        "captions.idle": "30",
        "captions.deadline": "20",
        "scheduler.settle": "0",
        "model.pack": "clip-b32",
        "model.search": "/packs",
        "model.hub": "http://hub.example:8000",
        "vectors.backend": "faiss",
        "vectors.seal_rows": "1000",
        "gateway.host": "127.0.0.1",
        "gateway.port": "0",
        "gateway.auth": "none",
        "runtime.startup": "1.5",
        "runtime.shutdown": "2",
        "runtime.restarts": "3",
        "runtime.period": "30",
        "runtime.backoff": "0.1",
        "runtime.backoff_cap": "5",
        "logs.level": "debug",
    }
    settings = place.load(**{name: texts[key] for name, key in names.items()})
    assert settings.embed.buckets == (1, 4)
    assert settings.faces.buckets == (2, 16)
    assert settings.captions.buckets == (1, 2)
    assert (settings.captions.pack, settings.captions.idle) == ("blip", 30.0)
    assert settings.captions.deadline == 20.0
    assert settings.scheduler.settle == 0
    assert settings.ingest.watch is False
    assert settings.model.search == (Path("/packs"),)
    assert settings.device.gpu == -1
    assert settings.runtime.startup == 1.5


# ── errors, word for word ───────────────────────────────────────────────────────────────────


def test_an_unknown_key_names_its_file_and_the_nearest_right_one(place):
    place.data_file.write_text("gateway.prot = 1")
    assert place.refusal() == (
        f"config error: {place.data_file}: unknown key `gateway.prot`"
        " (did you mean `gateway.port`?)"
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[gatway]\nport = 1", "unknown key `gatway` (did you mean `gateway`?)"),
        ("port = 1", "unknown key `port` (did you mean `gateway.port`?)"),
        ("prot = 1", "unknown key `prot` (did you mean `gateway.port`?)"),
        ("gatway.port = 1", "unknown key `gatway` (did you mean `gateway`?)"),
        ("gateway.log_level = 1", "unknown key `gateway.log_level` (did you mean `logs.level`?)"),
        ("gateway.zzzzzz = 1", "unknown key `gateway.zzzzzz`"),
        ("zzzzzz = 1", "unknown key `zzzzzz`"),
        ("gateway = 1", "`gateway` must be a table, not 1"),
        (
            "gateway.port = '80'",
            '`gateway.port` must be a whole number from 0 to 65535, not "80"',
        ),
        (
            "gateway.port = 65536",
            "`gateway.port` must be a whole number from 0 to 65535, not 65536",
        ),
        (
            "gateway.port = true",
            "`gateway.port` must be a whole number from 0 to 65535, not true",
        ),
        (
            "gateway.port.x = 1",
            "`gateway.port` must be a whole number from 0 to 65535, not a table",
        ),
        ("ingest.watch = 1", "`ingest.watch` must be true or false, not 1"),
        (
            "ingest.scan_interval = -1",
            "`ingest.scan_interval` must be a number of seconds, at most a year, not -1",
        ),
        (
            "runtime.startup = nan",
            "`runtime.startup` must be a number of seconds above 0, at most a year, not nan",
        ),
        ("originals = '/a'", '`originals` must be a list of paths, not "/a"'),
        ("originals = [1]", "`originals` must be a path, not 1"),
        ("originals = ['']", "`originals` must be a path"),
        ("library.derived = 5", "`library.derived` must be a path, not 5"),
        ("library.database = 5", "`library.database` must be a database URL, not 5"),
        (
            "library.database = 'metadata.sqlite'",
            "`library.database` must be a URL such as sqlite:///catalog.sqlite",
        ),
        (
            "library.database = 'sqlite://'",
            (
                "`library.database` needs three slashes before a relative path,"
                " four before an absolute one"
            ),
        ),
        (
            "library.database = 'sqlite:///:memory:'",
            "`library.database` must name a file: a database in memory would lose the library",
        ),
        (
            "library.database = 'mysql://u:p@h/x'",
            "`library.database` must be a sqlite or postgresql URL",
        ),
        (
            "library.database = 'sqlite:///a?mode=ro'",
            "`library.database` must be a plain path: options after `?` are not understood",
        ),
        ("profile = 'P5'", '`profile` must be one of P1, P2, P3, P4, not "P5"'),
        (
            "model.hub = 'hub.example'",
            '`model.hub` must be an address such as https://hub, not "hub.example"',
        ),
        (
            "model.pack = '../x'",
            '`model.pack` must be a name of letters, digits, `.`, `_`, `+` and `-`, not "../x"',
        ),
        (
            "vectors.seal_rows = 1",
            "`vectors.seal_rows` must be a whole number from 16 to 10000000, not 1",
        ),
        (
            "embed.buckets = []",
            "`embed.buckets` must be a list of ascending whole numbers from 1 to 1024, not []",
        ),
        ("embed.buckets = [8, 1]", "`embed.buckets` must ascend, not [8, 1]"),
        ("embed.buckets = [1, 1]", "`embed.buckets` must ascend, not [1, 1]"),
        ("faces.buckets = [8, 1]", "`faces.buckets` must ascend, not [8, 1]"),
        ("captions.buckets = [8, 1]", "`captions.buckets` must ascend, not [8, 1]"),
        (
            "scheduler.settle = -1",
            "`scheduler.settle` must be a number of seconds, at most a year, not -1",
        ),
        (
            "gateway.host = '0.0.0.0'",
            "`gateway.host` must be 127.0.0.1: only this machine is served so far",
        ),
        (
            "runtime.period = 5",
            (
                "`runtime.period` must be above 19, the seconds that 5 restarts may wait,"
                " or their limit is never reached"
            ),
        ),
        (
            "originals = ['~nobody-of-that-name/x']",
            "`originals` names the home of an unknown user: ~nobody-of-that-name/x",
        ),
        (
            "a b = 1",
            "not valid TOML: Expected '=' after a key in a key/value pair (at line 1, column 3)",
        ),
        ('"a\\nb" = 1', r"unknown key `a\nb`"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(place, text, complaint):
    place.data_file.write_text(text)
    assert place.refusal() == f"config error: {place.data_file}: {complaint}"


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        (
            "OBSCURA__GATEWAY__PROT",
            "1",
            "unknown variable `OBSCURA__GATEWAY__PROT` (did you mean `OBSCURA__GATEWAY__PORT`?)",
        ),
        (
            "OBSCURA__GATWAY__PORT",
            "1",
            "unknown variable `OBSCURA__GATWAY__PORT` (did you mean `OBSCURA__GATEWAY__PORT`?)",
        ),
        ("OBSCURA__XYZ", "1", "unknown variable `OBSCURA__XYZ`"),
        (
            "OBSCURA__GATEWAY__PORT",
            "eighty",
            '`OBSCURA__GATEWAY__PORT` must be a whole number from 0 to 65535, not "eighty"',
        ),
        ("OBSCURA__INGEST__WATCH", "maybe",
         '`OBSCURA__INGEST__WATCH` must be true or false, not "maybe"'),
        (
            "OBSCURA__EMBED__BUCKETS",
            "1,x",
            ("`OBSCURA__EMBED__BUCKETS` must be a list of ascending whole numbers from 1 to 1024,"
            ' not "1,x"'),
        ),
        ("VECTOR_BACKEND", "annoy",
         '`VECTOR_BACKEND` must be one of faiss, hnswlib, qdrant, not "annoy"'),
        ("OBSCURA__PROFILE", "P9", '`OBSCURA__PROFILE` must be one of P1, P2, P3, P4, not "P9"'),
        (
            "OBSCURA_DATA",
            os.fsdecode(b"/\xff"),
            "`OBSCURA_DATA` must be UTF-8, because the database is opened by a URL",
        ),
    ],
)  # fmt: skip
def test_a_wrong_variable_is_refused_in_one_line(place, name, value, complaint):
    assert place.refusal(**{name: value}) == f"config error: environment: {complaint}"


def test_two_names_for_one_setting_must_agree(place):
    place.load(DEPLOY_PROFILE="P2", OBSCURA__PROFILE="P2")
    assert place.refusal(DEPLOY_PROFILE="P1", OBSCURA__PROFILE="P2") == (
        "config error: environment: `OBSCURA__PROFILE` contradicts `DEPLOY_PROFILE`:"
        " remove one of them"
    )


def test_an_unknown_flag_is_refused(place):
    assert place.refusal({"gateway.prot": "1"}) == (
        "config error: command line: unknown key `gateway.prot` (did you mean `gateway.port`?)"
    )


def test_a_wrong_line_in_an_env_file_is_named_by_its_number(place):
    env = place.cwd / ".env"
    env.write_text("A=1\n\nOBSCURA__GATEWAY__PORT=x\n")
    assert place.refusal() == (
        f"config error: {env}, line 3: `OBSCURA__GATEWAY__PORT` must be a whole number"
        ' from 0 to 65535, not "x"'
    )
    env.write_text("A=1\nnot an assignment\n")
    assert place.refusal() == f"config error: {env}: line 2 is not NAME=value"
    env.write_text("\nOBSCURA__XYZ=1\n")
    assert place.refusal() == f"config error: {env}, line 2: unknown variable `OBSCURA__XYZ`"
    env.write_text("ORIGINALS_PATH=${HOME}/photos\n")
    assert place.refusal() == (
        f"config error: {env}, line 1: `ORIGINALS_PATH` holds `${{`, which is not expanded here:"
        " write the value out"
    )


def test_a_file_that_is_no_text_is_refused(place):
    place.data_file.write_bytes(b"a = '\xff'")
    assert place.refusal() == f"config error: {place.data_file}: not UTF-8 text, at byte 5"


def test_a_settings_file_that_is_a_folder_is_refused(place):
    place.data_file.mkdir()
    assert place.refusal() == f"config error: {place.data_file}: cannot be read: Is a directory"


def test_a_backoff_far_beyond_any_number_is_refused_and_does_not_overflow(place):
    complaint = place.refusal(OBSCURA__RUNTIME__RESTARTS="1024")
    assert complaint.startswith("config error: `runtime.period` must be above ")


# ── round trips ─────────────────────────────────────────────────────────────────────────────

NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=12
).filter(lambda name: name not in (".", ".."))
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(lambda parts: Path("/", *parts))
SECONDS = st.floats(min_value=0.001, max_value=1e6)
BUCKETS = st.sets(st.integers(1, 1024), min_size=1).map(lambda s: tuple(sorted(s)))
VALUES = {
    "profile": st.sampled_from(["P1", "P2"]),
    "originals": st.lists(PATHS, max_size=3).map(tuple),
    "library.database": PATHS.map(sqlite_url),
    "library.derived": PATHS,
    "ingest.watch": st.booleans(),
    "ingest.scan_interval": SECONDS,
    "decode.processes": st.integers(1, 1024),
    "device.gpu": st.integers(-1, 63),
    "device.threads": st.integers(1, 1024),
    "embed.buckets": BUCKETS,
    "faces.pack": st.sampled_from(["", "yunet"]),
    "faces.spool": st.floats(0, 1000),
    "faces.buckets": BUCKETS,
    "captions.pack": st.sampled_from(["", "blip"]),
    "captions.buckets": BUCKETS,
    "captions.idle": st.floats(0.5, 1000),
    "captions.deadline": st.floats(0.5, 1000),
    "scheduler.settle": SECONDS,
    "model.pack": st.from_regex(r"[a-z][a-z0-9._+-]*", fullmatch=True),
    "model.hub": st.sampled_from(["http://hub", "https://hub.example:8000/models/"]),
    "model.search": st.lists(PATHS, max_size=2).map(tuple),
    "vectors.backend": st.sampled_from(["faiss", "hnswlib"]),
    "vectors.seal_rows": st.integers(16, 10_000_000),
    "gateway.port": st.integers(0, 65535),
    "gateway.auth": st.sampled_from(["token", "none"]),
    "runtime.startup": SECONDS,
    "runtime.shutdown": SECONDS,
    "logs.level": st.sampled_from(["debug", "info", "warning", "error"]),
}
CHOICES = st.fixed_dictionaries({}, optional=VALUES)


@given(CHOICES)
def test_settings_survive_the_way_to_a_child(choices):
    settings = load(choices, environ={"HOME": "/nowhere"}, cwd=Path("/nowhere"))
    for key, value in choices.items():
        found = settings
        for step in key.split("."):
            found = getattr(found, step)
        assert found == value
    assert decode(encode(settings)) == settings


@given(choices=CHOICES)
def test_a_rendered_file_loads_to_the_same_settings(tmp_path_factory, choices):
    data = tmp_path_factory.mktemp("data")
    environ = {"HOME": "/nowhere", "OBSCURA_DATA": str(data)}
    settings = load(choices, environ=environ, cwd=Path("/nowhere"))
    (data / "obscura.toml").write_text(render(settings, commented=False))
    assert load({}, environ=environ, cwd=Path("/nowhere")) == settings


def test_a_commented_file_changes_nothing(place):
    changed = place.load({"gateway.port": 1, "profile": "P2"})
    place.data_file.write_text(render(changed))
    assert place.load() == load(
        {}, environ={"HOME": str(place.home), "OBSCURA_DATA": str(place.data)}, cwd=Path("/")
    )
    assert place.load().gateway.port == 8765


# ── the project's own rules ─────────────────────────────────────────────────────────────────


def test_every_short_name_leads_to_a_setting():
    assert set(SHORT_NAMES.values()) <= set(keys())


def test_settings_of_another_version_are_refused_by_a_child():
    with pytest.raises(msgspec.ValidationError):
        decode(msgspec.msgpack.encode({"profile": "P1", "something": 1}))


def test_reading_settings_costs_a_process_next_to_nothing():
    heavy = {"anyio", "asyncio", "difflib", "hashlib", "numpy", "socket", "sqlalchemy", "tomllib"}
    program = f"import sys, config; print(sorted({heavy!r} & sys.modules.keys()))"
    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "[]"
