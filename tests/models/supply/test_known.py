"""The catalogue of public packs says what is known, and nothing else."""

import msgspec
import pytest

from models.supply.errors import NotPullable, PackUnknown
from models.supply.known import Known, find_known, known


def test_the_packs_that_are_known():
    assert set(known()) == {
        "clip-vit-b32-laion2b",
        "clip-vit-b32-openai",
        "clip-vit-b32-openai-split",
        "siglip2-b32",
        "vit-gpt2",
        "florence-2-base",
        "florence-2-base-ft",
        "blip-base",
        "yunet",
        "auraface",
        "buffalo_l",
        "buffalo_s",
    }


def test_only_what_may_not_be_sold_asks_for_a_yes():
    assert {each.name for each in known().values() if not each.commercial} == {
        "buffalo_l",
        "buffalo_s",
    }


def test_a_pack_that_nobody_knows_is_answered_with_those_that_are():
    with pytest.raises(PackUnknown, match=r"^no pack 'clip' is known; there are: clip-vit-b32-la"):
        find_known("clip")


def test_a_pack_without_a_repository_says_why():
    with pytest.raises(NotPullable) as caught:
        find_known("blip-base").require_repo()
    assert str(caught.value) == (
        "blip-base cannot be pulled: no ready graphs of it are known; python -m models.export blip"
        " makes them of its checkpoint; with its files in a folder: models import FOLDER"
    )


GOOD = {
    "name": "one",
    "kind": "faces",
    "summary": "one",
    "licence": "MIT",
    "files": [{"path": "a/model.onnx", "mb": 1.5}],
    "repo": "some/one",
    "link": "https://example.org",
}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"revision": "main"}, "regex"),
        ({"revision": "abc123"}, "regex"),
        ({"repo": ""}, "either repo or missing"),
        ({"missing": "lost"}, "either repo or missing"),
        ({"link": ""}, "a link to its licence"),
        ({"files": []}, "has files"),
        ({"files": [{"path": "../../etc/passwd"}]}, "not a file inside the pack"),
        ({"kind": "music"}, "music"),
        ({"sha": "x"}, "unknown field"),
    ],
)
def test_an_entry_that_says_too_little_or_too_much_is_refused(change, complaint):
    assert msgspec.convert(GOOD, Known).size == 1_500_000
    with pytest.raises(msgspec.ValidationError, match=complaint):
        msgspec.convert(GOOD | change, Known)
