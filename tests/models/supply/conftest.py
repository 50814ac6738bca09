import pytest

from tests.models.supply.fakehub import FakeHub


@pytest.fixture
def hub():
    """A hub that is empty so far."""
    with FakeHub().running() as fake:
        yield fake


@pytest.fixture(autouse=True)
def nothing_of_this_machine(monkeypatch):
    """No login and no proxy of whoever runs the tests."""
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
