import pytest

from config import NotBuilt, components
from config.loading import keys
from config.profiles import PROFILES


@pytest.mark.parametrize("name", ["P1", "P2"])
def test_a_single_node_starts_the_whole_tree(name):
    assert set(components(name)) == {
        "catalog",
        "index",
        "scheduler",
        "embed",
        "face",
        "caption",
        "ingest",
        "decode",
        "text",
        "gateway",
    }


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("P3", "config error: profile P3 needs Postgres: not built yet; use P1 or P2"),
        (
            "P4",
            (
                "config error: profile P4 needs Postgres and remote workers: not built yet;"
                " use P1 or P2"
            ),
        ),
    ],
)
def test_a_profile_that_is_not_built_starts_nothing(name, line):
    with pytest.raises(NotBuilt) as caught:
        components(name)
    assert (str(caught.value), caught.value.exit_code) == (line, 78)


def test_profiles_change_only_settings_that_exist():
    for profile in PROFILES.values():
        assert set(profile.defaults) <= set(keys())
