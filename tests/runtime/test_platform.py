"""Where we run, and what is said elsewhere."""

import platform
import sys

import pytest

from runtime.errors import PlatformUnsupported
from runtime.platform import check_platform


@pytest.fixture
def machine(monkeypatch):
    def be(system="linux", machine="x86_64", release="6.1.0-13-amd64"):
        monkeypatch.setattr(sys, "platform", system)
        names = {"linux": "Linux", "darwin": "Darwin", "win32": "Windows"}
        monkeypatch.setattr(platform, "system", lambda: names[system])
        monkeypatch.setattr(platform, "machine", lambda: machine)
        monkeypatch.setattr(platform, "release", lambda: release)

    return be


@pytest.mark.parametrize(
    "release", ["5.10.0", "5.15.0-1051-raspi", "6.18.44-fc-v595", "10.0", "6.1+"]
)
@pytest.mark.parametrize("processor", ["x86_64", "aarch64"])
def test_a_recent_linux_is_fine(machine, processor, release):
    machine(machine=processor, release=release)
    check_platform()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"system": "darwin"}, "runs on Linux only, this is Darwin"),
        ({"system": "win32"}, "runs on Linux only, this is Windows"),
        ({"machine": "armv7l"}, "runs on x86-64 and ARM64 only, this is armv7l"),
        ({"release": "5.4.0-26-generic"}, "needs a Linux kernel of 5.10 or newer, this is 5.4.0"),
        ({"release": "4.19"}, "needs a Linux kernel of 5.10 or newer, this is 4.19"),
    ],
)
def test_anything_else_is_refused_with_the_one_reason(machine, given, said):
    machine(**given)
    with pytest.raises(PlatformUnsupported) as info:
        check_platform()
    assert str(info.value).startswith(said)
