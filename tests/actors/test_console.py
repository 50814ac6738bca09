"""What a person sees, and what only the files keep."""

import json

import pytest

from actors.console import Console, event_record, print_record, spaces
from actors.messages import CatalogStatus, SpaceState
from runtime import log


def shown(capsys, *records, **options):
    console = Console(**options)
    for each in records:
        console.show(each)
    return capsys.readouterr().err.splitlines()


WALKED = log.record("catalog", "info", "walked", {"files": 3})
NOISE = log.parse("decode.0", "Corrupt JPEG data")
CHARGED = log.record("catalog", "warning", "charged", {"worker": "decode.0", "tasks": 1})
CRASHED = log.Record("", "embed", "critical", "crashed", {}, "some frames\nValueError")


def test_a_person_sees_warnings_and_no_chatter(capsys):
    assert shown(capsys, WALKED, NOISE, CHARGED, CRASHED) == [
        "catalog: charged worker=decode.0 tasks=1"
    ]


def test_verbose_shows_it_all(capsys):
    assert shown(capsys, WALKED, NOISE, CHARGED, CRASHED, verbose=True) == [
        "catalog: walked files=3",
        "decode.0: output text=Corrupt JPEG data",
        "catalog: charged worker=decode.0 tasks=1",
        "embed: crashed",
        "some frames",
        "ValueError",
    ]


def test_programs_get_json_whatever_it_is(capsys):
    console = Console(as_json=True)
    console.show(WALKED)
    console.say("ready")
    said = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [each["event"] for each in said] == ["walked", "said"]
    assert said[1]["text"] == "ready"


def catalog_with(*states):
    return CatalogStatus([], False, True, "", 0, 0, 0, settled=True, spaces=[*states], photos=100)


def state(pack, state, vectors, **more):
    return SpaceState(f"{pack}-1", pack, "1", "fp32", state, vectors, **more)


def test_a_library_of_one_model_has_nothing_to_tell_of_models():
    assert spaces(catalog_with(state("sketch", "active", 100))) == []
    given_up = state("clip", "retired", 0)
    assert spaces(catalog_with(state("sketch", "active", 100), given_up)) == []


def test_what_serves_is_built_and_can_be_gone_back_to_is_told():
    assert spaces(
        catalog_with(
            state("sketch", "active", 100),
            state("clip", "building", 40, rate=2.5, eta_seconds=24),
            state("older", "retired", 90),
        )
    ) == [
        "sketch serves (100 of 100 photos)",
        "clip is being built beside it: 40 of 100 photos, 2.5/s, 24 s left",
        "older can be gone back to (90 of 100 photos)",
    ]
    assert spaces(
        catalog_with(
            state("sketch", "active", 100),
            state("clip", "building", 3, held="97 of 100 photos are missing in it"),
        )
    )[1] == ("clip is built (3 of 100 photos) and held back: 97 of 100 photos are missing in it")


def test_what_the_supervisor_did_is_told_in_sentences(capsys):
    assert shown(
        capsys,
        event_record("spawned", {"name": "embed", "pid": 7}),
        event_record("died", {"name": "embed", "pid": 7, "exit": "exit 1"}),
        event_record("set_aside", {"name": "text", "reason": "no model"}),
    ) == [
        "embed (pid 7) died: exit 1; `logs embed` tells more",
        "text cannot work and is set aside until the next start: no model",
    ]


def test_after_the_tree_has_given_up_only_its_reason_is_left_to_say(capsys):
    over = {"group": "core", "reason": "the disk is full", "ends": True}
    assert shown(capsys, event_record("gives_up", over), CHARGED) == []
    again = {"group": "core", "reason": "catalog died", "ends": False}
    assert shown(capsys, event_record("gives_up", again), CHARGED) == [
        "core gives up: catalog died",
        "catalog: charged worker=decode.0 tasks=1",
    ]


@pytest.mark.parametrize("hostile", ["\x1b[2J", "[bold red]x[/]", "a\rb", ":smile:"])
def test_nothing_that_is_shown_is_obeyed_by_the_terminal(capsys, hostile):
    console = Console()
    console.say(f"not all folders could be read: {hostile}")
    console.show(log.record("decode.0", "warning", "odd", {"text": hostile}))
    print_record(log.record("decode.0", "warning", "odd", {"text": hostile}))
    both = capsys.readouterr()
    assert "\x1b" not in both.err + both.out
    assert "\r" not in both.err + both.out
    visible = hostile.replace("\x1b", "").replace("\r", "")
    if visible == hostile:
        assert (both.err + both.out).count(hostile) == 3


def test_a_kept_line_shows_when_who_and_what(capsys):
    print_record(log.Record("2024-05-06T07:08:09.123456Z", "embed", "info", "x", {"n": 1}, "a\nb"))
    first, *rest = capsys.readouterr().out.splitlines()
    assert first.endswith(":08:09.123 embed info x n=1")
    assert rest == ["    a", "    b"]
