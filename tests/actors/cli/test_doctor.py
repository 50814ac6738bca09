"""`doctor`: a healthy machine, each wrong state, and what a bundle does not tell."""

import json
import resource
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from actors.cli import doctor
from actors.cli.doctor import Hiding, examine, write_bundle
from bench.system import command
from config.loading import load
from models import inspection
from models.errors import ModelsError
from models.pack import BUILT_IN
from models.session import CUDA, Device, runtime
from runtime import log

SECRET = "the-secret-token-of-this-library-000"


@pytest.fixture
def data(tmp_path):
    place = tmp_path / "data"
    place.mkdir()
    return place


@pytest.fixture
def photos(tmp_path):
    place = tmp_path / "Zoë's photos"
    place.mkdir()
    return place


@pytest.fixture
def settings(data, photos):
    return load({"data": data, "originals": (photos,)}, environ={"HOME": str(data)}, cwd=data)


def wrong(settings):
    return [f"{each.about}: {each.text}" for each in examine(settings) if each.state == "wrong"]


def test_a_healthy_machine_has_nothing_wrong_and_says_what_it_would_use(settings):
    found = list(examine(settings))
    assert [each.text for each in found if each.state == "wrong"] == []
    told = {each.about: each.text for each in found}
    assert "sketch computes on" in told["model"]
    assert "because" in told["would use"]
    assert "onnxruntime" in told["onnxruntime"]
    assert told["pack"].startswith("sketch: embed+detect+recognise+caption, revision 1")


def test_a_pack_that_was_altered_is_wrong(settings, data):
    pack = data / "packs" / "mine"
    pack.mkdir(parents=True)
    (pack / "pack.toml").write_text("name = 1")
    assert any(each.startswith("pack: ") and "mine/pack.toml" in each for each in wrong(settings))


def test_a_pack_that_is_not_there_is_wrong(data, photos):
    settings = load(
        {"data": data, "originals": (photos,), "model.pack": "absent"},
        environ={"HOME": str(data)},
        cwd=data,
    )
    (line,) = wrong(settings)
    assert line.startswith("model: no pack 'absent' in ")


def test_a_token_that_others_may_read_is_wrong(settings, data):
    (data / "token").write_text(SECRET)
    (data / "token").chmod(0o644)
    (line,) = wrong(settings)
    assert "others may read the token" in line
    assert SECRET not in line


def test_a_database_of_another_program_is_wrong(settings):
    settings.database_path.write_bytes(b"SQLite format 3\0" + bytes(84))
    (line,) = wrong(settings)
    assert line.startswith("catalog: ")


def test_a_lost_folder_of_photos_is_wrong(settings, photos):
    photos.rmdir()
    (line,) = wrong(settings)
    assert line.startswith("disk: ")
    assert "originals" in line


def test_two_runtimes_are_wrong(settings, monkeypatch):
    def two():
        raise ModelsError("onnxruntime and onnxruntime-gpu are both installed")

    monkeypatch.setattr(doctor, "check_one_runtime", two)
    assert "onnxruntime: onnxruntime and onnxruntime-gpu are both installed" in wrong(settings)


def test_too_few_open_files_are_wrong(settings, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))
    (line,) = wrong(settings)
    assert "64 open files" in line
    assert "ulimit -n" in line


def test_a_gpu_whose_runtime_does_not_start_is_wrong_and_the_cpu_is_named(settings, monkeypatch):
    broken = (Device("cpu:0", usable=True), Device("cuda:0", usable=False, reason="no cuDNN"))
    monkeypatch.setattr(doctor, "devices", lambda: broken)
    monkeypatch.setattr(doctor, "driver", lambda: inspection.Driver("580.1"))
    told = {each.about: each for each in examine(settings)}
    assert told["device"].state == "note"  # a CPU runtime beside a GPU is a choice
    assert "cuda:0 cannot be used: no cuDNN" in told["would use"].text
    known = runtime()
    with_cuda = type(known)(known.version, (CUDA,), "13.0")
    monkeypatch.setattr(doctor, "runtime", lambda: with_cuda)
    assert "device: cuda:0: no cuDNN" in wrong(settings)


def test_a_driver_is_asked_only_where_there_is_one(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setattr(inspection, "DRIVER", tmp_path / "none")
    assert inspection.driver() is None
    (tmp_path / "none").write_text("580")
    found = inspection.driver()
    assert found
    assert found.problem == "nvidia-ml-py is not installed"


def test_a_driver_tells_its_gpus(monkeypatch):
    memory = SimpleNamespace(total=12 << 30, free=6 << 30)
    nvml = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: 1,
        nvmlDeviceGetHandleByIndex=lambda number: number,
        nvmlSystemGetDriverVersion=lambda: b"580.65",
        nvmlDeviceGetName=lambda _: "A GPU",
        nvmlDeviceGetMemoryInfo=lambda _: memory,
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert inspection.driver() == inspection.Driver(
        "580.65", (inspection.Gpu("A GPU", 12288, 6144),)
    )


def test_a_bundle_has_no_path_no_words_and_no_secret(settings, data, photos, tmp_path):
    (data / "token").write_text(SECRET)
    (data / "token").chmod(0o600)
    (data / "logs").mkdir()
    record = log.record(
        "decode.0",
        "warning",
        "damaged",
        {"photo": str(photos / "my secret wedding.jpg"), "pixels": 12, "query": "a wedding"},
    )
    (data / "logs" / "decode.0.jsonl").write_text(record.line + "\n")
    place = tmp_path / "bundle.tar.gz"
    found = [
        *examine(settings),
        doctor.Finding("disk", "wrong", f"{photos}/wedding: no; /srv/other/place, {data}"),
    ]
    write_bundle(place, settings, found)
    with tarfile.open(place) as bundle:
        parts = {
            Path(each.name).name: file.read().decode()
            for each in bundle
            if (file := bundle.extractfile(each))
        }
    assert sorted(parts) == ["findings.json", "logs.jsonl", "settings.json"]
    everything = "\n".join(parts.values())
    for secret in (SECRET, "wedding", str(data), str(photos), str(tmp_path), "Zoë", "/srv/other"):
        assert secret not in everything, secret
    assert json.loads(parts["settings.json"])["model"]["pack"] == "sketch"
    assert "<originals 0>" in parts["settings.json"]


def test_known_paths_get_their_name(settings, data):
    hide = Hiding(settings)
    assert hide(f"{data}/packs and {BUILT_IN}/sketch") == (
        "<data>/packs and <program>/models/packs/sketch"
    )
    assert hide("3/4 of it, or (/etc/hosts)") == "3/4 of it, or (<path>)"


def test_the_command_exits_with_1_for_a_wrong_state_and_writes_a_bundle(data, tmp_path):
    (data / "token").write_text(SECRET)
    (data / "token").chmod(0o644)
    done = command("doctor", "--data", data, "--json", "--bundle", "--out", tmp_path)
    assert done.returncode == 1, done.stderr
    assert [each["about"] for each in json.loads(done.stdout) if each["state"] == "wrong"] == [
        "token"
    ]
    (bundle,) = tmp_path.glob("obscura-doctor-*.tar.gz")
    assert str(bundle) in done.stderr
    (data / "token").unlink()
    assert command("doctor", "--data", data).returncode == 0
