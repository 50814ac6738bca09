"""What every test may lean on: the folder of real photos, and both event loops."""

import os
from pathlib import Path

import hypothesis
import pytest

# a machine that does other work is slow now and then, and no example is at fault for that
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

CORPUS = Path(__file__).resolve().parents[2] / "shared" / "corpus"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slow ones first, so that nobody waits for one of them alone at the end.

    Those of the system keep the processors busy.  Those of the runtime mostly wait, and some must
    not wait for a processor: they come after, beside each other.
    """
    first = ["system", "runtime"]
    items.sort(key=lambda item: (*first, item.path.parent.name).index(item.path.parent.name))


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The real photos beside the checkout; promised where REQUIRE_CORPUS=1."""
    if CORPUS.is_dir():
        return CORPUS
    message = "the folder of real photos is not beside this checkout"
    if os.environ.get("REQUIRE_CORPUS") == "1":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Runtime tests run on both loops; database and web tests override this with asyncio."""
    return str(request.param)
