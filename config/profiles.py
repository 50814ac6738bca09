"""The four sizes of an installation, and which components each of them starts.

A profile is a set of defaults, the weakest of all sources: whatever a user sets wins.  The
registry below is what "conditional startup" means here: the supervisor starts the components
it is given and knows nothing of profiles.
"""

from types import MappingProxyType
from typing import Any

import msgspec

from config.errors import NotBuilt
from config.settings import ProfileName

DAY = 86_400.0

#: One process each (decode: several), left to right as in the tree.
SINGLE_NODE = (
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
)


class Profile(msgspec.Struct, frozen=True):
    """What one size of installation changes."""

    summary: str
    components: tuple[str, ...]  #: names of what the supervisor starts
    defaults: MappingProxyType[str, Any]  #: dotted key → value
    needs: str = ""  #: what is missing before it can run; "" when it runs


PROFILES: MappingProxyType[ProfileName, Profile] = MappingProxyType(
    {
        "P1": Profile(
            summary="one machine, up to 200,000 photos, 8-12 GB GPU or none",
            components=SINGLE_NODE,
            defaults=MappingProxyType(
                {
                    "vectors.backend": "faiss",
                    "ingest.scan_interval": 7 * DAY,
                    "embed.buckets": (1, 8, 32),
                }
            ),
        ),
        "P2": Profile(
            summary="one machine, up to 1,000,000 photos on a NAS, 16-24 GB GPU",
            components=SINGLE_NODE,
            defaults=MappingProxyType(
                {
                    "vectors.backend": "hnswlib",
                    "ingest.scan_interval": DAY,
                    "embed.buckets": (1, 8, 32, 128),
                }
            ),
        ),
        "P3": Profile(
            summary="services split over Postgres and, if wanted, Qdrant",
            components=SINGLE_NODE,
            defaults=MappingProxyType({}),
            needs="Postgres",
        ),
        "P4": Profile(
            summary="several hosts, several users",
            components=SINGLE_NODE,
            defaults=MappingProxyType({}),
            needs="Postgres and remote workers",
        ),
    }
)


def profile(name: ProfileName) -> Profile:
    """The profile called *name*.

    Raises:
        NotBuilt: it is planned and cannot run yet.
    """
    found = PROFILES[name]
    if found.needs:
        raise NotBuilt(f"profile {name} needs {found.needs}: not built yet; use P1 or P2")
    return found


def components(name: ProfileName) -> tuple[str, ...]:
    """Names of the components that *name* starts.

    Raises:
        NotBuilt: see `profile`.
    """
    return profile(name).components
