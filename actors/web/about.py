"""What the edge says about itself, the same in every answer."""

import msgspec


class About(msgspec.Struct, frozen=True):
    """Which model answers for which library."""

    model: str  #: name of the pack
    demo: bool  #: it understands drawings only, and whoever shows its answers says so
    profile: str
    roots: tuple[str, ...]  #: printable names of the photo folders
